"""What can be wrong with a competition's files: every sort of fault, in one list.

Opening a competition refuses the faults it meets; ``salt check`` lists them, and warns of what
can be trained on but is suspicious.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from kaggle_salt.competition.archive import GET_ANEW
from kaggle_salt.errors import DataError

MAX_FAULTS_SHOWN = 10


class Sort(Enum):
    """A sort of fault: what its findings are, and in one line what to do about them."""

    ZIP = ("zips that cannot be opened", GET_ANEW)
    TABLE = ("tables that cannot be used", GET_ANEW)
    ID_TWICE = ("ids that a table names twice", "leave one line for each id")
    FILE_TWICE = ("tiles with two files", "remove one of the two")
    NO_IMAGE = ("ids without an image", "add the images, or take the ids out")
    NO_MASK = ("training tiles without a mask", "add the masks, or take the tiles out")
    NO_ROW = ("files that no table names", "add their ids to the table, or take the files out")
    UNREADABLE = ("files that cannot be read", GET_ANEW)
    SIZE = ("files of another size", "cut or pad them to the size of the others")
    MASK_LEVELS = (
        "masks with grey values",
        "salt check --mask-threshold 128, if levels from there on are salt",
    )
    IN_BOTH = ("ids of both a training and a test tile", "give each tile an id of its own")
    BAD_RLE = ("run-length strings that are not valid", "mend the lines, or fetch train.csv anew")
    OTHER_RLE = (
        "masks that are not what train.csv says",
        "find out which of the two is true; training takes the mask's file",
    )
    DEPTH = ("depths that are no number", "mend the lines, or take them out of depths.csv")

    NO_DEPTH = ("tiles without a depth", "add them to depths.csv if a preset uses depths")
    DEPTH_ALONE = ("depths of tiles that are not there", "nothing, or take them out of depths.csv")
    SAMPLE_ALONE = ("sample submission without test tiles", "put test.zip or test/ beside it")
    BLANK_SALT = ("blank tiles with salt", "look at them: such masks teach nothing that is true")
    TWINS = ("equal training tiles with unlike masks", "look at them, and take the wrong one out")
    LEAK = ("test tiles that equal training tiles", "know that their truth is known")
    ONE_CLASS = ("masks that are all alike", "look whether they are the right masks")
    MIXED = ("masks written in several ways", "look whether they come from one source")
    FEW_COLOURED = ("a few coloured tiles among grey ones", "look whether they belong there")

    @property
    def title(self) -> str:
        """What findings of this sort are, in the plural."""
        return self.value[0]

    @property
    def remedy(self) -> str:
        """What to do about them, in one line."""
        return self.value[1]

    @property
    def is_fault(self) -> bool:
        """Whether files cannot be used or contradict each other; else it is but suspicious."""
        return self not in SUSPICIONS


#: Tiles can be trained on all the same.
SUSPICIONS = frozenset({
    Sort.NO_DEPTH, Sort.DEPTH_ALONE, Sort.SAMPLE_ALONE, Sort.BLANK_SALT, Sort.TWINS, Sort.LEAK,
    Sort.ONE_CLASS, Sort.MIXED, Sort.FEW_COLOURED,
})  # fmt: skip


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong.

    Args:
        sort: What sort of thing.
        tiles: Ids of the tiles it concerns, or the name of a file.
        found: A sentence about it.
        expected: What would have been right.
        next_step: What to do about it, where there is more to say than for all of its sort.
    """

    sort: Sort
    tiles: tuple[str, ...]
    found: str
    expected: str = ""
    next_step: str = ""

    @classmethod
    def of(cls, sort: Sort, tile: str, error: DataError) -> Fault:
        """The fault that an error tells of."""
        return cls(sort, (tile,), error.found, error.expected, error.next_step)


def _next_step(fault: Fault) -> str:
    if fault.next_step or fault.sort.remedy == GET_ANEW:
        return fault.next_step or GET_ANEW
    return f"{fault.sort.remedy}; or {GET_ANEW}"


def refuse(faults: Sequence[Fault]) -> None:
    """Raise the faults, if there are any, as one error.

    Raises:
        DataError: Naming the first of them, and how many more there are.
    """
    if not faults:
        return
    shown = [fault.found for fault in faults[:MAX_FAULTS_SHOWN]]
    next_steps = set(map(_next_step, faults))
    several = "salt check, which lists all faults with a remedy for each sort"
    rest = ""
    if len(faults) > MAX_FAULTS_SHOWN:
        shown.append(f"and {len(faults) - MAX_FAULTS_SHOWN} more faults")
        rest = "; for a list of them all: salt check"
    raise DataError(
        "\n".join(shown),
        expected="; ".join(dict.fromkeys(fault.expected for fault in faults)),
        next_step=next_steps.pop() + rest if len(next_steps) == 1 else several,
    )
