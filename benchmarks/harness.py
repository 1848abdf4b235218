"""What a benchmark item is, what it works on, and how times are taken."""

from __future__ import annotations

import inspect
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import median, quantiles
from typing import Literal

from benchmarks.material import write_competition, write_predictions
from kaggle_salt import predictions
from kaggle_salt.competition.tiles import Competition
from kaggle_salt.errors import SaltError
from kaggle_salt.predictions import Predictions

Unit = Literal["min", "s", "ms", "GB"]


@dataclass(frozen=True)
class Size:
    """How much the items work on."""

    train_tiles: int  #: of the synthetic competition
    test_tiles: int
    batch: int  #: tiles of a training step; inference takes twice as many
    repeats: int  #: times that something alone is measured, unless
    patience: float  #: so many seconds have gone by
    pairs: int  #: times that ours and a peer are measured in turn
    loop_seconds: float  #: about how long each loop runs; two steps at least
    tile_side: int = 101  #: pixels of a synthetic tile
    input_side: int | None = None  #: of the networks; by default as their presets say


#: The competition's own size, and a tenth of it to see that everything runs.
FULL = Size(3600, 18400, batch=32, repeats=5, patience=30, pairs=9, loop_seconds=4)
QUICK = Size(360, 1840, batch=16, repeats=3, patience=3, pairs=3, loop_seconds=0.5)


@dataclass(frozen=True)
class Setting:
    """What all items of a call share; made when first asked for, and found in the folder again."""

    size: Size
    folder: Path  #: where the items write
    device: str = "cpu"  #: where networks and losses are computed; all else is the processor's work
    preset: str = "quick"  #: whose network is trained and predicts
    data: Path | None = None  #: the competition's own files, for what synthetic tiles cannot tell

    @cached_property
    def competition_folder(self) -> Path:
        target, size = self.folder / "competition", self.size
        if not target.exists():
            write_competition(target, size.train_tiles, size.test_tiles, size.tile_side)
        return target

    @cached_property
    def competition(self) -> Competition:
        return Competition.open(self.competition_folder)

    def predicted(self, split: Literal["train", "test"]) -> Predictions:
        """What a network might have made of the training or test tiles, memory-mapped.

        That of a test tile is made of a training tile's mask: its own is not known.
        """
        stem, tiles = self.folder / f"predicted-{split}", self.competition
        if not predictions.exists(stem):
            write_predictions(stem, tiles.ids if split == "train" else tiles.test_ids, tiles.masks)
        return predictions.load(stem)


@dataclass(frozen=True)
class Measurement:
    """What was measured."""

    ours: float  #: in the item's unit
    peer: float | None = None
    ratio: float | None = None  #: median over the pairs of the peer's time over ours
    spread: float | None = None  #: half the interquartile range of that ratio
    details: Sequence[float] = ()  #: every single time or ratio


@dataclass(frozen=True)
class Item:
    """A figure worth knowing."""

    name: str  #: what ``--only`` calls it
    unit: Unit
    aim: float | None  #: the ratio should reach it or, without a peer, the figure stay below
    peer: str | None  #: what does the same, measured beside us
    measure: Callable[[Setting], Measurement]  #: its docstring says what is measured
    needs_data: bool = False  #: the competition's own files, and so is left out unless asked for

    @property
    def what(self) -> str:
        """First sentence of the docstring, as Markdown."""
        text = " ".join((inspect.getdoc(self.measure) or "").split())
        return text.partition(". ")[0].rstrip(".").replace("``", "`")

    def is_met_by(self, measured: Measurement) -> bool | None:
        """Whether the figure is good enough; None where nobody said what would be."""
        if self.aim is None:
            return None
        return measured.ours < self.aim if measured.ratio is None else measured.ratio >= self.aim


def item(
    name: str,
    unit: Unit,
    aim: float | None = None,
    *,
    peer: str | None = None,
    needs_data: bool = False,
) -> Callable[[Callable[[Setting], Measurement]], Item]:
    """Make an item of the function that takes its figure."""
    return lambda measure: Item(name, unit, aim, peer, measure, needs_data)


class PeerError(SaltError):
    """Ours and a peer do not give the same answer: which is faster means nothing then."""


def require_equal(equal: bool, what: str, peer: str) -> None:
    """Refuse to compare the times of two answers that differ.

    Raises:
        PeerError: They do.
    """
    if not equal:
        raise PeerError(
            f"{what}: ours and those of {peer} differ",
            expected="the same answer, before times are compared",
            next_step="scripts/test -k bench",
        )


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one call, and of all that it sets a GPU to."""
    _wait_for_gpu()
    started = time.perf_counter()
    work()
    _wait_for_gpu()
    return time.perf_counter() - started


def _wait_for_gpu() -> None:
    torch = sys.modules.get("torch")  # what has not loaded torch has set no GPU to anything
    if torch and torch.cuda.is_initialized():
        torch.cuda.synchronize()
    if torch and torch.backends.mps.is_available():
        torch.mps.synchronize()


def median_time(
    work: Callable[[], object], size: Size, *, before: Callable[[], object] = lambda: None
) -> Measurement:
    """Median wall time in seconds, after a call that warms up; with no patience left, that call's.

    ``before`` is done before every call, and not timed.
    """
    times: list[float] = []
    while len(times) <= size.repeats and sum(times) <= size.patience:
        before()
        times.append(seconds(work))
    times = times[1:] or times
    return Measurement(median(times), details=times)


def in_turn(
    ours: Callable[[], object],
    peer: Callable[[], object],
    pairs: int,
    *,
    scales: tuple[float, float] = (1.0, 1.0),
) -> Measurement:
    """Time ours and a peer's doing of the same, again and again.

    The two are timed in turn, and each comes first in every other pair, so that a machine that
    slows down or warms up treats both alike.

    Args:
        ours: The toolkit's way.
        peer: The other way.
        pairs: How often both are timed, after a call each that warms up.
        scales: What a call's seconds are multiplied with, ours and the peer's: to get the
            item's unit, or all the work from the part of it that a slow peer is given.
    """
    ours(), peer()
    times = []
    for pair in range(pairs):
        peer_first = seconds(peer) if pair % 2 else None
        ours_time = seconds(ours) * scales[0]
        peer_time = seconds(peer) if peer_first is None else peer_first
        times.append((ours_time, peer_time * scales[1]))
    ratios = [peer_time / ours_time for ours_time, peer_time in times]
    lower, _, upper = quantiles(ratios, method="inclusive") if pairs > 1 else 3 * ratios
    return Measurement(
        ours=median(ours_time for ours_time, _ in times),
        peer=median(peer_time for _, peer_time in times),
        ratio=median(ratios),
        spread=(upper - lower) / 2,
        details=ratios,
    )
