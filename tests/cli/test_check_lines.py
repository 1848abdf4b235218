from __future__ import annotations

from dataclasses import replace

from kaggle_salt.cli.check_lines import check_lines
from kaggle_salt.competition.check import CheckReport, Finding

SOUND = CheckReport(
    path="data", data_hash="ab", train_tiles=10, test_tiles=2, tile_shape=(101, 101),
    is_coloured=False, modes={"images": {"RGB": 10}, "masks": {"I;16": 6, "L": 4}, "test": {}},
    mask_levels={"0": 4, "65535": 6}, mask_threshold=None, empty_masks=4,
    blank_tiles=("a",), blank_test_tiles=(), duplicates=(("a", "b"),),
    coverage_histogram=(4, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0), train_test_duplicates=(),
    unknown_depths=(), notes=(), faults=(), warnings=(),
)  # fmt: skip
UNREADABLE = Finding(
    title="files that cannot be read", count=3, examples=("one", "two"), remedy="fetch them anew",
    tiles=("a", "b", "c"),
)  # fmt: skip
LEAK = Finding("test tiles known", 1, ("it is known",), "know it", ("x",))


def test_a_check_in_words() -> None:
    lines = check_lines(SOUND)
    assert lines[0] == "10 training tiles, 2 test tiles of 101x101, grey"
    assert lines[1] == "files: images 10 RGB; masks 6 I;16, 4 L"
    assert lines[2] == "level of salt in a mask's file: 65535 in 6"
    assert "1 training and 0 test tiles are blank" in lines[3]
    histogram = lines[lines.index("salt coverage:") + 1 :]
    assert histogram[0].split() == ["empty", "4", "█" * 27]
    assert histogram[1].split() == ["0-10", "%", "6", "█" * 40]
    assert histogram[2] == "    10-20 %      0"
    assert lines[-1] == "nothing is wrong"


def test_a_check_counts_quotes_and_remedies() -> None:
    lines = check_lines(replace(SOUND, faults=(UNREADABLE,), warnings=(LEAK,)))
    assert lines[lines.index("warnings:") :] == [
        "warnings:",
        "  test tiles known: 1",
        "    it is known",
        "    -> know it",
        "faults:",
        "  files that cannot be read: 3",
        "    one",
        "    two",
        "    and so on; all 3: salt check --json",
        "    -> fetch them anew",
    ]
    assert "nothing is wrong" not in lines


def test_a_check_says_how_files_were_understood() -> None:
    report = replace(SOUND, is_coloured=True, mask_threshold=100, notes=("no train.csv: so",))
    lines = check_lines(report)
    assert lines[0].endswith("101x101, red, green and blue")
    assert lines[1] == "note: no train.csv: so"
    assert lines[3] == "masks are salt from level 100 on"


def test_a_check_without_training_tiles() -> None:
    lines = check_lines(replace(SOUND, train_tiles=0, coverage_histogram=(0,) * 11))
    assert "      empty      0" in lines
