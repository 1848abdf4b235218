"""What a Python caller has at hand, as the text and objects that the pipeline takes.

It imports nothing heavy, so that :mod:`kaggle_salt.api` does not either.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from kaggle_salt.errors import ConfigError

if TYPE_CHECKING:
    from kaggle_salt.config.schema import Config
    from kaggle_salt.pipeline.budget import Budget
    from kaggle_salt.pipeline.choose import Chosen
    from kaggle_salt.pipeline.workspace import Listener, Workspace

#: A path, as text or not.
AnyPath: TypeAlias = "str | os.PathLike[str]"

#: The folder with Kaggle's files, all else lying in the current folder as with the command line;
#: or a workspace that says where each thing lies.
Place: TypeAlias = "AnyPath | Workspace"

#: ``0``, ``[0, 1]``, ``"all"``, or text as ``--fold`` takes it.
Folds: TypeAlias = "int | Iterable[int] | str"

#: Values by dotted key, as in ``{"stage.bce.epochs": 3}``.
Settings: TypeAlias = "Mapping[str, object]"


def workspace_at(place: Place) -> Workspace:
    """The workspace that is meant."""
    from kaggle_salt.pipeline.workspace import Workspace

    return place if isinstance(place, Workspace) else Workspace(data=Path(place))


def optional_path(path: AnyPath | None) -> Path | None:
    """A path that may be missing."""
    return None if path is None else Path(path)


def paths_of(paths: AnyPath | Sequence[AnyPath]) -> list[Path]:
    """Paths: one, or several."""
    several = [paths] if isinstance(paths, str | os.PathLike) else paths
    return [Path(path) for path in several]


def names_of(names: str | Sequence[str]) -> list[str]:
    """Names of runs: one, or several."""
    return [names] if isinstance(names, str) else list(names)


def folds_text(folds: Folds) -> str:
    """Folds as ``--fold`` takes them: ``0``, ``0,2`` or ``all``.

    Raises:
        ConfigError: They are neither a number, nor numbers, nor text.
    """
    if isinstance(folds, str):
        return folds
    if isinstance(folds, Iterable):
        return ",".join(map(str, folds))
    if isinstance(folds, bool) or not hasattr(folds, "__index__"):
        raise ConfigError(f"folds={folds!r}", expected='a number, a list of them, or "all"')
    return str(folds)


def budget_of(minutes: float | None, epochs: int | None) -> Budget | None:
    """What a fold may take; see :class:`kaggle_salt.pipeline.budget.Budget`."""
    from kaggle_salt.pipeline.budget import Budget

    return Budget.of(minutes, epochs)


def with_shorthands(
    settings: Settings | None, *, seed: int | None, pseudo: AnyPath | None
) -> dict[str, object]:
    """Settings, and the arguments that stand for a key."""
    short = {"training.seed": seed, "pseudo.file": pseudo}
    return {**(settings or {}), **{key: value for key, value in short.items() if value is not None}}


def overrides_of(settings: Settings | None) -> tuple[str, ...]:
    """Settings as ``--set`` takes them: ``KEY=VALUE``, the value in TOML.

    Raises:
        ConfigError: A value that TOML cannot say.
    """
    return tuple(f"{key}={_toml(value, key)}" for key, value in (settings or {}).items())


def _toml(value: object, key: str) -> str:
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if hasattr(value, "item"):  # a NumPy number
        value = value.item()
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, Mapping):
        parts = (f"{_toml(str(name), key)} = {_toml(part, key)}" for name, part in value.items())
        return "{" + ", ".join(parts) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(part, key) for part in value) + "]"
    raise ConfigError(
        f"{key} is set to {value!r}", expected="text, a number, True or False, a list or a dict"
    )


def choose_run(
    workspace: Workspace,
    run: str | None,
    preset: str | None,
    config: Config | AnyPath | None,
    settings: Settings,
    device: str,
    listener: Listener,
) -> Chosen:
    """The run that is meant and its configuration; see :mod:`kaggle_salt.pipeline.choose`.

    Raises:
        ConfigError: A configuration that was made already comes with settings, with a preset, or
            without a name; or what :func:`kaggle_salt.pipeline.choose.choose_run` refuses.
    """
    from kaggle_salt.config.schema import Config
    from kaggle_salt.pipeline import choose

    if not isinstance(config, Config):
        return choose.choose_run(
            workspace, run=run, preset=preset, config_file=optional_path(config),
            overrides=overrides_of(settings), device=device, listener=listener,
        )  # fmt: skip
    if preset or settings:
        beside = f"preset {preset}" if preset else f"settings for {', '.join(settings)}"
        raise ConfigError(
            f"a configuration that was made already, and {beside} beside it",
            expected="one of the two",
            next_step='train(config=load_preset("quick", set={...}), run="NAME")',
        )
    if run is None:
        raise ConfigError(
            "a configuration that was made already does not say what its run is called",
            expected="a name for the run",
            next_step='train(config=config, run="NAME")',
        )
    return choose.Chosen(choose.run_called(workspace, run), config)
