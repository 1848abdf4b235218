"""The soak in small: a way from tiles to a submission, killed at many places."""

from __future__ import annotations

import random
from pathlib import Path

from tests import soak
from tests.soak import Round, Tally, import_all, quick_pictures
from tests.soak_child import Plan
from tests.tiny import one_thread

#: File operations of a call between two kills, and before the first.
STRIDE = 29


def test_a_way_that_is_killed_at_many_places_ends_as_if_nothing_had_been(
    tmp_path: Path,
) -> None:
    """By turns with SIGKILL and with signals that ask for an end."""
    kinds = [soak.KILL, *soak.ENDS]
    tally, chance = Tally(), random.Random(1)
    with one_thread(), quick_pictures():
        import_all()
        way = Round(tmp_path, chance, tally, plain=True)
        way.straight_on()
        for number, (words, usual) in enumerate(zip(way.calls, way.usual, strict=True)):
            places = range(STRIDE, usual.operations, STRIDE)
            for place in places:
                plan = Plan(place, kinds[(number + place // STRIDE) % len(kinds)])
                way.make(words, plan)
            assert way.make(words, Plan())
        way.compare()
    assert tally.faults == {}
    assert sum(n for name, n in tally.counts.items() if name.startswith("kills")) > 5


def test_what_is_wrong_is_found(tmp_path: Path) -> None:
    tally = Tally()
    with one_thread(), quick_pictures():
        way = Round(tmp_path, random.Random(1), tally, plain=True)
        way.straight_on()
        for words in way.calls:
            way.make(words, Plan())
    fold = way.killed / "runs/own/fold0"
    oof = bytearray((fold / "oof.npy").read_bytes())
    oof[-1] ^= 1
    (fold / "oof.npy").write_bytes(oof)
    (fold / "lease-1.json").write_text("{}", encoding="utf-8")
    way.make(("presets",), Plan())
    way.compare()
    assert set(tally.faults) == {"silent uses", "differences", "leftovers"}
