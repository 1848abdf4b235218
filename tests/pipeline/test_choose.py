from __future__ import annotations

from pathlib import Path

import pytest

from kaggle_salt.config.file import dump_config, load_config
from kaggle_salt.errors import ConfigError
from kaggle_salt.pipeline.choose import Chosen, choose_run, parse_folds
from kaggle_salt.pipeline.workspace import Workspace
from kaggle_salt.presets import preset_path
from kaggle_salt.storage.files import write_json
from tests.makers import put
from tests.tiny import Heard, tiny_config


def test_folds_are_read_from_text() -> None:
    assert parse_folds("0", [0, 1, 2]) == [0]
    assert parse_folds("2, 0,2", [0, 1, 2]) == [0, 2]
    assert parse_folds("all", [0, 1, 2]) == [0, 1, 2]


@pytest.mark.parametrize("text", ["3", "0,7", "", "0,", "-1", "one", "1.0", "²"])
def test_other_folds_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"there is no fold(.|\n)*some of 0, 1, 2, or all"):
        parse_folds(text, [0, 1, 2])


def test_a_run_is_called_after_what_describes_it(tmp_path: Path) -> None:
    workspace = Workspace.under(tmp_path)
    tiny_config(tmp_path)
    assert choose_run(workspace, preset="quick")[0].name == "quick"
    assert choose_run(workspace, config_file=tmp_path / "tiny.toml")[0].name == "tiny"
    assert choose_run(workspace, preset="quick", run="mine")[0].name == "mine"


def test_a_run_that_exists_keeps_its_configuration(trained: Path) -> None:
    kept = load_config(trained / "runs/other/config.toml")
    assert choose_run(Workspace(), run="other")[1] == kept
    changed = choose_run(Workspace(), run="other", overrides=("training.seed=5",))[1]
    assert changed.training.seed == 5
    other = choose_run(Workspace(), run="other", preset="unet")[1]
    assert other.model.architecture == "classic-unet"


CUDA = "torch.cuda.is_available"


def pretend_a_gpu(patch: pytest.MonkeyPatch) -> None:
    """Let torch see a GPU that computes in bf16; nothing is ever computed on it."""
    patch.setattr(CUDA, lambda: True)
    patch.setattr("torch.cuda.get_device_capability", lambda _: (9, 0))


def choose(folder: Path, heard: Heard | None = None, **given: object) -> Chosen:
    return choose_run(Workspace.under(folder), listener=heard, **given)  # type: ignore[arg-type]


def begun(folder: Path, chosen: Chosen, created: str) -> None:
    """Let a call have begun a run, as salt train leaves it."""
    put(chosen.run.config, dump_config(chosen.config).encode())
    told = {"created": created}
    write_json(chosen.run.manifest, told | ({"chosen_because": b} if (b := chosen.because) else {}))


@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_without_a_gpu_quick_is_taken_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    monkeypatch.setattr(CUDA, lambda: device == "cpu")  # a GPU that is not to be used
    heard = Heard()
    chosen = choose(tmp_path, heard, device=device)
    assert chosen.run.name == "quick"
    assert chosen.because == "no CUDA GPU to compute on: preset quick"
    assert heard.notes == [
        "there is no CUDA GPU to compute on: preset quick suits (time for a fold: about 25 min on "
        "one CPU core); for the other: salt train --preset resnet34"
    ]


def test_with_a_gpu_resnet34_is_taken_with_its_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend_a_gpu(monkeypatch)
    monkeypatch.setattr("kaggle_salt.pipeline.choose.lacking_weights", lambda *_: "")
    heard = Heard()
    chosen = choose(tmp_path, heard)
    assert (chosen.run.name, chosen.config.model.weights) == ("resnet34", "imagenet")
    assert chosen.because == "a CUDA GPU: preset resnet34"
    assert "not measured" in heard.notes[0]
    assert heard.notes[0].endswith("salt train --preset quick")
    assert not heard.warnings


def test_weights_that_cannot_be_had_are_done_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend_a_gpu(monkeypatch)
    monkeypatch.setattr("kaggle_salt.pipeline.choose.lacking_weights", lambda *_: "no network")
    heard = Heard()
    chosen = choose(tmp_path, heard)
    assert chosen.config.model.weights == "none"
    assert chosen.because == "a CUDA GPU: preset resnet34, weights none (no network)"
    [warning] = heard.warnings
    assert "cannot be had (no network): the network starts from scratch" in warning
    # who asks for the preset gets it as it is, or an error
    assert choose(tmp_path, preset="resnet34").config.model.weights == "imagenet"
    # who says which weights is not asked again
    mine = choose(tmp_path, overrides=("model.weights=mine.safetensors",))
    assert mine.config.model.weights == "mine.safetensors"


def test_the_run_begun_so_is_gone_on_with_on_any_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CUDA, lambda: False)
    begun(tmp_path, choose(tmp_path, overrides=("training.seed=5",)), "2026-01-01")
    pretend_a_gpu(monkeypatch)
    heard = Heard()
    again = choose(tmp_path, heard)
    assert (again.run.name, again.config.training.seed, again.because) == ("quick", 5, "")
    assert not heard.notes
    begun(tmp_path, choose(tmp_path, preset="resnet34"), "2026-02-01")  # somebody's own choice
    assert choose(tmp_path).run.name == "quick"
    put(again.run.manifest, b"{")
    assert choose(tmp_path).run.name == "resnet34", "what the machine suits, when nothing is known"


def test_a_named_run_has_the_preset_that_suits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CUDA, lambda: False)
    chosen = choose(tmp_path, run="mine")
    assert chosen.run.name == "mine"
    assert chosen.config == load_config(preset_path("quick"))
    assert "quick" in chosen.because
