"""Which pictures a person means: files, folders and globs; and whether their results can differ."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from kaggle_salt.errors import ConfigError, DataError
from kaggle_salt.sections.outputs import Outputs
from kaggle_salt.sections.segy import SUFFIXES as SURVEY_SUFFIXES

#: Endings of the files that are taken from a folder.
SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")


def only_survey(inputs: Sequence[Path]) -> Path | None:
    """The SEG-Y survey that is meant, or None where pictures are.

    Raises:
        ConfigError: There is something beside it.
    """
    surveys = [path for path in inputs if path.suffix.lower() in SURVEY_SUFFIXES]
    if surveys and len(inputs) > 1:
        raise ConfigError(
            f"the survey {surveys[0]} and {len(inputs) - 1} more",
            expected="one SEG-Y survey at a time, and no pictures with it",
            next_step="one call for each, and one for all pictures",
        )
    return surveys[0] if surveys else None


def find_images(inputs: Sequence[Path]) -> list[Path]:
    """Files that are meant.

    Args:
        inputs: Files of any name; folders, whose pictures are taken by their endings, in
            alphabetical order and without those in folders within; or globs, as ``lines/*.png``
            or ``**/*.tif``, where no file is called so.

    Returns:
        Each file once, in the order of the inputs.

    Raises:
        DataError: A folder holds no picture, a glob finds none, or there is nothing of that name.
    """
    if not inputs:
        raise DataError(
            "no picture is named", expected="files, folders or globs", next_step="name some"
        )
    found: dict[Path, Path] = {}
    for given in inputs:
        for path in _expand(given):
            found.setdefault(path.resolve(), path)
    return list(found.values())


def _expand(given: Path) -> Iterator[Path]:
    if given.is_file():
        yield given
        return
    if given.is_dir():
        inside = [one for one in sorted(given.iterdir()) if not one.name.startswith(".")]
        found = [one for one in inside if one.suffix.lower() in SUFFIXES and one.is_file()]
        what = f"the folder {given} holds no picture"
    else:
        found = sorted(Path(one) for one in glob.glob(str(given), recursive=True))
        found = [one for one in found if one.is_file()]
        what = f"there is no file or folder {given}"
    if not found:
        raise DataError(
            what,
            expected=f"files that end with {', '.join(SUFFIXES)}",
            next_step="name the pictures themselves, or correct the path",
        )
    yield from found


def refuse_clashes(paths: Sequence[Path], out: Path, *, overwrite: bool) -> None:
    """Refuse pictures whose results would replace each other's, a picture, or what is there.

    Args:
        paths: The pictures.
        out: Folder of the results.
        overwrite: Results that are there may be replaced.

    Raises:
        ConfigError: Two pictures have the same name, a result would be written over a picture,
            or it exists.
    """
    _refuse_same_names(paths, out)
    results = [file for path in paths for file in Outputs.of(path, out)]
    pictures = {path.resolve() for path in paths}
    there = [file for file in results if file.exists()]
    own = [file for file in there if file.resolve() in pictures]
    if own:
        raise ConfigError(
            f"a result would be written over the picture {own[0]}",
            expected="another folder for the results than that of the pictures",
            next_step="--out FOLDER",
        )
    if there and not overwrite:
        more = f" and {len(there) - 1} more" if len(there) > 1 else ""
        raise ConfigError(
            f"{there[0]}{more} exist already" if more else f"{there[0]} exists already",
            expected="a folder without results of these pictures",
            next_step="--out FOLDER, or --overwrite to replace them",
        )


def _refuse_same_names(paths: Iterable[Path], out: Path) -> None:
    by_name: dict[str, Path] = {}
    for path in paths:
        first = by_name.setdefault(path.stem.casefold(), path)
        if first is not path:
            raise ConfigError(
                f"the results of {first} and {path} would have the same names in {out}",
                expected="pictures of different names, whatever their folders and endings",
                next_step="one call for each, with --out FOLDER",
            )
