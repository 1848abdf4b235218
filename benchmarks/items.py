"""What a benchmark item is, what it works on, and how times are taken."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from benchmarks.material import likely_probabilities, link_competition, write_competition
from kaggle_salt.competition.tiles import Competition
from kaggle_salt.errors import SaltError

Unit = Literal["s", "ms", "µs", "tiles/s", "GB"]


@dataclass(frozen=True)
class Size:
    """How much the items work on.

    Args:
        train_tiles: Training tiles of the synthetic competition.
        test_tiles: Its test tiles, and the masks that are encoded.
        search_tiles: Tiles that a threshold is searched on.
        batch: Tiles of a training step; inference takes twice as many.
        repeats: Times that something short is measured.
        pairs: Times that ours and a peer are measured in turn.
        loop_seconds: About how long each loop runs; two steps at least.
        tile_side: Height and width of a synthetic tile, in pixels.
        input_side: That of the networks' input; by default as their presets say.
    """

    train_tiles: int
    test_tiles: int
    search_tiles: int
    batch: int
    repeats: int
    pairs: int
    loop_seconds: float
    tile_side: int = 101
    input_side: int | None = None


#: The competition's own size, and a tenth of it to see that everything runs.
FULL = Size(3600, 18400, 4000, batch=32, repeats=5, pairs=5, loop_seconds=4.0)
QUICK = Size(360, 1840, 400, batch=32, repeats=3, pairs=3, loop_seconds=1.0)


@dataclass(frozen=True)
class Setting:
    """What all items of one call share; made when first asked for.

    Args:
        size: How much to work on.
        folder: An empty folder for whatever the items write.
        data: A folder with Kaggle's files, to be used in place of synthetic ones.
    """

    size: Size
    folder: Path
    data: Path | None = None

    @cached_property
    def competition_folder(self) -> Path:
        """A competition folder with no cache of decoded tiles in it."""
        target = self.folder / "competition"
        if self.data is not None:
            link_competition(self.data, target)
        else:
            size = self.size
            write_competition(target, size.train_tiles, size.test_tiles, size.tile_side)
        return target

    @cached_property
    def competition(self) -> Competition:
        return Competition.open(self.competition_folder)

    @cached_property
    def truth(self) -> NDArray[np.bool_]:
        """The training masks again and again, bool ``[test_tiles, H, W]``."""
        masks = self.competition.masks
        return masks[np.arange(self.size.test_tiles) % len(masks)]

    @cached_property
    def probabilities(self) -> NDArray[np.uint8]:
        """What a network might make of :attr:`truth`, uint8 ``[test_tiles, H, W]``."""
        return likely_probabilities(self.truth)


class DisagreementError(SaltError):
    """Ours and a peer do not give the same answer: which is faster means nothing then."""


def require_equal(equal: bool, what: str, peer: str) -> None:
    """Refuse to compare the times of two answers that differ.

    Args:
        equal: Whether they are the same.
        what: The answers, for the message.
        peer: Who gave the other answer.

    Raises:
        DisagreementError: They are not.
    """
    if not equal:
        raise DisagreementError(
            f"{what}: ours and those of {peer} differ",
            expected="the same answer, before times are compared",
            next_step="scripts/test -k bench",
        )


@dataclass(frozen=True)
class Measurement:
    """What was measured.

    Args:
        ours: The figure in the item's unit.
        peer: That of the peer, where there is one.
        ratio: Median over the pairs of the peer's time over ours.
        equal: That both gave the same answer; None where there is none to compare.
        details: What else there is to know; JSON values.
    """

    ours: float
    peer: float | None = None
    ratio: float | None = None
    equal: bool | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Target:
    """A limit that our figure should stay below, or that the ratio should reach.

    Args:
        limit: In the item's unit, or of the ratio where the item has a peer.
        at_any_size: It also applies to a call with ``--quick``.
    """

    limit: float
    at_any_size: bool = False


@dataclass(frozen=True)
class Item:
    """A figure worth knowing.

    Args:
        name: What ``--only`` calls it.
        unit: Unit of the figure.
        target: What the figure should be, if anyone said.
        peer: What does the same, measured beside us.
        measure: Takes the figure; its docstring says what is measured.
    """

    name: str
    unit: Unit
    target: Target | None
    peer: str | None
    measure: Callable[[Setting], Measurement]

    @property
    def what(self) -> str:
        """First sentence of the docstring, as Markdown."""
        text = " ".join((inspect.getdoc(self.measure) or "").split())
        return text.partition(". ")[0].rstrip(".").replace("``", "`")

    def meets_target(self, measured: Measurement, size: Size) -> bool | None:
        """Whether the figure is good enough; None where nobody asked for that."""
        if self.target is None or not (size == FULL or self.target.at_any_size):
            return None
        if measured.ratio is not None:
            return measured.ratio >= self.target.limit
        return measured.ours < self.target.limit


def item(
    name: str, unit: Unit, target: Target | None = None, *, peer: str | None = None
) -> Callable[[Callable[[Setting], Measurement]], Item]:
    """Make an item of the function that takes its figure."""
    return lambda measure: Item(name, unit, target, peer, measure)


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def median_time(work: Callable[[], object], repeats: int) -> Measurement:
    """Median wall time of some calls in seconds, after one that warms up."""
    work()
    times = [seconds(work) for _ in range(repeats)]
    return Measurement(median(times), details={"seconds": times})


def calls_within(work: Callable[[], object], limit: float) -> int:
    """How often ``work`` can be called within ``limit`` seconds; at least twice."""
    work()  # the first call is slower
    return max(2, int(limit / seconds(work)))


def in_turn(
    ours: Callable[[], object],
    peer: Callable[[], object],
    pairs: int,
    *,
    scales: tuple[float, float] = (1.0, 1.0),
    equal: bool | None = None,
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
        equal: What the measurement is to say of the answers.

    Returns:
        The medians over the pairs, of the times and of their ratio.
    """
    ours(), peer()
    times = []
    for pair in range(pairs):
        peer_first = seconds(peer) if pair % 2 else None
        ours_time = seconds(ours) * scales[0]
        peer_time = seconds(peer) if peer_first is None else peer_first
        times.append((ours_time, peer_time * scales[1]))
    ratios = [peer_time / ours_time for ours_time, peer_time in times]
    return Measurement(
        ours=median(ours_time for ours_time, _ in times),
        peer=median(peer_time for _, peer_time in times),
        ratio=median(ratios),
        equal=equal,
        details={"ratios": ratios},
    )
