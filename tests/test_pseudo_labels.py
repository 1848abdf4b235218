from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from kaggle_salt.competition import rle
from kaggle_salt.errors import ConfigError, DataError
from kaggle_salt.pseudo_labels import (
    PseudoLabels,
    read_manifest,
    read_pseudo_labels,
    write_pseudo_labels,
)
from kaggle_salt.pseudo_origin import Confidence, MadeOf, Manifest, Network, Teachers
from kaggle_salt.storage.files import file_hash, read_json, write_json

SHAPE = (3, 2)
IDS = ("t1", "t2", "t3")
COUNTS: tuple[dict[str, Any], ...] = ({"fold": "0", "stratum": 0, "taken": 2},)


def masks_of(fold: int) -> NDArray[np.bool_]:
    """Another mask for each fold and tile, and an empty one."""
    masks = np.zeros((len(IDS), *SHAPE), dtype=np.bool_)
    masks[0, fold] = True
    masks[1, :, 1] = True
    return masks


def masks_in(labels: PseudoLabels) -> NDArray[np.bool_]:
    return np.stack([rle.decode(text, SHAPE) for text in labels.rle_masks])


def made_of(teachers: Teachers = "fold") -> MadeOf:
    folds = {"0": [0], "1": [1]} if teachers == "fold" else {"all": [0, 1]}
    return MadeOf(
        teachers=teachers,
        networks={
            name: tuple(
                Network(run=run, fold=fold, weights_hash=f"{run}{fold}")
                for run in ("tiny", "other")
                for fold in numbers
            )
            for name, numbers in folds.items()
        },
        settings=Confidence(),
        folds_hash="folds",
        test_hash="test",
    )


def write(path: Path, teachers: Teachers = "fold") -> Manifest:
    parts = [
        pd.DataFrame({
            "fold": name,
            "id": IDS,
            "confidence": [1.0, 0.95, 1 / 3],
            "coverage": masks_of(number).mean(axis=(1, 2)),
            "rle_mask": rle.encode_batch(masks_of(number)),
        })
        for number, name in enumerate(made_of(teachers).networks)
    ]  # fmt: skip
    return write_pseudo_labels(path, pd.concat(parts), made_of(teachers), COUNTS)


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    write(tmp_path / "labels.csv")
    return tmp_path / "labels.csv"


def read(path: Path, fold: int = 0, folds_hash: str = "folds", test_hash: str = "test") -> Any:
    return read_pseudo_labels(path, fold, folds_hash=folds_hash, test_hash=test_hash)


def test_a_fold_gets_its_own_rows_and_no_others(csv: Path) -> None:
    for fold in (0, 1):
        labels = read(csv, fold)
        assert labels.ids == IDS
        assert np.array_equal(masks_in(labels), masks_of(fold))
        assert (labels.teachers, labels.content_hash) == ("fold", file_hash(csv))
    assert not np.array_equal(masks_of(0), masks_of(1))


def test_the_files_are_plain(csv: Path) -> None:
    lines = csv.read_text(encoding="utf-8").splitlines()
    assert lines[:4] == [
        "fold,id,confidence,coverage,rle_mask",
        "0,t1,1.00000000,0.33333333,1 1 4 1",
        "0,t2,0.95000000,0.50000000,4 3",
        "0,t3,0.33333333,0.00000000,",
    ]
    manifest = json.loads(csv.with_suffix(".json").read_text(encoding="utf-8"))
    assert manifest["made_of"]["networks"]["1"] == [
        {"run": "tiny", "fold": 1, "weights_hash": "tiny1"},
        {"run": "other", "fold": 1, "weights_hash": "other1"},
    ]
    assert manifest["made_of"]["settings"] == {
        "low": 0.2, "high": 0.8, "confidence": 0.9, "limit": None, "balance": "training",
        "soft": False,
    }  # fmt: skip
    assert manifest["selection"] == list(COUNTS)


def test_the_manifest_survives_the_disk(csv: Path) -> None:
    files = (csv, csv.with_suffix(".json"))
    before = [file.read_bytes() for file in files]
    written = write(csv)
    assert read_manifest(csv) == written
    assert [file.read_bytes() for file in files] == before, "the same labels, the same bytes"


def test_labels_of_all_folds_are_for_every_student(tmp_path: Path) -> None:
    path = tmp_path / "all.csv"
    write(path, "all")
    for fold in (0, 1, 7):
        labels = read(path, fold)
        assert np.array_equal(masks_in(labels), masks_of(0))
        assert labels.teachers == "all", "for the reader to warn of"


# --- soft labels


def soft_of(fold: int) -> NDArray[np.uint8]:
    return np.random.default_rng(fold).integers(0, 256, (len(IDS), *SHAPE), dtype=np.uint8)


@pytest.fixture
def soft_csv(tmp_path: Path) -> Path:
    csv = tmp_path / "labels.csv"
    write(csv)
    table = pd.read_csv(csv, dtype={"fold": str}, keep_default_na=False)
    soft = made_of().model_copy(update={"settings": Confidence(soft=True)})
    write_pseudo_labels(csv, table, soft, COUNTS, [soft_of(0), soft_of(1)])
    return csv


def test_a_fold_gets_the_soft_labels_of_its_own_rows(soft_csv: Path) -> None:
    for fold in (0, 1):
        labels = read(soft_csv, fold)
        assert (labels.ids, labels.soft.dtype) == (IDS, np.uint8)
        assert np.array_equal(labels.soft, soft_of(fold))
        assert np.array_equal(masks_in(labels), masks_of(fold))
        assert labels.content_hash != file_hash(soft_csv)
    files = sorted(path.name for path in soft_csv.parent.iterdir())
    assert files == ["labels.csv", "labels.json", "labels.npy"]
    assert np.load(soft_csv.with_suffix(".npy")).shape == (6, *SHAPE)


def test_hard_labels_are_masks_alone(csv: Path) -> None:
    assert read(csv).soft is None
    assert not csv.with_suffix(".npy").exists()


@pytest.mark.parametrize("fault", ["gone", "changed", "of other labels"])
def test_soft_labels_that_are_not_as_written_are_refused(soft_csv: Path, fault: str) -> None:
    array = soft_csv.with_suffix(".npy")
    if fault == "gone":
        array.unlink()
    elif fault == "changed":
        content = bytearray(array.read_bytes())
        content[-1] ^= 1
        array.write_bytes(content)
    else:
        write(soft_csv.with_name("other.csv"))
        soft_csv.write_bytes(soft_csv.with_name("other.csv").read_bytes().replace(b"t3", b"t4"))
    found = r"cannot be read: FileNotFound" if fault == "gone" else "has changed since"
    with pytest.raises(DataError, match=rf"labels\.csv {found}(.|\n)*salt pseudo-label"):
        read(soft_csv)


def test_a_csv_without_its_manifest_does_not_count(
    csv: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = Path.replace

    def replace(self: Path, target: Path) -> Path:
        if target.suffix == ".json":
            raise KeyboardInterrupt
        return usual(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    with pytest.raises(KeyboardInterrupt):
        write(csv, "all")
    with pytest.raises(DataError, match=r"labels\.json cannot be read(.|\n)*salt pseudo-label"):
        read(csv)


def edit(csv: Path, old: str, new: str, *, vouch: bool = False) -> None:
    """Change a text in the CSV; with ``vouch`` the manifest's hash too, as no one should."""
    text = csv.read_text(encoding="utf-8")
    assert old in text
    csv.write_text(text.replace(old, new), encoding="utf-8")
    if vouch:
        edit_manifest(csv, lambda manifest: manifest.update(content_hash=file_hash(csv)))


def edit_manifest(csv: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = csv.with_suffix(".json")
    manifest = read_json(path)
    change(manifest)
    write_json(path, manifest)


def made(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    """A change of the manifest's ``made_of``."""
    return lambda csv: edit_manifest(csv, lambda manifest: change(manifest["made_of"]))


def swap_networks(origin: dict[str, Any]) -> None:
    sets = origin["networks"]
    sets["0"], sets["1"] = sets["1"], sets["0"]


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no CSV": (Path.unlink, r"labels\.csv cannot be read: FileNotFoundError"),
    "no manifest": (lambda csv: csv.with_suffix(".json").unlink(), r"labels\.json cannot be read"),
    "manifest cut off": (
        lambda csv: csv.with_suffix(".json").write_text("{"), r"labels\.json cannot be read",
    ),
    "manifest of something else": (
        lambda csv: csv.with_suffix(".json").write_text('{"ids": []}'),
        r"labels\.json cannot be read",
    ),
    "unknown teachers": (made(lambda origin: origin.update(teachers="most")), "cannot be read"),
    "a row moved to another fold": (
        lambda csv: edit(csv, "1,t1,", "0,t4,"), r"labels\.csv has changed since it was written",
    ),
    "a mask changed": (lambda csv: edit(csv, ",4 3", ",4 2"), "has changed since"),
    "another column": (
        lambda csv: edit(csv, ",coverage,", ",salt,", vouch=True), "has the columns fold, id,",
    ),
    "a tile twice": (lambda csv: edit(csv, "0,t2", "0,t1", vouch=True), "labels a tile twice"),
    "teachers of another fold": (
        made(swap_networks), r"come from fold 1 of run tiny, which was trained on fold 0's",
    ),
    "one teacher of another fold": (
        made(lambda origin: origin["networks"]["0"][1].update(fold=1)),
        r"labels for fold 0 in .* come from fold 1 of run other",
    ),
    "no teachers": (made(lambda origin: origin["networks"].pop("0")), "no labels for fold 0"),
    "an empty list of teachers": (
        made(lambda origin: origin["networks"].update({"0": []})), "no labels for fold 0",
    ),
    "all said to teach, rows per fold": (
        made(lambda origin: origin.update(teachers="all")), "no labels for fold 0",
    ),
    "rows of no fold": (lambda csv: edit(csv, "\n0,", "\nx,", vouch=True), "no labels for fold 0"),
    "other folds": (
        made(lambda origin: origin.update(folds_hash="x")), "made with another fold table",
    ),
    "other tiles": (
        made(lambda origin: origin.update(test_hash="x")), "made with another set of test tiles",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_whatever_is_not_as_written_is_refused(csv: Path, fault: str) -> None:
    assert read(csv).ids == IDS
    spoil, found = FAULTS[fault]
    spoil(csv)
    with pytest.raises(DataError, match=found) as refusal:
        read(csv)
    assert refusal.value.expected
    assert "salt pseudo-label" in refusal.value.next_step


LEAKS = [
    (fold, position, other) for fold in (0, 1, 2) for position in (0, 1, 2)
    for other in (0, 1, 2, 10) if other != fold
]  # fmt: skip


@pytest.mark.parametrize(("fold", "position", "other"), LEAKS)
def test_one_teacher_of_any_other_fold_is_found_wherever_it_stands(
    fold: int, position: int, other: int, tmp_path: Path
) -> None:
    """From a lower fold or a higher one, first or last in the list: it saw the fold's tiles."""
    origin = made_of().model_dump()
    teachers = [{"run": f"run{n}", "fold": fold, "weights_hash": "x"} for n in range(3)]
    origin["networks"] = {str(fold): teachers}
    table = pd.DataFrame(
        {"fold": str(fold), "id": IDS, "confidence": 1.0, "coverage": 0.0, "rle_mask": ""}
    )
    csv = tmp_path / "labels.csv"
    write_pseudo_labels(csv, table, MadeOf.model_validate(origin), COUNTS)
    assert read(csv, fold=fold).ids == IDS
    teachers[position]["fold"] = other
    write_pseudo_labels(csv, table, MadeOf.model_validate(origin), COUNTS)
    told = f"come from fold {other} of run run{position}, which was trained on fold {fold}'s"
    with pytest.raises(DataError, match=told):
        read(csv, fold=fold)


def test_present_folds_and_tiles_must_be_those_of_the_labels(csv: Path) -> None:
    with pytest.raises(DataError, match=r"another fold table(.|\n)*salt pseudo-label tiny other"):
        read(csv, folds_hash="new")
    with pytest.raises(DataError, match="another set of test tiles"):
        read(csv, test_hash="new")
    with pytest.raises(DataError, match=r"no labels for fold 2(.|\n)*train fold 2 of the teachers"):
        read(csv, fold=2)


def test_what_all_teach_goes_with_any_fold_table(tmp_path: Path) -> None:
    """No tile is kept from it, whatever the table: a student may hold out fewer than they did."""
    path = tmp_path / "labels.csv"
    write(path, "all")
    assert read(path, fold=19, folds_hash="new").ids == IDS
    with pytest.raises(DataError, match="another set of test tiles"):
        read(path, folds_hash="new", test_hash="new")


def test_the_command_is_the_one_that_made_them() -> None:
    path = Path("my labels.csv")
    end = "--out 'my labels.csv' --overwrite"
    assert made_of().command(path) == f"salt pseudo-label tiny other {end}"
    assert made_of("all").command(path) == f"salt pseudo-label tiny other --teachers all {end}"
    strict = made_of().model_copy(update={"settings": Confidence(confidence=0.95, limit=9)})
    assert "other --confidence 0.95 --limit 9 --out" in strict.command(path)
    soft = made_of().model_copy(update={"settings": Confidence(soft=True)})
    assert soft.command(path) == f"salt pseudo-label tiny other --soft {end}"
    by_hand = made_of().model_copy(update={"settings": Confidence(balance="1st-place")})
    assert "other --balance 1st-place --out" in by_hand.command(path)


@pytest.mark.parametrize(
    ("wrong", "found"),
    [
        ({"low": 0.9}, r"below 0\.9 or above 0\.8(.|\n)*--low 0\.2 --high 0\.8"),
        ({"balance": "ours"}, r"balance after 'ours'\nexpected: training or 1st-place\nnext"),
        ({"low": -0.1}, r"below -0\.1"),
        ({"high": 1.1}, r"above 1\.1"),
        ({"low": float("nan")}, "below nan"),
        ({"confidence": 1.1}, r"a confidence of 1\.1(.|\n)*--confidence 0\.9"),
        ({"confidence": -1}, "a confidence of -1"),
        ({"limit": 0}, r"a limit of 0 tiles(.|\n)*1 or more(.|\n)*--limit"),
    ],
)
def test_impossible_confidence_is_refused(wrong: dict[str, Any], found: str) -> None:
    with pytest.raises(ConfigError, match=found):
        Confidence(**wrong)
