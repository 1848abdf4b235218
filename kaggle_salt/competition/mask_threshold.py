"""From which grey level on a mask says salt: told once, true for every command.

It belongs to the data, so it lies with them, in ``salt-data.toml``; where nobody may write
there, in the user's cache folder of these data. Masks with grey values are refused without
it, so that no command can see other masks than the one before.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

from kaggle_salt.competition import cache
from kaggle_salt.errors import ConfigError
from kaggle_salt.storage.files import write_text
from kaggle_salt.storage.reading import parse, read_bytes

SETTINGS = "salt-data.toml"
_KEY = "mask_threshold"

#: Bytes of the largest such file, comments and all.
LARGEST_FILE = 1 << 12


def read_threshold(data: Path) -> int | None:
    """The threshold that was remembered for these data, in [1, 255]; None without one.

    Raises:
        ConfigError: The file that holds it cannot be used.
    """
    path = _settings(data)
    if path is None:
        return None
    try:
        settings = parse(tomllib.loads, read_bytes(path, LARGEST_FILE).decode("utf-8"))
    except (OSError, ValueError) as error:
        raise _unusable(path, f"cannot be read: {error}") from error
    if set(settings) != {_KEY}:
        raise _unusable(path, f"holds {', '.join(settings) or 'nothing'}")
    level = settings[_KEY]
    if not isinstance(level, int) or isinstance(level, bool) or not 1 <= level <= 255:
        raise _unusable(path, f"says {_KEY} = {level!r}")
    return level


def remember_threshold(data: Path, level: int) -> Path:
    """Write down the threshold of these data; the same again changes nothing.

    Args:
        data: The competition folder.
        level: Levels from this on are salt, in [1, 255]; 16-bit levels are scaled to 8 bits.

    Returns:
        The file that holds it.

    Raises:
        ConfigError: The level is out of range, or another one holds already.
        DataError: There is no place to write it.
    """
    if not 1 <= level <= 255:
        raise ConfigError(
            f"the mask threshold is {level}",
            expected="a grey level from 1 to 255",
            next_step="salt check --mask-threshold 128",
        )
    before, path = read_threshold(data), _settings(data)
    if path is None:
        folder = cache.create_root(data, 0)
        path = (data if folder.parent == data else folder) / SETTINGS
        write_text(path, f"# Grey levels of masks from this on are salt.\n{_KEY} = {level}\n")
    elif before != level:
        raise ConfigError(
            f"{path} says that masks are salt from level {before} on, not {level}",
            expected="one threshold for all that is made of these data",
            next_step=f"write {_KEY} = {level} into {path}, if nothing made with {before} matters",
        )
    return path


def _settings(data: Path) -> Path | None:
    """The file that holds settings of these data, if there is one."""
    places = (data / SETTINGS, cache.roots(data)[1] / SETTINGS)
    return next((path for path in places if path.is_file()), None)


def _unusable(path: Path, why: str) -> ConfigError:
    return ConfigError(
        f"{path} {why}",
        expected=f"one line, {_KEY} = LEVEL, a whole number from 1 to 255",
        next_step=f"mend {path}, or remove it if the masks have no grey values",
    )
