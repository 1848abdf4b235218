"""What a benchmark item is, and what it works on."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from benchmarks.material import likely_probabilities, link_competition, write_competition
from kaggle_salt.competition.tiles import Competition
from kaggle_salt.errors import ConfigError, SaltError
from kaggle_salt.runs import RunFolder

Unit = Literal["s", "ms", "µs", "tiles/s", "GB", "score"]


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
        device: Where networks and losses are computed, as torch calls it; all else is the
            processor's work.
        batch: Tiles of a training step, in place of the size's.
        run: A finished run on the tiles of ``data``, for the items that need one.
    """

    size: Size
    folder: Path
    data: Path | None = None
    device: str = "cpu"
    batch: int | None = None
    run: RunFolder | None = None

    @property
    def training_batch(self) -> int:
        return self.size.batch if self.batch is None else self.batch

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


class LackingError(ConfigError):
    """An item needs what this machine or this call does not have."""


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
        spread: Half the interquartile range of that ratio.
        equal: That both gave the same answer; None where there is none to compare.
        note: What else a reader should know, printed below the table.
        details: What else there is to know; JSON values.
    """

    ours: float
    peer: float | None = None
    ratio: float | None = None
    spread: float | None = None
    equal: bool | None = None
    note: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Target:
    """A limit that our figure should stay below, or that the ratio should reach.

    Args:
        limit: In the item's unit, or of the ratio where the item has a peer.
        at_any_size: It also applies to a call with ``--quick``.
        on_gpu: The limit with ``--device`` of a GPU; None where nobody said, and the other is
            not meant for one.
    """

    limit: float
    at_any_size: bool = False
    on_gpu: float | None = None


def nothing(setting: Setting) -> None:
    """What most items require."""


@dataclass(frozen=True)
class Item:
    """A figure worth knowing.

    Args:
        name: What ``--only`` calls it.
        unit: Unit of the figure.
        target: What the figure should be, if anyone said.
        peer: What does the same, measured beside us.
        measure: Takes the figure; its docstring says what is measured.
        require: Raises a :class:`LackingError` where it cannot be taken.
    """

    name: str
    unit: Unit
    target: Target | None
    peer: str | None
    measure: Callable[[Setting], Measurement]
    require: Callable[[Setting], None] = nothing

    @property
    def what(self) -> str:
        """First sentence of the docstring, as Markdown."""
        text = " ".join((inspect.getdoc(self.measure) or "").split())
        return text.partition(". ")[0].rstrip(".").replace("``", "`")

    def limit(self, setting: Setting) -> float | None:
        """The target on the setting's device; None where nobody asked for one."""
        if self.target is None:
            return None
        return self.target.limit if setting.device == "cpu" else self.target.on_gpu

    def meets_target(self, measured: Measurement, setting: Setting) -> bool | None:
        """Whether the figure is good enough; None where nobody asked for that."""
        limit = self.limit(setting)
        if self.target is None or limit is None:
            return None
        if not (setting.size == FULL or self.target.at_any_size):
            return None
        return measured.ours < limit if measured.ratio is None else measured.ratio >= limit


def item(
    name: str,
    unit: Unit,
    target: Target | None = None,
    *,
    peer: str | None = None,
    require: Callable[[Setting], None] = nothing,
) -> Callable[[Callable[[Setting], Measurement]], Item]:
    """Make an item of the function that takes its figure."""
    return lambda measure: Item(name, unit, target, peer, measure, require)
