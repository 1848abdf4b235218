"""The presets that come with the package: one TOML file for each system."""

from __future__ import annotations

from pathlib import Path

from kaggle_salt.errors import ConfigError, nearest

PRESETS = Path(__file__).parent
DEFAULT_PRESET = "resnet34"


def preset_names() -> list[str]:
    """Names of the presets that come with the package."""
    return sorted(path.stem for path in PRESETS.glob("*.toml"))


def preset_path(name: str) -> Path:
    """File of a preset.

    Raises:
        ConfigError: There is no preset of that name; the nearest is offered.
    """
    if name not in preset_names():
        raise ConfigError(
            f"unknown preset '{name}'",
            expected=nearest(name, preset_names()),
            next_step="--preset NAME, or --config FILE.toml for one of your own",
        )
    return PRESETS / f"{name}.toml"
