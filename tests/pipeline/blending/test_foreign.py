"""Probabilities that other tools made: brought in, refused where they are wrong, blended."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kaggle_salt import predictions
from kaggle_salt.competition.metric import score
from kaggle_salt.ensembling.blending import blend
from kaggle_salt.errors import ConfigError, DataError
from kaggle_salt.pipeline.blending.ensemble import ensemble
from kaggle_salt.pipeline.blending.foreign import ForeignReport, GivenFiles, import_predictions
from kaggle_salt.pipeline.choose import choose_run
from kaggle_salt.pipeline.submitting.submit import submit
from kaggle_salt.pipeline.workspace import Listener, Workspace
from kaggle_salt.runs import RunFolder, open_run
from kaggle_salt.storage.files import file_hash, read_json
from tests.makers import TinyCompetition, write_competition
from tests.tiny import files_under, salt

WORKSPACE = Workspace()  # the tests stand in its folder
GIVEN = GivenFiles(Path("oof.npy"), Path("oof.csv"), Path("test.npy"), Path("test.json"))


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TinyCompetition:
    """A competition and, beside it, what another tool says of its tiles."""
    monkeypatch.chdir(tmp_path)
    made = write_competition(Path("data"), n_train=7, n_test=4, shape=(6, 9))
    write_given(made.ids, made.test_ids, (6, 9), np.float32)
    return made


def write_given(
    ids: tuple[str, ...], test_ids: tuple[str, ...], shape: tuple[int, int], kind: type
) -> None:
    """Write the files of ``GIVEN``, the tiles in the order of their names."""
    rng = np.random.default_rng(0)
    for path, tiles in ((GIVEN.oof, ids), (GIVEN.test, test_ids)):
        assert path is not None
        np.save(path, rng.random((len(tiles), *shape)).astype(kind))
    GIVEN.oof_ids.write_text("id\n" + "".join(f"{tile}\n" for tile in sorted(ids)))
    Path("test.json").write_text(json.dumps(sorted(test_ids)))


def bring_in(name: str = "other", given: GivenFiles = GIVEN, **options: Any) -> ForeignReport:
    return import_predictions(WORKSPACE, name, given, **options)


def load(stem: Path) -> predictions.Predictions:
    return predictions.load(stem)


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_floats_come_to_the_nearest_level(made: TinyCompetition, kind: type) -> None:
    write_given(made.ids, made.test_ids, (6, 9), kind)
    report = bring_in()
    oof, test = load(report.run.oof), load(report.run.test)
    assert (oof.ids, test.ids) == (tuple(sorted(made.ids)), tuple(sorted(made.test_ids)))
    for stored, path in ((oof, "oof.npy"), (test, "test.npy")):
        told = np.load(path).astype(np.float64)
        assert np.abs(stored.probabilities / 255 - told).max() <= 0.5 / 255 + 1e-12
    rows = [made.ids.index(tile) for tile in oof.ids]
    expected = score(made.masks[rows], oof.probabilities > 127)
    assert report.manifest["score_at_half"] == pytest.approx(expected)


def test_half_is_not_salt_and_just_above_it_is(made: TinyCompetition) -> None:
    values = np.full((7, 6, 9), 0.5, dtype=np.float32)
    values[1] = np.nextafter(np.float32(0.5), np.float32(1))
    values[2], values[3] = 0, 1
    np.save("oof.npy", values)
    stored = load(bring_in().run.oof).probabilities
    assert stored[:4, 0, 0].tolist() == [127, 128, 0, 255]


def test_bytes_are_taken_as_they_are(made: TinyCompetition) -> None:
    values = np.random.default_rng(3).integers(0, 256, (7, 6, 9), dtype=np.uint8)
    np.save("oof.npy", values)
    assert np.array_equal(load(bring_in().run.oof).probabilities, values)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ids.txt", "{}\n"), ("ids.csv", "{}\n"), ("ids.csv", "id\r\n{}\r\n"),
        ("ids.csv", "\ufeffid\n{}"),
    ],
)  # fmt: skip
def test_ids_are_read_with_a_header_or_without(made: TinyCompetition, name: str, text: str) -> None:
    newline = "\r\n" if "\r" in text else "\n"
    Path(name).write_bytes(text.format(newline.join(made.ids)).encode())
    given = GivenFiles(GIVEN.oof, Path(name), GIVEN.test, GIVEN.test_ids)
    assert load(bring_in(given=given).run.oof).ids == made.ids


def test_the_manifest_says_foreign_and_names_the_files_by_hash(made: TinyCompetition) -> None:
    run = bring_in().run
    assert sorted(path.name for path in run.path.iterdir()) == [
        "manifest.json", "oof.json", "oof.npy", "test.json", "test.npy",
    ]  # fmt: skip
    manifest = read_json(run.manifest)
    assert (manifest["kind"], run.foreign) == ("foreign", True)
    assert manifest["sources"]["oof"] == file_hash(GIVEN.oof)
    assert manifest["files"]["test_ids"] == "test.json"


def test_the_same_again_changes_nothing_and_others_need_a_word(made: TinyCompetition) -> None:
    bring_in()
    before = files_under(WORKSPACE.runs)
    assert bring_in().existed
    assert files_under(WORKSPACE.runs) == before
    (WORKSPACE.runs / "other/test.json").unlink()
    with pytest.raises(ConfigError, match="run other exists in runs and holds other"):
        bring_in()
    assert not bring_in(overwrite=True).existed
    np.save("oof.npy", np.zeros((7, 6, 9), np.float32))
    with pytest.raises(ConfigError, match=r"run other exists in runs and holds other"):
        bring_in()
    assert files_under(WORKSPACE.runs) == before
    assert not bring_in(overwrite=True).existed
    assert not load(RunFolder(WORKSPACE.runs / "other").oof).probabilities.any()


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_trained_run_is_never_replaced(made: TinyCompetition, overwrite: bool) -> None:
    for path in ("a/config.toml", "b/fold0/checkpoint.pt", "ensemble/x/ensemble.json"):
        (WORKSPACE.runs / path).parent.mkdir(parents=True)
        (WORKSPACE.runs / path).touch()
    before = files_under(WORKSPACE.runs)
    for name in ("a", "b", "ensemble"):
        with pytest.raises(ConfigError, match=f"run {name} exists in runs and is not one of"):
            bring_in(name, overwrite=overwrite)
    assert files_under(WORKSPACE.runs) == before


def with_value(value: float) -> Callable[[], object]:
    def change() -> None:
        values = np.load("oof.npy")
        values[2, 3, 4] = value
        np.save("oof.npy", values)

    return change


def save(*shape: int, kind: Any = np.float32, path: str = "oof.npy") -> Callable[[], object]:
    return lambda: np.save(path, np.zeros(shape, kind))


def edit_ids(change: Callable[[list[str]], object]) -> Callable[[], object]:
    def edit() -> None:
        ids = json.loads(Path("test.json").read_text())
        change(ids)
        Path("test.json").write_text(json.dumps(ids))

    return edit


BAD: dict[str, tuple[Callable[[], object], str]] = {
    "nan": (with_value(np.nan), r"oof\.npy holds nan in tile tile002"),
    "infinite": (with_value(np.inf), r"oof\.npy holds inf in tile tile002"),
    "above 1": (with_value(1.01), r"holds 1\.01 in tile tile002(.|\n)*logits go through a sigmoid"),
    "negative": (with_value(-0.2), r"holds -0\.2 in tile"),
    "other size": (save(7, 6, 8), r"oof\.npy has the shape \[7, 6, 8\](.|\n)*\[7, 6, 9\]"),
    "a channel more": (save(7, 1, 6, 9), r"has the shape \[7, 1, 6, 9\]"),
    "a tile less": (save(6, 6, 9), r"has the shape \[6, 6, 9\]"),
    "whole numbers": (save(7, 6, 9, kind=np.int64), r"oof\.npy is int64(.|\n)*uint8 from 0 to 255"),
    "wide numbers": (save(7, 6, 9, kind=np.uint16), r"is uint16"),
    "yes and no": (save(7, 6, 9, kind=np.bool_), r"is bool"),
    "a mask": (lambda: np.save("oof.npy", np.ones((7, 6, 9), np.uint8)), r"nothing above 1"),
    "a pickle": (
        lambda: np.save("oof.npy", np.array([{}], dtype=object), allow_pickle=True),
        r"oof\.npy cannot be read",
    ),
    "no array": (lambda: Path("oof.npy").write_text("x"), r"oof\.npy cannot be read"),
    "cut off": (
        lambda: Path("oof.npy").write_bytes(Path("oof.npy").read_bytes()[:-9]), "cannot be read",
    ),
    "no file": (lambda: Path("oof.npy").unlink(), r"there is no file oof\.npy"),
    "id missing": (edit_ids(list.pop), r"test\.json lacks 1 of 4 tiles: test003"),
    "id unknown": (edit_ids(lambda ids: ids.append("new")), r"names 1 unknown tiles: new"),
    "id twice": (edit_ids(lambda ids: ids.append(ids[0])), r"names test000 more than once"),
    "numbers for ids": (edit_ids(lambda ids: ids.append(3)), r"something other than ids"),  # type: ignore[arg-type]
    "no list": (lambda: Path("test.json").write_text("{}"), r"something other than ids"),
    "no JSON": (lambda: Path("test.json").write_text("["), r"test\.json cannot be read"),
    "a table": (lambda: GIVEN.oof_ids.write_text("id,fold\na,1\n"), r"something other than ids"),
}  # fmt: skip


@pytest.mark.parametrize("fault", BAD)
def test_what_is_not_right_is_refused_and_writes_nothing(made: TinyCompetition, fault: str) -> None:
    spoil, found = BAD[fault]
    spoil()
    with pytest.raises(DataError, match=found):
        bring_in()
    assert not WORKSPACE.runs.exists()


def test_test_tiles_are_wanted_where_there_are_some(made: TinyCompetition) -> None:
    with pytest.raises(ConfigError, match="predictions without --test or --test-ids; there are 4"):
        bring_in(given=GivenFiles(GIVEN.oof, GIVEN.oof_ids, GIVEN.test))


def test_there_is_no_network_to_train_or_to_teach(made: TinyCompetition) -> None:
    bring_in()
    with pytest.raises(ConfigError, match="another tool made, and no network"):
        open_run(WORKSPACE.runs, "other")
    with pytest.raises(ConfigError, match="run other holds predictions that another tool made"):
        choose_run(WORKSPACE, run="other")


def given_for_trained() -> None:
    """Predictions of the trained workspace's tiles: the truth, blurred by noise."""
    competition = WORKSPACE.open(Listener())
    write_given(competition.ids, competition.test_ids, competition.tile_shape, np.float32)
    order = [competition.ids.index(tile) for tile in sorted(competition.ids)]
    truth: NDArray[np.float32] = competition.masks[order].astype(np.float32)
    np.save("oof.npy", 0.7 * truth + 0.3 * np.load("oof.npy"))


def test_an_ensemble_takes_them_and_says_whose_word_it_is(trained: Path) -> None:
    given_for_trained()
    foreign = bring_in("nnunet").run
    report = ensemble(WORKSPACE, ["tiny", "nnunet"], weights=[1, 2], device="cpu")
    assert any(text.startswith("nnunet was made by another tool") for text in report.caveats)
    assert report.missing == {"tiny": (2,), "nnunet": ()}
    parts = [load(WORKSPACE.runs / f"tiny/fold{fold}/test") for fold in (0, 1)]
    expected = blend([*parts, load(foreign.test)], weights=[0.5, 0.5, 2])
    assert np.array_equal(load(report.folder / "test").probabilities, expected.probabilities)
    made = read_json(report.folder / "ensemble.json")
    sources = read_json(foreign.manifest)["sources"]
    assert made["members"][1] == {"run": "nnunet", "weight": 2.0, "foreign": sources}
    names = [row.name for row in report.rows]
    assert names[-3:] == ["nnunet, fold 2", "nnunet, all its folds", "blend"]
    assert submit(WORKSPACE).manifest["members"] == made["members"]


def test_a_search_weighs_them_too(trained: Path) -> None:
    given_for_trained()
    bring_in("nnunet")
    report = ensemble(WORKSPACE, ["tiny", "nnunet"], weights="search", device="cpu")
    assert report.weights["nnunet"] > 0


def test_other_data_than_they_were_imported_for_are_refused(trained: Path) -> None:
    given_for_trained()
    bring_in("nnunet")
    (WORKSPACE.data / "depths.csv").write_text("id,z\n", encoding="utf-8")
    with pytest.raises(DataError, match="nnunet were imported for other tiles"):
        ensemble(WORKSPACE, ["nnunet"], device="cpu")


def test_the_command_says_what_to_do_next(made: TinyCompetition) -> None:
    arguments = (
        "import-predictions", "other", "--oof", "oof.npy", "--oof-ids", "oof.csv",
        "--test", "test.npy", "--test-ids", "test.json",
    )  # fmt: skip
    said = salt(*arguments).stdout
    assert "7 training tiles and 4 test tiles, written" in said
    assert "is your word\nnext: salt ensemble other" in said
    again = json.loads(salt(*arguments, "--json").stdout)
    assert (again["existed"], again["kind"], again["folder"]) == (True, "foreign", "runs/other")
