"""Input that was made, or has gone wrong, to hang, fill the memory, run code or reach other files.

Every call ends with three lines, in bounded memory, and touches nothing. What machines think of
beside this is tried in ``tests/test_fuzz.py`` and by ``scripts/fuzz``.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from kaggle_salt.competition import rle
from kaggle_salt.competition.archive import open_files, read_table
from kaggle_salt.competition.decision import Rule
from kaggle_salt.competition.fold_files import read_groups
from kaggle_salt.competition.pixels import LARGEST_TILE, open_picture
from kaggle_salt.competition.submission import write_submission
from kaggle_salt.competition.tiles import Competition
from kaggle_salt.config.file import load_config
from kaggle_salt.config.schema import LARGEST_SEED
from kaggle_salt.errors import ConfigError, DataError, RleError, TrainingError
from kaggle_salt.learning.checkpoint import Progress, load_checkpoint, save_checkpoint
from kaggle_salt.learning.keeping import ORIGIN, read_origin
from kaggle_salt.learning.networks.pretrained import read_weights
from kaggle_salt.predictions import Predictions, load
from kaggle_salt.runs import FoldFolder
from kaggle_salt.storage.files import read_json, write_json
from tests.hostile import (
    BZIP2,
    DEFLATED,
    STORED,
    Bomb,
    deflated_zeros,
    jpeg_of_size,
    memory_limit,
    pickle_that_makes,
    png_of_size,
    zip_of,
)
from tests.makers import TinyCompetition, jpeg, pack, put, write_competition
from tests.tiny import files_under, refused, salt

DEEP = 100_000
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="how Linux counts and names things")


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TinyCompetition:
    """A tiny competition in ``data``, inside the current folder."""
    monkeypatch.chdir(tmp_path)
    return write_competition(Path("data"))


def victim(made: TinyCompetition) -> Path:
    """The picture that is to be replaced."""
    return made.path / "train/images" / f"{made.ids[0]}.png"


# --- pictures


LARGE = {
    "a PNG": (png_of_size(50_000, 50_000), "50000x50000 pixels"),
    "a PNG of 16 bits": (png_of_size(8192, 8193, depth=16, colour_type=6), "8193x8192 pixels"),
    "no pixels": (png_of_size(0, 8), "8x0 pixels"),
    "the longest side": (png_of_size(2**31 - 1, 2**31 - 1), "2147483647x2147483647 pixels"),
    "a JPEG": (jpeg_of_size(jpeg(np.zeros((8, 8), np.uint8)), 65_535, 65_535), "65535x65535"),
}


@pytest.mark.parametrize("what", LARGE)
def test_a_picture_of_impossible_size_is_never_unpacked(made: TinyCompetition, what: str) -> None:
    content, found = LARGE[what]
    put(victim(made), content)
    refused(3, "make-folds", found=found, expected=f"1 to {LARGEST_TILE} pixels a tile",
            then="salt download")  # fmt: skip
    assert found in salt("check", code=3).stdout


@LINUX
def test_pictures_of_other_sizes_are_named_without_being_unpacked(made: TinyCompetition) -> None:
    put(victim(made), png_of_size(8000, 8192, depth=16, colour_type=6))  # half a GiB of pixels
    with memory_limit(1 << 28), pytest.raises(DataError, match="has 8192x8000 pixels"):
        Competition.open(made.path)


def test_a_second_header_is_not_believed() -> None:
    whole = png_of_size(8, 8)
    ihdr = png_of_size(7000, 7000)[8:33]
    with pytest.raises(DataError, match=r"a\.png is truncated or damaged"):
        open_picture(whole[:33] + ihdr + whole[33:], "a.png").decode()


@pytest.mark.parametrize("length", range(0, 40))
def test_headers_that_end_early(length: int) -> None:
    for whole in (png_of_size(8, 8), jpeg(np.zeros((8, 8), np.uint8))):
        with pytest.raises(DataError, match=r"a\.png is truncated or damaged"):
            open_picture(whole[:length], "a.png")


# --- zips


def packed_tile(made: TinyCompetition, packed: bytes, stated: int, method: int) -> None:
    """Replace the zip of test tiles by one of a single file."""
    pack(made.path, "test")
    (made.path / "sample_submission.csv").unlink()
    put(made.path / "test.zip", zip_of("images/bomb.png", packed, stated, method=method))


@LINUX
@pytest.mark.parametrize(
    ("packed", "stated", "method", "found"),
    [
        (deflated_zeros(1024), 1 << 30, DEFLATED, "bomb.png has more than 1049600 bytes"),
        (deflated_zeros(1024), 8000, DEFLATED, "bomb.png cannot be read: Bad CRC-32"),
        (b"BZh9", 1 << 30, BZIP2, "bomb.png cannot be read: it is neither stored nor deflated"),
        (b"short", 1 << 30, STORED, "bomb.png cannot be read"),
    ],
    ids=["of 1 GiB", "that states another size", "packed otherwise", "that ends early"],
)
def test_a_zip_bomb_is_read_as_far_as_a_tile_goes(
    made: TinyCompetition, packed: bytes, stated: int, method: int, found: str
) -> None:
    packed_tile(made, packed, stated, method)
    with memory_limit(1 << 29):
        refused(3, "make-folds", found=found, expected=".", then="salt download")


def test_a_zip_reaches_no_file_beside_it(made: TinyCompetition) -> None:
    image = victim(made).read_bytes()
    pack(made.path, "test")
    (made.path / "sample_submission.csv").unlink()
    content = zip_of("images/../../../../outside.png", image, len(image), method=STORED)
    put(made.path / "test.zip", content)
    before = files_under(Path())
    with open_files(made.path, "test") as files:
        assert dict(files.members) == {"outside": "images/../../../../outside.png"}
    refused(3, "make-folds", found="outside.png", expected=".", then="salt download")  # no checksum
    assert files_under(Path()) == before


# --- pipes and devices


@LINUX
@pytest.mark.parametrize("kind", ["a pipe", "a device"])
def test_what_is_no_file_is_not_waited_for(
    made: TinyCompetition, kind: str, tmp_path: Path
) -> None:
    def put_it(path: Path) -> Path:
        path.unlink(missing_ok=True)
        os.mkfifo(path) if kind == "a pipe" else path.symlink_to("/dev/zero")
        return path

    found = "it is a pipe or a device, and no file"
    put_it(Path("folds.csv"))
    refused(3, "train", "--set", "model.weights=none", "--folds", "folds.csv",
            found=f"folds.csv cannot be read: .*{found}", expected="a CSV file",
            then="make-folds --out folds-2.csv")  # fmt: skip
    refused(2, "train", "--config", put_it(tmp_path / "a.toml"), found=found,
            expected="a TOML file", then="correct .*a.toml")  # fmt: skip
    put_it(victim(made))
    refused(3, "make-folds", found=f"{victim(made).name} cannot be read: .*{found}",
            expected="a readable PNG", then="salt download")  # fmt: skip
    for read in (read_json, lambda path: read_groups(path, ["a"])):
        with pytest.raises(DataError, match=found):
            read(put_it(tmp_path / "document"))


# --- documents nested without end, and numbers without end


NESTED = "[" * DEEP


def test_documents_nested_without_end(made: TinyCompetition, tmp_path: Path) -> None:
    put(tmp_path / "a.json", NESTED.encode())
    with pytest.raises(DataError, match="it is nested too deeply"):
        read_json(tmp_path / "a.json")
    for document in ('{"a":' * DEEP, '{"a": ' + NESTED):
        put(tmp_path / "a.json", document.encode())
        with pytest.raises(DataError, match="it is nested too deeply"):
            read_json(tmp_path / "a.json")
    put(made.path / "salt-data.toml", f"mask_threshold = {NESTED[:2000]}".encode())
    refused(2, "make-folds", found="salt-data.toml cannot be read: it is nested too deeply",
            expected="one line", then="mend")  # fmt: skip


def test_ids_nested_without_end(made: TinyCompetition) -> None:
    put(Path("ids.json"), NESTED.encode())
    np.save("oof.npy", np.zeros((6, 8, 8), np.uint8))
    given = ("--oof", "oof.npy", "--oof-ids", "ids.json", "--test", "oof.npy", "--test-ids",
             "ids.json")  # fmt: skip
    refused(3, "import-predictions", "a", *given, found="nested too deeply", expected="a .json",
            then="write ids.json anew")  # fmt: skip


LONG_CONFIGS = {
    "brackets": f"a = {'[' * 60_000}",
    "tables": "a = " + "{a = " * 12_000,
    "a key of many parts": "a." * 20_000 + "a = 1",
    "a table's key of many parts": f"[a{'.a' * 20_000}]",
    "a key of many quoted parts": '"a" . ' * 10_000 + "a = 1",
    "too many bytes": "#" * (1 << 16) + "\n",
}


@pytest.mark.parametrize("what", LONG_CONFIGS)
def test_configurations_nested_without_end(tmp_path: Path, what: str) -> None:
    put(tmp_path / "a.toml", LONG_CONFIGS[what].encode())
    match = r"a\.toml is not valid TOML: |a\.toml cannot be read: it has more than 65536 bytes"
    with pytest.raises(ConfigError, match=match):
        load_config(tmp_path / "a.toml")


@pytest.mark.parametrize("text", [NESTED, "{a=" * DEEP, "{" + "a." * DEEP + "a=1}"])
def test_settings_nested_without_end(text: str) -> None:
    refused(2, "train", "--preset", "quick", "--set", f"training.seed={text}",
            found="--set training.seed=", expected="whole number", then="--set")  # fmt: skip
    refused(2, "train", "--preset", "quick", "--set", f"{'a.' * DEEP}a=1",
            found="--set a.a.*nested too deeply", expected="levels", then="--set")  # fmt: skip


def test_names_without_end_are_shortened(tmp_path: Path) -> None:
    put(tmp_path / "a.toml", f"{'x' * 60_000} = 1".encode())
    with pytest.raises(ConfigError, match=r"unknown key 'x{60}") as caught:
        load_config(tmp_path / "a.toml")
    assert len(str(caught.value)) < 1000


SEEDS = [-1, LARGEST_SEED + 1, 2**63, 2**64, 10**30, 10**4000, "0x" + "f" * 9000, 1e300, "1" * 5000]


@pytest.mark.parametrize("seed", SEEDS, ids=lambda seed: str(seed)[:20])
def test_seeds_that_no_generator_takes(tmp_path: Path, seed: object) -> None:
    put(
        tmp_path / "a.toml",
        f"[training]\nseed = {seed}\n[[stage]]\nname = 'a'\nepochs = 1".encode(),
    )
    with pytest.raises(ConfigError, match=r"seed|not valid TOML") as caught:
        load_config(tmp_path / "a.toml")
    assert len(str(caught.value)) < 1000
    refused(2, "train", "--preset", "quick", "--set", f"training.seed={seed}",
            found="training.seed=", expected="a whole number from 0 to 4294967295",
            then="--seed VALUE")  # fmt: skip


@pytest.mark.parametrize("seed", [LARGEST_SEED + 1, 2**64, 10**30])
def test_seeds_of_options(made: TinyCompetition, seed: int) -> None:
    refused(2, "make-folds", "--seed", seed, found=f"the seed {seed}", expected="4294967295",
            then="--seed 0")  # fmt: skip
    refused(2, "train", "--preset", "quick", "--seed", seed, found="training.seed=",
            expected="4294967295", then="--seed VALUE")  # fmt: skip


@pytest.mark.parametrize("number", ["1e300", "18446744073709551616", str(2**31), "1" * 5000])
@pytest.mark.parametrize("column", ["stratum", "fold"])
def test_numbers_beyond_64_bits_in_a_fold_table(
    made: TinyCompetition, column: str, number: str
) -> None:
    salt("make-folds", "--n-folds", 2, "--out", "folds.csv")
    header, first, *rest = Path("folds.csv").read_text(encoding="utf-8").splitlines()
    cells = dict(zip(header.split(","), first.split(","), strict=True)) | {column: number}
    put(Path("folds.csv"), "\n".join([header, ",".join(cells.values()), *rest, ""]).encode())
    refused(3, "train", "--set", "model.weights=none", "--folds", "folds.csv",
            found=rf"folds.csv gives tile {cells['id']} the {column} '.{{1,65}}'$",
            expected="a whole number", then="make-folds --out folds-2.csv")  # fmt: skip


def test_a_seed_beyond_64_bits_in_a_run(trained: Path) -> None:
    path = Path("runs/tiny/config.toml")
    path.write_text(path.read_text(encoding="utf-8").replace("seed = 0", f"seed = {10**30}"))
    refused(2, "train", "--run", "tiny", "--fold", 2, found=r"config.toml, \[training\]: .*seed",
            expected="4294967295", then="seed under")  # fmt: skip
    manifest = Path("runs/other/manifest.json")
    told = read_json(manifest)
    manifest.write_text(json.dumps(told | {"seed": 10**400}), encoding="utf-8")
    salt("ensemble", "other", "--device", "cpu")  # it is recorded there and read nowhere
    manifest.write_text(json.dumps(told).replace('"seed": 1', f'"seed": {"1" * 5000}'))
    refused(3, "ensemble", "other", "--device", "cpu",
            found="manifest.json cannot be read: Exceeds", expected="a JSON object",
            then="again")  # fmt: skip


# --- tables


TABLES: dict[str, tuple[bytes, str]] = {
    "a NUL in an id": (b"id,z\na\0b,1\n", "it holds NUL characters"),
    "UTF-16": ("id,z\na,1\n".encode("utf-16-le"), "it holds NUL characters"),
    "more cells than columns": (b"id,z\na,1,2\n", "a line has more cells than the header"),
    "a quote that never ends": (b'id,z\n"a', "EOF inside string"),
    "nothing": (b"", "No columns"),
    "an id of 10 MB": (b"id,z\n" + 2 * (b"a" * 10_000_000 + b",1\n"), "names a{60}... more than"),
    "a column of 10 MB": (b"a" * 10_000_000 + b",z\nb,1\n", "has no column id"),
}


@pytest.mark.parametrize("what", TABLES)
def test_tables_that_are_none(tmp_path: Path, what: str) -> None:
    content, found = TABLES[what]
    with pytest.raises(DataError, match=found) as caught:
        read_table(put(tmp_path / "a.csv", content), ["id", "z"])
    assert len(str(caught.value)) < 1000


def test_a_table_may_be_packed_but_not_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = gzip.compress(b"id,z\na,1\n")
    assert read_table(put(tmp_path / "a.csv.gz", packed), ["id", "z"])["id"].tolist() == ["a"]
    with pytest.raises(DataError, match="truncated or damaged"):
        read_table(put(tmp_path / "b.csv.gz", packed[:-9]), ["id", "z"])
    monkeypatch.setattr("kaggle_salt.storage.csv_files.LARGEST_TABLE", 5000)
    with pytest.raises(DataError, match="it unpacks to more than 5000 bytes"):
        read_table(put(tmp_path / "c.csv.gz", gzip.compress(bytes(10**6))), ["id", "z"])
    with pytest.raises(DataError, match="it has more than 5000 bytes"):
        read_table(put(tmp_path / "d.csv", b"x" * 5001), ["id", "z"])


def test_a_depth_of_10_mb(made: TinyCompetition) -> None:
    put(made.path / "depths.csv", f"id,z\n{made.ids[0]},{'9' * 10_000_000}\n".encode())
    refused(3, "make-folds", found=r"depths.csv gives the depth of tile\d+ as '9{60}\.\.\.'$",
            expected="a number of feet", then="mend the lines")  # fmt: skip


@LINUX
def test_run_lengths_of_10_mb_end_where_the_pixels_do() -> None:
    with memory_limit(1 << 27), pytest.raises(RleError, match=r"run 65 .* more than there are"):
        rle.decode("1 1 " * 2_500_000, (8, 8))
    assert rle.decode(" ".join(f"{n} 1" for n in range(1, 65)), (8, 8)).all()


def test_run_lengths_longer_than_the_csv_reader_takes_unasked(tmp_path: Path) -> None:
    salt_and_pepper = np.indices((400, 400)).sum(axis=0) % 2 * 255
    predicted = Predictions(("a",), salt_and_pepper[None].astype(np.uint8))
    told = write_submission(tmp_path / "a.csv", predicted, ["a"], rule=Rule(), manifest={})
    assert (tmp_path / "a.csv").stat().st_size > 1 << 17
    assert told["rows"] == 1


# --- names


@pytest.mark.parametrize("name", ["../runs/tiny", "/etc", "..", "a\0b", "a\nb", "a" * 300])
def test_names_that_lead_elsewhere(trained: Path, name: str) -> None:
    salt("ensemble", "tiny", "--name", "e", "--device", "cpu")
    before = files_under(trained)
    for call in (
        ("train", "--preset", "quick", "--run", name),
        ("ensemble", name),
        ("ensemble", "tiny", name),
        ("ensemble", "tiny", "--name", name),
        ("submit", "--name", name),
        ("pseudo-label", name),
        ("import-predictions", name, "--oof", "a.npy", "--oof-ids", "a.csv"),
        ("blend-csv", "a.csv", "b.csv", "--name", name),
    ):
        refused(2, *call, found="cannot be called", expected="a plain name", then="another name")
    refused(2, "submit", "--ensemble", name, found="there is no ensemble", expected="'e'|one of e",
            then="salt submit --ensemble e")  # fmt: skip
    assert files_under(trained) == before


def test_ids_that_lead_elsewhere(made: TinyCompetition) -> None:
    table = made.path / "train.csv"
    text = table.read_text(encoding="utf-8").replace(made.ids[0], "../../outside")
    table.write_text(text, encoding="utf-8")
    before = files_under(Path())
    refused(3, "make-folds", found="lacks images of train.csv: ../../outside",
            expected="the same ids", then="salt check")  # fmt: skip
    assert files_under(Path()) == before


# --- documents of the wrong types


def says(**told: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda document: document | told


def ruled(**told: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def change(document: dict[str, Any]) -> dict[str, Any]:
        rule = document["decision"]["rule"] | told
        return document | {"decision": document["decision"] | {"rule": rule}}

    return change


ENSEMBLES: dict[str, tuple[Callable[[dict[str, Any]], dict[str, Any]], str]] = {
    "no decision": (says(decision=None), "decision is None"),
    "a decision that is a text": (says(decision="none"), "decision is 'none'"),
    "a decision that is a list": (says(decision=[1]), r"decision is \[1\]"),
    "no rule": (says(decision={"rule": None}), "it has no rule"),
    "a rule that is a list": (says(decision={"rule": []}), r"decision.rule is \[\]"),
    "a level that is true": (ruled(level=True), "a rule of level True"),
    "a level that is a text": (ruled(level="9" * 5000), "a rule of level '9{1,60}"),
    "a level that is none": (ruled(level=256), "level 256"),
    "an area that is none": (ruled(min_area=None), "minimum area None"),
    "an area below nothing": (ruled(min_area=-1), "minimum area -1"),
    "steps that are a text": (ruled(steps="blank-empty"), "steps 'blank-empty'"),
    "a step that is none": (ruled(steps=["rm -rf"]), "rm -rf"),
    "no members": (says(members=[]), r"members is \[\]"),
    "a member that is null": (says(members=[None]), "members.0 is None"),
    "a weight that is a text": (says(members=[{"run": "a", "weight": "1"}]), "weight is '1'"),
    "a name that is a number": (says(name=1), "name is 1"),
    "a name that is a path": (says(name="../../x"), r"cannot be called '\.\./\.\./x'"),
    "a score that is null": (says(out_of_fold={"score_cross_fitted": None}), "fitted is None"),
    "mosaics that are a text": (says(mosaic="m.csv"), "mosaic is 'm.csv'"),
}


def test_ensembles_of_the_wrong_types(trained: Path) -> None:
    salt("ensemble", "tiny", "--name", "e", "--device", "cpu")
    path = Path("runs/ensemble/e/ensemble.json")
    whole, written = read_json(path), path.read_bytes()
    before = files_under(trained)
    for what, (change, found) in ENSEMBLES.items():
        write_json(path, change(whole))
        code = 2 if what in ("a level that is none", "an area below nothing", "a step that is none",
                             "a name that is a path") else 3  # fmt: skip
        result = salt("submit", code=code)
        assert re.search(found, result.stderr), f"{what}: {result.stderr}"
        assert len(result.stderr) < 1000, what
    path.write_bytes(written)
    assert files_under(trained) == before
    salt("submit")


# --- weights


def test_a_checkpoint_of_another_network(trained: Path) -> None:
    fold = Path("runs/tiny/fold1")
    (fold / "fold.json").unlink()
    save_checkpoint(fold / "checkpoint.pt", Progress(epoch=1, stage_epoch=1), nn.Linear(2, 1), None)
    before = files_under(trained)
    refused(1, "train", "--run", "tiny", "--fold", 1, "--resume", "--device", "cpu",
            found="checkpoint.pt is of another network", expected="this run's configuration",
            then="salt train --run tiny --fold 1 --overwrite")  # fmt: skip
    assert files_under(trained) == before


def test_a_checkpoint_of_another_optimiser(tmp_path: Path) -> None:
    network = nn.Linear(2, 1)
    save_checkpoint(tmp_path / "checkpoint.pt", Progress(), network, None)
    checkpoint = load_checkpoint(FoldFolder(tmp_path, 0), torch.device("cpu"))
    with pytest.raises(TrainingError, match="of another network or optimiser"):
        checkpoint.restore_optimizer(torch.optim.SGD(network.parameters()))


def test_a_pickle_is_never_loaded(trained: Path, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    content = pickle_that_makes(trace)
    for name in ("w.safetensors", "w.pt", "w.pth", "w.pkl", "w"):
        with pytest.raises(ConfigError, match=f"the weights file .*{name} cannot be read"):
            read_weights(put(tmp_path / name, content))
    torch.save({"weight": Bomb(trace)}, tmp_path / "zipped.pt")
    with pytest.raises(ConfigError, match=r"zipped\.pt cannot be read"):
        read_weights(tmp_path / "zipped.pt")
    put(tmp_path / "checkpoint.pt", content)
    with pytest.raises(TrainingError, match=r"the checkpoint .*t\.pt cannot be read"):
        load_checkpoint(FoldFolder(tmp_path, 0), torch.device("cpu"))
    array = np.array([Bomb(trace)], dtype=object)
    np.save(tmp_path / "oof.npy", array, allow_pickle=True)
    put(tmp_path / "oof.json", b'{"ids": ["a"], "manifest": {}}')
    for mapped in (True, False):
        with pytest.raises(DataError, match=r"oof\.npy cannot be read: .*Python objects"):
            load(tmp_path / "oof", memory_map=mapped)
    (tmp_path / "oof.npy").write_bytes(content)
    with pytest.raises(DataError, match=r"oof\.npy cannot be read: .*magic string"):
        load(tmp_path / "oof")
    refused(2, "train", "--config", "tiny.toml", "--run", "p", "--set",
            f"model.weights={json.dumps(str(tmp_path / 'w.pt'))}", "--device", "cpu",
            found="w.pt cannot be read", expected="safetensors", then="another file")  # fmt: skip
    assert not trace.exists()


def test_weights_whose_notes_are_nested_without_end(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, tmp_path / "a.safetensors", {ORIGIN: NESTED})
    assert read_origin(tmp_path / "a.safetensors") == {}
