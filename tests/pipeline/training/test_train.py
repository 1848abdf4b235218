from __future__ import annotations

import re
import shutil
from importlib import metadata
from pathlib import Path

import pandas as pd
import pytest
import tomli_w
from safetensors.torch import load_file, save_file

from kaggle_salt.config.file import load_config
from kaggle_salt.config.schema import Config
from kaggle_salt.errors import ConfigError, DataError
from kaggle_salt.learning import device
from kaggle_salt.learning.fold import FoldSummary
from kaggle_salt.pipeline.choose import choose_run
from kaggle_salt.pipeline.training.pseudo_label import pseudo_label
from kaggle_salt.pipeline.training.train import train
from kaggle_salt.pipeline.workspace import Listener, Workspace
from kaggle_salt.pseudo_origin import Confidence, Teachers
from kaggle_salt.runs import FoldFolder, RunFolder
from kaggle_salt.storage.files import file_hash, read_json
from tests.tiny import Heard, files_under, tiny_config

WORKSPACE = Workspace()  # the tests stand in its folder


class Interrupted(Listener):
    """Presses Ctrl-C when the ``number``-th epoch begins."""

    def __init__(self, number: int) -> None:
        self.left = number

    def epoch_starts(self, title: str, steps: int) -> None:
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt


class Meanwhile(Listener):
    """Trains another fold of the same run in the middle of the first epoch."""

    def __init__(self, run: RunFolder, config: Config, folds: str) -> None:
        self.other = (run, config)
        self.folds = folds
        self.summaries: list[FoldSummary] = []

    def epoch_starts(self, title: str, steps: int) -> None:
        if not self.summaries:
            self.summaries = train(WORKSPACE, *self.other, folds=self.folds, device="cpu")


def named(run: str, *overrides: str) -> tuple[RunFolder, Config]:
    return RunFolder(WORKSPACE.runs / run), tiny_config(Path(), *overrides)


def half_trained(run: str) -> tuple[RunFolder, Config]:
    """A run whose fold 0 was interrupted after two of its five epochs."""
    folder, config = named(run)
    with pytest.raises(KeyboardInterrupt):
        train(WORKSPACE, folder, config, folds="0", device="cpu", listener=Interrupted(3))
    return folder, config


def test_a_finished_fold_keeps_its_summary_and_no_checkpoint(trained: Path) -> None:
    run, config = named("tiny")
    before = files_under(run.path)
    summaries = train(WORKSPACE, run, config, folds="0,1", device="cpu")
    assert files_under(run.path) == before, "a finished fold is left as it is"
    assert [summary.fold for summary in summaries] == [0, 1]
    assert sum(summary.tiles for summary in summaries) == 27
    assert {summary.epochs for summary in summaries} == {5}
    assert not run.fold(0).checkpoint.exists()
    manifest = read_json(run.manifest)
    assert manifest["seed"] == 0
    assert manifest["versions"]["torch"] == metadata.version("torch")


def test_a_resume_ends_with_the_same_bits(trained: Path) -> None:
    run, config = half_trained("again")
    assert run.unfinished_folds() == [0]
    [summary] = train(WORKSPACE, run, config, folds="0", device="cpu", resume=True)
    straight = FoldFolder(trained / "runs/tiny/fold0", 0)
    assert run.fold(0).weights.read_bytes() == straight.weights.read_bytes()
    assert summary.weights_hash == read_json(straight.summary)["weights_hash"]
    assert run.fold(0).oof.with_suffix(".npy").read_bytes() == (
        straight.oof.with_suffix(".npy").read_bytes()
    )


def test_a_compiled_training_says_so_and_leaves_a_network_like_any_other(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "BACKEND", "eager")  # traced, but not compiled
    heard = Heard()
    run, config = named("fast", "training.compile=true")
    [summary] = train(WORKSPACE, run, config, folds="0", device="cpu", listener=heard)
    assert any("compiles the network: a minute" in note for note in heard.notes)
    straight = FoldFolder(trained / "runs/tiny/fold0", 0)
    assert summary.weights_hash == read_json(straight.summary)["weights_hash"]


@pytest.mark.parametrize("batch", [1, 2])
def test_batches_that_batch_norm_cannot_use_are_refused_at_once(trained: Path, batch: int) -> None:
    deep = ("model={architecture='classic-unet', weights='none', options={widths=[4,4,4,4,4,4]}}",)
    run, config = named("alone", *deep, f"training.batch_size={batch}", "stage.*.epochs=1")
    if batch == 1:
        with pytest.raises(ConfigError, match=r"one tile a batch at 32x32(.|\n)*batch_size=2"):
            train(WORKSPACE, run, config, folds="0", device="cpu")
        assert not run.path.exists()
    else:
        train(WORKSPACE, run, config, folds="0", device="cpu")


def test_a_fold_table_that_leaves_one_tile_is_refused_at_once(trained: Path) -> None:
    table = pd.read_csv(WORKSPACE.folds)
    table["fold"] = [1, *[0] * (len(table) - 1)]
    table.to_csv(WORKSPACE.folds, index=False, float_format="%.8f")
    deep = ("model={architecture='classic-unet', weights='none', options={widths=[4,4,4,4,4,4]}}",)
    run, config = named("alone", *deep)
    with pytest.raises(ConfigError, match=r"one tile a batch(.|\n)*more tiles to train on"):
        train(WORKSPACE, run, config, folds="0", device="cpu")
    assert not run.path.exists()


def test_a_run_that_wrote_down_every_key_goes_on(trained: Path) -> None:
    """As runs once did, keys that nothing reads among them."""
    run, config = half_trained("older")
    run.config.write_text(tomli_w.dumps(config.model_dump(mode="json")), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"model\.encoder does nothing"):
        load_config(run.config)
    chosen = choose_run(WORKSPACE, run="older")
    assert chosen[1] == config
    [summary] = train(WORKSPACE, run, chosen[1], folds="0", device="cpu", resume=True)
    straight = FoldFolder(trained / "runs/tiny/fold0", 0)
    assert summary.weights_hash == read_json(straight.summary)["weights_hash"]
    assert "encoder" not in read_json(RunFolder(trained / "runs/tiny").manifest)["config"]["model"]


def test_the_remedies_for_a_half_trained_fold_are_whole(trained: Path) -> None:
    run, config = half_trained("half")
    with pytest.raises(ConfigError, match="half trained") as refusal:
        train(WORKSPACE, run, config, folds="0", device="cpu")
    commands = re.findall(r"salt [^,]*", refusal.value.next_step)
    assert commands == [
        "salt train --run half --fold 0 --resume", "salt train --run half --fold 0 --overwrite",
    ]  # fmt: skip


def test_a_half_trained_fold_wants_a_decision(trained: Path) -> None:
    run, config = half_trained("half")
    before = files_under(run.path)
    with pytest.raises(ConfigError, match=r"half trained(.|\n)*--resume(.|\n)*--overwrite"):
        train(WORKSPACE, run, config, folds="0", device="cpu")
    with pytest.raises(ConfigError, match="exclude each other"):
        train(WORKSPACE, run, config, folds="0", device="cpu", resume=True, overwrite=True)
    assert files_under(run.path) == before
    [summary] = train(WORKSPACE, run, config, folds="0", device="cpu", overwrite=True)
    assert summary.epochs == 5
    assert run.finished_folds() == [0]


def test_overwriting_one_fold_leaves_the_other(trained: Path) -> None:
    run, config = named("tiny")
    before = files_under(run.path)
    train(WORKSPACE, run, config, folds="1", device="cpu", overwrite=True)
    after = files_under(run.path)
    assert after["fold0/fold.json"] == before["fold0/fold.json"]
    assert after["fold1/weights.safetensors"] == before["fold1/weights.safetensors"]
    assert after["fold1/history.csv"] != before["fold1/history.csv"], "the times were measured anew"


def test_a_run_has_one_configuration(trained: Path) -> None:
    run, config = named("tiny", "stage.bce.epochs=1")
    before = files_under(run.path)
    for overwrite in (False, True):
        with pytest.raises(ConfigError, match=r"stage\.bce\.epochs: 4 -> 1"):
            train(WORKSPACE, run, config, folds="0", device="cpu", overwrite=overwrite)
    assert files_under(run.path) == before
    [first, _] = train(WORKSPACE, run, config, folds="0,1", device="cpu", overwrite=True)
    assert first.epochs == 2
    assert load_config(run.config).stage[0].epochs == 1


def test_two_processes_share_a_run_from_its_first_epoch_on(trained: Path) -> None:
    run, config = named("shared")
    meanwhile = Meanwhile(run, config, "1")
    train(WORKSPACE, run, config, folds="0", device="cpu", listener=meanwhile)
    assert run.finished_folds() == [0, 1]
    for fold in (0, 1):
        expected = trained / f"runs/tiny/fold{fold}/weights.safetensors"
        assert run.fold(fold).weights.read_bytes() == expected.read_bytes()


def test_another_configuration_is_refused_during_the_first_epoch(trained: Path) -> None:
    run, config = named("shared")
    meanwhile = Meanwhile(run, tiny_config(Path(), "stage.bce.epochs=1"), "1")
    with pytest.raises(ConfigError, match="run shared exists with another configuration"):
        train(WORKSPACE, run, config, folds="0", device="cpu", listener=meanwhile)
    assert load_config(run.config) == config


def test_a_run_interrupted_in_its_first_epoch_claims_nothing(trained: Path) -> None:
    run, config = named("short")
    with pytest.raises(KeyboardInterrupt):
        train(WORKSPACE, run, config, folds="0", device="cpu", listener=Interrupted(1))
    assert run.claimed_folds() == []
    other = tiny_config(Path(), "stage.bce.epochs=1")
    [summary] = train(WORKSPACE, run, other, folds="0", device="cpu")
    assert summary.epochs == 2


def test_other_data_and_other_folds_are_refused(trained: Path) -> None:
    run, config = named("tiny")
    before = files_under(run.path)
    table = WORKSPACE.folds.read_text(encoding="utf-8")
    swapped = table.replace(",0\n", ",x\n").replace(",1\n", ",0\n").replace(",x\n", ",1\n")
    WORKSPACE.folds.write_text(swapped, encoding="utf-8")
    with pytest.raises(DataError, match=r"run tiny was trained on other folds(.|\n)*--run NAME"):
        train(WORKSPACE, run, config, folds="2", device="cpu")
    WORKSPACE.folds.write_text(table, encoding="utf-8")
    depths = WORKSPACE.data / "depths.csv"
    depths.write_text("id,z\n", encoding="utf-8")
    for overwrite in (False, True):
        with pytest.raises(DataError, match="run tiny was trained on other tiles"):
            train(WORKSPACE, run, config, folds="0", device="cpu", overwrite=overwrite)
    assert files_under(run.path) == before


def test_a_trained_fold_is_not_given_up_for_a_network_that_cannot_be_built(trained: Path) -> None:
    run, config = named("tiny")
    weights = load_file(run.fold(0).weights)
    save_file({f"other.{name}": tensor for name, tensor in weights.items()}, "foreign.safetensors")
    before = files_under(run.path)
    faults = {
        "model.weights=foreign.safetensors": "does not fit Compact",
        "model.weights=nowhere.safetensors": "does not exist",
        "model.options.decoder=[4,4]": "cannot be built",
        "augment.pipeline=lite": "unknown augmentation 'lite'",
        "input.size=16": "cannot be padded",
        "stage.bce.shrink=3": "cannot be shrunk",
    }
    for override, found in faults.items():
        config = tiny_config(Path(), override)
        with pytest.raises(ConfigError, match=found):
            train(WORKSPACE, run, config, folds="0,1", device="cpu", overwrite=True)
    assert files_under(run.path) == before


def test_weights_of_a_trained_fold_start_another_run(trained: Path) -> None:
    source = "runs/tiny/fold0/weights.safetensors"
    run, config = named("warm", f"model.weights={source}", "stage.*.epochs=1")
    with pytest.raises(KeyboardInterrupt):
        train(WORKSPACE, run, config, folds="0", device="cpu", listener=Interrupted(2))
    shutil.rmtree("runs/tiny")  # a resume needs the checkpoint only
    [summary] = train(WORKSPACE, run, config, folds="0", device="cpu", resume=True)
    assert summary.epochs == 2


# pseudo-labels


def labelled(teachers: Teachers = "fold", limit: int | None = None) -> Path:
    """Pseudo-labels of run ``tiny``; any pixel is sure enough of two minutes of training."""
    wanted = Confidence(low=0.5, high=0.5, limit=limit)
    report = pseudo_label(
        WORKSPACE, ["tiny"], wanted=wanted, teachers=teachers, overwrite=True, device="cpu"
    )
    return report.csv


def student(csv: Path, *overrides: str) -> tuple[RunFolder, Config]:
    return named("student", "stage.*.epochs=1", f"pseudo.file={csv}", *overrides)


def test_a_run_has_one_set_of_pseudo_labels(trained: Path) -> None:
    csv = labelled()
    heard = Heard()
    train(WORKSPACE, *student(csv), folds="0", device="cpu", listener=heard)
    run, config = student(csv)
    assert (read_json(run.manifest)["pseudo_hash"], heard.warnings) == (file_hash(csv), [])
    assert "26 tiles to train on, 2 with pseudo-labels, 14 to validate" in heard.notes[0]
    before = files_under(run.path)
    with pytest.raises(ConfigError, match=r"pseudo\.file: runs/tiny/pseudo-labels\.csv -> \n?"):
        train(WORKSPACE, *named("student", "stage.*.epochs=1"), folds="1", device="cpu")
    labelled(limit=4)
    for fold in ("0", "1"):
        with pytest.raises(DataError, match=r"student was trained on other pseudo-labels"):
            train(WORKSPACE, run, config, folds=fold, device="cpu", resume=True)
    assert files_under(run.path) == before
    labelled()
    train(WORKSPACE, run, config, folds="1", device="cpu")
    assert run.finished_folds() == [0, 1]


def test_a_student_resumes_with_the_configuration_it_has(trained: Path) -> None:
    csv = labelled()
    run, config = student(csv)
    with pytest.raises(KeyboardInterrupt):
        train(WORKSPACE, run, config, device="cpu", listener=Interrupted(2))
    kept = load_config(run.config)
    assert kept.pseudo.file == "runs/tiny/pseudo-labels.csv", "as given, from the same folder"
    [summary] = train(WORKSPACE, run, kept, device="cpu", resume=True)
    straight = RunFolder(WORKSPACE.runs / "straight")
    [again] = train(WORKSPACE, straight, config, device="cpu")
    assert summary.weights_hash == again.weights_hash
    assert again.weights_hash != read_json(Path("runs/tiny/fold0/fold.json"))["weights_hash"]


def test_teachers_that_saw_too_much_are_warned_of_and_recorded(trained: Path) -> None:
    run, config = student(labelled("all"))
    heard = Heard()
    train(WORKSPACE, run, config, folds="2", device="cpu", listener=heard)
    [warning] = heard.warnings
    assert "out-of-fold score will be too high (by about .005)" in warning
    assert read_json(run.manifest)["pseudo_teachers"] == "all"


def test_labels_that_do_not_belong_are_refused_before_any_training(trained: Path) -> None:
    csv = labelled()
    run, config = student(csv)
    train(WORKSPACE, run, config, folds="0", device="cpu")
    before = files_under(run.path)
    with pytest.raises(DataError, match="no labels for fold 2"):
        train(WORKSPACE, run, config, folds="0,2", device="cpu", overwrite=True)
    with WORKSPACE.folds.open("a", encoding="utf-8") as file:
        file.write("\n")  # the same folds, but not the same file
    with pytest.raises(DataError, match=r"was made with another fold table than the present one"):
        train(WORKSPACE, run, config, folds="0", device="cpu", overwrite=True)
    assert files_under(run.path) == before
