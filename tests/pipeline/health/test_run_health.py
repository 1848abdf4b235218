"""``salt doctor RUN``: one flipped bit is found wherever it is, and a whole run has no damage."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from kaggle_salt import Competition, Workspace, diagnose
from kaggle_salt.errors import ConfigError
from kaggle_salt.pipeline.health.signs import Sign
from kaggle_salt.storage.files import SEAL_KEY, atomic_path, read_json, vouched, write_json
from kaggle_salt.storage.writing import leftovers
from tests.tiny import (
    draw_no_curves,
    files_under,
    interrupt_epoch,
    one_thread,
    refused,
    salt,
)

CPU = ("--device", "cpu")


@pytest.fixture(scope="module")
def submitted_template(trained_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trained workspace with an ensemble of run tiny and its submission, made once."""
    folder = tmp_path_factory.mktemp("submitted") / "work"
    shutil.copytree(trained_template, folder)
    with pytest.MonkeyPatch.context() as patch, one_thread():
        patch.chdir(folder)
        draw_no_curves(patch)
        salt("ensemble", "tiny", *CPU)
        salt("submit")
    return folder


@pytest.fixture
def work(
    submitted_template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """A copy of it, which is the current folder; curves are not drawn there."""
    folder = tmp_path / "work"
    shutil.copytree(submitted_template, folder)
    monkeypatch.chdir(folder)
    draw_no_curves(monkeypatch)
    with one_thread():
        yield folder


def flip_bit(name: str) -> Callable[[], None]:
    """Change one bit of a file, in its middle."""

    def flip() -> None:
        path = Path(name)
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)

    return flip


def flip_bit_of_largest_member(name: str) -> None:
    """Change one bit of what a zip holds; much of a checkpoint is padding, which nobody reads."""
    path = Path(name)
    with zipfile.ZipFile(path) as file:
        content = file.read(max(file.infolist(), key=lambda member: member.file_size))
    changed = bytearray(content)
    changed[len(changed) // 2] ^= 1
    path.write_bytes(path.read_bytes().replace(content, bytes(changed), 1))


def break_header() -> None:
    """Make the header of an array something that NumPy's own parser stumbles over."""
    path = Path("runs/tiny/fold1/oof.npy")
    path.write_bytes(path.read_bytes().replace(b")", b"!", 1))


def edit(name: str, old: str, new: str) -> Callable[[], None]:
    """Another text in a file; a document vouches for what it says then."""

    def write() -> None:
        path = Path(name)
        text = path.read_text(encoding="utf-8")
        assert old in text
        text = text.replace(old, new, 1)
        if path.suffix == ".json":
            write_json(path, {k: v for k, v in json.loads(text).items() if k != SEAL_KEY})
        else:
            path.write_text(text, encoding="utf-8")

    return write


def put_text(name: str, after: str, text: str) -> Callable[[], None]:
    def write() -> None:
        content = Path(name).read_text(encoding="utf-8")
        assert after in content
        Path(name).write_text(content.replace(after, after + text, 1), encoding="utf-8")

    return write


def remove(name: str) -> Callable[[], None]:
    return lambda: Path(name).unlink()


def put(name: str, text: str) -> Callable[[], object]:
    return lambda: Path(name).write_text(text, encoding="utf-8")


def only(signs: tuple[Sign, ...]) -> Sign:
    [one] = signs
    return one


def test_of_a_whole_run_every_file_is_verified_and_nothing_is_off(work: Path) -> None:
    before = files_under(work)
    diagnosis = diagnose("data", "tiny")
    assert [sign for sign in diagnosis.signs if sign.advice] == []
    found = [(sign.about, sign.found) for sign in diagnosis.signs]
    assert found == [
        ("config", "as in the manifest"),
        ("tiles", "as decoded, and those that it was trained on"),
        ("fold table", "folds/folds.csv is the one that it was begun with"),
        ("fold 0", "weights.safetensors as written"),
        ("fold 1", "weights.safetensors as written"),
        ("fold0/oof", "oof.npy as written"),
        ("fold0/test", "test.npy as written"),
        ("fold1/oof", "oof.npy as written"),
        ("fold1/test", "test.npy as written"),
        ("ensemble tiny", "test.npy as written"),
        ("submission tiny", "tiny.csv as written"),
    ]
    assert files_under(work) == before, "nothing is written"


ANEW = "train the fold anew: salt train --run tiny --fold 1 --overwrite"
DAMAGES: dict[str, tuple[Callable[[], object], str, str, str]] = {
    "weights": (flip_bit("runs/tiny/fold1/weights.safetensors"), "fold 1", "has changed", ANEW),
    "weights gone": (remove("runs/tiny/fold1/weights.safetensors"), "fold 1", "is gone", ANEW),
    "summary": (put("runs/tiny/fold1/fold.json", "{}"), "fold 1", "not a training's summary", ANEW),
    "oof": (flip_bit("runs/tiny/fold1/oof.npy"), "fold1/oof", "oof.npy has changed", ANEW),
    "oof's header": (break_header, "fold1/oof", "oof.npy has changed", ANEW),
    "oof gone": (remove("runs/tiny/fold1/oof.npy"), "fold1/oof", "are gone", ANEW),
    "oof's document": (put("runs/tiny/fold1/oof.json", "{"), "fold1/oof", "be read", ANEW),
    "oof's document gone": (remove("runs/tiny/fold1/oof.json"), "fold 1", "oof.json is gone", ANEW),
    "oof's ids": (
        edit("runs/tiny/fold1/oof.json", '"ids": [', '"ids": ["stranger", '),
        "fold1/oof", "ids for", ANEW,
    ),
    "oof of other weights": (
        edit("runs/tiny/fold1/oof.json", '"weights_hash": "', '"weights_hash": "0'),
        "fold 1", "of other weights", ANEW,
    ),
    "test": (
        flip_bit("runs/tiny/fold1/test.npy"), "fold1/test", "test.npy has changed",
        "delete runs/tiny/fold1/test.json, then salt ensemble tiny",
    ),
    "config": (
        edit("runs/tiny/config.toml", "batch_size = 4", "batch_size = 8"),
        "config", r"changed .*\(training.batch_size: 4 -> 8\)",
        "write runs/tiny/config.toml as the config in runs/tiny/manifest.json says",
    ),
    "config gone": (
        remove("runs/tiny/config.toml"), "config", "cannot be read",
        "write runs/tiny/config.toml as the config in runs/tiny/manifest.json says",
    ),
    "manifest": (put("runs/tiny/manifest.json", "[]"), "manifest", "holds a list", "restore it"),
    "ensemble's predictions": (
        flip_bit("runs/ensemble/tiny/test.npy"), "ensemble tiny", "test.npy has changed",
        "salt ensemble tiny --name tiny",
    ),
    "ensemble's score": (
        put_text("runs/ensemble/tiny/ensemble.json", '"score_cross_fitted": ', "1"),
        "ensemble tiny", "has changed since it was written", "delete runs/ensemble/tiny",
    ),
    "ensemble's rule": (
        edit("runs/ensemble/tiny/ensemble.json", '"level"', '"levl"'),
        "ensemble tiny", "a rule of level None", "delete runs/ensemble/tiny",
    ),
    "ensemble's document": (
        put("runs/ensemble/tiny/ensemble.json", '{"members": [1]}'),
        "ensemble tiny", "ensemble.json: ", "delete runs/ensemble/tiny",
    ),
    "submission": (
        flip_bit("submissions/tiny.csv"), "submission tiny", "tiny.csv has changed",
        "salt submit --ensemble tiny --name tiny --out submissions --overwrite",
    ),
}  # fmt: skip


@pytest.mark.parametrize("which", DAMAGES)
def test_damage_is_found_and_the_remedy_named(work: Path, which: str) -> None:
    damage, about, found, advice = DAMAGES[which]
    damage()
    told = only(diagnose("data", "tiny").damaged)
    assert told.about == about
    assert re.search(found, told.found), told.found
    assert told.advice.startswith(advice)


def test_all_is_well_once_the_advice_was_followed(work: Path) -> None:
    whole = diagnose("data", "tiny")
    for which in ("oof", "test", "ensemble's predictions", "submission"):
        DAMAGES[which][0]()
    damaged = diagnose("data", "tiny").damaged
    assert len(damaged) == 4
    Path("runs/tiny/fold1/test.json").unlink()  # as is advised
    for sign in damaged:
        command = "salt " + sign.advice.rpartition("salt ")[2]
        salt(*shlex.split(command)[1:], *([] if "submit" in command else CPU))
    assert diagnose("data", "tiny") == whole


def test_a_half_trained_fold_and_its_checkpoint(
    work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        interrupt_epoch(patch, 3)
        salt("train", "--config", "tiny.toml", "--run", "half", *CPU, code=130)
    half = only(tuple(s for s in diagnose("data", "half").signs if s.about == "fold 0"))
    assert half.found == "half trained, 2 epochs"
    assert half.advice == "unless one is at it: salt train --run half --fold 0 --resume"
    checkpoint = "runs/half/fold0/checkpoint.pt"
    flip_bit_of_largest_member(checkpoint)
    told = only(diagnose("data", "half").damaged)
    assert "checkpoint.pt is damaged" in told.found
    assert told.advice == "train the fold anew: salt train --run half --fold 0 --overwrite"
    put(checkpoint, "PK")()
    assert "is damaged: BadZipFile" in only(diagnose("data", "half").damaged).found
    shutil.rmtree("runs/half/fold0")
    Path("runs/half/fold0").mkdir()
    signs = diagnose("data", "half").signs  # a folder in which no epoch was finished claims nothing
    assert not [sign for sign in signs if sign.about == "fold 0"]


def test_decoded_tiles_are_verified(work: Path) -> None:
    [images] = Path("data").glob(".salt-cache/*/images.npy")
    flip_bit(str(images))()
    told = only(diagnose("data", "tiny").damaged)
    assert told.about == "tiles"
    assert told.advice.startswith(f"delete {images.parent}")
    shutil.rmtree(images.parent)
    assert "tiles" not in [sign.about for sign in diagnose("data", "tiny").signs]


def test_what_is_off_but_not_damaged(work: Path) -> None:
    Path("runs/tiny/fold0/checkpoint.pt").touch()
    made = Path("runs/tiny/fold0/made.npy")
    with atomic_path(made) as name:
        assert leftovers(Path("runs")) == [], "its writer lives"
    made.rename(name)
    Path("folds/folds.csv").unlink()
    edit("runs/tiny/fold1/test.json", '"weights_hash": "', '"weights_hash": "0')()
    edit("runs/ensemble/tiny/ensemble.json", '"0": "', '"0": "0')()
    diagnosis = diagnose("data", "tiny")
    off = {sign.about: sign for sign in diagnosis.signs if sign.advice}
    assert list(off) == ["fold table", "fold 0", "fold 1", "ensemble tiny", "leftovers"]
    assert off["fold 0"].found.endswith("checkpoint.pt is of no use any more")
    assert off["fold 1"].advice == "salt ensemble tiny"
    assert off["ensemble tiny"].found == "other now than when it was made: fold 0"
    assert str(name) in off["leftovers"].found
    assert not diagnosis.damaged


def test_other_tiles_and_other_starting_weights_are_told(work: Path) -> None:
    salt("train", "--config", "tiny.toml", "--run", "next", "--set", "stage.*.epochs=1",
         "--set", 'model.weights="runs/tiny/fold0/weights.safetensors"', *CPU)  # fmt: skip
    flip_bit("runs/tiny/fold0/weights.safetensors")()
    edit("runs/next/manifest.json", '"train_hash": "', '"train_hash": "0')()
    diagnosis = diagnose("data", "next")
    told = {sign.about: sign for sign in diagnosis.signs}
    assert "is not the one that run next was begun with" in told["starting weights"].found
    assert told["tiles"].advice == "name the others with --data FOLDER"
    assert not diagnosis.damaged


def test_imported_predictions_are_verified(work: Path) -> None:
    competition = Competition.open("data")
    for part, ids in (("OOF", competition.ids), ("TEST", competition.test_ids)):
        np.save(f"{part}.npy", np.full((len(ids), *competition.tile_shape), 0.25))
        Path(f"{part}.csv").write_text("\n".join(("id", *ids)), encoding="utf-8")
    salt("import-predictions", "foreign", "--oof", "OOF.npy", "--oof-ids", "OOF.csv",
         "--test", "TEST.npy", "--test-ids", "TEST.csv")  # fmt: skip
    assert not diagnose("data", "foreign").damaged
    flip_bit("runs/foreign/oof.npy")()
    assert only(diagnose("data", "foreign").damaged).advice.startswith("import the files again")
    Path("runs/foreign/oof.json").unlink()
    assert only(diagnose("data", "foreign").damaged).found.endswith("oof.json is gone")


def test_predictions_of_an_earlier_version_have_no_hash_and_are_not_damaged(work: Path) -> None:
    path = Path("runs/tiny/fold0/oof.json")
    document = read_json(path)
    del document["content_hash"]
    write_json(path, document)
    told = {sign.about: sign for sign in diagnose("data", "tiny").signs}
    assert told["fold0/oof"].found.startswith("holds no hash")
    assert not told["fold0/oof"].damaged


def test_a_document_may_vouch_for_two_files_or_for_one_of_that_name(work: Path) -> None:
    def labels() -> Sign:
        return only(tuple(s for s in diagnose("data", "tiny").signs if s.about == "labels"))

    table, soft = Path("labels.csv"), Path("labels.npy")
    with vouched(Path("runs/tiny/labels.json"), "runs/tiny" / table, "runs/tiny" / soft) as draft:
        draft.paths[0].write_text("id\n", encoding="utf-8")
        np.save(draft.paths[1], np.zeros(3))
    assert labels().found == "labels.csv and labels.npy as written"
    flip_bit("runs/tiny/labels.npy")()
    assert labels().advice == "make it again with the settings that runs/tiny/labels.json holds"
    with vouched(Path("runs/tiny/labels.json"), "runs/tiny" / table) as draft:
        draft.paths[0].write_text("id\n", encoding="utf-8")
    assert not labels().damaged
    flip_bit("runs/tiny/labels.csv")()
    assert labels().damaged


def test_the_command_ends_with_3_and_completes_its_advice(work: Path) -> None:
    shutil.move("runs", "my runs")
    told = salt("doctor", "tiny", "--runs", "my runs").stdout
    assert "damaged  " not in told
    assert told.splitlines()[-1] == "0 damaged, 0 to look at, 11 in all"
    flip_bit("my runs/tiny/fold1/oof.npy")()
    told = salt("doctor", "tiny", "--runs", "my runs", code=3).stdout
    assert "damaged  fold1/oof: my runs/tiny/fold1/oof.npy has changed" in told
    assert "salt train --run tiny --fold 1 --overwrite --runs 'my runs'\n" in told
    assert told.splitlines()[-1] == "1 damaged, 0 to look at, 11 in all"
    document = json.loads(salt("doctor", "tiny", "--runs", "my runs", "--json", code=3).stdout)
    assert document["run"] == "tiny"
    assert document["damaged"] is True
    [sign] = [sign for sign in document["signs"] if sign["damaged"]]
    assert sign["about"] == "fold1/oof"
    assert sign["advice"].endswith("--fold 1 --overwrite --runs 'my runs'")


def test_a_run_that_is_not_there(work: Path) -> None:
    refused(2, "doctor", "tinny", found="there is no run 'tinny'", expected="did you mean 'tiny'",
            then="salt train --run tinny --fold 0")  # fmt: skip
    with pytest.raises(ConfigError, match=r"cannot be called '\.\./tiny'"):
        diagnose(Workspace(), "../tiny")
