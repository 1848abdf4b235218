"""Sweeps: what a file means, and that one variant's fault is its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kaggle_salt.config.file import load_run_config
from kaggle_salt.errors import ConfigError
from kaggle_salt.pipeline.training import sweep as module
from kaggle_salt.pipeline.training.sweep import sweep
from kaggle_salt.pipeline.training.sweep_file import read_sweep
from kaggle_salt.pipeline.workspace import Workspace
from tests.tiny import Heard, files_under, refused, salt, tiny_config

HERE = Workspace()


def write(text: str, name: str = "rates.toml") -> Path:
    Path(name).write_text(text, encoding="utf-8")
    return Path(name)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


COMBINATIONS = """
preset = "quick"
folds = "0,1"
minutes = 15
seeds = [0, 1]

[set]
training.workers = 0

[vary]
stage.bce.optimizer.lr = [0.001, 0.003]
"training.batch_size" = [16, 32]
"""


def test_all_combinations_and_seeds(folder: Path) -> None:
    plan = read_sweep(write(COMBINATIONS))
    assert (plan.preset, plan.config, plan.folds) == ("quick", None, "0,1")
    assert plan.budget
    assert plan.budget.minutes == 15
    assert [run.name for run in plan.runs] == [
        f"rates-{variant}-s{seed}"
        for variant in ("base", "lr-0.001-batch_size-16", "lr-0.001-batch_size-32",
                        "lr-0.003-batch_size-16", "lr-0.003-batch_size-32")
        for seed in (0, 1)
    ]  # fmt: skip
    assert plan.runs[0].overrides == ("training.workers=0", "training.seed=0")
    assert plan.runs[-1].overrides == (
        "training.workers=0", "stage.bce.optimizer.lr=0.003", "training.batch_size=32",
        "training.seed=1",
    )  # fmt: skip


def test_named_variants(folder: Path) -> None:
    plan = read_sweep(write(
        'config = "tiny.toml"\n[[variant]]\nname = "heavy"\n"stage.*.optimizer.lr" = 0.1\n'
        '[[variant]]\nname = "flip"\naugment.pipeline = "flip"\n'
    ))  # fmt: skip
    assert plan.config == Path("tiny.toml")
    assert [(run.name, run.seed) for run in plan.runs] == [
        ("rates-base", None), ("rates-heavy", None), ("rates-flip", None),
    ]  # fmt: skip
    assert plan.runs[1].overrides == ("stage.*.optimizer.lr=0.1",)


def test_keys_that_end_alike_are_named_whole(folder: Path) -> None:
    text = 'preset = "quick"\n[vary]\nstage.bce.epochs = [1]\nstage.swa.epochs = [2]\n'
    names = [run.name for run in read_sweep(write(text)).runs]
    assert names == ["rates-base", "rates-stage.bce.epochs-1-stage.swa.epochs-2"]


FAULTS = {
    "nothing varies": 'preset = "quick"\nseeds = [3]',
    "names neither a preset nor a config": "[vary]\na = [1]",
    "no list of values": 'preset = "quick"\n[vary]\na = 1',
    "no plain name": 'preset = "quick"\n[[variant]]\na = 1',
    "which is no plain name": 'preset = "quick"\n[[variant]]\nname = "a/b"',
    "two variants are called 'a'": 'preset = "quick"\n[[variant]]\nname = "a"\n'
    '[[variant]]\nname = "a"',
    "two variants are called 'base'": 'preset = "quick"\n[[variant]]\nname = "base"',
    "a seed comes twice: 1, 1": 'preset = "quick"\nseeds = [1, 1]',
    "seeds.0: ": 'preset = "quick"\nseeds = [-1]',
    "fold: Extra inputs": 'preset = "quick"\nfold = 1',
    "is not valid TOML": "preset = ",
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_files_that_are_no_sweep(folder: Path, fault: str) -> None:
    with pytest.raises(ConfigError, match=f"rates.toml: .*{fault}(.|\n)*expected: a sweep"):
        read_sweep(write(FAULTS[fault]))


def test_a_file_that_is_not_there(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone.toml: it cannot be read: No such file"):
        read_sweep(Path("gone.toml"))


SWEEP = """
config = "tiny.toml"
folds = "0"
set = { "stage.*.epochs" = 1 }
seeds = [0, 1]

[[variant]]
name = "slow"
"stage.*.optimizer.lr" = 0.0001

[[variant]]
name = "wrong"
training.batch_sise = 3

[[variant]]
name = "same"
training.batch_size = 4
"""


def test_a_sweep_goes_on_past_a_fault_and_where_it_was(trained: Path) -> None:
    tiny_config(trained)
    heard = Heard()
    report = sweep(HERE, write(SWEEP), device="cpu", html=Path("page.html"), listener=heard)
    assert [(run.name, bool(run.trouble)) for run in report.runs] == [
        ("rates-base-s0", False), ("rates-base-s1", False),
        ("rates-slow-s0", False), ("rates-slow-s1", False),
        ("rates-wrong-s0", True), ("rates-wrong-s1", True),
    ]  # fmt: skip
    assert all("batch_sise" in run.trouble for run in report.failed)
    assert sum("others go on" in text for text in heard.warnings) == 2
    assert sum("same is what the base has" in text for text in heard.notes) == 2
    assert report.comparison
    assert [one.name for one in report.comparison.standings] == [
        "rates-base-s0", "rates-base-s1", "rates-slow-s0", "rates-slow-s1",
    ]  # fmt: skip
    assert [recipe.seeds for recipe in report.comparison.recipes] == [(0, 1), (0, 1)]
    over = report.comparison.rivals[1].over_seeds
    assert over
    assert over.trainings == (2, 2)
    assert load_run_config(Path("runs/rates-slow-s1/config.toml")).training.seed == 1
    before = files_under(trained)
    assert sweep(HERE, Path("rates.toml"), device="cpu", html=Path("page.html")) == report
    assert files_under(trained) == before


def test_a_crash_is_one_variants_own(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_config(trained)
    usual = module.train

    def train(workspace: Workspace, run: object, *given: object, **named: object) -> object:
        if "slow" in str(run):
            raise RuntimeError("out of memory. Tried to allocate")
        return usual(workspace, run, *given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "train", train)
    report = sweep(HERE, write(SWEEP.replace("seeds = [0, 1]", "")), device="cpu")
    assert [run.trouble for run in report.runs][:2] == ["", "RuntimeError: out of memory"]
    assert report.comparison is None
    assert report.trouble == "there is nothing to compare the base with"


def test_the_command(trained: Path) -> None:
    tiny_config(trained)
    write('config = "tiny.toml"\nfolds = "0"\nseeds = [0, 1]\nset = { "stage.*.epochs" = 1 }')
    told = salt("sweep", "rates.toml", "--device", "cpu").stdout
    assert "is the gain over rates-base-s0 real?" in told
    document = json.loads(salt("sweep", "rates.toml", "--device", "cpu", "--json").stdout)
    assert [run["seed"] for run in document["runs"]] == [0, 1]
    write('config = "tiny.toml"\n[[variant]]\nname = "a"\nno.key = 1')
    printed = salt("sweep", "rates.toml", "--device", "cpu", code=1).stdout
    assert "no comparison: " in printed
    refused(2, "sweep", "gone.toml", found="cannot be read", expected="a sweep",
            then="write preset")  # fmt: skip
    write('preset = "quik"\nseeds = [0, 1]')
    refused(2, "sweep", "rates.toml", found="unknown preset", expected="did you mean 'quick'",
            then="--preset")  # fmt: skip


def test_the_example_in_the_docs_is_a_sweep(folder: Path) -> None:
    text = (Path(__file__).parents[3] / "docs/comparing.md").read_text(encoding="utf-8")
    plan = read_sweep(write(text.partition("```toml\n")[2].partition("```")[0]))
    names = {run.name for run in plan.runs}
    assert len(names) == 2 * (1 + 4 + 1)
    assert names >= {"rates-base-s0", "rates-lr-0.003-batch_size-16-s1", "rates-flips-s0"}
