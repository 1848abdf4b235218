"""Steps after threshold and minimum area: each has a name, and a rule applies some in order.

A new step is written here and listed in :data:`STEPS`. ``salt ensemble --post NAME`` then takes
it, the search judges it as it will be applied, and ``salt submit`` applies it. What it may look
at is a :class:`TileContext`: what a step needs beyond that, such as a tile's neighbours, becomes
a field there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from kaggle_salt.competition.tiles import is_blank
from kaggle_salt.errors import ConfigError, DataError, nearest

#: Row numbers, or bool ``[N]``.
Rows = NDArray[np.integer] | NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class TileContext:
    """What a step may look at beside the masks.

    Args:
        ids: The N tiles.
        images: uint8 ``[N, H, W]``, grey levels; may be memory-mapped.
    """

    ids: Sequence[str]
    images: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: Rows | slice) -> TileContext:
        """The context of some of the tiles; of a slice without a copy of the images."""
        if isinstance(rows, slice):
            return TileContext(self.ids[rows], self.images[rows])
        numbers = np.arange(len(self))[rows].tolist()
        return TileContext([self.ids[number] for number in numbers], self.images[rows])


@dataclass(frozen=True)
class Step:
    """A step of post-processing.

    Args:
        name: What a rule and ``--post`` call it.
        what: What it does, in words that can follow its name.
        apply: Takes masks, bool ``[N, H, W]``, and the context of the same N tiles; gives the
            changed masks, which may be those it was given, changed. It is called for some tiles
            at a time.
        empties: Where the step only empties masks, and whatever the mask: which, bool ``[N]``,
            from the context alone. Such a step is judged exactly at all levels at once; any
            other is judged by applying it.
        of_neighbours: It looks at the masks of neighbours, and so needs a table of mosaics.
    """

    name: str
    what: str
    apply: Callable[[NDArray[np.bool_], TileContext], NDArray[np.bool_]]
    empties: Callable[[TileContext], NDArray[np.bool_]] | None = None
    of_neighbours: bool = False


def emptying(name: str, what: str, empties: Callable[[TileContext], NDArray[np.bool_]]) -> Step:
    """A step that empties the masks of tiles that it tells from the context alone."""

    def apply(masks: NDArray[np.bool_], tiles: TileContext) -> NDArray[np.bool_]:
        masks[empties(tiles)] = False
        return masks

    return Step(name, what, apply, empties)


#: Every step there is, by name.
STEPS: dict[str, Step] = {
    step.name: step
    for step in (
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
                next_step=f"--post {next(iter(STEPS))}, or --post none",
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
        emptied: For each step that says so from the context alone, the tiles that it empties,
            bool ``[N]``.
        tiles: The context, kept only where a step has to be applied to be judged.
    """

    steps: tuple[str, ...] = ()
    emptied: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)
    tiles: TileContext | None = None

    @classmethod
    def of(cls, steps: Sequence[str], tiles: TileContext) -> Postprocessing:
        """Ask every step that can say so which of these tiles it empties.

        Raises:
            ConfigError: There is no such step, or one comes twice.
        """
        require_steps(steps)
        emptied = {}
        for name in steps:
            empties = STEPS[name].empties
            if empties is not None:
                emptied[name] = empties(tiles)
        return cls(tuple(steps), emptied, None if len(emptied) == len(steps) else tiles)

    def take(self, rows: Rows) -> Postprocessing:
        """The same steps on some of the tiles."""
        return replace(
            self,
            emptied={name: which[rows] for name, which in self.emptied.items()},
            tiles=self.tiles and self.tiles.take(rows),
        )

    def emptied_by(self, steps: Sequence[str], count: int) -> NDArray[np.bool_]:
        """Which of the ``count`` tiles some of the steps empty, bool ``[count]``.

        Raises:
            DataError: A step is not among those that these tiles were asked about.
        """
        unknown = [name for name in steps if name not in self.steps]
        if unknown:
            raise DataError(
                f"what the step {unknown[0]} does to these tiles is not known",
                expected=f"of the steps {', '.join(self.steps) or 'none'}",
            )
        which = np.zeros(count, dtype=np.bool_)
        for name in steps:
            if name in self.emptied:
                which |= self.emptied[name]
        return which

    def must_apply(self, steps: Sequence[str]) -> bool:
        """Whether one of the steps can only be judged by applying it."""
        return any(name in self.steps and name not in self.emptied for name in steps)
