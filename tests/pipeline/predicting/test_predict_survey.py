from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kaggle_salt import predict_survey
from kaggle_salt.errors import ConfigError, DataError
from kaggle_salt.pipeline.predicting import predict_survey as pipeline
from kaggle_salt.pipeline.predicting import survey_plan
from kaggle_salt.pipeline.predicting.finished import ready_run, tile_predictor
from kaggle_salt.pipeline.predicting.predict_survey import SurveyReport
from kaggle_salt.pipeline.workspace import Listener, Workspace
from kaggle_salt.sections.segy import open_survey, read_line
from kaggle_salt.sections.survey_files import SurveyFiles
from kaggle_salt.sections.tiling import predict_sections
from tests.surveys import (
    IBM,
    IEEE,
    INT8,
    INT16,
    INT32,
    Place,
    amplitudes_at,
    cube,
    headers_of,
    read_samples,
    write_survey,
)
from tests.tiny import Heard, files_under, refused, salt

CPU = ("--device", "cpu")
SURVEY = Path("survey.sgy")
RESULT = Path("predictions/survey-probability.sgy")
PLACES = cube(range(100, 104), range(40))


def predicted(**given: Any) -> SurveyReport:
    options = {"run": "tiny", "device": "cpu", "verbose": False, **given}
    return predict_survey(options.pop("survey", SURVEY), **options)


def expected_levels(places: list[Place], along: str) -> NDArray[np.float64]:
    """Probabilities times 255 in the file's order: each line cut out by hand and predicted."""
    finished = ready_run(Workspace(), run="tiny", listener=Listener())
    levels_of = tile_predictor(finished, "cpu")
    with open_survey(SURVEY) as survey:
        found = np.zeros((survey.traces, survey.samples))
        limits = survey.sample_amplitudes()
        own, other = (0, 1) if along == "inline" else (1, 0)
        for number in {place[own] for place in places}:
            traces = [k for k, place in enumerate(places) if place[own] == number]
            traces.sort(key=lambda k: places[k][other])
            section = read_line(survey, np.array(traces), limits)
            [(_, levels)] = predict_sections([section], finished.tile_shape, levels_of)
            found[traces] = levels.T
        found[~survey.amplitudes(np.arange(survey.traces)).any(axis=1)] = 0
    return found


def shuffled(places: list[Place]) -> list[Place]:
    return [places[k] for k in np.random.default_rng(3).permutation(len(places))]


@pytest.mark.parametrize("along", ["inline", "crossline", "both"])
def test_a_regular_survey_is_predicted_line_by_line(trained: Path, along: str) -> None:
    write_survey(SURVEY, PLACES)
    before = SURVEY.read_bytes()
    report = predicted(along=along, threshold=0.4)
    directions = ("inline", "crossline") if along == "both" else (along,)
    expected = np.mean([expected_levels(PLACES, one) for one in directions], axis=0)
    assert read_samples(RESULT) == pytest.approx(expected / 255, rel=1e-6)
    assert len(np.unique(expected)) > 10, "the network says something"
    assert report.coverage == np.mean(expected > 102)
    assert (report.along, report.probability) == (directions, RESULT)
    assert report.lines == report.predicted == {"inline": 4, "crossline": 40, "both": 44}[along]
    assert headers_of(RESULT) == headers_of(SURVEY)
    assert SURVEY.read_bytes() == before
    document = json.loads(RESULT.with_suffix(".json").read_text("utf-8"))
    assert document["percentiles"] == [0.5, 99.5]
    assert document["amplitudes"] == [report.low, report.high]
    assert document["coverage"] == report.coverage
    assert sorted(files_under(Path("predictions"))) == [
        "survey-probability.json", "survey-probability.sgy",
    ]  # fmt: skip


IRREGULAR = shuffled([
    *cube([7], range(3)), *cube([9], range(-20, 25)), *cube([10, -4, 11], range(-6, 24, 2)),
])  # fmt: skip


def test_an_irregular_and_unsorted_survey(trained: Path) -> None:
    import segyio

    write_survey(SURVEY, IRREGULAR)
    with pytest.raises(RuntimeError, match="unable to find sorting"):
        segyio.open(SURVEY)
    report = predicted(along="both")
    both = [expected_levels(IRREGULAR, one) for one in ("inline", "crossline")]
    assert read_samples(RESULT) == pytest.approx(np.mean(both, axis=0) / 255, rel=1e-6)
    assert report.lines == 5 + len({crossline for _, crossline in IRREGULAR})
    assert headers_of(RESULT) == headers_of(SURVEY)


@pytest.mark.parametrize(
    ("code", "along"), [(IBM, "both"), (INT8, "both"), (INT32, "inline"), (INT16, "inline")]
)
def test_the_copy_keeps_the_format(trained: Path, code: int, along: str) -> None:
    write_survey(SURVEY, PLACES, code=code)
    predicted(along=along)
    directions = ("inline", "crossline") if along == "both" else (along,)
    levels = np.mean([expected_levels(PLACES, one) for one in directions], axis=0)
    if code == IBM:
        assert read_samples(RESULT) == pytest.approx(levels / 255, rel=1e-6)
    else:
        with open_survey(RESULT) as result:
            read = result.amplitudes(np.arange(result.traces))
        assert np.abs(read - levels / 2.55).max() <= 0.5001
    width = {IBM: 4, INT32: 4, INT16: 2, INT8: 1}[code]
    assert headers_of(RESULT, width) == headers_of(SURVEY, width)


def test_a_little_endian_survey(trained: Path) -> None:
    write_survey(SURVEY, PLACES, byte_order="little")
    predicted()
    with open_survey(RESULT) as result:
        read = result.amplitudes(np.arange(result.traces))
    assert read == pytest.approx(expected_levels(PLACES, "inline") / 255, rel=1e-6)
    assert headers_of(RESULT) == headers_of(SURVEY)


def test_what_is_no_number_and_dead_traces(trained: Path) -> None:
    amplitudes = amplitudes_at(PLACES)
    amplitudes[5] = 0
    amplitudes[6] = np.nan
    amplitudes[7, 3:9] = np.nan, np.inf, -np.inf, np.nan, 0, 0
    write_survey(SURVEY, PLACES, amplitudes)
    predicted()
    levels = read_samples(RESULT)
    assert not levels[5:7].any()
    assert levels[7, 3:9].all()
    assert levels == pytest.approx(expected_levels(PLACES, "inline") / 255, rel=1e-6)


@pytest.mark.parametrize("places", [[(0, 0)] * 50, [(k, k) for k in range(50)]])
def test_a_line_without_numbers_is_taken_in_the_order_of_the_file(
    trained: Path, places: list[Place]
) -> None:
    write_survey(SURVEY, places, amplitudes_at(cube([1], range(50))))
    heard = Heard()
    report = pipeline.predict_survey(Workspace(), SURVEY, run="tiny", device="cpu", listener=heard)
    [warning] = heard.warnings
    assert warning.startswith("survey.sgy has no line numbers at bytes 189 and 193 of its traces'")
    assert (report.along, report.lines) == (("file",), 1)
    expected = expected_levels([(0, k) for k in range(50)], "inline")
    assert read_samples(RESULT) == pytest.approx(expected / 255, rel=1e-6)


@pytest.mark.parametrize("own", [0, 1])
def test_a_2d_line_with_numbers_is_one_line(trained: Path, own: int) -> None:
    places = shuffled(cube([12], range(0, 100, 2)))
    write_survey(SURVEY, [place if own == 0 else place[::-1] for place in places],
                 amplitudes_at(places))  # fmt: skip
    report = predicted()
    assert (report.along, report.lines) == (("crossline",) if own else ("inline",), 1)
    assert read_samples(RESULT) == pytest.approx(expected_levels(places, "inline") / 255, rel=1e-6)


def test_numbers_are_read_where_it_is_told(trained: Path) -> None:
    write_survey(SURVEY, IRREGULAR, at=(9, 21))
    salt("predict", SURVEY, "--run", "tiny", "--inline-byte", 9, "--xline-byte", 21, *CPU)
    expected = expected_levels(IRREGULAR, "inline")
    assert read_samples(RESULT) == pytest.approx(expected / 255, rel=1e-6)


def count_written(patch: pytest.MonkeyPatch, stop_before: int | None = None) -> list[str]:
    """Names of the lines that are written from now on; Ctrl-C is pressed before one."""
    written: list[str] = []
    usual = SurveyFiles.write_line

    def write_line(self: SurveyFiles, line: Any, levels: Any) -> None:
        if len(written) == stop_before:
            raise KeyboardInterrupt
        usual(self, line, levels)
        written.append(line.name)

    patch.setattr(SurveyFiles, "write_line", write_line)
    return written


def test_interrupted_it_goes_on_where_it_stopped(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_survey(SURVEY, PLACES, code=IBM)
    predicted(along="both", out="whole")
    call = ("predict", SURVEY, "--run", "tiny", "--along", "both", *CPU)
    with monkeypatch.context() as patch:
        first = count_written(patch, stop_before=10)
        assert "interrupted" in salt(*call, code=130).stderr
    assert not RESULT.exists()
    half = Path("predictions/survey-probability.lines/inline102.u8")
    half.write_bytes(half.read_bytes()[:-1])  # a copy to another machine was cut off
    with monkeypatch.context() as patch:
        rest = count_written(patch)
        assert "going on: 9 of 44 lines are predicted" in salt(*call).stderr
    assert len(first) == 10
    assert sorted({*first, *rest}) == sorted([*first, *rest[1:]])
    assert rest[0] == "inline102"
    assert files_under(Path("predictions")) == files_under(Path("whole"))


def test_interrupted_while_it_writes_the_copy(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_survey(SURVEY, PLACES)
    predicted(along="both", out="whole")

    def interrupt(done: int, total: int) -> None:
        if done == 20:  # half of the crosslines are averaged
            raise KeyboardInterrupt

    class Impatient(Listener):
        def progress(self, title: str) -> Any:
            return interrupt if title == "writing lines" else super().progress(title)

    with pytest.raises(KeyboardInterrupt):
        pipeline.predict_survey(
            Workspace(), SURVEY, run="tiny", along="both", device="cpu", listener=Impatient()
        )
    assert sorted(path.name for path in Path("predictions").iterdir()) == [
        "survey-probability.lines"
    ]
    written = count_written(monkeypatch)
    predicted(along="both")
    assert written == []
    assert files_under(Path("predictions")) == files_under(Path("whole"))


def test_parts_on_several_machines_make_the_whole(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_survey(SURVEY, IRREGULAR)
    predicted(along="both", out="whole")
    call = ("predict", SURVEY, "--run", "tiny", "--along", "both", *CPU)
    written = count_written(monkeypatch)
    total = 5 + len({crossline for _, crossline in IRREGULAR})
    for part in (3, 1):
        here = salt(*call, "--part", f"{part}/3", "--out", f"machine{part}")
        assert f"of {total} inlines and crosslines predicted" in here.stdout
        assert "the same command without --part writes the SEG-Y" in here.stdout
        shutil.copytree(f"machine{part}", "predictions", dirs_exist_ok=True)
    document = json.loads(salt(*call, "--part", "2/3", "--json").stdout)
    assert (document["predicted"], document["lines"]) == (total, total)
    assert (document["probability"], document["coverage"]) == (None, None)
    assert len(written) == len(set(written)) == total
    assert not RESULT.exists()
    assert salt(*call).stdout.endswith(f"probabilities: {RESULT}\n")
    assert len(written) == total
    assert files_under(Path("predictions")) == files_under(Path("whole"))


def test_a_part_that_is_missing_is_predicted_in_the_end(trained: Path) -> None:
    write_survey(SURVEY, PLACES)
    predicted(out="whole")
    assert predicted(part="2/2").predicted == 2
    assert predicted().predicted == 4
    assert files_under(Path("predictions")) == files_under(Path("whole"))


def test_other_settings_do_not_mix_with_lines_that_are_there(trained: Path) -> None:
    write_survey(SURVEY, PLACES)
    predicted(part="1/2")
    before = files_under(Path("predictions"))
    for given, named in (
        ({"along": "both"}, "along"),
        ({"overlap": 0.3}, "overlap"),
        ({"run": "other"}, "run, weights"),
    ):
        message = f"lines holds lines that were predicted with other settings: {named}$"
        with pytest.raises(ConfigError) as caught:
            predicted(**given)
        assert caught.match(f"(?m){message}")
    write_survey(SURVEY, PLACES, amplitudes_at(PLACES) * 2)
    with pytest.raises(ConfigError, match=r"with other settings: amplitudes\n"):
        predicted()
    assert files_under(Path("predictions")) == before
    assert predicted(overwrite=True).predicted == 4


def test_a_result_that_is_there_is_replaced_only_when_told(trained: Path) -> None:
    write_survey(SURVEY, PLACES)
    predicted()
    before = files_under(trained)
    refused(2, "predict", SURVEY, "--run", "other", *CPU,
            found="predictions/survey-probability.sgy exists already",
            expected="a folder without a result of this survey",
            then="--out FOLDER, or --overwrite to replace it")  # fmt: skip
    assert files_under(trained) == before
    salt("predict", SURVEY, "--run", "other", "--overwrite", *CPU)
    after = files_under(trained)
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {f"predictions/survey-probability.{end}" for end in ("sgy", "json")}


@pytest.mark.parametrize(
    ("given", "found", "code"),
    [
        (("--part", "0/3"), "--part 0/3", 2),
        (("--part", "4/3"), "--part 4/3", 2),
        (("--part", "half"), "--part half", 2),
        (("--overlap", 1), "tiles that overlap by 1", 2),
        (("--inline-byte", 190), "no number of a trace's header begins at byte 190", 2),
        (("--stretch",), "--stretch is given", 2),
        (("line.png",), r"the survey survey.sgy and 1 more", 2),
        (("--run", "tinny"), "there is no run 'tinny'", 2),
        (("--inline-byte", 231, "--xline-byte", 1, "--along", "both"), "no crosslines", 2),
    ],
)  # fmt: skip
def test_bad_options_change_nothing(
    trained: Path, given: tuple[object, ...], found: str, code: int
) -> None:
    write_survey(SURVEY, PLACES)
    before = files_under(trained)
    refused(code, "predict", SURVEY, "--run", "tiny", *CPU, *given, found=found, expected=".",
            then=".")  # fmt: skip
    assert files_under(trained) == before


def test_options_of_surveys_are_not_for_images(trained: Path) -> None:
    refused(2, "predict", "line.png", "--inline-byte", 9, *CPU, found="--inline-byte is given",
            expected="only for SEG-Y surveys", then="leave it out")  # fmt: skip


def test_a_damaged_survey_changes_nothing(trained: Path) -> None:
    write_survey(SURVEY, PLACES, code=IEEE)
    SURVEY.write_bytes(SURVEY.read_bytes()[:-100])
    before = files_under(trained)
    refused(3, "predict", SURVEY, "--run", "tiny", *CPU, found="is truncated or damaged",
            expected="whole traces", then="copy the file again")  # fmt: skip
    assert files_under(trained) == before


def test_a_line_that_memory_cannot_hold_is_refused(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_survey(SURVEY, PLACES)
    monkeypatch.setattr(survey_plan, "MOST_SAMPLES", 40 * 39)
    message = "has a line of 40 traces of 40 samples, by the numbers at bytes 189 and 193"
    with pytest.raises(DataError, match=message):
        predicted()
    assert predicted(along="crossline").lines == 40


def test_gathers_before_stack_are_warned_of(trained: Path) -> None:
    write_survey(SURVEY, [place for place in PLACES for _ in range(2)])
    assert "160 traces of survey.sgy have the inline" in salt(
        "predict", SURVEY, "--run", "tiny", *CPU
    ).stderr  # fmt: skip
