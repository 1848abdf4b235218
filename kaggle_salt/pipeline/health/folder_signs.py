"""Whether the folders that commands write to are there, can be written to and have room."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from kaggle_salt.competition import cache
from kaggle_salt.competition.archive import is_there
from kaggle_salt.pipeline.health.signs import Sign
from kaggle_salt.pipeline.workspace import Workspace

GIB = 1 << 30

#: Free disk below which the predictions of five folds may fail, with 18,000 tiles of 101 pixels.
LEAST_DISK = 2 * GIB

#: Shared memory below which the loader's workers may die; a Docker container has 64 MiB.
LEAST_SHARED = GIB // 4
SHARED_MEMORY = Path("/dev/shm")


def look_at_folders(workspace: Workspace) -> Iterator[Sign]:
    """Look at the data, and at every place that something is written to."""
    if is_there(workspace.data, "images"):
        yield Sign("data", f"{workspace.data} has training tiles")
        places = cache.new_roots(workspace.data)
        chosen = next((one for one in places if not trouble(one)), places[-1])
        yield folder_sign("tile cache", chosen, "set XDG_CACHE_HOME to another folder")
    else:
        found = f"{workspace.data} has no training tiles"
        yield Sign("data", found, "salt download, or --data FOLDER where they lie elsewhere")
    yield folder_sign("runs", workspace.runs, "--runs FOLDER for another place")
    yield folder_sign("fold table", workspace.folds.parent, "--folds FILE for another place")
    yield folder_sign("submissions", workspace.submissions, "--out FOLDER for another place")
    if SHARED_MEMORY.is_dir():
        yield shared_memory_sign(shutil.disk_usage(SHARED_MEMORY).total)


def folder_sign(about: str, folder: Path, elsewhere: str) -> Sign:
    """Whether a folder, which need not be there yet, can take files.

    Args:
        about: What it is for.
        folder: The folder.
        elsewhere: How another one is taken.
    """
    if wrong := trouble(folder):
        return Sign(about, f"{folder} cannot be written to: {wrong}", f"mend that, or {elsewhere}")
    free = shutil.disk_usage(_existing(folder)).free
    found = f"{folder}, {free / GIB:.1f} GiB free"
    advice = f"make room of {LEAST_DISK / GIB:.0f} GiB, or {elsewhere}"
    return Sign(about, found, advice if free < LEAST_DISK else "")


def trouble(folder: Path) -> str:
    """Why no file can be written to a folder, or the folder not be made; empty where one can."""
    try:
        with tempfile.TemporaryFile(dir=_existing(folder)):
            return ""
    except OSError as error:
        return error.strerror or type(error).__name__


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    return next(one for one in (folder, *folder.absolute().parents) if one.exists())


def shared_memory_sign(size: int) -> Sign:
    """What the loader's workers hand their batches over in, in bytes."""
    advice = ""
    if size < LEAST_SHARED:
        advice = "with a GPU: docker run --shm-size=2g, or --set training.workers=0"
    return Sign("shared memory", f"{size / GIB:.1f} GiB", advice)
