"""What is followed as a competition grows, each piece of work in a process of its own.

``python -m benchmarks.growth_work NAME FOLDER`` does one of them in a folder with the files of
:func:`benchmarks.growth.write_material` and prints its seconds; without a folder it imports what
the work needs, and ends.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from inspect import getdoc
from pathlib import Path
from typing import Literal

#: Does the work in a folder; gives its seconds, opening what it works on not included.
Work = Callable[[Path], float]

#: What is short is done again until so many seconds have gone by, but so often at most.
ENOUGH_SECONDS, ENOUGH_TIMES = 3.0, 5


@dataclass(frozen=True)
class Piece:
    """A piece of work.

    Args:
        name: What tables and pictures call it.
        works_on: Whose tiles it goes through.
        imported: Imports what the work needs, and gives the work.
    """

    name: str
    works_on: Literal["train", "test", "all"]
    imported: Callable[[], Work]

    @property
    def what(self) -> str:
        """The docstring's first paragraph, as Markdown."""
        text = (getdoc(self.imported) or "").partition("\n\n")[0]
        return " ".join(text.split()).rstrip(".").replace("``", "`")


def open_first() -> Work:
    """Opening it for the first time: PNG files decoded, checked, hashed, the cache written."""
    from kaggle_salt.competition.tiles import Competition

    def work(folder: Path) -> float:
        shutil.rmtree(folder / "competition" / ".salt-cache", ignore_errors=True)
        return _seconds(lambda: Competition.open(folder / "competition"))

    return work


def open_again() -> Work:
    """Opening it again, from the cache."""
    from kaggle_salt.competition.tiles import Competition

    return lambda folder: _least_seconds(lambda: Competition.open(folder / "competition"))


def folds() -> Work:
    """Five folds of the training tiles, stratified by salt coverage."""
    from kaggle_salt.competition.folds import make_folds
    from kaggle_salt.competition.tiles import Competition

    def work(folder: Path) -> float:
        tiles = Competition.open(folder / "competition")
        return _least_seconds(lambda: make_folds(tiles.ids, tiles.masks))

    return work


def decision() -> Work:
    """Threshold and minimum area, searched on all training tiles, with the bootstrap interval."""
    from kaggle_salt.competition.tiles import Competition
    from kaggle_salt.ensembling.thresholds import search
    from kaggle_salt.predictions import load

    def work(folder: Path) -> float:
        tiles = Competition.open(folder / "competition")
        probabilities = load(folder / "train").probabilities
        return _least_seconds(lambda: search(tiles.masks, probabilities))

    return work


def submission() -> Work:
    """Run-length strings of the test tiles, written, read back and compared with the masks."""
    from kaggle_salt.competition.decision import PLAIN_RULE
    from kaggle_salt.competition.submission import write_submission
    from kaggle_salt.competition.tiles import Competition
    from kaggle_salt.predictions import load

    def work(folder: Path) -> float:
        ids = Competition.open(folder / "competition").test_ids
        predictions = load(folder / "test")
        return _least_seconds(
            lambda: write_submission(
                folder / "submission.csv", predictions, ids,
                rule=PLAIN_RULE, manifest={}, overwrite=True,
            )
        )  # fmt: skip

    return work


def inference() -> Work:
    """Test tiles to stored probabilities with flip TTA, through a single convolution.

    A network's arithmetic would hide what everything around it costs.
    """
    from torch import nn

    from kaggle_salt.competition.tiles import Competition
    from kaggle_salt.config import InferenceConfig, InputConfig
    from kaggle_salt.learning.device import choose_compute
    from kaggle_salt.learning.framing import Framing
    from kaggle_salt.learning.inference import predict
    from kaggle_salt.predictions import create

    def work(folder: Path) -> float:
        tiles = Competition.open(folder / "competition")
        compute = choose_compute("cpu", "float32")
        network = compute.place(nn.Conv2d(1, 1, 3, padding=1))
        framing = Framing(tiles.tile_shape, InputConfig())

        def predict_all() -> None:
            with create(folder / "new", tiles.test_ids, tiles.tile_shape, {}) as out:
                predict(
                    [network], tiles.test_images, out,
                    framing=framing, compute=compute, config=InferenceConfig(),
                )  # fmt: skip

        return _seconds(predict_all)

    return work


#: All of it, in the order of the table. The first leaves the cache that the others open.
PIECES = (
    Piece("first opening", "all", open_first),
    Piece("opening again", "all", open_again),
    Piece("folds", "train", folds),
    Piece("decision", "train", decision),
    Piece("submission", "test", submission),
    Piece("inference", "test", inference),
)


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _least_seconds(work: Callable[[], object]) -> float:
    """Wall time of a call: the shortest of some, for the first may wait for the disk."""
    times = [_seconds(work)]
    while sum(times) < ENOUGH_SECONDS and len(times) < ENOUGH_TIMES:
        times.append(_seconds(work))
    return min(times)


def main(name: str, folder: str | None = None) -> None:
    """Do a piece of work and print its seconds; without a folder only import for it."""
    work = next(piece for piece in PIECES if piece.name == name).imported()
    if folder is not None:
        print(work(Path(folder)))


if __name__ == "__main__":
    main(*sys.argv[1:])
