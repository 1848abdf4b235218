"""Steps after threshold and minimum area: each has a name, and a rule applies some in order.

A new step is written here and listed in :data:`STEPS`. ``salt ensemble --post NAME`` then takes
it, the search judges it as it will be applied, and ``salt submit`` applies it. What it may look
at is a :class:`TileContext`: what a step needs beyond that becomes a field there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from kaggle_salt.competition.metric import image_scores
from kaggle_salt.competition.neighbourhood import Neighbourhood
from kaggle_salt.competition.tiles import is_blank
from kaggle_salt.errors import ConfigError, DataError, nearest, salt_command

#: Row numbers, or bool ``[N]``.
Rows = NDArray[np.integer] | NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class TileContext:
    """What a step may look at beside the masks.

    Args:
        ids: The N tiles.
        images: uint8 ``[N, H, W]``, grey levels; may be memory-mapped.
        neighbourhood: Where tiles lie in mosaics, and the masks known there; None without a
            table of mosaics.
    """

    ids: Sequence[str]
    images: NDArray[np.uint8]
    neighbourhood: Neighbourhood | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: Rows | slice) -> TileContext:
        """The context of some of the tiles; of a slice without a copy of the images."""
        if isinstance(rows, slice):
            return replace(self, ids=self.ids[rows], images=self.images[rows])
        numbers = np.arange(len(self))[rows].tolist()
        return replace(self, ids=[self.ids[n] for n in numbers], images=self.images[rows])


@dataclass(frozen=True, eq=False)
class Settled:
    """Masks that a step knows from the context alone, whatever was predicted.

    Args:
        source: int64 ``[N]``, which of ``masks`` is that of each tile; -1 where the step leaves
            the tile alone.
        masks: bool ``[M, H, W]``; may be memory-mapped.
    """

    source: NDArray[np.int64]
    masks: NDArray[np.bool_]

    @property
    def tiles(self) -> NDArray[np.bool_]:
        """The tiles whose masks the step knows, bool ``[N]``."""
        return self.source >= 0

    def put(self, masks: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Masks ``[N, H, W]``, which are changed, with those that are known in their places."""
        masks[self.tiles] = self.masks[self.source[self.tiles]]
        return masks

    def tenths(self, truth: NDArray[np.bool_]) -> NDArray[np.int8]:
        """Ten times the score of each known mask, int8 ``[N]``; -1 for the other tiles."""
        tenths = np.full(len(self.source), -1, dtype=np.int8)
        known = self.masks[self.source[self.tiles]]
        tenths[self.tiles] = np.rint(10 * image_scores(truth[self.tiles], known))
        return tenths


@dataclass(frozen=True)
class Step:
    """A step of post-processing.

    Args:
        name: What a rule and ``--post`` call it.
        what: What it does, in words that can follow its name.
        apply: Takes masks, bool ``[N, H, W]``, and the context of the same N tiles; gives the
            changed masks, which may be those it was given, changed. It is called for some tiles
            at a time.
        settles: Where the step knows masks from the context alone, and whatever was predicted:
            which and what masks. Such a step is judged exactly at all levels at once; any other
            is judged by applying it.
        of_neighbours: It looks at the masks of neighbours, and so needs a table of mosaics.
    """

    name: str
    what: str
    apply: Callable[[NDArray[np.bool_], TileContext], NDArray[np.bool_]]
    settles: Callable[[TileContext], Settled] | None = None
    of_neighbours: bool = False


def settling(name: str, what: str, settles: Callable[[TileContext], Settled]) -> Step:
    """A step that knows masks from the context alone."""
    return Step(name, what, lambda masks, tiles: settles(tiles).put(masks), settles)


def emptying(name: str, what: str, empties: Callable[[TileContext], NDArray[np.bool_]]) -> Step:
    """A step that empties the masks of tiles that it tells from the context alone."""

    def settles(tiles: TileContext) -> Settled:
        empty = np.zeros((1, *tiles.images.shape[1:3]), dtype=np.bool_)
        return Settled(np.where(empties(tiles), 0, -1), empty)

    return settling(name, what, settles)


def walling(name: str, what: str, source: Callable[[Neighbourhood, str], int | None]) -> Step:
    """A step that copies a vertical wall; ``source`` says from which known mask."""

    def settles(tiles: TileContext) -> Settled:
        around = _neighbourhood(name, tiles)
        rows = [source(around, tile) for tile in tiles.ids]
        return Settled(np.array([-1 if row is None else row for row in rows]), around.walls)

    return replace(settling(name, what, settles), of_neighbours=True)


def _neighbourhood(step: str, tiles: TileContext) -> Neighbourhood:
    if tiles.neighbourhood is None:
        raise ConfigError(
            f"the step {step} looks at a tile's neighbours, and there is no table of mosaics",
            expected="a table as salt mosaic writes it",
            next_step=f"{salt_command('mosaic')}, then --mosaic mosaics.csv",
        )
    return tiles.neighbourhood


def _under_salt(tiles: TileContext) -> NDArray[np.bool_]:
    around = _neighbourhood("under-salt-empty", tiles)
    return np.array([around.is_under_salt(tile) for tile in tiles.ids], dtype=np.bool_)


#: Every step there is, by name, in the order in which they are taken unless one is given: what
#: comes later and knows better has the last word.
STEPS: dict[str, Step] = {
    step.name: step
    for step in (
        walling(
            "wall-up",
            "above a mask that is a vertical wall lies the same one",
            Neighbourhood.wall_below,
        ),
        walling(
            "wall-down",
            "a mask that ends as a vertical wall goes on so for three tiles below",
            Neighbourhood.wall_above,
        ),
        replace(
            emptying(
                "under-salt-empty",
                "below a mask whose lowest row is all salt there is none",
                _under_salt,
            ),
            of_neighbours=True,
        ),
        emptying(
            "blank-empty",
            "a tile of one grey value has no salt",
            lambda tiles: is_blank(tiles.images),
        ),
    )
}


def require_steps(names: Sequence[str]) -> None:
    """Refuse the name of a step that does not exist, or one that comes twice.

    Raises:
        ConfigError: With the nearest name.
    """
    for name in names:
        if name not in STEPS:
            raise ConfigError(
                f"unknown post-processing step '{name}'",
                expected=nearest(name, STEPS),
                next_step="--post blank-empty, or --post none",
            )
    if len(set(names)) < len(names):
        raise ConfigError(
            f"a post-processing step is named twice: {' '.join(names)}",
            expected="each step once",
            next_step=" ".join(f"--post {name}" for name in dict.fromkeys(names)),
        )


@dataclass(frozen=True, eq=False)
class Postprocessing:
    """The steps that will be applied to some tiles, as far as they are known beforehand.

    Args:
        steps: Their names, in order.
        settled: For each step that knows masks from the context alone, ten times the score of
            the mask it gives each tile, int8 ``[N]``; -1 where it leaves the tile alone.
        tiles: The context, kept only where a step has to be applied to be judged.
    """

    steps: tuple[str, ...] = ()
    settled: Mapping[str, NDArray[np.int8]] = field(default_factory=dict)
    tiles: TileContext | None = None

    @classmethod
    def of(
        cls, steps: Sequence[str], tiles: TileContext, truth: NDArray[np.bool_]
    ) -> Postprocessing:
        """Ask every step that can say so which masks of these tiles it knows, and score them.

        Args:
            steps: Their names, in order.
            tiles: N tiles.
            truth: Their true masks, bool ``[N, H, W]``.

        Raises:
            ConfigError: There is no such step, one comes twice, or one needs mosaics.
        """
        require_steps(steps)
        settled = {}
        for name in steps:
            settles = STEPS[name].settles
            if settles is not None:
                settled[name] = settles(tiles).tenths(truth)
        return cls(tuple(steps), settled, None if len(settled) == len(steps) else tiles)

    def take(self, rows: Rows) -> Postprocessing:
        """The same steps on some of the tiles."""
        return replace(
            self,
            settled={name: tenths[rows] for name, tenths in self.settled.items()},
            tiles=self.tiles and self.tiles.take(rows),
        )

    def settled_by(self, steps: Sequence[str], count: int) -> NDArray[np.int8]:
        """Ten times the scores that some of the steps, in order, settle whatever was predicted.

        Args:
            steps: Some of the steps.
            count: Number of tiles.

        Returns:
            int8 ``[count]``; -1 where the score is that of what was predicted.

        Raises:
            DataError: A step is not among those that these tiles were asked about.
        """
        unknown = [name for name in steps if name not in self.steps]
        if unknown:
            raise DataError(
                f"what the step {unknown[0]} does to these tiles is not known",
                expected=f"of the steps {', '.join(self.steps) or 'none'}",
            )
        tenths = np.full(count, -1, dtype=np.int8)
        for name in steps:
            if name in self.settled:
                tenths = np.where(self.settled[name] < 0, tenths, self.settled[name])
        return tenths

    def must_apply(self, steps: Sequence[str]) -> bool:
        """Whether one of the steps can only be judged by applying it."""
        return any(name in self.steps and name not in self.settled for name in steps)
