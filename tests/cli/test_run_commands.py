from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors.torch import load_file, save_file

from kaggle_salt.competition import kaggle_client
from kaggle_salt.config.file import dump_config
from kaggle_salt.runs import RunFolder
from kaggle_salt.storage.files import read_json
from tests.tiny import (
    UploadStandIn,
    configure,
    files_under,
    interrupt_epoch,
    refused,
    salt,
    tiny_config,
)

TRAIN = ("train", "--config", "tiny.toml", "--device", "cpu")


# train


def test_a_finished_run_says_so(trained: Path) -> None:
    before = files_under(trained)
    result = salt("train", "--run", "tiny", "--fold", "0,1")
    assert result.stderr.splitlines() == [
        f"fold {fold} of run tiny is finished; nothing to do" for fold in (0, 1)
    ]
    header, first, second = result.stdout.splitlines()
    assert header.split() == "fold tiles epochs minutes score at .5 with TTA".split()
    assert first.split()[:3] == ["0", "14", "5"]
    assert second.split()[:3] == ["1", "13", "5"]
    assert files_under(trained) == before


def test_training_prints_one_json_document(trained: Path) -> None:
    result = salt(*TRAIN, "--fold", "2", "--json")
    [summary] = json.loads(result.stdout)
    assert (summary["fold"], summary["tiles"], summary["epochs"]) == (2, 13, 5)
    epochs = [line for line in result.stderr.splitlines() if line.startswith("epoch ")]
    assert [line.split()[2] for line in epochs] == ["bce"] * 4 + ["swa"]


def test_ctrl_c_keeps_the_checkpoint_and_resume_goes_on(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunFolder(Path("runs/half"))
    with monkeypatch.context() as patch:
        interrupt_epoch(patch, 3)
        result = salt(*TRAIN, "--run", "half", code=130)
    assert result.stderr.endswith(
        "interrupted; to go on: salt train --config tiny.toml --run half --device cpu --resume\n"
    )
    assert result.stdout == ""
    assert run.fold(0).checkpoint.exists()
    assert len(run.fold(0).history.read_text(encoding="utf-8").splitlines()) == 3
    before = files_under(trained)
    refused(2, *TRAIN, "--run", "half", found="fold 0 of run half is half trained",
            expected="a decision",
            then="go on with it: salt train --run half --fold 0 --resume --config tiny.toml "
            "--device cpu, or start it anew: salt train --run half --fold 0 --overwrite --conf",
            )  # fmt: skip
    refused(2, *TRAIN, "--run", "half", "--resume", "--set", "stage.bce.epochs=9",
            found=r"another configuration \(stage.bce.epochs: 4 -> 9\)",
            expected="one configuration", then="--run NEW_NAME")  # fmt: skip
    refused(2, "ensemble", "half", found=r"no trained fold \(fold 0 is half trained\)",
            expected="at least one", then="salt train --run half --fold 0 --resume")  # fmt: skip
    assert files_under(trained) == before
    resumed = salt("train", "--run", "half", "--resume")
    epochs = [line for line in resumed.stderr.splitlines() if line.startswith("epoch ")]
    assert [line.split()[1] for line in epochs] == ["3", "4", "5"]
    straight = Path("runs/tiny/fold0/weights.safetensors").read_bytes()
    assert run.fold(0).weights.read_bytes() == straight


@pytest.mark.parametrize(
    ("arguments", "found", "expected", "then"),
    [
        (["--fold", "3"], "no fold '3'", "some of 0, 1, 2, or all", "--fold 0"),
        (["--fold", "first"], "no fold 'first'", "some of 0, 1, 2", "--fold all"),
        (["--preset", "quick"], "exclude each other", "one of the two", "--preset or --config"),
        (["--run", "ensemble"], "cannot be called 'ensemble'", "any name but", "--run NAME"),
        (["--run", "a/b"], "cannot be called 'a/b'", "plain name", "another name"),
        (["--set", "stage.bce.epoch=3"], "unknown key 'stage.bce.epoch'", "'epochs'", "--set"),
        (["--set", "stage.bse.epochs=3"], "no stage 'bse'", "'bce'", "--set"),
        (["--set", "trainin.seed=1"], "unknown key 'trainin'", "'training'", "--set"),
        (["--set", "input.size=big"], "--set input.size=big", "a whole number", "--set"),
        (["--set", "stage.bce.loss.name=lovas"], '= "lovas"', "'lovasz'", "--set"),
        (["--set", "model.architecture=compakt"], "'compakt'", "'compact'", "--set"),
        (["--set", "model.options.width=[4]"], "options.width'", "'widths'", "--set"),
        (["--set", "augment.pipeline=lite"], "'lite'", "light", "--set"),
        (["--set", "input.size"], "has no value", "KEY=VALUE", "--set"),
        (["--device", "tpu"], "device 'tpu'", "auto, cpu", "--device auto"),
        (["--resume", "--overwrite"], "exclude each other", "one of the two", "--resume"),
    ],
)
def test_what_train_refuses(
    trained: Path, arguments: list[str], found: str, expected: str, then: str
) -> None:
    before = files_under(trained)
    base = () if "--preset" in arguments else ("--run", "new")
    refused(2, "train", "--config", "tiny.toml", *base, *arguments,
            found=found, expected=expected, then=then)  # fmt: skip
    assert files_under(trained) == before


def test_epochs_are_planned_and_the_run_goes_on_with_them(trained: Path) -> None:
    result = salt(*TRAIN, "--run", "long", "--epochs", 3, "--set", "stage.bce.epochs=2")
    assert re.search(r"\n  bce +2 epochs \(of 2\) at 32 px\n  swa +1 epochs", result.stderr)
    refused(2, *TRAIN, "--run", "long", "--fold", 1, "--epochs", 5, "--set", "stage.bce.epochs=2",
            found="run long is planned for 3 epochs a fold", expected="one plan for all folds",
            then="^--epochs 3 for this run, or --run NEW_NAME")  # fmt: skip
    other = salt("train", "--run", "long", "--fold", 1, "--device", "cpu", "--json")
    [summary] = json.loads(other.stdout)
    assert summary["epochs"] == 3


def test_minutes_and_epochs_are_one_or_the_other(trained: Path) -> None:
    refused(2, *TRAIN, "--minutes", 1, "--epochs", 5, found="--minutes and --epochs exclude",
            expected="one of the two", then="leave out --minutes or --epochs")  # fmt: skip
    refused(2, *TRAIN, "--minutes", 0, found="a training of 0.0 minutes", expected="above 0",
            then="--minutes 30")  # fmt: skip


def test_unknown_presets_and_files(trained: Path) -> None:
    refused(2, "train", "--preset", "quik", found="unknown preset 'quik'",
            expected="did you mean 'quick'", then="--preset NAME, or --config")  # fmt: skip
    refused(2, "train", "--config", "none.toml", found="none.toml cannot be read",
            expected="TOML", then="--preset")  # fmt: skip
    Path("bad.toml").write_text("[[stage]\n", encoding="utf-8")
    refused(2, "train", "--config", "bad.toml", found="bad.toml is not valid TOML",
            expected="TOML", then="correct bad.toml")  # fmt: skip
    Path("empty.toml").write_text("", encoding="utf-8")
    refused(2, "train", "--config", "empty.toml", found="'stage' is missing",
            expected="'stage': one .*block or more", then="blocks into empty.toml")  # fmt: skip


def test_the_seed_is_part_of_the_configuration(trained: Path) -> None:
    refused(2, "train", "--run", "tiny", "--fold", 2, "--seed", 7,
            found="training.seed: 0 -> 7", expected="one configuration", then="--run")  # fmt: skip


def test_a_loss_that_is_no_number_ends_with_1(trained: Path) -> None:
    before = files_under(trained / "runs/tiny")
    steep = ("--set", "stage.bce.optimizer.lr=1e38")
    refused(1, *TRAIN, "--run", "steep", *steep, found="training loss of stage 'bce' is (nan|inf)",
            expected="a finite loss",
            then=r"--run steep-slower .*optimizer.lr=0.001")  # fmt: skip
    assert files_under(trained / "runs/tiny") == before
    assert RunFolder(trained / "runs/steep").claimed_folds() == []
    [summary] = json.loads(salt(*TRAIN, "--run", "steep", "--json").stdout)
    assert summary["epochs"] == 5


def test_weights_that_cannot_be_downloaded_end_with_4(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*_: Any, **__: Any) -> str:
        raise LocalEntryNotFoundError("offline")

    monkeypatch.setattr("segmentation_models_pytorch.encoders.hf_hub_download", unreachable)
    before = files_under(trained)
    refused(4, "train", "--preset", "resnet34", "--set", "model.encoder=resnet18",
            "--set", "input.size=32",
            found="ImageNet weights of resnet18 cannot be downloaded",
            expected="a connection", then="--set model.weights=none")  # fmt: skip
    assert files_under(trained) == before


def test_weights_of_another_architecture_end_with_2(trained: Path) -> None:
    weights = load_file("runs/tiny/fold0/weights.safetensors")
    del weights["stem.0.weight"]
    save_file(weights, "foreign.safetensors")
    before = files_under(trained)
    refused(2, *TRAIN, "--run", "warm", "--set", "model.weights=foreign.safetensors",
            found=r"does not fit Compact: 1 missing \(stem.0.weight\)",
            expected="tensors of this architecture", then="model.weights=none")  # fmt: skip
    refused(2, *TRAIN, "--run", "warm", "--set", "model.weights=none.safetensors",
            found="does not exist", expected="imagenet, none, or a file",
            then="model.weights=none")  # fmt: skip
    assert files_under(trained) == before


# ensemble


def test_ensemble_prints_the_scores_and_the_decision(trained: Path) -> None:
    result = salt("ensemble", "tiny", "other", "--weights", "2,1", "--device", "cpu")
    lines = result.stdout.splitlines()
    assert [line.split("  ")[0] for line in lines[:8]] == [
        "out of fold", "tiny, fold 0", "tiny, fold 1", "tiny, all its folds",
        "other, fold 1", "other, fold 2", "other, all its folds", "blend",
    ]  # fmt: skip
    assert lines[8].split() == "mask tiles at the decision 95 % interval".split()
    types = read_json(Path("runs/ensemble/tiny+other/ensemble.json"))["types"]
    told = [line.split()[:3] for line in lines[9:-4]]
    assert told == [[one["type"], str(one["tiles"]), f"{one['score']:.4f}"] for one in types]
    assert lines[-4].startswith("decision: threshold 0.")
    assert lines[-3].startswith("score to quote: 0.")
    assert lines[-2] == (
        f"8 test tiles predicted; curve: {Path('runs/ensemble/tiny+other')}/threshold-curve.png"
    )
    for warning in ("run tiny lacks fold 2", "run other lacks fold 0"):
        assert f"warning: {warning}: left out" in result.stderr


def test_ensemble_prints_what_a_search_found(trained: Path) -> None:
    search = ("ensemble", "tiny", "other", "--weights", "search", "--steps", "5")
    result = salt(*search, "--how", "logits", "--device", "cpu")
    assert "searching the weights of 2 runs on 13 tiles" in result.stderr
    lines = result.stdout.splitlines()
    lines = lines[:8] + lines[next(n for n, line in enumerate(lines) if line[:4] == "run ") :]
    assert lines[8].split() == "run alone weight without it the blend loses 95 % interval".split()
    assert [line.split()[0] for line in lines[9:11]] == ["tiny", "other"]
    assert lines[11].startswith("runs taken, with the score on the tiles that chose: ")
    assert lines[12].startswith("equal weights: 0.")
    assert lines[14].endswith("weights and decision chosen on the other tiles each time")
    report = json.loads(salt(*search, "--json").stdout)
    assert report["honest"] == report["search"]["honest"]
    assert [one["member"] for one in report["search"]["contributions"]] == ["tiny", "other"]
    assert 1 <= len(report["search"]["climb"]["path"]) <= 5


def test_ensemble_prints_why_even_the_quoted_score_is_too_high(trained: Path) -> None:
    config = tiny_config(trained, "stage.bce.keep=best")
    configure(trained / "runs/tiny", dump_config(config))
    lines = salt("ensemble", "tiny", "--device", "cpu").stdout.splitlines()
    assert lines[-4].startswith("score to quote: 0.")
    assert lines[-3].startswith("but run tiny was steered by the tiles it is scored on (stage bce")
    document = json.loads(salt("ensemble", "tiny", "--json").stdout)
    assert lines[-3] == f"but {document['caveats'][0]}"


def test_post_processing_is_chosen_by_name_or_by_the_tiles(trained: Path) -> None:
    def steps_of(*options: str) -> list[str]:
        result = salt("ensemble", "tiny", "--device", "cpu", "--json", *options)
        steps: list[str] = json.loads(result.stdout)["decision"]["rule"]["steps"]
        return steps

    assert steps_of("--post", "blank-empty") == ["blank-empty"]
    assert steps_of("--post", "none") == []
    assert "then blank-empty" in salt("ensemble", "tiny", "--post", "blank-empty").stdout
    assert "then blank-empty" in salt("submit").stdout


def test_ensemble_prints_one_json_document(trained: Path) -> None:
    report = json.loads(salt("ensemble", "tiny", "--name", "one", "--json").stdout)
    assert report["name"] == "one"
    assert report["missing"] == {"tiny": [2]}
    assert report["decision"]["rule"]["threshold"] == report["decision"]["rule"]["level"] / 255
    assert [row["name"] for row in report["rows"]][-1] == "tiny, all its folds"
    assert sum(row["tiles"] for row in report["types"]) == report["rows"][-1]["tiles"]


def test_the_scores_by_type_are_whole_at_60_columns(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    lines = salt("ensemble", "tiny", "--device", "cpu").stdout.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("mask "))
    types = read_json(Path("runs/ensemble/tiny/ensemble.json"))["types"]
    assert len(types) > 1
    for line, one in zip(lines[start + 1 :], types, strict=False):
        low, high = one["interval"]
        cells = [one["type"], str(one["tiles"]), f"{one['score']:.4f}"]
        assert line.split() == [*cells, f"[{low:.4f},", f"{high:.4f}]"]


@pytest.mark.parametrize(
    ("arguments", "found", "expected", "then"),
    [
        (["tinny"], "no run 'tinny'", "did you mean 'tiny'", "salt train --run tinny"),
        (["tiny", "tiny"], "named twice", "each run once", "salt ensemble"),
        (["tiny", "other", "--weights", "1"], "weights 1 for 2", "one positive", "--weights"),
        (["tiny", "--weights", "-1"], "weights -1", "one positive", "--weights"),
        (["tiny", "--weights", "heavy"], "--weights heavy", "one number a run", "--weights"),
        (
            ["tiny", "--weights", "search"],
            "1 member to",
            "two or more",
            "tiny RUN --weights search",
        ),
        (["tiny", "--post", "blank"], "step 'blank'", "'blank-empty'", "--post blank-empty"),
        (["tiny", "--post", "none", "--post", "x"], "none beside x", "or none", "none alone"),
        (["tiny", "--how", "vot"], "unknown average 'vot'", "did you mean 'vote'", "--how mean"),
        (["tiny", "--require-all"], "run tiny lacks fold 2", "every fold", "--fold 2 --resume"),
        (["tiny", "--name", "../x"], "cannot be called '../x'", "plain name", "another name"),
    ],
)
def test_what_ensemble_refuses(
    trained: Path, arguments: list[str], found: str, expected: str, then: str
) -> None:
    before = files_under(trained)
    refused(2, "ensemble", *arguments, found=found, expected=expected, then=then)
    assert files_under(trained) == before


def test_an_ensemble_without_any_trained_fold(trained: Path) -> None:
    refused(2, "ensemble", "--runs", "nothing", found="no run in nothing has a trained fold",
            expected="at least one", then="salt train --fold 0")  # fmt: skip


# submit


@pytest.fixture
def blended(trained: Path) -> Path:
    """The trained workspace with an ensemble of run ``tiny``."""
    salt("ensemble", "tiny", "--device", "cpu")
    return trained


def test_submit_says_what_it_wrote(blended: Path) -> None:
    csv = Path("submissions/tiny.csv")
    first = salt("submit", "--threshold", 0.3, "--min-area", 5).stdout
    assert first.startswith(f"{csv}: 8 rows, ")
    written, rule = first.splitlines()
    assert written.endswith(" of them empty, written and checked")
    assert rule == f"decision: threshold {76 / 255:.4f}, minimum area 5 px"
    again = salt("submit", "--threshold", 0.3, "--min-area", 5).stdout
    assert again.splitlines()[0].endswith("was there already, made of the same")
    document = json.loads(salt("submit", "--name", "low", "--threshold", 0.1, "--json").stdout)
    assert document["csv"] == str(Path("submissions/low.csv"))
    assert (document["rule"]["level"], document["upload"]) == (25, None)


def test_a_submission_is_named_with_or_without_its_suffix(blended: Path) -> None:
    for name in ("x.csv", "x", "x.CSV"):
        assert salt("submit", "--name", name).stdout.startswith(f"{Path('submissions/x.csv')}: ")
    assert sorted(path.name for path in Path("submissions").iterdir()) == ["x.csv", "x.json"]
    refused(2, "submit", "--name", ".csv", found="a submission cannot be called",
            expected="plain name", then="another name")  # fmt: skip


def test_what_submit_refuses(blended: Path) -> None:
    salt("submit")
    before = files_under(blended)
    refused(2, "submit", "--min-area", 7, found="tiny.csv exists",
            expected="a new name", then="another name, or give --overwrite")  # fmt: skip
    refused(2, "submit", "--ensemble", "tinny", found="no ensemble 'tinny'",
            expected="did you mean 'tiny'", then="salt submit --ensemble")  # fmt: skip
    refused(2, "submit", "--runs", "nothing", found="there is no ensemble in",
            expected="made by salt ensemble", then="salt ensemble")  # fmt: skip
    salt("submit", "--threshold", 1.5, code=2)
    assert files_under(blended) == before


def test_upload_through_the_command_line(blended: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = UploadStandIn()
    monkeypatch.setattr(kaggle_client, "_connect", lambda: client)
    told = salt("submit", "--upload", "--message", "hello")
    assert told.stdout.splitlines()[2] == "Kaggle: complete, public 0.84, private None"
    assert [message for _, message, _ in client.sent] == ["hello"]
    document = json.loads(salt("submit", "--upload", "--json").stdout)
    assert document["upload"]["public_score"] == 0.84


def test_an_upload_without_a_client_says_what_is_missing(
    blended: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def connect() -> Any:
        raise ImportError("No module named 'kaggle'")

    monkeypatch.setattr(kaggle_client, "_connect", connect)
    refused(4, "submit", "--upload", found="client is not installed", expected="kaggle and six",
            then=r"pip install 'kaggle-salt\[kaggle\]', or by hand")  # fmt: skip
    assert Path("submissions/tiny.csv").exists(), "the CSV is not lost"
