"""Test tiles of an ensemble and lines of a survey, predicted by several: the same bytes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from kaggle_salt import ensemble, predict_survey
from kaggle_salt.launch import local
from kaggle_salt.launch.tasks import Task
from kaggle_salt.learning import on_test
from kaggle_salt.pipeline.blending.on_test import predict_part
from kaggle_salt.pipeline.workspace import Workspace
from tests.launch.scripts import in_place_of_processes
from tests.launch.test_ray import RayStandIn
from tests.surveys import cube, write_survey
from tests.tiny import TINY, configure, files_under, refused, salt

CPU = ("--device", "cpu")
JOBS = (*CPU, "--jobs", "2")


@pytest.fixture
def in_blocks(trained: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The eight test tiles are four blocks of two batches each."""
    for run in ("tiny", "other"):
        configure(Path("runs", run), TINY + "\n[inference]\nbatch_size = 1\n")
    monkeypatch.setattr(on_test, "BATCHES", 2)
    return trained


def made_alone(*words: str) -> dict[str, bytes]:
    """What ``salt ensemble`` leaves without any part; its predictions are removed again."""
    salt("ensemble", *words, *CPU)
    made = files_under(Path("runs"))
    shutil.rmtree("runs/ensemble")
    for path in Path("runs").glob("*/fold*/test.*"):
        path.unlink()
    return made


# ensembles


def test_a_process_predicts_the_test_tiles_and_if_it_is_killed_another_does(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree("runs/tiny/fold1")
    alone = made_alone("tiny")
    usual, begun = local.start_process, list[subprocess.Popen[bytes]]()

    def start(task: Task, share: Mapping[str, str], place: str) -> subprocess.Popen[bytes]:
        begun.append(usual(task, share, place))
        if len(begun) == 1:
            begun[0].send_signal(signal.SIGKILL)
        return begun[-1]

    monkeypatch.setattr(local, "start_process", start)
    told = salt("ensemble", "tiny", *JOBS).stderr
    assert "part 1/1: begins, try 2" in told
    assert "tiny fold 0: test tiles: 8 in" in told
    assert [process.returncode for process in begun] == [-signal.SIGKILL, 0]
    assert files_under(Path("runs")) == alone


def test_a_part_is_of_one_fold_and_all_are_done(
    in_blocks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = made_alone("tiny")
    begun = in_place_of_processes(monkeypatch)
    salt("ensemble", "tiny", *CPU, "--jobs", "3")
    assert files_under(Path("runs")) == alone
    assert [task.name for task in begun] == [f"part {n}/4" for n in (1, 2, 3, 4)]
    assert " ".join(begun[2].words) == (
        "ensemble tiny --data data --runs runs --folds folds/folds.csv --device cpu --part 3/4"
    )
    assert str(begun[2].done) == "runs/tiny/fold1/test.blocks/000002.json"
    salt("ensemble", "tiny", *CPU, "--jobs", "3")
    assert len(begun) == 4, "what is predicted is not launched"
    for path in Path("runs/tiny/fold0").glob("test.*"):
        path.unlink()
    salt("ensemble", "tiny", *CPU, "--jobs", "3")
    assert [task.name for task in begun[4:]] == ["part 1/6", "part 2/6", "part 3/6"]
    assert files_under(Path("runs")) == alone


def test_parts_by_hand_make_the_whole(in_blocks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = made_alone("tiny", "other")
    told = salt("ensemble", "tiny", "other", *CPU, "--part", "2/3").stdout
    assert told.startswith("5 of 16 blocks of test tiles predicted, by the folds of tiny, other\n")
    assert not Path("runs/ensemble").exists()
    there = json.loads(salt("ensemble", "tiny", "other", *CPU, "--part", "1/4", "--json").stdout)
    assert there == {"runs": ["tiny", "other"], "blocks": 16, "predicted": 9}

    def power_cut(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(on_test, "load_networks", power_cut)
        predict_part(Workspace(), ["tiny", "other"], part="1/4", device="cpu")  # all are there
        salt("ensemble", "tiny", "other", *CPU, "--part", "4/4", code=130)
    salt("ensemble", "tiny", "other", *CPU)
    assert files_under(Path("runs")) == alone


def test_a_part_that_fails_is_told_with_the_way_on(
    in_blocks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = made_alone("tiny", "--name", "mine")
    call = ("ensemble", "tiny", "--name", "mine", *JOBS, "--retries", "0")
    with monkeypatch.context() as patch:
        in_place_of_processes(patch, 1, None)
        refused(1, *call, found=r"1 of 2 parts of the test tiles failed: part 1/2 after 1 try "
                r"\(exit code 1; see runs/ensemble/mine/logs/part1.log\)",
                expected="every part", then="is there: salt ensemble tiny --name mine --jobs 2 "
                "--retries 0 --device cpu$")  # fmt: skip
    begun = in_place_of_processes(monkeypatch)
    salt(*call)
    assert [task.name for task in begun] == ["part 1/4", "part 2/4"]
    assert files_under(Path("runs")) == alone


def test_ray_predicts_in_any_format(in_blocks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = made_alone("tiny")
    ray = RayStandIn()
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setitem(sys.modules, "ray.exceptions", ray.exceptions)
    begun = in_place_of_processes(monkeypatch, -9)
    salt("ensemble", "tiny", "--on", "ray")
    assert len(begun) == 8 + 1
    assert files_under(Path("runs")) == alone


def test_a_notebook_launches_them_too(in_blocks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = in_place_of_processes(monkeypatch)
    write_survey(Path("survey.sgy"), cube(range(4), range(40)))
    assert ensemble("data", "tiny", jobs=2, device="cpu", verbose=False).test_tiles == 8
    report = predict_survey("survey.sgy", run="tiny", jobs=2, device="cpu", verbose=False)
    assert report.predicted == 4
    assert len(begun) == 2 + 2


# surveys


@pytest.fixture
def survey(trained: Path) -> Path:
    path = Path("my survey.sgy")
    write_survey(path, cube(range(100, 104), range(40)))
    return path


def test_parts_of_a_survey_and_one_that_is_killed(
    survey: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ("--along", "both", "--overlap", "0.3", "--threshold", "0")
    shown = salt("predict", survey, "--run", "tiny", *options, *CPU, "--out", "alone").stdout
    os.utime("runs/tiny/fold0/fold.json", (2e9, 2e9))
    begun = in_place_of_processes(monkeypatch, -9)
    told = salt("predict", survey, *options, *JOBS, "--out", "by two")
    assert told.stdout == shown.replace("alone", "by two")
    assert "part 1/2: begins, try 2" in told.stderr
    assert files_under(Path("by two")) == files_under(Path("alone"))
    assert begun[0].words == (
        "predict", "my survey.sgy", "--run", "tiny", "--out", "by two", "--threshold", "0.0",
        "--overlap", "0.3", "--along", "both", "--runs", "runs", "--device", "cpu",
        "--part", "1/2",
    )  # fmt: skip
    salt("predict", survey, "--run", "other", *JOBS, "--out", "by two", "--overwrite")
    salt("predict", survey, "--run", "other", *CPU, "--out", "other")
    assert files_under(Path("by two")) == files_under(Path("other"))


def test_a_part_of_a_survey_that_fails(survey: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    salt("predict", survey, "--run", "tiny", *CPU, "--out", "alone")
    call = ("predict", survey, *JOBS, "--run", "tiny", "--retries", "0")
    with monkeypatch.context() as patch:
        in_place_of_processes(patch, None, 2)
        refused(1, *call, found=r"1 of 2 parts of my survey.sgy failed: part 2/2 after 1 try "
                r"\(exit code 2; see predictions/my survey-probability.lines/logs/part2.log\)",
                expected="every part", then="salt predict 'my survey.sgy' --run tiny --jobs 2 "
                "--retries 0 --device cpu$")  # fmt: skip
    begun = in_place_of_processes(monkeypatch)
    salt(*call)
    assert [task.name for task in begun] == ["part 2/2"]
    assert files_under(Path("predictions")) == files_under(Path("alone"))


@pytest.mark.parametrize(
    ("arguments", "found", "then"),
    [
        (("ensemble", "tiny", *JOBS, "--part", "1/2"), "--part 1/2 beside --jobs 2", "leave out"),
        (("ensemble", "tiny", "--part", "3/2"), "--part 3/2", "--part 1/4 on one"),
        (("predict", "my survey.sgy", "--on", "ray", "--part", "1/2"), "beside --on ray", "leave"),
        (("predict", "line.png", *JOBS), "--jobs is given", "leave it out"),
        (("predict", "my survey.sgy", "--on", "rey"), "--on rey", "--on ray"),
    ],
)
def test_what_cannot_be_launched_is_refused_first(
    survey: Path, arguments: tuple[str, ...], found: str, then: str
) -> None:
    before = files_under(survey.parent)
    refused(2, *arguments, found=found, expected=".", then=then)
    assert files_under(survey.parent) == before
