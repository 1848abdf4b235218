from __future__ import annotations

import torch

from kaggle_salt.learning.outputs import Outputs


def outputs() -> Outputs:
    maps = [torch.full((2, 1, 3, 3), float(n), dtype=torch.bfloat16) for n in range(4)]
    return Outputs(maps[0], (maps[1], maps[2]), maps[3], torch.ones(2, dtype=torch.bfloat16))


def test_map_changes_every_map_and_no_more() -> None:
    changed = outputs().map(lambda logits: logits[..., :2] + 1)
    maps = [changed.logits, *changed.sides, changed.nonempty]
    assert [map_ is not None and (tuple(map_.shape), float(map_.max())) for map_ in maps] == [
        ((2, 1, 3, 2), value) for value in (1.0, 2.0, 3.0, 4.0)
    ]
    assert changed.has_salt is not None
    assert changed.has_salt.tolist() == [1, 1]


def test_what_is_absent_stays_absent() -> None:
    assert Outputs(torch.zeros(1, 1, 2, 2)).map(torch.exp)[1:] == ((), None, None)
    assert Outputs(torch.zeros(1, 1, 2, 2)).float()[1:] == ((), None, None)


def test_float_is_float32_for_all() -> None:
    whole = outputs().float()
    tensors = [whole.logits, *whole.sides, whole.nonempty, whole.has_salt]
    assert {None if t is None else t.dtype for t in tensors} == {torch.float32}
