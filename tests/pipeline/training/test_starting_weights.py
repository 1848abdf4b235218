"""A fold starts from weights that have not learnt from its validation tiles, or not at all."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from kaggle_salt.config.schema import Config
from kaggle_salt.errors import ConfigError
from kaggle_salt.learning.keeping import ORIGIN, read_origin
from kaggle_salt.pipeline.preparing.prepare import make_fold_table
from kaggle_salt.pipeline.training.starting_weights import origin_of_weights, warn_of_slow_start
from kaggle_salt.pipeline.training.train import train
from kaggle_salt.pipeline.workspace import Workspace
from kaggle_salt.runs import RunFolder
from kaggle_salt.storage.files import file_hash, read_json, write_json
from tests.tiny import Heard, files_under, tiny_config

WORKSPACE = Workspace()  # the tests stand in its folder
FOLD0 = Path("runs/tiny/fold0/weights.safetensors")


def start_from(
    weights: Path, folds: str = "0", *overrides: str, run: str = "warm", **how: Any
) -> tuple[RunFolder, Heard]:
    heard = Heard()
    folder = RunFolder(WORKSPACE.runs / run)
    config: Config = tiny_config(
        Path(), f"model.weights={weights.as_posix()}", "stage.*.epochs=1", *overrides
    )
    train(WORKSPACE, folder, config, folds=folds, device="cpu", listener=heard, **how)
    return folder, heard


def resave(source: Path, to: Path, **changes: Any) -> Path:
    """The same tensors with another origin; without one if nothing is changed."""
    told = {**read_origin(source), **changes} if changes else {}
    to.parent.mkdir(parents=True, exist_ok=True)
    save_file(load_file(source), to, {ORIGIN: json.dumps(told)} if told else None)
    return to


def test_a_folds_weights_say_what_they_have_not_seen(trained: Path) -> None:
    manifest = read_json(Path("runs/tiny/manifest.json"))
    hashes = {key: manifest[key] for key in ("train_hash", "folds_hash")}
    for fold in (0, 1):
        path = Path(f"runs/tiny/fold{fold}/weights.safetensors")
        assert read_origin(path) == {"fold": fold, **hashes}
    assert hashes["folds_hash"] == file_hash(WORKSPACE.folds)


def test_so_does_every_snapshot(trained: Path) -> None:
    snapshots = ["stage.swa.keep=snapshots", "stage.swa.epochs=2"]
    schedule = "stage.swa.schedule={name='cosine-restarts', cycle=1}"
    config = tiny_config(Path(), "stage.bce.epochs=1", *snapshots, schedule)
    run = RunFolder(WORKSPACE.runs / "shots")
    train(WORKSPACE, run, config, folds="1", device="cpu")
    files = run.fold(1).weight_files
    assert [read_origin(path)["fold"] for path in files] == [1, 1]
    with pytest.raises(ConfigError, match=r"snapshot2.safetensors is of fold 1"):
        start_from(files[1])


def test_the_same_fold_may_start_from_them(trained: Path) -> None:
    run, heard = start_from(FOLD0)
    manifest = read_json(run.manifest)
    assert manifest["weights_hash"] == file_hash(FOLD0)
    assert manifest["weights_origin"] == read_origin(FOLD0)
    assert run.finished_folds() == [0]
    assert heard.warnings == []
    assert not any("nothing is known" in note for note in heard.notes)


@pytest.mark.parametrize("folds", ["1", "all", "0,2"])
def test_another_fold_may_not_and_nothing_is_trained(trained: Path, folds: str) -> None:
    before = files_under(trained)
    other = 1 if folds != "0,2" else 2
    found = rf"weights.safetensors is of fold 0, .* fold {other} is validated(.|\n)*next: --fold 0"
    with pytest.raises(ConfigError, match=found):
        start_from(FOLD0, folds)
    assert files_under(trained).keys() - before.keys() == {"tiny.toml"} - before.keys()


def test_a_copy_elsewhere_says_so_too(trained: Path) -> None:
    copied = Path("kept/best.safetensors")
    copied.parent.mkdir()
    shutil.copy(FOLD0, copied)
    with pytest.raises(ConfigError, match=r"kept/best.safetensors is of fold 0"):
        start_from(copied, "1")
    start_from(copied, "0")


def test_a_file_of_an_older_version_is_vouched_for_by_its_fold(trained: Path) -> None:
    resave(FOLD0, FOLD0)
    assert read_origin(FOLD0) == {}
    summary = Path("runs/tiny/fold0/fold.json")
    write_json(summary, {**read_json(summary), "weights_hash": file_hash(FOLD0)})
    assert origin_of_weights(FOLD0)["fold"] == 0
    with pytest.raises(ConfigError, match=r"weights.safetensors is of fold 0"):
        start_from(FOLD0, "1")


def test_a_file_that_its_folder_does_not_vouch_for_is_unknown(trained: Path) -> None:
    assert origin_of_weights(resave(FOLD0, FOLD0)) == {}
    assert origin_of_weights(resave(FOLD0, Path("runs/tiny/fold9/w.safetensors"))) == {}
    assert origin_of_weights(resave(FOLD0, Path("runs/tiny/folder/w.safetensors"))) == {}
    Path("runs/tiny/fold0/fold.json").write_text("{", encoding="utf-8")
    assert origin_of_weights(FOLD0) == {}


@pytest.mark.parametrize("folds", ["1", "all"])
def test_weights_of_no_run_are_taken_with_a_note(trained: Path, folds: str) -> None:
    plain = resave(FOLD0, Path("plain.safetensors"))
    run, heard = start_from(plain, folds)
    assert [note for note in heard.notes if "plain.safetensors was written by no run" in note]
    manifest = read_json(run.manifest)
    assert (manifest["weights_hash"], manifest["weights_origin"]) == (file_hash(plain), "unknown")


def test_another_fold_table_is_refused(trained: Path) -> None:
    make_fold_table(WORKSPACE, n_folds=3, seed=1, overwrite=True)
    found = r"was trained under another fold table, and may have seen tiles that fold 0 is"
    with pytest.raises(ConfigError, match=found):
        start_from(FOLD0)
    assert not (WORKSPACE.runs / "warm").exists()


def test_other_tiles_are_warned_of(trained: Path) -> None:
    other = resave(FOLD0, Path("other.safetensors"), train_hash="a" * 64, folds_hash="b" * 64)
    run, heard = start_from(other, "1")
    assert "other.safetensors was trained on other tiles than these" in heard.warnings[0]
    assert read_json(run.manifest)["weights_origin"]["train_hash"] == "a" * 64


def test_what_the_teachers_have_seen_is_handed_on(trained: Path) -> None:
    taught = resave(FOLD0, Path("taught.safetensors"), pseudo_teachers="all")
    run, heard = start_from(taught)
    assert "has learnt from networks of all folds" in heard.warnings[0]
    assert read_json(run.manifest)["pseudo_teachers"] == "all"
    assert read_origin(run.fold(0).weights)["pseudo_teachers"] == "all"


def test_all_folds_of_a_run_start_from_one_file(trained: Path) -> None:
    plain = resave(FOLD0, Path("plain.safetensors"))
    run, _ = start_from(plain, "0")
    before = files_under(run.path)
    resave(Path("runs/tiny/fold1/weights.safetensors"), plain)
    with pytest.raises(ConfigError, match="warm was started from other weights than those now"):
        start_from(plain, "1")
    assert files_under(run.path) == before
    start_from(plain, "0", overwrite=True)  # nothing stays that was started from the other
    assert read_json(run.manifest)["weights_hash"] == file_hash(plain)


def test_what_is_to_be_removed_cannot_be_started_from(trained: Path) -> None:
    before = files_under(Path("runs"))
    with pytest.raises(ConfigError, match=r"--overwrite would remove .*fold0/weights.safetensors"):
        start_from(FOLD0, "0,1", run="tiny", overwrite=True)
    assert files_under(Path("runs")) == before


# --- from scratch


LOVASZ = ("stage.bce.loss.name=lovasz", "stage.bce.loss.symmetric=false")


@pytest.mark.parametrize(
    ("overrides", "warned"),
    [
        (LOVASZ, True),
        (LOVASZ[:1], False),  # the symmetric one learns at once
        ((*LOVASZ, "stage.bce.loss.name=bce+lovasz"), False),
        ((*LOVASZ, "model.weights=imagenet"), False),
        (("stage.swa.loss.symmetric=false",), False),  # not the first stage
    ],
)
def test_a_loss_that_hardly_moves_a_new_network_is_told(
    overrides: tuple[str, ...], warned: bool, tmp_path: Path
) -> None:
    heard = Heard()
    warn_of_slow_start(tiny_config(tmp_path, *overrides), heard)
    assert bool(heard.warnings) == warned
    assert all("--set stage.bce.loss.symmetric=true" in text for text in heard.warnings)


def test_it_is_told_as_a_fold_begins_and_not_as_it_goes_on(trained: Path) -> None:
    run, config = RunFolder(WORKSPACE.runs / "stalls"), tiny_config(Path(), *LOVASZ)
    for times in (1, 0):  # the second finds it finished
        heard = Heard()
        train(WORKSPACE, run, config, folds="0", device="cpu", listener=heard)
        assert sum("not symmetric" in text for text in heard.warnings) == times
