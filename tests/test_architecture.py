"""The map agrees with the house: what docs/architecture.md and CONTRIBUTING.md name is there."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "kaggle_salt"
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
PICTURE = (ROOT / "docs" / "architecture.svg").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")

#: Rooms and modules at the top of the package.
ROOMS = sorted(
    path.stem
    for path in PACKAGE.iterdir()
    if (path / "__init__.py").exists() or (path.suffix == ".py" and not path.stem.startswith("__"))
)

NAMES = sorted(set(re.findall(rf"`((?:{'|'.join(ROOMS)})(?:\.\w+)+)`", PAGE)))
NAMES = [name for name in NAMES if not name.endswith(".py")]


def find(name: str) -> object:
    """The module, function, class or method of that name below the package."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(["kaggle_salt", *parts[:count]]))
        except ModuleNotFoundError:
            continue
        for attribute in parts[count:]:
            found = getattr(found, attribute)
        return found
    raise LookupError(name)


def test_the_page_names_modules_and_functions() -> None:
    assert len(NAMES) >= 20
    assert {"competition.rle.encode_batch", "learning.inference.predict"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_what_the_page_names_exists(name: str) -> None:
    assert find(name) is not None


def test_a_name_that_is_gone_would_be_noticed() -> None:
    with pytest.raises(AttributeError, match="encode_bach"):
        find("competition.rle.encode_bach")


def test_files_that_the_pages_name_exist() -> None:
    named = set(re.findall(r"`(\w+/[\w/]*(?:\.py|\.csv|/))`", PAGE))
    assert named
    assert [file for file in sorted(named) if not (PACKAGE / file).exists()
            and not (ROOT / file).exists()] == []  # fmt: skip
    paths = r"`((?:kaggle_salt|tests|scripts|docs|\.github)/[\w/.-]*)`"
    named = {file for file in re.findall(paths, CONTRIBUTING) if "NAME" not in file}
    assert len(named) > 10
    assert [file for file in sorted(named) if not (ROOT / file).exists()] == []


def test_links_of_the_pages_lead_somewhere() -> None:
    for page, folder in ((PAGE, ROOT / "docs"), (CONTRIBUTING, ROOT)):
        links = re.findall(r"\]\(([^)#:]+)\)", page)
        assert links
        assert [link for link in links if not (folder / link).exists()] == []


def test_the_picture_shows_every_room() -> None:
    words = set(re.findall(r"\w+", " ".join(re.findall(r">([^<]+)<", PICTURE))))
    # runs_pretraining stands behind runs
    assert [room for room in ROOMS if not {room, room.partition("_")[0]} & words] == []


def test_the_stops_of_the_tile_are_numbered_alike() -> None:
    told = [int(number) for number in re.findall(r"^(\d+)\. \*\*", PAGE, re.M)]
    shown = re.findall(r'class="number"[^>]*>(\d+)<', PICTURE)
    assert sorted(map(int, shown)) == told == list(range(1, len(told) + 1))
