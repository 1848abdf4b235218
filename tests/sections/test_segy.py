from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kaggle_salt.errors import ConfigError, DataError
from kaggle_salt.sections import segy
from kaggle_salt.sections.segy import Amplitudes, open_survey, read_line
from tests.surveys import (
    IBM,
    IEEE,
    INT8,
    INT16,
    INT32,
    amplitudes_at,
    cube,
    read_samples,
    write_survey,
)

PLACES = cube([5, 6, 7], [20, 22, 24, 26])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "survey.sgy"


@pytest.mark.parametrize("byte_order", ["big", "little"])
@pytest.mark.parametrize("code", [IBM, IEEE, INT32, INT16, INT8])
def test_every_format_is_read(path: Path, code: int, byte_order: str) -> None:
    written = write_survey(path, PLACES, code=code, byte_order=byte_order)
    with open_survey(path) as survey:
        assert (survey.traces, survey.samples) == (12, 40)
        assert survey.header_word(189).tolist() == [inline for inline, _ in PLACES]
        assert survey.header_word(193).tolist() == [crossline for _, crossline in PLACES]
        read = survey.amplitudes(np.array([7, 0, 3]))
    expected = written[[7, 0, 3]]
    if code in (IBM, IEEE):
        assert read == pytest.approx(expected, rel=1e-6)
        if byte_order == "big":
            assert read == pytest.approx(read_samples(path)[[7, 0, 3]], rel=1e-6)
    else:
        assert np.array_equal(read, np.rint(expected / 25))


def test_numbers_may_be_anywhere_in_the_header_but_not_between(path: Path) -> None:
    write_survey(path, PLACES, at=(9, 21))
    with open_survey(path) as survey:
        assert survey.header_word(9).tolist() == [inline for inline, _ in PLACES]
        assert not survey.header_word(189).any()
        with pytest.raises(ConfigError, match=r"no number of a trace's header begins at byte 190"):
            survey.header_word(190)


def test_what_is_no_number_is_zero(path: Path) -> None:
    written = amplitudes_at(PLACES)
    written[2, 3:6] = np.nan, np.inf, -np.inf
    write_survey(path, PLACES, written)
    with open_survey(path) as survey:
        read = survey.amplitudes(np.arange(12))
    assert not read[2, 3:6].any()
    assert np.array_equal(np.delete(read, 2, 0), np.delete(written, 2, 0))


def test_percentiles_of_what_is_recorded_become_the_levels_of_the_tiles(path: Path) -> None:
    rng = np.random.default_rng(0)
    written = rng.normal(3e6, 1e6, (12, 500)).astype(np.float32)
    recorded = written.copy()
    written[3:6] = 0  # dead
    written[6, :7] = np.nan
    written[7, 0] = 1e30  # one spike moves nothing
    write_survey(path, PLACES, written)
    with open_survey(path) as survey:
        limits = survey.sample_amplitudes()
        line = read_line(survey, np.arange(12)[::-1], limits)
    assert limits.low == pytest.approx(np.percentile(recorded, 0.5), rel=0.1)
    assert limits.high == pytest.approx(np.percentile(recorded, 99.5), rel=0.1)
    assert (line.height, line.width) == (500, 12)
    assert line.dead.tolist() == [False] * 6 + [True] * 3 + [False] * 3
    levels = limits.levels(np.array([limits.low, limits.high, -1e30, 1e30], dtype=np.float32))
    assert levels.tolist() == [28, 227, 0, 255]
    assert np.array_equal(line.rows(100, 200), limits.levels(written[::-1, 100:200]).T)


def test_levels_go_evenly() -> None:
    levels = Amplitudes(-207, 207).levels(np.array([[-207, 0, 2, 207]], dtype=np.float32))
    assert levels.tolist() == [[28, 128, 128, 227]]  # 127.5 is rounded to the even number


@pytest.mark.parametrize("value", [0, np.nan, 4])
def test_a_survey_of_nothing_is_refused(path: Path, value: float) -> None:
    write_survey(path, PLACES, np.full((12, 30), value, dtype=np.float32))
    with open_survey(path) as survey:
        message = "12 of its 12 traces are " + ("4 throughout" if value == 4 else "empty")
        with pytest.raises(DataError, match=message):
            survey.sample_amplitudes()


def test_truncated_damaged_and_foreign_files_are_refused(path: Path) -> None:
    write_survey(path, PLACES)
    whole = path.read_bytes()
    faults = {
        "is truncated or damaged: .*trace count inconsistent": whole[:-7],
        "it has 1000 bytes, its headers alone would have 3600": whole[:1000],
        r"\(0 bytes\) is truncated or damaged: it has 0 bytes": b"",
        "say that its traces have no samples": whole[:3220] + b"\0\0" + whole[3222:],
        r"is no SEG-Y, .*\(code 4 in": whole[:3224] + b"\0\4" + whole[3226:],
        r"is no SEG-Y, .*\(code 29797 in": b"text" * 2000,
        r"\(6800 bytes\) is truncated or damaged": whole[:6800],  # its headers and no trace
        r"is no SEG-Y, .*\(code \d+ in": whole[7040:] * 2,  # samples alone
    }
    for message, data in faults.items():
        path.write_bytes(data)
        with pytest.raises(DataError, match=message), open_survey(path):
            pass
    with (
        pytest.raises(DataError, match=r"there is no file .*nowhere\.sgy"),
        open_survey(path.with_name("nowhere.sgy")),
    ):
        pass


def test_a_file_that_shrinks_while_it_is_read(path: Path) -> None:
    write_survey(path, PLACES)
    with open_survey(path) as survey:
        path.write_bytes(path.read_bytes()[:7000])
        with pytest.raises(DataError, match="is truncated or damaged"):
            survey.amplitudes(np.array([11]))


def test_without_the_extra_it_says_how_to_get_it(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_survey(path, PLACES)
    monkeypatch.setattr(segy, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"pip install 'kaggle-salt\[segy\]'"), open_survey(path):
        pass
