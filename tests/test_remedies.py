"""Every command that an error advises is run as printed: it helps, and harms nothing else."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from kaggle_salt.competition import kaggle_client
from kaggle_salt.competition.tiles import Competition
from kaggle_salt.config.stage import StageConfig
from kaggle_salt.errors import DataError, SaltError, salt_command
from kaggle_salt.launch import local
from kaggle_salt.launch.tasks import Task
from kaggle_salt.learning.checkpoint import Progress, save_checkpoint
from kaggle_salt.learning.scaling import MOST_SKIPPED, LossScaling
from kaggle_salt.learning.training import FoldTraining
from kaggle_salt.pipeline.predicting import finished
from kaggle_salt.pseudo_labels import manifest_path
from kaggle_salt.storage.files import file_hash, read_json, write_json
from tests.launch.scripts import ended
from tests.makers import png, put
from tests.remedy_sites import COMMAND, Site, sites
from tests.surveys import cube, write_survey
from tests.tiny import TINY, Salt, files_under, salt, write_data

CPU = ("--device", "cpu")
#: Words of a remedy in whose place a person puts a name.
BLANKS = {"RUN", "FILE"}

LABELS = "runs/tiny/pseudo-labels.csv"
SURE = ("--confidence", "0", "--low", ".5", "--high", ".5")

#: What stands for RUN where it is to teach: the tiny network is sure of nothing.
UNSURE = f"tiny {' '.join(SURE)}"


@dataclass(frozen=True)
class Situation:
    """A fault, the call that meets it, and what is promised.

    Args:
        call: The command line that is refused.
        breaks: Makes the fault; the folder of a trained workspace is the current one.
        changes: Patterns of the files that the remedy may write or remove.
        added: What the next step asks to add to the call, to make it succeed.
        fills: What stands for the words in capitals of the remedy; one run for each.
        again: Whether the refused call, with ``added``, succeeds after the remedy.
        code: How the remedy's commands end; ``salt check`` with 3 where it lists faults.
    """

    call: tuple[str, ...]
    breaks: Callable[[], object] = lambda: None
    changes: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    fills: tuple[str, ...] = ("tiny",)
    again: bool = True
    code: int = 0


def damage(*names: str) -> Callable[[], None]:
    def write() -> None:
        for name in names:
            Path(name).write_bytes(b"{}")

    return write


def remove(*names: str) -> Callable[[], None]:
    def unlink() -> None:
        for name in names:
            shutil.rmtree(name) if Path(name).is_dir() else Path(name).unlink()

    return unlink


def all_of(*steps: Callable[[], object]) -> Callable[[], None]:
    def run() -> None:
        for step in steps:
            step()

    return run


def half_trained(run: str, fold: int) -> Callable[[], None]:
    return remove(f"runs/{run}/fold{fold}/fold.json")


def called(*words: str) -> Callable[[], object]:
    return lambda: salt(*words)


def edit(name: str, old: str, new: str) -> Callable[[], object]:
    def write() -> None:
        text = Path(name).read_text(encoding="utf-8")
        assert old in text
        Path(name).write_text(text.replace(old, new), encoding="utf-8")

    return write


def edit_sealed(name: str, old: str, new: str) -> Callable[[], object]:
    """The same in a document that vouches for itself afterwards, too."""

    def write() -> None:
        text = json.dumps(read_json(Path(name)), indent=2)
        assert old in text
        write_json(Path(name), json.loads(text.replace(old, new)))

    return write


def says(name: str, **told: object) -> Callable[[], object]:
    """A document that vouches for itself, and says something else."""
    return lambda: write_json(Path(name), read_json(Path(name)) | told)


def nan_once() -> None:
    """Let the first loss that is told be no number."""
    usual = FoldTraining._report

    def report(self: FoldTraining, stage: StageConfig, steps: int, _: float | None) -> None:
        FoldTraining._report = usual  # type: ignore[method-assign]
        usual(self, stage, steps, float("nan"))

    FoldTraining._report = report  # type: ignore[method-assign]


def worker_dies() -> None:
    """Let a process that loads batches die in the second epoch."""
    usual, begun = FoldTraining._train_epoch, []

    def train_epoch(self: FoldTraining, *given: Any) -> float:
        begun.append(self)
        if len(begun) == 2:
            raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. ")
        return usual(self, *given)

    FoldTraining._train_epoch = train_epoch  # type: ignore[method-assign]


def strange_checkpoint() -> None:
    """A checkpoint of another network."""
    path = Path("runs/tiny/fold1/checkpoint.pt")
    save_checkpoint(path, Progress(), torch.nn.Linear(1, 1), None)


def skipped_once() -> None:
    """Let the first step be the last of an endless row of skipped ones."""
    usual = LossScaling.step

    def step(self: LossScaling, *given: Any) -> bool:
        LossScaling.step = usual  # type: ignore[method-assign]
        self.row = MOST_SKIPPED
        return False

    LossScaling.step = step  # type: ignore[method-assign]


def lost_once(here: int) -> Callable[[], None]:
    """Let the first task of an engine be killed at once; so many after it are done right here."""

    def lose() -> None:
        usual, begun = local.start_process, list[Task]()

        def start(task: Task, *_: object) -> subprocess.Popen[bytes]:
            begun.append(task)
            if len(begun) > here:
                local.start_process = usual
            return ended(-9 if len(begun) == 1 else Salt(task.words).exit_code)

        local.start_process = start

    return lose


def manifest_says(**told: object) -> Callable[[], None]:
    """Labels whose manifest tells of other networks or data than those that are there."""

    def write() -> None:
        path = manifest_path(Path(LABELS))
        document = read_json(path)
        document["made_of"] |= told
        write_json(path, document)

    return write


def foreign_tile() -> None:
    """Labels of a tile that is no test tile any more, in files that vouch for each other."""
    sample = Path("data/sample_submission.csv").read_text(encoding="utf-8").splitlines()
    table = Path(LABELS).read_text(encoding="utf-8")
    tile = next(line.split(",")[0] for line in sample[1:] if line.split(",")[0] in table)
    Path(LABELS).write_text(table.replace(tile, "stranger"), encoding="utf-8")
    path = manifest_path(Path(LABELS))
    document = read_json(path)
    document["made_of"]["settings"]["limit"] = 7
    key = next(key for key in document if key.endswith(("sha256", "_hash")))
    write_json(path, document | {key: file_hash(Path(LABELS))})


def id_twice() -> None:
    """The first line of train.csv, and it again at the end."""
    lines = Path("data/train.csv").read_text(encoding="utf-8").splitlines()
    Path("data/train.csv").write_text("\n".join([*lines, lines[1], ""]), encoding="utf-8")


def grey_masks(count: int, *, jpeg: bool = False) -> Callable[[], None]:
    """Masks of levels 10 and 200, from 128 on the same as before; the others stay as they are."""

    def write() -> None:
        shutil.unpack_archive("data/train.zip", "data/train")
        for path in sorted(Path("data/train/masks").glob("*.png"))[:count]:
            levels = np.where(np.array(Image.open(path)) > 0, 200, 10).astype(np.uint8)
            path.unlink()
            suffix = ".jpg" if jpeg else ".png"
            Image.fromarray(levels).save(path.with_suffix(suffix), quality=100)

    return write


def imported() -> None:
    """Run ``foreign``, of files that another tool may have written."""
    competition = Competition.open("data")
    for part, ids in (("OOF", competition.ids), ("TEST", competition.test_ids)):
        np.save(f"{part}.npy", np.full((len(ids), *competition.tile_shape), 0.25))
        Path(f"{part}.csv").write_text("\n".join(("id", *ids)), encoding="utf-8")
    salt("import-predictions", "foreign", "--oof", "OOF.npy", "--oof-ids", "OOF.csv",
         "--test", "TEST.npy", "--test-ids", "TEST.csv")  # fmt: skip


def mosaics(*lines: str) -> Callable[[], None]:
    """The table of mosaics ``m.csv``; training tiles stand for the braces."""

    def write() -> None:
        ids = iter(Competition.open("data").ids)
        rows = [line.format(next(ids)) for line in lines]
        Path("m.csv").write_text("\n".join(("id,mosaic,row,column", *rows)), encoding="utf-8")

    return write


def picture() -> None:
    put(Path("tile.png"), png(np.zeros((32, 32), np.uint8)))


def submission() -> None:
    salt("ensemble", "tiny", *CPU)
    salt("submit", "--name", "mine")
    shutil.copy("submissions/mine.csv", "my own.csv")


def without(*keys: str) -> Callable[[], None]:
    """The ensemble ``both`` lacks a part of what it says."""

    def write() -> None:
        path = Path("runs/ensemble/both/ensemble.json")
        document = read_json(path)
        part = document
        for key in keys[:-1]:
            part = part[key]
        del part[keys[-1]]
        write_json(path, document)

    return write


#: The shared call of a student, and the labels made for it.
STUDENT = ("train", "--config", "tiny.toml", "--run", "student", "--pseudo", LABELS, *CPU)
LABEL = ("pseudo-label", "tiny", *SURE, *CPU)
MADE = called(*LABEL)
BOTH = called("ensemble", "tiny", "other", "--weights", "2,1", "--how", "logits", "--name", "both",
              *CPU)  # fmt: skip
MADE_BOTH = "runs/ensemble/both/ensemble.json"
TEST_FILES = ("runs/*/fold*/test.*", "runs/ensemble/*")
LABEL_FILES = ("runs/tiny/pseudo-labels.*", "runs/*/fold*/test.*")
ANEW = {"changes": ("data-anew/*", "a.csv"), "added": ("--data", "data-anew")}
TABLE = {"changes": ("folds/folds-2.csv",), "added": ("--folds", "folds/folds-2.csv")}
HALF = ("train", "--run", "tiny", *CPU)
MOSAIC = ("ensemble", "tiny", "--mosaic", "m.csv")
OTHER_MOSAIC = {"changes": ("m-2.*", *TEST_FILES), "added": ("--mosaic", "m-2.csv")}
PRETRAIN = ("pretrain", "--config", "tiny.toml", "--run", "pre", "--epochs", "2", *CPU)

SITUATIONS: dict[str, list[Situation]] = {
    "GET_ANEW": [
        Situation(("make-folds", "--out", "a.csv"), damage("data/train.zip"), **ANEW),  # type: ignore[arg-type]
        Situation(("make-folds", "--out", "a.csv"), damage("data/train.csv"), **ANEW),  # type: ignore[arg-type]
        Situation(("make-folds", "--out", "a.csv"), damage("data/sample_submission.csv"), **ANEW),  # type: ignore[arg-type]
    ],
    "faults:refuse": [
        Situation(("make-folds", "--out", "a.csv"), id_twice, **ANEW),  # type: ignore[arg-type]
        Situation(("make-folds", "--out", "a.csv"), all_of(id_twice, damage("data/test.zip")),
                  again=False, code=3),
        Situation(("make-folds", "--out", "a.csv"), grey_masks(11),
                  ("data/salt-data.toml", "a.csv")),
    ],
    "BY_THRESHOLD": [
        Situation(("make-folds", "--out", "a.csv"), grey_masks(1),
                  ("data/salt-data.toml", "a.csv")),
        Situation(("make-folds", "--out", "a.csv", "--data", "my data"),
                  all_of(grey_masks(1, jpeg=True), lambda: shutil.move("data", "my data")),
                  ("my data/salt-data.toml", "a.csv")),
    ],
    "source:require_tiles": [
        Situation(("check",), remove("data"), ("data/*",)),
        Situation(("check", "--data", "my data"), changes=("my data/*",)),
    ],
    "source:require_tiles#2": [Situation(("check",), remove("data/train.zip"), ("data/*",))],
    "folds:_refuse_impossible_split": [
        Situation(("make-folds", "--n-folds", "99", "--out", "a.csv"), changes=("a.csv",),
                  added=("--n-folds", "5")),
    ],
    "fold_files:read_folds": [
        Situation(("ensemble", "tiny", *CPU), remove("folds/folds.csv"),
                  ("folds/folds.csv", *TEST_FILES)),
        Situation(("ensemble", "tiny", "--folds", "my own.csv", *CPU),
                  changes=("my own.csv", *TEST_FILES)),
        Situation(("ensemble", "tiny", *CPU), damage("folds/folds.csv"), **TABLE),  # type: ignore[arg-type]
    ],
    "fold_files:read_folds#2": [
        Situation(("ensemble", "tiny", *CPU),
                  all_of(edit("folds/folds.csv", ",1\n", ",0\n"),
                         edit("folds/folds.csv", ",2\n", ",0\n")), **TABLE),  # type: ignore[arg-type]
    ],
    "fold_files:_bad_cell": [
        Situation(("ensemble", "tiny", *CPU), edit("folds/folds.csv", ",1\n", ",x\n"), **TABLE),  # type: ignore[arg-type]
    ],
    "fold_files:_refuse_other_tiles": [
        Situation(("ensemble", "tiny", *CPU),
                  lambda: put(Path("folds/folds.csv"), b"id,coverage,stratum,fold\na,0,0,0\n"),
                  **TABLE),  # type: ignore[arg-type]
    ],
    "postprocess:_neighbourhood": [
        Situation(("ensemble", "tiny", "--post", "wall-up", *CPU),
                  changes=("mosaics.*", *TEST_FILES), added=("--mosaic", "mosaics.csv")),
    ],
    "neighbourhood:read_mosaics": [
        Situation((*MOSAIC, *CPU), changes=("m.*", *TEST_FILES)),
        Situation((*MOSAIC, *CPU), damage("m.csv"), **OTHER_MOSAIC),  # type: ignore[arg-type]
    ],
    "neighbourhood:read_mosaics#2": [
        Situation((*MOSAIC, *CPU), mosaics("a,0,0,0"), **OTHER_MOSAIC),  # type: ignore[arg-type]
    ],
    "neighbourhood:read_mosaics#3": [
        Situation((*MOSAIC, *CPU), mosaics("{},0,0,0", "{},0,0,0"), **OTHER_MOSAIC),  # type: ignore[arg-type]
    ],
    "neighbourhood:read_mosaics#4": [
        Situation((*MOSAIC, *CPU), mosaics("a,0,x,0"), **OTHER_MOSAIC),  # type: ignore[arg-type]
    ],
    "blending:common_ids": [
        Situation(("ensemble", "tiny", "other", *CPU), remove("runs/other/fold1"),
                  ("runs/tiny/fold2/*", "runs/other/fold[01]/*", *TEST_FILES),
                  fills=("tiny", "other")),
    ],
    "blend_csv:_votes": [
        Situation(("blend-csv", "my own.csv", "--name", "voted"), submission,
                  ("submissions/voted.*",), fills=("data/sample_submission.csv",), again=False),
    ],
    "blend_csv:_tiles": [
        Situation(("blend-csv", "my own.csv", "data/sample_submission.csv", "--data", "gone",
                   "--name", "voted"), submission, ("submissions/voted.*",), again=False),
    ],
    "weight_search:search_weights": [
        Situation(("ensemble", "tiny", "--weights", "search", "--name", "best", *CPU),
                  changes=TEST_FILES, fills=("other",), again=False),
    ],
    "checkpoint:_fitting": [
        Situation((*HALF, "--fold", "0,1", "--resume"),
                  all_of(half_trained("tiny", 1), strange_checkpoint), ("runs/tiny/fold1/*",)),
    ],
    "checkpoint:_unreadable": [
        Situation((*HALF, "--fold", "0,1", "--resume"),
                  all_of(half_trained("tiny", 1), damage("runs/tiny/fold1/checkpoint.pt")),
                  ("runs/tiny/fold1/*",)),
        Situation((*PRETRAIN, "--resume"),
                  all_of(called(*PRETRAIN), remove("runs/pre/pretraining.json"),
                         damage("runs/pre/checkpoint.pt")), ("runs/pre/*",)),
    ],
    "pretraining:sound_pretraining": [
        Situation(("train", "--config", "tiny.toml", "--run", "student", *CPU,
                   "--set", "model.weights=runs/pre/weights.safetensors"),
                  all_of(called(*PRETRAIN), damage("runs/pre/weights.safetensors")),
                  ("runs/pre/*", "runs/student/*")),
    ],
    "pretrain:_check_folder": [
        Situation((*PRETRAIN, "--set", "training.seed=9"), called(*PRETRAIN), again=False),
    ],
    "pretrain:_check_folder#2": [
        Situation(PRETRAIN, all_of(called(*PRETRAIN), remove("runs/pre/pretraining.json")),
                  ("runs/pre/*",)),
    ],
    "keeping:summary_of#2": [
        Situation(PRETRAIN, all_of(called(*PRETRAIN),
                                   edit("runs/pre/pretraining.json", '"tiles": ', '"tiles": 1')),
                  ("runs/pre/*",)),
        Situation(("ensemble", "tiny", *CPU),
                  edit("runs/tiny/fold0/fold.json", '"score": 0.', '"score": 1.'),
                  ("runs/tiny/fold0/*", *TEST_FILES)),
    ],
    "keeping:summary_of": [
        Situation(PRETRAIN, all_of(called(*PRETRAIN), damage("runs/pre/pretraining.json")),
                  ("runs/pre/*",)),
        Situation(("ensemble", "tiny", *CPU), damage("runs/tiny/fold0/fold.json"),
                  ("runs/tiny/fold0/*", *TEST_FILES)),
        Situation(("ensemble", "other", *CPU), damage("runs/other/fold1/fold.json"),
                  ("runs/other/fold1/*", *TEST_FILES)),
    ],
    "fold:sound_weights": [
        Situation(("ensemble", "tiny", *CPU), damage("runs/tiny/fold1/weights.safetensors"),
                  ("runs/tiny/fold1/*", *TEST_FILES)),
    ],
    "predictions:load": [
        Situation(("ensemble", "tiny", *CPU),
                  edit("runs/tiny/fold0/oof.json", "out-of-fold", "in-the-fold"),
                  ("runs/tiny/fold0/*", *TEST_FILES)),
    ],
    "predictions:load#2": [
        Situation(("ensemble", "tiny", *CPU), damage("runs/tiny/fold0/oof.npy"),
                  ("runs/tiny/fold0/*", *TEST_FILES)),
    ],
    "training:_refuse_nan": [
        Situation(("train", "--config", "tiny.toml", "--run", "steep", *CPU), nan_once,
                  changes=("runs/steep-slower/*",), again=False),
    ],
    "training:_refuse_endless_skipping": [
        Situation(("train", "--config", "tiny.toml", "--run", "half", *CPU,
                   "--set", "training.precision=float16"), skipped_once,
                  changes=("runs/half-float32/*",), again=False),
    ],
    "folds:refuse_failed": [
        Situation(("train", "--run", "other", "--fold", "0", "--jobs", "2", "--retries", "0", *CPU),
                  lost_once(1), ("runs/other/fold0/*", "runs/other/logs/*")),
    ],
    "parts:_predict_test": [
        Situation(("ensemble", "tiny", "--jobs", "2", "--retries", "0", *CPU), lost_once(2)),
    ],
    "parts:_predict_lines": [
        Situation(("predict", "survey.sgy", "--run", "tiny", "--jobs", "2", "--retries", "0", *CPU),
                  all_of(lambda: write_survey(Path("survey.sgy"), cube(range(4), range(40))),
                         lost_once(2)), ("predictions/*",), again=False),
    ],
    "mishaps:living_workers": [
        Situation(("train", "--config", "tiny.toml", "--run", "own", *CPU), worker_dies,
                  changes=("runs/own/*",), again=False),
    ],
    "members:report_missing": [
        Situation(("ensemble", "tiny", "--require-all", *CPU),
                  changes=("runs/tiny/fold2/*", *TEST_FILES)),
    ],
    "members:_last_run": [
        Situation(("ensemble", *CPU), remove("runs"), ("runs/*",)),
    ],
    "members:_run_weights": [
        Situation(("ensemble", "tiny", "tiny", "--name", "my own", *CPU),
                  changes=TEST_FILES, again=False),
    ],
    "members:_open_any": [
        Situation(("ensemble", "foreign", *CPU),
                  all_of(imported, lambda: put(Path("data/depths.csv"), b"id,z\n")),
                  ("runs/foreign-2/*",), again=False),
    ],
    "finished:ready_run": [
        Situation(("predict", "tile.png", *CPU), all_of(picture, remove("runs")),
                  ("runs/*", "predictions/*")),
    ],
    "finished:_open_model": [
        Situation(("predict", "tile.png", "--model", "shipped", *CPU),
                  all_of(picture, remove("runs")), ("runs/*",), again=False),
    ],
    "packed:_refuse_unready": [
        Situation(("ship", "tiny", "--out", "network", *CPU),
                  changes=("network/*", *TEST_FILES)),
    ],
    "members:trained_folds": [
        Situation(("predict", "tile.png", "--run", "other", *CPU),
                  all_of(picture, remove("runs/other/fold1"), half_trained("other", 2)),
                  ("runs/other/fold2/*", "predictions/*")),
        Situation(("ensemble", "other", *CPU),
                  all_of(remove("runs/other/fold1"), half_trained("other", 2)),
                  ("runs/other/fold2/*", *TEST_FILES)),
        Situation(("ensemble", "other", *CPU), remove("runs/other/fold1", "runs/other/fold2"),
                  ("runs/other/*", *TEST_FILES)),
    ],
    "contenders:open_contenders": [
        Situation(("compare", "tiny"), fills=("other",), again=False),
    ],
    "contenders:_refuse_unknown": [
        Situation(("compare", "tinny", "other", "--runs", "runs"), again=False),
    ],
    "contenders:_only": [
        Situation(("compare", "tiny", "other/fold0"), changes=("runs/other/fold0/*",)),
    ],
    "contenders:_open": [
        Situation(("compare", "tiny", "both"),
                  all_of(BOTH, edit_sealed(MADE_BOTH, '"1": "', '"1": "0')),
                  TEST_FILES),
    ],
    "contenders:shared_tiles": [
        Situation(("compare", "tiny", "other"), remove("runs/other/fold1"),
                  ("runs/other/fold0/*",)),
        Situation(("compare", "tiny/fold0", "other/fold1"), again=False),
        Situation(("compare", "tiny/fold0", "tiny/fold1"), fills=("other",), again=False),
    ],
    "tiles:require_test_tiles": [
        Situation(("pseudo-label", "tiny", *CPU),
                  remove("data/test.zip", "data/sample_submission.csv"), ("data/*", *LABEL_FILES),
                  added=SURE),
        Situation(("train", "--config", "tiny.toml", "--run", "s", "--set",
                   "stage.bce.consistency.weight=1", *CPU),
                  remove("data/test.zip", "data/sample_submission.csv"), ("data/*", "runs/s/*")),
    ],
    "pseudo_label:_open_teachers": [
        Situation(("pseudo-label", "tiny", "tiny", *SURE, *CPU), changes=LABEL_FILES, again=False),
    ],
    "pseudo_label:_networks": [
        Situation(("pseudo-label", "tiny", "other", *SURE, *CPU),
                  remove("runs/other/fold1"), ("runs/other/fold0/*", *LABEL_FILES)),
    ],
    "rounds:_given_labels": [
        Situation(("train", "--config", "tiny.toml", "--run", "s", "--rounds", "2", *CPU),
                  changes=("runs/*",), added=("--pseudo", LABELS), fills=(UNSURE,)),
    ],
    "training_data:_read_labels": [
        Situation(("train", "--config", "tiny.toml", "--run", "s", "--set",
                   'stage.bce.tiles="pseudo"', *CPU),
                  changes=(*LABEL_FILES, "runs/s/*"), added=("--pseudo", LABELS),
                  fills=(UNSURE,)),
    ],
    "training_data:_read_labels#2": [
        Situation(STUDENT, all_of(MADE, foreign_tile), ("runs/student/*", *LABEL_FILES),
                  fills=(UNSURE,)),
    ],
    "pseudo_labels:_unusable": [
        Situation(STUDENT, all_of(MADE, edit("runs/tiny/pseudo-labels.json", "tiny", "tinx")),
                  ("runs/student/*", *LABEL_FILES), fills=(UNSURE,)),
        Situation(STUDENT, all_of(MADE, damage(LABELS)), ("runs/student/*", *LABEL_FILES),
                  fills=(UNSURE,)),
    ],
    "pseudo_labels:read_pseudo_labels": [
        Situation((*STUDENT, "--fold", "2"), MADE,
                  ("runs/tiny/fold2/*", "runs/student/*", *LABEL_FILES)),
    ],
    "pseudo_labels:_refuse_other_data": [
        Situation(STUDENT, all_of(MADE, manifest_says(folds_hash="other")),
                  ("runs/student/*", *LABEL_FILES)),
    ],
    "pseudo_labels:_refuse_leak": [
        Situation(STUDENT, all_of(MADE, manifest_says(networks={
            "0": [{"run": "tiny", "fold": 1, "weights_hash": "x"}]})),
            ("runs/student/*", *LABEL_FILES)),
    ],
    "train:_check_folders": [
        Situation((*HALF, "--fold", "0,1"), half_trained("tiny", 1), ("runs/tiny/fold1/*",)),
    ],
    "train:_check_folders#2": [
        Situation((*HALF, "--fold", "2", "--set", "training.seed=9"),
                  changes=("runs/tiny/fold2/*",), again=False),
        Situation((*HALF, "--fold", "1", "--set", "training.seed=9", "--resume"),
                  half_trained("tiny", 1), ("runs/tiny/fold1/*",), again=False),
    ],
    "runs:open_run": [
        Situation(("pseudo-label", "foreign", *SURE, *CPU), imported, TEST_FILES, again=False),
    ],
    "runs:open_run#2": [
        Situation(("ensemble", "quick2", *CPU), changes=("runs/quick2/*", *TEST_FILES)),
    ],
    "report_subject:find_subject": [
        Situation(("report", "quick2"), changes=("runs/quick2/*",)),
    ],
    "report_subject:_last_run": [
        Situation(("report",), remove("runs"), ("runs/*",)),
    ],
    "report_subject:_ensemble": [
        Situation(("report", "both"),
                  all_of(BOTH, edit_sealed(MADE_BOTH, '"1": "', '"1": "0')),
                  ("runs/ensemble/both/*",)),
    ],
    "report_judging:_refuse_other_tiles": [
        Situation(
            ("report", "both"),
            all_of(BOTH, edit_sealed(MADE_BOTH, '"tiles": 13,\n    "s', '"tiles": 9,\n    "s')),
            ("runs/ensemble/both/*",),
        ),
    ],
    "submit:_find_ensemble": [
        Situation(("submit", "--out", "my files"), changes=("my files/*", *TEST_FILES)),
    ],
    "submit:_find_ensemble#2": [
        Situation(("submit", "--ensemble", "tinny", "--name", "first", "--out", "o"),
                  called("ensemble", "tiny", *CPU), ("o/first.*",), again=False),
    ],
    "submit:_require_test_predictions": [
        Situation(("submit",),
                  all_of(BOTH, edit("runs/ensemble/both/test.json", '_hash": "', '_hash": "0')),
                  ("runs/ensemble/both/*", "submissions/*")),
    ],
    "submit:_require_test_predictions#2": [
        Situation(("submit",), all_of(BOTH, says("runs/ensemble/both/test.json", content_hash="0")),
                  ("runs/ensemble/both/*", "submissions/*")),
    ],
    "submit:_write": [
        Situation(("submit",), all_of(BOTH, damage("runs/ensemble/both/test.npy")),
                  ("runs/ensemble/both/*", "submissions/*")),
    ],
    "ensemble_document:read_ensemble": [
        Situation(("submit",), all_of(BOTH, edit(MADE_BOTH, '"level": ', '"level": 1')),
                  ("runs/ensemble/both/*", "submissions/*")),
    ],
    "ensemble_document:read_ensemble#2": [
        Situation(("submit",), all_of(BOTH, without("data_hash")),
                  ("runs/ensemble/both/*", "submissions/*")),
    ],
    "ensemble_document:chosen_rule#2": [
        Situation(("submit",), all_of(BOTH, without("decision", "rule")),
                  ("runs/ensemble/both/*", "submissions/*")),
    ],
    "ensemble_document:chosen_rule": [
        Situation(("submit",), all_of(BOTH, without("decision", "rule", "level")),
                  ("runs/ensemble/both/*", "submissions/*")),
    ],
}  # fmt: skip

#: Sites that no command line reaches, and why.
NOT_REACHED = {
    "kaggle_client:upload": "salt submit writes the file before it sends it",
    "mask_threshold:remember_threshold": "salt check takes no level but 1 to 255",
}


class Kaggle:
    """Kaggle's client, with the tiny competition."""

    def competition_download_files(
        self, competition: str, path: str, force: bool = False, quiet: bool = True
    ) -> None:
        made = Path(path) / ".made"
        write_data(made)
        (made / "hidden_test_masks.zip").unlink()
        shutil.make_archive(str(Path(path) / competition), "zip", made)
        shutil.rmtree(made)


@pytest.fixture
def hit(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, int]]]:
    """File and line of every frame that errors were made under."""
    frames: list[tuple[str, int]] = []
    usual = SaltError.__init__

    def remember(self: SaltError, *given: object, **named: object) -> None:
        frame = sys._getframe(1)
        while frame is not None:
            frames.append((frame.f_code.co_filename, frame.f_lineno))
            frame = frame.f_back  # type: ignore[assignment]
        usual(self, *given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(SaltError, "__init__", remember)
    return frames  # type: ignore[return-value]


def commands_in(step: str) -> list[str]:
    """The commands of a next step: each to the end of its line, or before a comma or semicolon."""
    starts = [found.start() for found in COMMAND.finditer(step)]
    ends = [*starts[1:], len(step)]
    parts = [step[start:end] for start, end in zip(starts, ends, strict=True)]
    return [re.split(r"[,;](?:\s|$)|\n", part)[0].strip() for part in parts]


def words_of(command: str, fill: str) -> list[str]:
    words = shlex.split(command)[1:]
    return [one for word in words for one in (fill.split() if word in BLANKS else [word])]


def test_every_site_has_a_situation() -> None:
    keys = {site.key for site in sites()}
    assert len(keys) > 30
    assert keys == SITUATIONS.keys() | NOT_REACHED.keys()


CASES = [
    pytest.param(key, situation, id=f"{key}-{number}")
    for key, situations in SITUATIONS.items()
    for number, situation in enumerate(situations)
]


@pytest.mark.parametrize(("key", "situation"), CASES)
def test_the_advice_helps_and_harms_nothing_else(
    trained: Path,
    monkeypatch: pytest.MonkeyPatch,
    hit: list[tuple[str, int]],
    key: str,
    situation: Situation,
) -> None:
    monkeypatch.setattr(kaggle_client, "_connect", Kaggle)
    monkeypatch.setattr(finished, "SHIPPED", Path("nothing"))
    tiny_is_what_suits(monkeypatch)
    situation.breaks()
    hit.clear()
    refused = Salt(situation.call)
    assert refused.exit_code in (1, 2, 3), refused.stdout + refused.stderr
    assert any(at(site, hit) for site in sites() if site.key == key), refused.stderr
    found = commands_in(refused.stderr.partition("\nnext: ")[2])
    assert found, refused.stderr
    before = files_under(trained)
    for command in found if "go on with it" not in refused.stderr else found[:1]:
        for fill in situation.fills if BLANKS & {*command.split()} else ("",):
            salt(*words_of(command, fill), code=situation.code)
    if situation.again:
        salt(*situation.call, *situation.added)
    after = files_under(trained)
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    harmed = [name for name in changed if not any(fnmatch(name, p) for p in allowed(situation))]
    assert not harmed, refused.stderr
    assert changed or not situation.changes


def allowed(situation: Situation) -> tuple[str, ...]:
    """What may change: what the remedy is for, and what the call itself writes when it succeeds."""
    return (*situation.changes, *(TEST_FILES if situation.call[0] == "ensemble" else ()))


def at(site: Site, frames: list[tuple[str, int]]) -> bool:
    return any(Path(f) == site.path and site.first <= line <= site.last for f, line in frames)


def tiny_is_what_suits(patch: pytest.MonkeyPatch) -> None:
    """Let the preset that suits the machine be the tiny one."""
    Path("suits.toml").write_text(TINY, encoding="utf-8")
    patch.setattr("kaggle_salt.pipeline.choose.preset_path", lambda _: Path("suits.toml"))


def test_starting_anew_takes_the_half_trained_fold_alone(trained: Path) -> None:
    half_trained("tiny", 1)()
    step = Salt((*HALF, "--fold", "0,1")).stderr.partition("\nnext: ")[2]
    go_on, anew = commands_in(step)
    assert go_on == "salt train --run tiny --fold 0,1 --resume --device cpu"
    assert anew == "salt train --run tiny --fold 1 --overwrite --device cpu"
    before = files_under(trained)
    salt(*shlex.split(anew)[1:])
    after = files_under(trained)
    assert {n for n in before if before[n] != after.get(n)} <= {
        name for name in before if name.startswith("runs/tiny/fold1/")
    }


def test_the_ensemble_is_made_again_as_it_was(trained: Path) -> None:
    BOTH()
    path = Path("runs/ensemble/both/ensemble.json")
    before = path.read_bytes()
    without("decision", "rule")()
    [command] = commands_in(Salt(("submit",)).stderr.partition("\nnext: ")[2])
    salt(*shlex.split(command)[1:])
    assert path.read_bytes() == before


def test_a_table_that_leaves_one_tile_stays_beside_a_better_one(trained: Path) -> None:
    rows = Path("folds/folds.csv").read_text(encoding="utf-8").splitlines()
    first, *others = [row.rpartition(",")[0] for row in rows[1:]]
    table = "\n".join((rows[0], f"{first},1", *(f"{row},0" for row in others), ""))
    Path("folds/folds.csv").write_text(table, encoding="utf-8")
    deep = "model={architecture='classic-unet', weights='none', options={widths=[4,4,4,4,4,4]}}"
    call = ("train", "--config", "tiny.toml", "--run", "alone", "--set", deep, *CPU)
    told = salt(*call, code=2).stderr
    assert "one tile a batch" in told
    [command] = commands_in(told.partition("\nnext: ")[2])
    assert command == "salt make-folds --out folds/folds-2.csv"
    salt(*shlex.split(command)[1:])
    salt(*call, "--folds", "folds/folds-2.csv")
    assert Path("folds/folds.csv").read_text(encoding="utf-8") == table


def test_the_remedies_that_a_check_lists_are_whole(trained: Path) -> None:
    all_of(grey_masks(11), lambda: shutil.move("data", "my data"))()
    told = salt("check", "--data", "my data", code=3).stdout.splitlines()
    commands = [command for line in told if "salt check" in line for command in commands_in(line)]
    assert commands == [
        "salt check --json --data 'my data'", "salt check --mask-threshold 128 --data 'my data'",
    ]  # fmt: skip
    listed = json.loads(salt(*shlex.split(commands[0])[1:], code=3).stdout)
    assert listed["faults"][0]["count"] == 11
    salt(*shlex.split(commands[1])[1:])
    assert "nothing is wrong" in salt("check", "--data", "my data").stdout


def test_an_import_says_how_to_blend_it_where_it_lies(trained: Path) -> None:
    imported()
    shutil.move("runs", "all runs")
    told = salt(
        "import-predictions",
        "again",
        "--oof",
        "OOF.npy",
        "--oof-ids",
        "OOF.csv",
        "--test",
        "TEST.npy",
        "--test-ids",
        "TEST.csv",
        "--runs",
        "all runs",
    ).stdout
    [command] = commands_in(told)
    assert command == "salt ensemble again RUN --runs 'all runs'"
    salt(*words_of(command, "tiny"), *CPU)


def test_a_remedy_says_where_things_lie_as_the_call_did(trained: Path) -> None:
    """The issue's own case: run b is damaged, and another run must not pay for it."""
    shutil.move("runs", "all runs")
    shutil.move("data", "tiles")
    damage("all runs/other/fold1/fold.json")()
    told = Salt(("ensemble", "other", "--data", "tiles", "--runs", "all runs", *CPU)).stderr
    before = files_under(trained)
    [command] = commands_in(told.partition("\nnext: ")[2])
    assert command == (
        "salt train --run other --fold 1 --overwrite --data tiles --runs 'all runs' --device cpu"
    )
    salt(*shlex.split(command)[1:])
    after = files_under(trained)
    assert {name.rpartition("/")[0] for name in after if before.get(name) != after[name]} == {
        "all runs/other/fold1"
    }


def test_what_the_environment_says_is_not_said_again(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damage("runs/other/fold1/fold.json")()
    monkeypatch.setenv("SALT_RUNS", "runs")
    told = Salt(("ensemble", "other")).stderr
    assert told.endswith("salt train --run other --fold 1 --overwrite\n")


def test_a_remedy_of_the_demo_leaves_the_runs_outside_alone(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise DataError("a", next_step=salt_command("train", "--run", "tiny", "--overwrite"))

    monkeypatch.setattr("kaggle_salt.pipeline.demo.run_demo", fail)
    told = Salt(("demo", "my demo")).stderr
    assert told.endswith(
        "next: salt train --run tiny --overwrite --data 'my demo/data' --runs 'my demo/runs' "
        "--folds 'my demo/folds/folds.csv'\n"
    )
