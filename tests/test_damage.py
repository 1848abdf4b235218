"""Bytes of what a finished workspace holds are damaged: refused with a remedy, or the same numbers.

What is made again in place of something damaged is the same to the byte; never are there others.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from kaggle_salt.competition.tiles import ARRAYS, Competition
from kaggle_salt.config.file import load_config
from kaggle_salt.config.schema import Config
from kaggle_salt.errors import SaltError
from kaggle_salt.pipeline.blending.ensemble import ensemble
from kaggle_salt.pipeline.blending.mosaic_rules import Mosaic
from kaggle_salt.pipeline.judging.run_list import list_runs
from kaggle_salt.pipeline.predicting.finished import deciding_rule, ready_run, tile_predictor
from kaggle_salt.pipeline.predicting.packed import ship
from kaggle_salt.pipeline.submitting.blend_csv import blend_submissions
from kaggle_salt.pipeline.submitting.submit import submit
from kaggle_salt.pipeline.training.starting_weights import examine_weights
from kaggle_salt.pipeline.workspace import Listener, Workspace
from kaggle_salt.pseudo_labels import read_manifest, read_pseudo_labels
from kaggle_salt.storage.files import file_hash, read_json, write_json
from tests.tiny import Heard, files_under, salt

HERE = Workspace()
#: Damages tried on each file.
TRIES = 8
#: Bytes that a burst inverts.
BURST = 2048


def damages(path: Path, tries: int = TRIES) -> Iterator[str]:
    """Damage a file in one way after the other, the same in every run, and mend it in the end.

    Yields:
        What was done to it.
    """
    chance, whole = random.Random(path.name), path.read_bytes()
    for number in range(tries):
        damaged, place = bytearray(whole), chance.randrange(len(whole))
        if number % 4 == 3:
            burst = damaged[place : place + BURST]
            damaged[place : place + BURST] = bytes(255 - byte for byte in burst)
            what = f"{len(burst)} bytes inverted from {place}"
        elif number % 4 == 2:
            damaged[place] = chance.randrange(256)
            what = f"byte {place} is {damaged[place]}"
        else:
            bit = chance.randrange(8)
            damaged[place] ^= 1 << bit
            what = f"bit {bit} of byte {place} flipped"
        path.write_bytes(damaged)
        yield f"{path}: {what}"
    path.write_bytes(whole)


def made(listener: Listener | None = None) -> dict[str, bytes]:
    """The ensemble of the run and its submission, made anew."""
    for folder in ("runs/ensemble", "submissions"):
        shutil.rmtree(folder, ignore_errors=True)
    ensemble(HERE, ["tiny"], device="cpu", listener=listener)
    submit(HERE)
    files = files_under(Path("runs/ensemble")) | files_under(Path("submissions"))
    return {name: content for name, content in files.items() if not name.endswith(".png")}


def submitted() -> dict[str, bytes]:
    shutil.rmtree("submissions", ignore_errors=True)
    submit(HERE)
    return files_under(Path("submissions"))


def survives(path: str, use: Callable[[], object], tries: int = TRIES) -> None:
    """Damage a file and use it: the same comes of it as before, or an error that helps."""
    before = use()
    for what in damages(Path(path), tries):
        remedy = ""
        try:
            assert use() == before, f"other results, and nobody says so; {what}"
            continue
        except SaltError as error:
            remedy = error.next_step
        assert remedy, what
    assert use() == before


@pytest.mark.parametrize("name", ["fold.json", "oof.json", "oof.npy", "test.json", "test.npy"])
def test_what_a_fold_predicted(trained: Path, name: str) -> None:
    made()  # so that there are predictions of test tiles
    survives(f"runs/tiny/fold0/{name}", made)


def test_weights(trained: Path) -> None:
    def predicted() -> object:
        for path in Path("runs/tiny/fold0").glob("test.*"):
            path.unlink()
        return made(), Path("runs/tiny/fold0/test.npy").read_bytes()

    survives("runs/tiny/fold0/weights.safetensors", predicted)


def test_predictions_of_test_tiles_are_made_again_and_it_is_said(trained: Path) -> None:
    before, heard = made(), Heard()
    for name in ("test.npy", "test.json"):
        path = Path("runs/tiny/fold0", name)
        whole = path.read_bytes()
        path.write_bytes(whole[:-20] + bytes(255 - byte for byte in whole[-20:]))
        assert made(heard) == before
        assert path.read_bytes() == whole
    told = [text for text in heard.warnings if "made again" in text]
    assert [f"fold0/{name} cannot be read" in text for name, text in
            zip(("test.npy", "test.json"), told, strict=True)] == [True, True]  # fmt: skip


@pytest.mark.parametrize("name", ["config.toml", "manifest.json"])
def test_what_a_run_was_trained_with(trained: Path, name: str) -> None:
    survives(f"runs/tiny/{name}", made, tries=2 * TRIES)


@pytest.mark.parametrize(
    ("old", "new"), [("size = 32", "size = 64"), ('tta = "flip"', 'tta = "none"')]
)
def test_a_configuration_edited_after_training_is_refused(
    trained: Path, old: str, new: str
) -> None:
    path = Path("runs/tiny/config.toml")
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    key = "input.size" if old.startswith("size") else "inference.tta"
    for call in (("ensemble", "tiny"), ("train", "--run", "tiny", "--fold", "2"),
                 ("predict", "data/train.zip", "--run", "tiny")):  # fmt: skip
        told = salt(*call, "--device", "cpu", code=2).stderr
        assert f"config.toml has changed since the run was begun ({key}: " in told
    path.write_text(f"# a note of mine\n{text}", encoding="utf-8")
    made()


@pytest.mark.parametrize("name", ["ensemble.json", "test.json", "test.npy"])
def test_ensembles_before_they_are_submitted(trained: Path, name: str) -> None:
    made()
    survives(f"runs/ensemble/tiny/{name}", submitted, tries=2 * TRIES)


def test_a_decision_that_another_hand_wrote_is_refused(trained: Path) -> None:
    made()
    path = Path("runs/ensemble/tiny/ensemble.json")
    level = read_json(path)["decision"]["rule"]["level"]
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace(f'"level": {level}', f'"level": {level + 1}'), encoding="utf-8")
    with pytest.raises(SaltError, match=r"has changed since .*\n.*\nnext: .*salt ensemble RUN"):
        submit(HERE)


def test_scores_in_a_list_of_runs(trained: Path) -> None:
    made()
    before = list_runs(HERE)
    for name in ("runs/tiny/fold0/fold.json", "runs/ensemble/tiny/ensemble.json"):
        for what in damages(Path(name)):
            now = list_runs(HERE)
            assert now == before or any(row.trouble for row in now), what


@pytest.mark.parametrize("name", [*ARRAYS, "index"])
def test_tiles_are_decoded_again(trained: Path, name: str) -> None:
    def opened() -> dict[str, object]:
        competition = Competition.open("data")
        arrays = {name: getattr(competition, name).tobytes() for name in ARRAYS}
        plain = ("ids", "test_ids", "modes", "train_hash", "test_hash", "mask_levels")
        return arrays | {name: getattr(competition, name) for name in plain}

    before = opened()
    (path,) = Path("data").glob(f".salt-cache/*/{name}.*")
    for what in damages(path):
        assert opened() == before, what
        assert not Competition.open("data").notes


def test_of_tiles_that_are_decoded_again_it_is_said(trained: Path) -> None:
    (path,) = Path("data").glob(".salt-cache/*/images.npy")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    heard = Heard()
    HERE.open(heard)
    assert any(".salt-cache" in text and "decoding them again" in text for text in heard.notes)


def test_labels(trained: Path) -> None:
    salt("pseudo-label", "tiny", "--confidence", "0", "--low", ".5", "--high", ".5", "--soft",
         "--device", "cpu")  # fmt: skip
    csv = Path("runs/tiny/pseudo-labels.csv")
    origin = read_manifest(csv).made_of
    hashes = {"folds_hash": origin.folds_hash, "test_hash": origin.test_hash}

    def read() -> object:
        labels = read_pseudo_labels(csv, 0, **hashes)
        assert labels.soft is not None
        return replace(labels, soft=None), labels.soft.tobytes()

    for suffix in (".csv", ".npy", ".json"):
        survives(str(csv.with_suffix(suffix)), read)


def test_tables_of_mosaics_and_submissions(trained: Path) -> None:
    competition = Competition.open("data")
    rows = "".join(f"{tile},0,{row},0\n" for row, tile in enumerate(competition.ids[:9]))
    Path("m.csv").write_text(f"id,mosaic,row,column\n{rows}", encoding="utf-8")
    write_json(Path("m.json"), {"content_hash": file_hash(Path("m.csv"))})
    survives("m.csv", lambda: Mosaic.open(Path("m.csv"), competition).neighbourhood.table.to_csv())
    made()
    shutil.copytree("submissions", "mine")
    shutil.copy("data/sample_submission.csv", "other.csv")

    def voted() -> object:
        shutil.rmtree("submissions", ignore_errors=True)
        blend_submissions(HERE, [Path("mine/tiny.csv"), Path("other.csv")], name="v")
        return Path("submissions/v.csv").read_bytes()

    survives("mine/tiny.csv", voted)


def test_weights_to_start_from(trained: Path) -> None:
    salt("pretrain", "--config", "tiny.toml", "--run", "pre", "--epochs", "2", "--device", "cpu")
    for file in ("runs/pre/weights.safetensors", "runs/tiny/fold0/weights.safetensors"):

        def examined(file: str = file) -> object:
            config: Config = load_config(Path("tiny.toml"), [f'model.weights="{file}"'])
            hashes = {key: read_json(Path("runs/tiny/manifest.json"))[key]
                      for key in ("train_hash", "folds_hash")}  # fmt: skip
            return examine_weights(config, [0], hashes, Listener())

        survives(file, examined)


def test_networks_that_were_packed(trained: Path) -> None:
    made()
    ship(HERE, "tiny", Path("network"), fold=0, device="cpu")
    tiles = Competition.open("data").test_images[:2]

    def predicted() -> object:
        ready = ready_run(HERE, model="network", listener=Listener())
        return deciding_rule(ready, None), tile_predictor(ready, "cpu")(tiles).tobytes()

    names = [name for name in files_under(Path("network")) if name != "README.md"]
    assert len(names) == 5
    for name in names:
        survives(f"network/{name}", predicted)
    weights = Path("runs/tiny/fold0/weights.safetensors")
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(SaltError, match="has changed since the fold was trained"):
        ship(HERE, "tiny", Path("second"), fold=0, device="cpu")
