"""The submissions that are kept for checking are those that their manifests vouch for."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from kaggle_salt.competition.rle import decode
from kaggle_salt.storage.csv_files import parse_csv
from kaggle_salt.storage.files import bytes_hash, read_json

MEASURED = sorted((Path(__file__).parents[1] / "submissions" / "measured").glob("*.csv.gz"))


def test_there_are_some() -> None:
    assert MEASURED


@pytest.mark.parametrize("path", MEASURED, ids=lambda path: path.name)
def test_a_measured_submission_is_whole(path: Path) -> None:
    assert path.stat().st_size < 2 << 20
    told = read_json(path.with_name(path.name.replace(".csv.gz", ".json")))
    content = gzip.decompress(path.read_bytes())
    assert bytes_hash(content) == told["content_hash"]
    table = parse_csv(content)
    assert list(table.columns) == ["id", "rle_mask"]
    assert table["id"].is_unique
    assert (len(table), (table["rle_mask"] == "").sum()) == (told["rows"], told["empty_masks"])
    for text in table["rle_mask"].head(100):
        assert decode(text, (101, 101)).any() == bool(text)


@pytest.mark.parametrize("path", MEASURED, ids=lambda path: path.name)
def test_its_score_stands_beside_it(path: Path) -> None:
    told = read_json(path.with_name(path.name.replace(".csv.gz", ".json")))["out_of_fold"]
    table = (path.parents[1] / "README.md").read_text(encoding="utf-8")
    score = f"{told['score_cross_fitted']:.4f}".removeprefix("0")
    [row] = [line for line in table.splitlines() if f"`{path.name}`" in line]
    assert row.endswith(
        f"| {score} [{', '.join(f'{x:.4f}'[1:] for x in told['interval_cross_fitted'])}] |"
    )
