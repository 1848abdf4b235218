"""A call that was killed near its end is finished by the next one, without being asked."""

from __future__ import annotations

import json
import resource
import shutil
from pathlib import Path

import pytest

from kaggle_salt.cli.console import ConsoleListener
from kaggle_salt.competition.tiles import Competition
from kaggle_salt.storage.files import atomic_path, read_json, write_json
from tests.test_lease import DEAD, leave
from tests.tiny import files_under, refused, salt

CPU = ("--device", "cpu")
TRAIN = ("train", "--config", "tiny.toml", "--run", "tiny", *CPU)
SURE = ("--confidence", "0", "--low", ".5", "--high", ".5")


def test_a_fold_that_was_killed_after_its_summary_is_tidied(trained: Path) -> None:
    fold = Path("runs/tiny/fold0")
    whole = files_under(fold)
    (fold / "checkpoint.pt").write_bytes(b"of no use")
    (fold / "learning-curve.png").unlink()
    (fold / "predictions.png").unlink()
    leave(fold, DEAD)
    told = salt(*TRAIN).stderr
    assert "fold 0 of run tiny is trained, and was not tidied up: done now" in told
    assert files_under(fold).keys() == whole.keys()
    assert "nothing to do" in salt(*TRAIN).stderr
    assert (fold / "weights.safetensors").read_bytes() == whole["weights.safetensors"]


def test_what_dead_processes_left_of_other_folds_goes(trained: Path) -> None:
    leave(Path("runs/tiny/fold2"), DEAD)
    leave(Path("runs/tiny/fold1"), DEAD)
    salt(*TRAIN)
    assert not Path("runs/tiny/fold2").exists()
    assert not list(Path("runs").rglob("lease-*"))


def test_a_pretraining_that_was_killed_after_its_summary_is_tidied(trained: Path) -> None:
    pretrain = ("pretrain", "--config", "tiny.toml", "--run", "pre", "--epochs", "2", *CPU)
    salt(*pretrain)
    whole = files_under(Path("runs/pre"))
    Path("runs/pre/checkpoint.pt").write_bytes(b"of no use")
    Path("runs/pre/pretraining.png").unlink()
    salt(*pretrain)
    assert files_under(Path("runs/pre")) == whole


def test_a_submission_without_its_manifest_is_finished(trained: Path) -> None:
    salt("ensemble", "tiny", *CPU)
    salt("submit")
    whole = files_under(Path("submissions"))
    Path("submissions/tiny.json").unlink()
    assert "written and checked" in salt("submit").stdout
    assert files_under(Path("submissions")) == whole
    Path("submissions/tiny.json").unlink()
    Path("submissions/tiny.csv").write_text("somebody's own", encoding="utf-8")
    refused(2, "submit", found="tiny.csv exists", expected="a new name", then="--overwrite")
    assert Path("submissions/tiny.csv").read_text(encoding="utf-8") == "somebody's own"


def test_labels_without_their_manifest_are_finished(trained: Path) -> None:
    label = ("pseudo-label", "tiny", *SURE, *CPU)
    salt(*label)
    labels = Path("runs/tiny/pseudo-labels.csv")
    whole = files_under(Path("runs/tiny"))
    labels.with_suffix(".json").unlink()
    salt(*label)
    assert files_under(Path("runs/tiny")) == whole
    labels.with_suffix(".json").unlink()
    labels.write_text("somebody's own", encoding="utf-8")
    refused(2, *label, found="exists and was made of", expected="a new name", then="--overwrite")


def test_a_training_on_a_full_disk_keeps_its_checkpoint_and_goes_on(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, begun = resource.getrlimit(resource.RLIMIT_FSIZE), []
    usual = ConsoleListener.epoch_starts

    def epoch_starts(self: ConsoleListener, title: str, steps: int) -> None:
        begun.append(title)
        if len(begun) == 3:
            resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
        usual(self, title, steps)

    own = ("train", "--config", "tiny.toml", "--run", "own", *CPU)
    with monkeypatch.context() as patch:
        patch.setattr(ConsoleListener, "epoch_starts", epoch_starts)
        try:
            refused(1, *own, found="no room in runs/own/fold0 for checkpoint.pt: File too large",
                    expected="room on that disk",
                    then=rf"make room.*; to go on: salt {' '.join(own)} --resume")  # fmt: skip
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert sorted(files_under(Path("runs/own/fold0"))) == ["checkpoint.pt", "history.csv"]
    salt(*own, "--resume")
    weights = [Path(f"runs/{run}/fold0/weights.safetensors") for run in ("own", "tiny")]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_a_training_may_go_on_with_other_loaders(trained: Path) -> None:
    shutil.copytree("runs/tiny", "runs/own")
    Path("runs/own/fold1/fold.json").unlink()
    Path("runs/own/fold1/history.csv").unlink()
    config = Path("runs/own/config.toml")
    config.write_text(config.read_text(encoding="utf-8").replace("workers = -1", "workers = 2"),
                      encoding="utf-8")  # fmt: skip
    salt("train", "--run", "own", "--fold", 1, "--resume", "--set", "training.workers=0", *CPU)
    summaries = [read_json(Path(f"runs/{run}/fold1/fold.json")) for run in ("own", "tiny")]
    assert summaries[0]["weights_hash"] == summaries[1]["weights_hash"]


def test_doctor_counts_no_living_writer(trained: Path) -> None:
    write_json(Path("runs/tiny/fold0/.weights.safetensors.abcdefgh.json"), {})
    signs = json.loads(salt("doctor", "tiny", "--json", code=0).stdout)
    assert "abcdefgh" in str(signs)


def test_a_cache_whose_maker_was_killed_is_tidied_by_who_uses_it(trained: Path) -> None:
    [cache] = Path("data/.salt-cache").glob("*/")
    (cache.parent / ".gitignore").unlink()
    old, busy = cache.with_name("old"), cache.with_name("busy")
    shutil.copytree(cache, old)
    with atomic_path(busy / "images.npy"):
        Competition.open("data")
        assert sorted(path.name for path in cache.parent.iterdir()) == sorted(
            [".gitignore", "busy", cache.name]
        )
    Competition.open("data")
    assert not busy.exists()
