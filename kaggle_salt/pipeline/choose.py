"""Which run is meant, how it is configured, and which of its folds are asked for."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import NamedTuple

from kaggle_salt.config.file import load_config, load_run_config, pretext_of
from kaggle_salt.config.schema import Config
from kaggle_salt.errors import ConfigError, DataError
from kaggle_salt.learning.channels import settle_channels
from kaggle_salt.learning.device import choose_compute
from kaggle_salt.learning.networks.hub import lacking_weights
from kaggle_salt.pipeline.workspace import Listener, Workspace
from kaggle_salt.presets import (
    CPU_PRESET,
    FOLD_MINUTES,
    GPU_PRESET,
    METHODS,
    preset_path,
    recipe_path,
)
from kaggle_salt.runs import RunFolder, find_run
from kaggle_salt.runs_pretraining import PretrainingRun
from kaggle_salt.storage.files import read_json

#: Names of folders under ``runs`` that are no runs.
RESERVED_NAMES = ("ensemble",)


class Chosen(NamedTuple):
    """A run, its configuration, and why this one where nobody said which."""

    run: RunFolder
    config: Config
    because: str = ""


def choose_run(
    workspace: Workspace,
    *,
    run: str | None = None,
    preset: str | None = None,
    config_file: Path | None = None,
    overrides: tuple[str, ...] = (),
    device: str = "auto",
    listener: Listener | None = None,
) -> Chosen:
    """Find out which run is meant and how it is configured.

    The run is called after its preset or configuration file unless it is named. A run that
    exists keeps its configuration when neither preset nor file is given, or its own file. Where
    nothing at all is given, it is the run that such a call has begun before, or a preset that
    suits the machine: see :func:`suitable_preset`.

    Args:
        workspace: Where the runs lie.
        run: Name of the run.
        preset: Name of its preset.
        config_file: TOML file in place of a preset.
        overrides: ``KEY=VALUE`` texts.
        device: Where to compute; it decides which preset suits.
        listener: Told which preset was taken, why, and how to take another.

    Raises:
        ConfigError: Two sources of configuration, an unusable name, or an invalid preset.
    """
    _refuse_two_sources(preset, config_file)
    name = run or preset or (config_file.stem if config_file else _begun(workspace))
    folder = None if name is None else run_called(workspace, name)
    if folder and (preset or (config_file and not _is_that_of(folder, config_file))):
        source = config_file or preset_path(preset or "")
        return Chosen(folder, load_config(source, overrides))
    if folder is None or not folder.config.exists():
        suits = suitable_preset(device)
        folder = folder or RunFolder(workspace.runs / suits)
    if folder.config.exists():
        return Chosen(folder, load_run_config(folder.config, overrides))
    return _default(folder, suits, overrides, listener or Listener())


def choose_pretraining(
    workspace: Workspace,
    *,
    run: str | None = None,
    preset: str | None = None,
    config_file: Path | None = None,
    method: str | None = None,
    overrides: tuple[str, ...] = (),
    device: str = "auto",
) -> tuple[PretrainingRun, Config]:
    """Find out which pretraining is meant and how it is configured.

    Network, input and batches come from a preset or a file, the stages from the method's recipe;
    a file that describes a pretraining of that method already is taken as it is. The run is
    called after its preset and method unless it is named, and one that exists keeps its
    configuration where nothing else is named.

    Args:
        workspace: Where the runs lie.
        run: Name of the run.
        preset: Name of the preset whose network is pretrained; else what suits the machine.
        config_file: TOML file in place of a preset.
        method: One of :data:`kaggle_salt.presets.METHODS`; else the file's, or the first.
        overrides: ``KEY=VALUE`` texts.
        device: Where to compute; it decides which preset suits.

    Raises:
        ConfigError: Two sources of configuration, an unusable name, or an invalid one.
    """
    _refuse_two_sources(preset, config_file)
    described = config_file.stem if config_file else preset or suitable_preset(device)
    folder = _pretraining_called(workspace, run or f"{described}-{method or METHODS[0]}")
    is_own = folder.config.exists() and not preset
    is_own = is_own and (config_file is None or _is_that_of(folder, config_file))
    source = folder.config if is_own else config_file or preset_path(described)
    if pretext_of(source) not in METHODS or method not in (None, pretext_of(source)):
        recipe = recipe_path(method or METHODS[0])
        return folder, load_config(source, overrides, recipe=recipe)
    return folder, (load_run_config if is_own else load_config)(source, overrides)


def _pretraining_called(workspace: Workspace, name: str) -> PretrainingRun:
    """The folder of the pretraining of that name, begun or not.

    Raises:
        ConfigError: No run can be called so, or one with folds or of predictions is.
    """
    _require_run_name(workspace, name)
    folder = PretrainingRun(workspace.runs / name)
    if folder.manifest.exists() and not folder.pretraining:
        raise ConfigError(
            f"run {name} is no pretraining, and what it holds would be lost",
            expected="a name that is free, or a run made by salt pretrain",
            next_step="--run ANOTHER_NAME",
        )
    return folder


def _refuse_two_sources(preset: str | None, config_file: Path | None) -> None:
    if preset and config_file:
        raise ConfigError(
            f"--preset {preset} and --config {config_file} exclude each other",
            expected="one of the two",
            next_step="leave out --preset or --config",
        )


def _is_that_of(run: RunFolder, config_file: Path) -> bool:
    return run.config.exists() and config_file.resolve() == run.config.resolve()


def suitable_preset(device: str = "auto") -> str:
    """The preset that suits a machine: :data:`GPU_PRESET` with CUDA, else :data:`CPU_PRESET`.

    Args:
        device: Where to compute; see :func:`kaggle_salt.learning.device.choose_compute`.
    """
    return GPU_PRESET if choose_compute(device).device.type == "cuda" else CPU_PRESET


def _default(
    folder: RunFolder, preset: str, overrides: tuple[str, ...], listener: Listener
) -> Chosen:
    """A run of the preset that suits the machine; without its weights if they cannot be had."""
    machine = "a CUDA GPU" if preset == GPU_PRESET else "no CUDA GPU to compute on"
    because = f"{machine}: preset {preset}"
    minutes = FOLD_MINUTES.get(preset)
    time = f"about {minutes} min on one CPU core" if minutes else "not measured"
    other = CPU_PRESET if preset == GPU_PRESET else GPU_PRESET
    listener.note(
        f"there is {because} suits (time for a fold: {time}); "
        f"for the other: salt train --preset {other}"
    )
    config = load_config(preset_path(preset), overrides)
    if config.model.weights == "imagenet":
        channels = settle_channels(config, coloured=False).input.channel_count
        lacking = lacking_weights(config.model.encoder, channels)
        if lacking:
            because += f", weights none ({lacking})"
            listener.warn(
                f"the ImageNet weights of {config.model.encoder} cannot be had ({lacking}): the "
                "network starts from scratch (model.weights = none), which costs score"
            )
            config = load_config(preset_path(preset), (*overrides, "model.weights=none"))
    return Chosen(folder, config, because)


def _begun(workspace: Workspace) -> str | None:
    """The run that a call without preset, file and name began last, if there is one."""
    begun = []
    for name in (GPU_PRESET, CPU_PRESET):
        manifest = RunFolder(workspace.runs / name).manifest
        with contextlib.suppress(DataError):  # not there, or of no use here
            told = read_json(manifest)
            if told.get("chosen_because"):
                begun.append((str(told.get("created")), name))
    return max(begun)[1] if begun else None


def run_called(workspace: Workspace, name: str) -> RunFolder:
    """The folder of the run of that name, trained or not.

    Raises:
        ConfigError: No run can be called so.
    """
    folder = _require_run_name(workspace, name)
    if folder.foreign or folder.pretraining:
        held = "predictions that another tool made" if folder.foreign else "pretrained weights"
        raise ConfigError(
            f"run {name} holds {held}",
            expected="a name that is free, or a run made by salt train",
            next_step="--run ANOTHER_NAME",
        )
    return folder


def _require_run_name(workspace: Workspace, name: str) -> RunFolder:
    folder = find_run(workspace.runs, name)
    if name in RESERVED_NAMES:
        raise ConfigError(
            f"a run cannot be called '{name}'",
            expected=f"any name but {', '.join(RESERVED_NAMES)}, which has its own use",
            next_step="--run NAME",
        )
    return folder


def parse_folds(text: str, known: list[int]) -> list[int]:
    """Turn ``0``, ``0,2`` or ``all`` into fold numbers.

    Raises:
        ConfigError: Not fold numbers of the table.
    """
    if text == "all":
        return known
    parts = [part.strip() for part in text.split(",")]
    wrong = [part for part in parts if not (part.isdecimal() and int(part) in known)]
    if wrong:
        raise ConfigError(
            f"there is no fold '{wrong[0]}'",
            expected=f"some of {', '.join(map(str, known))}, or all",
            next_step="--fold 0, --fold 0,2 or --fold all",
        )
    return sorted({int(part) for part in parts})
