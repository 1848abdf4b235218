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

Unit = Literal["s", "GB", "ratio"]


@dataclass(frozen=True)
class Size:
    """How much the items work on.

    Args:
        train_tiles: Training tiles of the synthetic competition.
        test_tiles: Its test tiles, and the masks that are encoded.
        search_tiles: Tiles that a threshold is searched on.
        batch: Tiles of a training step; inference takes twice as many.
        repeats: Times that something short is measured.
        pairs: Times that two loops are measured in turn.
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


@dataclass(frozen=True)
class Measurement:
    """A figure in the item's unit, and what else there is to know about it (JSON values)."""

    value: float
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Target:
    """A limit that a figure should stay below, or reach where it is a ratio.

    Args:
        limit: In the item's unit.
        at_any_size: It also applies to a call with ``--quick``.
    """

    limit: float
    at_any_size: bool = False


@dataclass(frozen=True)
class Item:
    """A figure worth knowing.

    Args:
        name: What ``--only`` calls it.
        unit: Unit of the figure; a ratio is the time of a bare loop over ours.
        target: What the figure should be, if anyone said.
        measure: Takes the figure; its docstring says what is measured.
    """

    name: str
    unit: Unit
    target: Target | None
    measure: Callable[[Setting], Measurement]

    @property
    def what(self) -> str:
        """First sentence of the docstring, as Markdown."""
        text = " ".join((inspect.getdoc(self.measure) or "").split())
        return text.partition(". ")[0].rstrip(".").replace("``", "`")

    def meets_target(self, value: float, size: Size) -> bool | None:
        """Whether the figure is good enough; None where nobody asked for that."""
        if self.target is None or not (size == FULL or self.target.at_any_size):
            return None
        return value >= self.target.limit if self.unit == "ratio" else value < self.target.limit


def item(
    name: str, unit: Unit, target: Target | None = None
) -> Callable[[Callable[[Setting], Measurement]], Item]:
    """Make an item of the function that takes its figure."""
    return lambda measure: Item(name, unit, target, measure)


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def median_time(work: Callable[[], object], repeats: int) -> Measurement:
    """Median wall time of some calls in seconds, after one that warms up."""
    work()
    times = [seconds(work) for _ in range(repeats)]
    return Measurement(median(times), {"seconds": times})


def calls_within(work: Callable[[], object], limit: float) -> int:
    """How often ``work`` can be called within ``limit`` seconds; at least twice."""
    work()  # the first call is slower
    return max(2, int(limit / seconds(work)))


def bare_over_ours(
    ours: Callable[[], object], bare: Callable[[], object], pairs: int, steps: int
) -> Measurement:
    """Share of our time that a bare loop over the same steps would take.

    The two are timed in turn, and each comes first in every other pair, so that a machine that
    slows down or warms up treats both alike.

    Args:
        ours: The toolkit's own loop.
        bare: The same work and nothing else.
        pairs: How often both are timed, after a call each that warms up.
        steps: Steps that either takes in a call.

    Returns:
        The median over the pairs; the details hold the medians in milliseconds a step.
    """
    ours(), bare()
    times = []
    for pair in range(pairs):
        bare_first = seconds(bare) if pair % 2 else None
        ours_time = seconds(ours)
        times.append((ours_time, seconds(bare) if bare_first is None else bare_first))
    ratios = [bare_time / ours_time for ours_time, bare_time in times]
    details = {
        "ours_ms": 1000 * median(ours_time for ours_time, _ in times) / steps,
        "bare_ms": 1000 * median(bare_time for _, bare_time in times) / steps,
        "steps": steps,
        "ratios": ratios,
    }
    return Measurement(median(ratios), details)
