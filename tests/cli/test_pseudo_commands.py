from __future__ import annotations

import json
from pathlib import Path

import pytest

from kaggle_salt.storage.files import read_json
from tests.tiny import files_under, refused, salt

LABEL = ("pseudo-label", "tiny", "--low", "0.5", "--high", "0.5", "--device", "cpu")
STUDENT = ("train", "--config", "tiny.toml", "--set", "stage.*.epochs=1", "--device", "cpu")
CSV = Path("runs/tiny/pseudo-labels.csv")


def test_labels_are_told_by_fold_and_stratum(trained: Path) -> None:
    header, *rows, written, then = salt(*LABEL).stdout.splitlines()
    assert header.split("  ")[0] == "fold"
    counts = read_json(CSV.with_suffix(".json"))["selection"]
    assert len(rows) == len(counts)
    for row, expected in zip(rows, counts, strict=True):
        cells = row.split()
        assert cells[0] == expected["fold"]
        assert [int(cell) for cell in cells[-5:-2]] == [
            expected[key] for key in ("tiles", "confident", "taken")
        ]
        means = [expected["mean_confidence"], expected["mean_coverage"]]
        assert cells[-2:] == ["-" if mean is None else f"{mean:.4f}" for mean in means]
    assert rows[0].split()[1] == "none"
    assert rows[1].split()[1:3] == ["up", "to"]
    taken = sum(row["taken"] for row in counts)
    assert written == f"{CSV}: {taken} labels, written"
    assert then == f"next: salt train --pseudo {CSV} --run student --device cpu"
    assert "was there already, made of the same" in salt(*LABEL).stdout


def test_labels_as_one_json_document(trained: Path) -> None:
    document = json.loads(salt(*LABEL, "--limit", 5, "--out", "five.csv", "--json").stdout)
    assert (document["csv"], document["existed"]) == ("five.csv", False)
    assert document["made_of"]["settings"]["limit"] == 5
    assert document == {
        "csv": "five.csv", "existed": False, **read_json(Path("five.json")),
    }  # fmt: skip


def test_soft_labels_lie_beside_the_masks(trained: Path) -> None:
    salt(*LABEL, "--soft", "--out", "soft.csv")
    assert read_json(Path("soft.json"))["made_of"]["settings"]["soft"] is True
    assert Path("soft.npy").exists()


def test_labels_by_the_splits_of_the_first_place(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    options = ("--balance", "1st-place", "--out", "first.csv")
    header, *rows, _, _ = salt(*LABEL, *options).stdout.splitlines()
    told = "\n".join([header, *rows])
    assert "up to 4.9%" in told
    assert "up to 90.0%" in told
    assert max(map(len, told.splitlines())) <= 60
    assert read_json(Path("first.json"))["made_of"]["settings"]["balance"] == "1st-place"


def test_a_student_is_trained_in_rounds(trained: Path) -> None:
    salt(*LABEL)
    told = salt(*STUDENT, "--run", "student", "--pseudo", CSV, "--rounds", 2, "--json")
    [summary] = json.loads(told.stdout)
    assert summary["fold"] == 0
    for number in (1, 2):
        assert f"run student-{number}, fold 0: 26 tiles to train on, " in told.stderr
    manifest = read_json(Path("runs/student-1/manifest.json"))
    assert manifest["config"]["pseudo"]["file"] == str(CSV)


@pytest.mark.parametrize(
    ("arguments", "found", "expected", "then"),
    [
        (["--low", "0.9"], "below 0.9 or above 0.5", "0 to 1", "--low 0.2 --high 0.8"),
        (["--confidence", "2"], "confidence of 2", "a share", "--confidence 0.9"),
        (["--limit", "0"], "a limit of 0 tiles", "1 or more", "--limit 10000"),
        (["tinny"], "no run 'tinny'", "did you mean 'tiny'", "salt train --run tinny"),
        (["--out", "labels"], "cannot be called labels", "name in .csv", "--out FILE.csv"),
        (["--limit", "4"], "pseudo-labels.csv exists", "a new name", "--out .* --overwrite"),
        (["--teachers", "all"], "pseudo-labels.csv exists", "a new name", "--overwrite"),
    ],
)
def test_what_pseudo_label_refuses(
    trained: Path, arguments: list[str], found: str, expected: str, then: str
) -> None:
    salt(*LABEL)
    before = files_under(trained)
    refused(2, *LABEL, *arguments, found=found, expected=expected, then=then)
    assert files_under(trained) == before


def test_what_train_refuses_of_labels(trained: Path) -> None:
    before = files_under(trained)
    refused(3, *STUDENT, "--run", "new", "--pseudo", "none.csv", found="none.json cannot be read",
            expected="none.csv and none.json", then="--pseudo FILE")  # fmt: skip
    refused(2, *STUDENT, "--run", "new", "--rounds", 2, found="no pseudo-labels for the first",
            expected="labels that trained runs", then="--pseudo FILE")  # fmt: skip
    refused(2, *STUDENT, "--run", "new", "--set", "stage.bce.tiles=pseudo",
            found="stage 'bce' trains on pseudo", expected="a file of pseudo-labels",
            then="salt pseudo-label RUN --device cpu, then --pseudo FILE")  # fmt: skip
    assert files_under(trained) == before


@pytest.mark.parametrize("name", ["2018.csv", 'a "b" é.csv'])
def test_a_path_is_taken_as_it_is(trained: Path, name: str) -> None:
    refused(3, *STUDENT, "--run", "new", "--pseudo", name, found="json cannot be read",
            expected=name, then="--pseudo FILE")  # fmt: skip
