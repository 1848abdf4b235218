from __future__ import annotations

import itertools
import json
import shlex
from pathlib import Path

import pytest

from kaggle_salt.config.file import load_config
from tests.tiny import files_under, refused, salt

FIND = ("lr-find", "--config", "tiny.toml", "--run", "new", "--device", "cpu", "--min", 1e-4,
        "--max", 0.1, "--steps", 20)  # fmt: skip


def test_the_rate_is_told_with_the_command_that_takes_it(trained: Path) -> None:
    result = salt(*FIND, "--seed", 1, "--set", "augment.pipeline=none")
    first, second, third = result.stdout.splitlines()
    assert first.startswith("20 steps: the loss falls fastest at 0.0")
    assert first.endswith("; the stage has 0.03")
    assert second == f"curve: {Path('runs/new/lr-find.png')}"
    rate = first.split(" at ")[1].split(";")[0]
    assert third == (
        "next: salt train --config tiny.toml --run new --set augment.pipeline=none "
        f"--set training.seed=1 --set stage.bce.optimizer.lr={rate} --fold 0 --device cpu"
    )
    assert "run new, fold 0, stage bce: 20 steps" in result.stderr


def test_one_json_document_whose_command_is_configured_right(trained: Path) -> None:
    report = json.loads(salt(*FIND, "--stage", "swa", "--fold", 1, "--json").stdout)
    assert (report["run"], report["fold"]) == ("new", 1)
    assert (report["stage"], report["configured"]) == ("swa", 0.001)
    assert report["picture"] == str(Path("runs/new/lr-find.png"))
    words = shlex.split(report["command"])
    assert words[:2] == ["salt", "train"]
    assert words[-4:] == ["--fold", "1", "--device", "cpu"]
    overrides = [word for before, word in itertools.pairwise(words) if before == "--set"]
    config = load_config(Path("tiny.toml"), overrides)
    assert config.stage[1].optimizer.lr == report["suggestion"]["steepest"]


@pytest.mark.parametrize(
    ("arguments", "found", "expected", "then"),
    [
        (["--stage", "lovas"], "no stage 'lovas'", "one of bce, swa", "--stage NAME"),
        (["--fold", 3], "no fold '3'", "some of 0, 1, 2", "--fold 0"),
        (["--min", 1], "no sweep from 1 to 0.1 in 20", "the second above", "--min 1e-6"),
        (["--steps", 5], "in 5 steps", "10 steps at least", "--steps 100"),
        (["--preset", "quick"], "exclude each other", "one of the two", "--preset or --config"),
        (["--device", "tpu"], "device 'tpu'", "auto, cpu", "--device auto"),
    ],
)
def test_what_lr_find_refuses(
    trained: Path, arguments: list[object], found: str, expected: str, then: str
) -> None:
    before = files_under(trained)
    refused(2, *FIND, *arguments, found=found, expected=expected, then=then)
    assert files_under(trained) == before


def test_a_loss_that_falls_nowhere_ends_with_1(trained: Path) -> None:
    refused(1, *FIND[:-6], "--min", 1e30, "--max", 1e38, found="falls nowhere",
            expected="a range of rates", then="lower --min and --max")  # fmt: skip
