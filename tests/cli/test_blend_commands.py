"""What others made: submissions blended by a vote, and probabilities taken into ensembles."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from kaggle_salt.competition import rle
from kaggle_salt.competition.metric import score
from kaggle_salt.storage.files import file_hash, read_json
from tests.makers import TinyCompetition, write_competition, write_table
from tests.tiny import files_under, refused, salt

SHAPE = (6, 9)


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TinyCompetition:
    """A competition in ``data`` of the working folder: 12 training and 5 test tiles."""
    monkeypatch.chdir(tmp_path)
    made = write_competition(Path("data"), n_train=12, n_test=5, shape=SHAPE)
    return made


def write_csv(name: str, ids: tuple[str, ...], masks: NDArray[np.bool_]) -> None:
    write_table(Path(name), "id,rle_mask", zip(ids, rle.encode_batch(masks), strict=True))


def read_csv(path: str, ids: tuple[str, ...]) -> NDArray[np.bool_]:
    table = pd.read_csv(path, keep_default_na=False)
    assert table["id"].tolist() == list(ids)
    return np.stack([rle.decode(text, SHAPE) for text in table["rle_mask"]])


@pytest.fixture
def masks(made: TinyCompetition) -> NDArray[np.bool_]:
    """Masks ``[4, N, H, W]`` of A.csv to D.csv, whose rows stand in other orders."""
    rng = np.random.default_rng(1)
    masks = rng.random((4, len(made.test_ids), *SHAPE)) < 0.5
    masks[:, 0] = False
    for number, name in enumerate("ABCD"):
        order = rng.permutation(len(made.test_ids))
        ids = tuple(made.test_ids[row] for row in order)
        write_csv(f"{name}.csv", ids, masks[number][order])
    return masks


def test_the_majority_decides(made: TinyCompetition, masks: NDArray[np.bool_]) -> None:
    said = salt("blend-csv", "A.csv", "B.csv", "C.csv", "--name", "voted").stdout
    voted = read_csv("submissions/voted.csv", made.test_ids)
    assert np.array_equal(voted, masks[:3].sum(axis=0) > 1.5)
    assert "submissions/voted.csv: 5 rows, 1 of them empty, written and checked" in said
    manifest = read_json(Path("submissions/voted.json"))
    assert manifest["sources"] == [
        {"file": f"{name}.csv", "content_hash": file_hash(Path(f"{name}.csv")), "weight": 1.0}
        for name in "ABC"
    ]
    assert manifest["content_hash"] == file_hash(Path("submissions/voted.csv"))
    pairs = manifest["agreement"]["pairs"]
    assert pairs[0][1] == pairs[1][0] == pytest.approx(score(masks[0], masks[1]))
    assert pairs[2][2] == 1
    others = np.mean([score(masks[0], masks[1]), score(masks[0], masks[2])])
    assert manifest["agreement"]["with_others"][0] == pytest.approx(others)
    assert manifest["agreement"]["with_blend"][2] == pytest.approx(score(masks[2], voted))
    assert manifest["agreement"]["empty_masks"] == [1, 1, 1]


def test_a_tie_is_not_salt_and_weights_break_it(
    made: TinyCompetition, masks: NDArray[np.bool_]
) -> None:
    salt("blend-csv", "A.csv", "B.csv")
    assert np.array_equal(read_csv("submissions/A+B.csv", made.test_ids), masks[0] & masks[1])
    salt("blend-csv", "A.csv", "B.csv", "C.csv", "D.csv", "--weights", "2,1,.5,.5", "--name", "w")
    shares = np.tensordot([2, 1, 0.5, 0.5], masks, axes=1)
    assert np.array_equal(read_csv("submissions/w.csv", made.test_ids), shares > 2)
    assert (shares == 2).any(), "there was no tie to break"


def test_without_data_the_size_is_told(made: TinyCompetition, masks: NDArray[np.bool_]) -> None:
    Path("data").rename("elsewhere")
    refused(
        3, "blend-csv", "A.csv", "B.csv", found="no folder data to tell the size",
        expected="the size", then=r"salt blend-csv A\.csv B\.csv --size 101x101",
    )  # fmt: skip
    first = tuple(pd.read_csv("A.csv")["id"])
    salt("blend-csv", "A.csv", "B.csv", "--size", "6x9")
    rows = [made.test_ids.index(tile) for tile in first]
    assert np.array_equal(read_csv("submissions/A+B.csv", first), (masks[0] & masks[1])[rows])


def test_the_same_blend_again_changes_nothing(masks: NDArray[np.bool_]) -> None:
    salt("blend-csv", "A.csv", "B.csv", "--name", "x")
    before = files_under(Path("submissions"))
    again = json.loads(salt("blend-csv", "A.csv", "B.csv", "--name", "x", "--json").stdout)
    assert again["existed"] is True
    assert files_under(Path("submissions")) == before
    refused(
        2, "blend-csv", "A.csv", "C.csv", "--name", "x",
        found=r"x\.csv exists", expected="a new name", then="--overwrite",
    )  # fmt: skip
    assert files_under(Path("submissions")) == before
    other = salt("blend-csv", "A.csv", "C.csv", "--name", "x", "--overwrite", "--json").stdout
    assert json.loads(other)["existed"] is False


def append(path: str, line: str) -> None:
    with Path(path).open("a", encoding="utf-8") as file:
        file.write(line + "\n")


def drop_row(path: str) -> None:
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    Path(path).write_text("\n".join(lines[:-1]) + "\n", encoding="utf-8")


def replace_last(path: str, text: str) -> None:
    tile = pd.read_csv(path)["id"].iloc[-1]
    drop_row(path)
    append(path, f"{tile},{text}")


@pytest.mark.parametrize(
    ("spoil", "arguments", "code", "found"),
    [
        (lambda: None, ["A.csv"], 2, "1 submissions to blend"),
        (lambda: None, ["A.csv", "A.csv"], 2, "A.csv and A.csv are the same submission"),
        (lambda: None, ["A.csv", "gone.csv"], 3, "gone.csv cannot be read"),
        (lambda: None, ["A.csv", "B.csv", "--weights", "1"], 2, "weights 1 for 2 submissions"),
        (lambda: None, ["A.csv", "B.csv", "--weights", "1,0"], 2, "weights 1, 0 for 2"),
        (lambda: None, ["A.csv", "B.csv", "--weights", "1,x"], 2, "--weights 1,x"),
        (lambda: None, ["A.csv", "B.csv", "--size", "9"], 2, "--size 9"),
        (lambda: None, ["A.csv", "B.csv", "--size", "2x3"], 3, "A.csv has no valid mask for tile"),
        (lambda: None, ["A.csv", "B.csv", "--name", "a/b"], 2, "cannot be called 'a/b'"),
        (lambda: drop_row("B.csv"), ["A.csv", "B.csv"], 3, "B.csv lacks 1 of 5 tiles: test"),
        (lambda: append("B.csv", "new,"), ["A.csv", "B.csv"], 3, "B.csv names 1 unknown"),
        (lambda: replace_last("B.csv", "5 0"), ["A.csv", "B.csv"], 3, "run 1 .* has length 0"),
        (lambda: replace_last("B.csv", "50 9"), ["A.csv", "B.csv"], 3, "covers pixels 50 to 58"),
        (lambda: Path("B.csv").write_text("id,m\n"), ["A.csv", "B.csv"], 3, "no column rle_mask"),
    ],
)  # fmt: skip
def test_bad_submissions_are_refused(
    masks: NDArray[np.bool_],
    spoil: Callable[[], object],
    arguments: list[str],
    code: int,
    found: str,
) -> None:
    spoil()
    refused(code, "blend-csv", *arguments, found=found, expected=".", then=".")
    assert not Path("submissions").exists()
