"""Which run is meant, how it is configured, and which of its folds are asked for."""

from __future__ import annotations

from pathlib import Path

from kaggle_salt.config import Config
from kaggle_salt.config_file import load_config
from kaggle_salt.errors import ConfigError
from kaggle_salt.pipeline.workspace import Workspace, require_plain_name
from kaggle_salt.presets import DEFAULT_PRESET, preset_path
from kaggle_salt.runs import RunFolder

#: Names of folders under ``runs`` that are no runs.
RESERVED_NAMES = ("ensemble",)


def choose_run(
    workspace: Workspace,
    *,
    run: str | None = None,
    preset: str | None = None,
    config_file: Path | None = None,
    overrides: tuple[str, ...] = (),
) -> tuple[RunFolder, Config]:
    """Find out which run is meant and how it is configured.

    The run is called after its preset or configuration file unless it is named. A run that
    exists keeps its configuration when neither preset nor file is given.

    Raises:
        ConfigError: Two sources of configuration, an unusable name, or an invalid preset.
    """
    if preset and config_file:
        raise ConfigError(
            f"--preset {preset} and --config {config_file} exclude each other",
            expected="one of the two",
            next_step="leave out --preset or --config",
        )
    name = run or preset or (config_file.stem if config_file else DEFAULT_PRESET)
    folder = run_called(workspace, name)
    if config_file:
        source = config_file
    elif preset is None and folder.config.exists():
        source = folder.config
    else:
        source = preset_path(preset or DEFAULT_PRESET)
    return folder, load_config(source, overrides)


def run_called(workspace: Workspace, name: str) -> RunFolder:
    """The folder of the run of that name, trained or not.

    Raises:
        ConfigError: No run can be called so.
    """
    require_plain_name(name, "a run")
    if name in RESERVED_NAMES:
        raise ConfigError(
            f"a run cannot be called '{name}'",
            expected=f"any name but {', '.join(RESERVED_NAMES)}, which has its own use",
            next_step="--run NAME",
        )
    return RunFolder(workspace.runs / name)


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
