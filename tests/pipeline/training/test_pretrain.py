"""``salt pretrain``: all tiles, no mask, a run that nothing else mistakes for one of folds."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import pytest
from safetensors.torch import load_file, save_file

from kaggle_salt import pretrain as from_python
from kaggle_salt.competition.tiles import Competition
from kaggle_salt.config.file import load_config
from kaggle_salt.config.schema import Config
from kaggle_salt.errors import ConfigError, DataError
from kaggle_salt.learning.framing import Framing
from kaggle_salt.learning.keeping import read_origin
from kaggle_salt.pipeline.budget import Budget
from kaggle_salt.pipeline.choose import choose_pretraining, run_called
from kaggle_salt.pipeline.training.lr_find import find_learning_rate
from kaggle_salt.pipeline.training.pretrain import PretrainingReport, pretrain
from kaggle_salt.pipeline.training.train import train
from kaggle_salt.pipeline.workspace import Listener, Workspace
from kaggle_salt.presets import METHODS, preset_names, preset_path, recipe_path
from kaggle_salt.runs import RunFolder, open_run
from kaggle_salt.runs_pretraining import PretrainingRun
from kaggle_salt.storage.files import file_hash, read_json, write_json
from tests.tiny import Heard, files_under, salt, tiny_config

WORKSPACE = Workspace()  # the tests stand in its folder
SHORT = ("stage.*.epochs=1",)


@pytest.fixture(autouse=True)
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    def draw(_: object, path: Path, **__: Any) -> None:
        path.touch()

    monkeypatch.setattr("kaggle_salt.pipeline.training.pretrain.pretraining_sheet", draw)


def chosen(
    *overrides: str, method: str | None = None, **named: Any
) -> tuple[PretrainingRun, Config]:
    tiny_config(Path())
    named = named or {"config_file": Path("tiny.toml")}
    return choose_pretraining(
        WORKSPACE, method=method, overrides=(*SHORT, *overrides), device="cpu", **named
    )


def begin(*overrides: str, method: str | None = None, **how: Any) -> PretrainingReport:
    run, config = chosen(*overrides, method=method)
    return pretrain(WORKSPACE, run, config, device="cpu", **how)


class Unopened:
    """Masks that must not be looked at."""

    def __getattr__(self, name: str) -> NoReturn:
        raise AssertionError(f"a mask was asked for: {name}")

    def __getitem__(self, key: object) -> NoReturn:
        raise AssertionError("a mask was read")

    def __len__(self) -> NoReturn:
        raise AssertionError("masks were counted")


@pytest.mark.parametrize("method", METHODS)
def test_no_mask_is_looked_at_and_no_fold_table_needed(
    method: str, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree("folds")
    usual = Workspace.open

    def without_masks(self: Workspace, listener: Listener) -> Competition:
        return replace(usual(self, listener), masks=Unopened())  # type: ignore[arg-type]

    monkeypatch.setattr(Workspace, "open", without_masks)
    report = begin(method=method)
    assert report.summary.tiles == 48, "training and test tiles"
    competition = Competition.open("data")
    assert read_origin(report.weights) == {
        "kind": "pretraining", "data_hash": competition.data_hash,
    }  # fmt: skip
    manifest = read_json(Path(f"runs/tiny-{method}/manifest.json"))
    assert manifest["data_hash"] == competition.data_hash
    assert manifest["config"]["pretext"]["name"] == method
    assert "loss" not in manifest["config"]["stage"][0]


def test_every_fold_may_start_from_it_and_no_pretraining_from_a_fold(trained: Path) -> None:
    report = begin()
    start = f"model.weights={report.weights.as_posix()}"
    heard = Heard()
    config = tiny_config(Path(), start, "stage.*.epochs=1")
    run = RunFolder(WORKSPACE.runs / "warm")
    train(WORKSPACE, run, config, folds="0,1", device="cpu", listener=heard)
    assert not heard.warnings
    assert [note for note in heard.notes if "is pretrained and has seen no mask" in note]
    manifest = read_json(run.manifest)
    assert manifest["weights_hash"] == file_hash(report.weights)
    assert manifest["weights_origin"] == read_origin(report.weights)

    of_a_fold = run.fold(0).weights.as_posix()
    with pytest.raises(ConfigError, match=r"is of fold 0 of a run, and has learnt from masks"):
        begin(f"model.weights={of_a_fold}", "training.seed=1", overwrite=True)
    assert report.weights.exists()
    with pytest.raises(ConfigError, match=r"--overwrite would remove .*weights.safetensors"):
        begin(start, overwrite=True)


def test_what_nobody_knows_stays_unknown(trained: Path) -> None:
    """Weights of no run are pretrained, and what comes of them says so to a fold."""
    known = begin()
    plain = Path("plain.safetensors")
    save_file(load_file(known.weights), plain)
    heard = Heard()
    run, settings = chosen("model.weights=plain.safetensors", run="more", config_file=Path(
        "tiny.toml"))  # fmt: skip
    report = pretrain(WORKSPACE, run, settings, device="cpu", listener=heard)
    assert any("plain.safetensors was written by no run" in note for note in heard.notes)
    assert read_origin(report.weights)["weights_origin"] == "unknown"
    start = f"model.weights={report.weights.as_posix()}"
    config = tiny_config(Path(), start, "stage.*.epochs=1")
    train(WORKSPACE, RunFolder(WORKSPACE.runs / "w"), config, device="cpu", listener=heard)
    assert any("was pretrained from a file that no run wrote" in note for note in heard.notes)


def test_a_finished_one_is_left_and_a_half_done_one_is_asked_about(trained: Path) -> None:
    first = begin()
    before = files_under(Path("runs"))
    heard = Heard()
    assert begin(listener=heard) == first
    assert "pretraining tiny-masked is finished; nothing to do" in heard.notes
    assert files_under(Path("runs")) == before
    with pytest.raises(ConfigError, match=r"another configuration \(training.seed: 0 -> 1\)"):
        begin("training.seed=1")
    folder = PretrainingRun(WORKSPACE.runs / "tiny-masked").training
    folder.summary.unlink()
    with pytest.raises(ConfigError, match=r"half done(.|\n)*--run tiny-masked --resume, or"):
        begin()
    with pytest.raises(ConfigError, match="exclude each other"):
        begin(resume=True, overwrite=True)
    manifest = PretrainingRun(WORKSPACE.runs / "tiny-masked").manifest
    write_json(manifest, {**read_json(manifest), "data_hash": "x"})
    with pytest.raises(DataError, match="was trained on other tiles"):
        begin(resume=True)
    assert begin(overwrite=True).summary.weights_hash == first.summary.weights_hash


def test_it_is_no_run_of_folds(trained: Path) -> None:
    begin()
    with pytest.raises(ConfigError, match="run tiny-masked holds pretrained weights\n"):
        run_called(WORKSPACE, "tiny-masked")
    with pytest.raises(ConfigError, match="holds pretrained weights, and no fold"):
        open_run(WORKSPACE.runs, "tiny-masked")
    with pytest.raises(ConfigError, match="run tiny is no pretraining, and what it holds would"):
        chosen(run="tiny", config_file=Path("tiny.toml"))
    config = load_config(Path("runs/tiny-masked/config.toml"))
    for what in (train, find_learning_rate):
        with pytest.raises(ConfigError, match=r"pretext.name = masked: these stages learn from no"):
            what(WORKSPACE, RunFolder(WORKSPACE.runs / "x"), config, device="cpu")
    with pytest.raises(ConfigError, match=r"pretext.name = none: these stages learn from masks"):
        pretrain(WORKSPACE, PretrainingRun(WORKSPACE.runs / "x"), tiny_config(Path()))
    assert not (WORKSPACE.runs / "x").exists()


def test_a_run_keeps_its_configuration_and_a_file_its_pretext(trained: Path) -> None:
    begin("pretext.hidden=0.25")
    _, kept = choose_pretraining(WORKSPACE, run="tiny-masked", device="cpu")
    assert kept.pretext.hidden == 0.25
    own = Path("runs/tiny-masked/config.toml")
    _, same = choose_pretraining(WORKSPACE, run="again", config_file=own, device="cpu")
    assert same == kept
    run, other = choose_pretraining(WORKSPACE, config_file=own, method="vicreg", device="cpu")
    assert (run.name, other.pretext.name) == ("config-vicreg", "vicreg")
    assert other.model == kept.model
    with pytest.raises(ConfigError, match="unknown method 'dino'"):
        choose_pretraining(WORKSPACE, preset="quick", method="dino", device="cpu")
    with pytest.raises(ConfigError, match="exclude each other"):
        choose_pretraining(WORKSPACE, preset="quick", config_file=own, device="cpu")


@pytest.mark.parametrize("preset", preset_names())
def test_every_presets_network_can_be_pretrained_or_it_is_said_why_not(preset: str) -> None:
    trains = load_config(preset_path(preset))
    for method in METHODS:
        if method == "vicreg" and trains.input.channels == "grey+depth":
            with pytest.raises(ConfigError, match=r"grey\+depth tells it(.|\n)*masked"):
                load_config(preset_path(preset), recipe=recipe_path(method))
            continue
        config = load_config(preset_path(preset), recipe=recipe_path(method))
        same = (config.input, config.model, config.training)
        assert same == (trains.input, trains.model, trains.training)
        assert config.pretext.name == method
        for stage in config.stage:
            Framing((101, 101), config.input, stage.shrink)  # the size can be shrunk so


def test_a_budget_is_planned_for_and_kept(trained: Path) -> None:
    run, config = choose_pretraining(
        WORKSPACE, config_file=tiny_file(), overrides=("pretext.noise=0.1",), device="cpu"
    )
    report = pretrain(WORKSPACE, run, config, device="cpu", budget=Budget(epochs=3))
    assert report.summary.epochs == 3
    assert read_json(run.manifest)["plan"]["asked"] == {"minutes": None, "epochs": 3}
    again = pretrain(WORKSPACE, run, config, device="cpu", budget=Budget(epochs=3))
    assert again == report
    timed = PretrainingRun(WORKSPACE.runs / "timed")
    budget = Budget(minutes=0.05)
    pretrain(WORKSPACE, timed, config, device="cpu", budget=budget)
    plan = read_json(timed.manifest)["plan"]
    assert [stage["name"] for stage in plan["stages"]] == ["quarter", "half"]
    assert all(stage["minutes"] > 0 for stage in plan["stages"])


def tiny_file() -> Path:
    tiny_config(Path())
    return Path("tiny.toml")


def test_from_a_notebook_and_from_a_shell_it_is_the_same(trained: Path) -> None:
    report = from_python(
        config=tiny_file(), method="vicreg", set={"stage.*.epochs": 1}, device="cpu", verbose=False
    )
    assert report.run == "tiny-vicreg"
    told = salt(
        "pretrain", "--config", "tiny.toml", "--method", "vicreg", "--run", "same", "--set",
        "stage.*.epochs=1", "--device", "cpu",
    )  # fmt: skip
    same = Path("runs/same/weights.safetensors")
    assert file_hash(same) == report.summary.weights_hash
    assert f"{same}: 2 epochs of 48 tiles" in told.stdout
    assert f"--set model.weights={same} --device cpu" in told.stdout
