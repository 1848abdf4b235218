from __future__ import annotations

import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from kaggle_salt import predictions
from kaggle_salt.competition import kaggle_client, rle
from kaggle_salt.competition.decision import Rule
from kaggle_salt.competition.metric import score
from kaggle_salt.errors import ConfigError, DataError
from kaggle_salt.pipeline.submitting.submit import submit, upload, warn_of_masks
from kaggle_salt.pipeline.workspace import Listener, Workspace
from kaggle_salt.predictions import Predictions
from kaggle_salt.storage.files import file_hash, read_json, write_json
from tests.makers import TinyCompetition, png, put, write_competition
from tests.tiny import Heard, UploadStandIn, files_under

RULE = Rule(99, 20)


def write_ensemble(workspace: Workspace, name: str, made: TinyCompetition, seed: int = 0) -> None:
    """An ensemble as ``salt ensemble`` leaves it, of smooth random probabilities."""
    rng = np.random.default_rng(seed)
    peaks = rng.integers(60, 256, (len(made.test_ids), 1, 1))
    slope = np.linspace(0, 1, 8)
    maps = np.broadcast_to(peaks * slope[:, None], (len(peaks), 8, 8)).astype(np.uint8)
    folder = workspace.ensembles / name
    shuffled = rng.permutation(len(made.test_ids))
    ids = tuple(made.test_ids[row] for row in shuffled)
    predictions.save(folder / "test", Predictions(ids, maps[shuffled], {}))
    manifest = {
        "name": name,
        "members": [{"run": "quick", "weight": 1.0, "folds": {"0": "ab" * 32}}],
        "data_hash": "cd" * 32,
        "decision": {"rule": RULE.as_json(), "score": 0.8125, "interval": [0.8, 0.825]},
        "out_of_fold": {"tiles": 9, "score_cross_fitted": 0.8125},
        "test_hash": predictions.stated_hash(folder / "test"),
    }
    write_json(folder / "ensemble.json", manifest)


@pytest.fixture
def made(tmp_path: Path) -> TinyCompetition:
    return write_competition(tmp_path / "data", n_train=3, n_test=9)


@pytest.fixture
def workspace(tmp_path: Path, made: TinyCompetition) -> Workspace:
    workspace = Workspace.under(tmp_path)
    write_ensemble(workspace, "quick", made)
    return workspace


def decoded(csv: Path) -> tuple[list[str], NDArray[np.bool_]]:
    table = pd.read_csv(csv, dtype=str, keep_default_na=False)
    return table["id"].tolist(), np.array([rle.decode(text, (8, 8)) for text in table["rle_mask"]])


def expected_masks(workspace: Workspace, ids: list[str], rule: Rule) -> NDArray[np.bool_]:
    test = predictions.load(workspace.ensembles / "quick/test")
    return rule.apply(test.probabilities[test.rows(ids)])


def test_the_masks_are_those_of_the_decision(workspace: Workspace, made: TinyCompetition) -> None:
    report = submit(workspace)
    ids, masks = decoded(report.csv)
    assert report.csv == workspace.submissions / "quick.csv"
    assert not report.existed
    assert ids == list(made.test_ids), "in the order of the sample submission"
    assert np.array_equal(masks, expected_masks(workspace, ids, RULE))
    areas = masks.sum(axis=(1, 2))
    assert areas.min() == 0
    assert areas.max() >= RULE.min_area


def test_the_manifest_says_where_it_comes_from(workspace: Workspace) -> None:
    report = submit(workspace)
    manifest = read_json(workspace.submissions / "quick.json")
    assert report.manifest == manifest
    made = read_json(workspace.ensembles / "quick/ensemble.json")
    for key in ("members", "data_hash", "out_of_fold"):
        assert manifest[key] == made[key]
    assert manifest["ensemble"] == "quick"
    assert manifest["ensemble_hash"] == file_hash(workspace.ensembles / "quick/ensemble.json")
    assert manifest["rule"] == RULE.as_json() == made["decision"]["rule"]
    assert report.rule == RULE
    assert manifest["content_hash"] == file_hash(report.csv)
    _, masks = decoded(report.csv)
    assert manifest["rows"] == 9
    assert manifest["empty_masks"] == int((~masks.any(axis=(1, 2))).sum())


def test_threshold_and_area_can_be_given(workspace: Workspace) -> None:
    submit(workspace)
    report = submit(workspace, name="bold", threshold=0.2, min_area=0)
    ids, masks = decoded(report.csv)
    assert np.array_equal(masks, expected_masks(workspace, ids, Rule(51, 0)))
    assert report.manifest["rule"] == Rule(51, 0).as_json()
    _, usual = decoded(workspace.submissions / "quick.csv")
    assert masks.sum() > usual.sum()
    assert score(masks, usual) < 1


def test_a_second_call_says_that_it_is_there(workspace: Workspace) -> None:
    first = submit(workspace)
    before = files_under(workspace.submissions)
    again = submit(workspace)
    assert (again.existed, again.manifest) == (True, first.manifest)
    assert files_under(workspace.submissions) == before


def test_a_csv_that_was_touched_is_not_taken_for_the_same(workspace: Workspace) -> None:
    report = submit(workspace)
    with report.csv.open("a", encoding="utf-8") as csv:
        csv.write("x,\n")
    with pytest.raises(ConfigError, match=r"quick\.csv exists(.|\n)*--overwrite"):
        submit(workspace)
    submit(workspace, overwrite=True)
    assert len(decoded(report.csv)[0]) == 9


def test_another_decision_never_replaces_a_submission_unasked(workspace: Workspace) -> None:
    report = submit(workspace)
    before = files_under(workspace.submissions)
    with pytest.raises(ConfigError, match=r"quick\.csv exists"):
        submit(workspace, threshold=0.3)
    assert files_under(workspace.submissions) == before
    submit(workspace, threshold=0.3, overwrite=True)
    assert files_under(workspace.submissions)[report.csv.name] != before[report.csv.name]


def test_the_ensemble_made_last_is_taken(workspace: Workspace, made: TinyCompetition) -> None:
    write_ensemble(workspace, "later", made, seed=1)
    os.utime(workspace.ensembles / "later/ensemble.json", (2e9, 2e9))
    assert submit(workspace).csv.name == "later.csv"
    assert submit(workspace, ensemble="quick").csv.name == "quick.csv"


def test_unknown_ensembles_and_names_are_refused(workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no ensemble 'quik'(.|\n)*did you mean 'quick'"):
        submit(workspace, ensemble="quik")
    with pytest.raises(ConfigError, match="a submission cannot be called"):
        submit(workspace, name="../quick")
    bare = Workspace(data=workspace.data, runs=tmp_path / "no-runs")
    with pytest.raises(ConfigError, match=r"there is no ensemble in(.|\n)*next: salt ensemble"):
        submit(bare)
    assert not workspace.submissions.exists()


def test_ids_that_differ_are_refused(workspace: Workspace, made: TinyCompetition) -> None:
    gone = made.test_ids[0]
    sample = workspace.data / "sample_submission.csv"
    lines = sample.read_text(encoding="utf-8").splitlines()
    sample.write_text("\n".join(x for x in lines if gone not in x) + "\n", encoding="utf-8")
    (workspace.data / f"test/images/{gone}.png").unlink()
    with pytest.raises(DataError, match=f"1 tile \\({gone}\\) predicted but not in the sample"):
        submit(workspace)
    assert files_under(workspace.submissions) == {}


def test_an_ensemble_without_test_tiles_cannot_be_submitted(workspace: Workspace) -> None:
    (workspace.ensembles / "quick/test.json").unlink()
    with pytest.raises(
        DataError, match=r"quick has no predictions of test tiles(.|\n)*make the ensemble"
    ):
        submit(workspace)


def test_an_upload_gives_the_score_that_comes_back(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = UploadStandIn()
    monkeypatch.setattr(kaggle_client, "_connect", lambda: client)
    report = submit(workspace)
    result = upload(report)
    assert result == {"status": "complete", "public_score": 0.84, "private_score": None}
    upload(report, "second try")
    assert client.sent == [
        (str(report.csv), "quick, out of fold 0.8125", kaggle_client.DEFAULT_COMPETITION),
        (str(report.csv), "second try", kaggle_client.DEFAULT_COMPETITION),
    ]


def test_the_steps_of_the_rule_are_applied(workspace: Workspace, made: TinyCompetition) -> None:
    before = decoded(submit(workspace).csv)[1]
    blank = next(row for row, mask in enumerate(before) if mask.any())
    tile = workspace.data / f"test/images/{made.test_ids[blank]}.png"
    put(tile, png(np.full((8, 8), 50, np.uint8)))
    stored = workspace.ensembles / "quick/ensemble.json"
    rule = Rule(RULE.level, RULE.min_area, ("blank-empty",))
    write_json(stored, {**read_json(stored), "decision": {"rule": rule.as_json()}})
    report = submit(workspace, overwrite=True)
    after = decoded(report.csv)[1]
    assert not after[blank].any()
    others = np.arange(len(before)) != blank
    assert np.array_equal(after[others], before[others])
    assert report.rule == rule
    assert submit(workspace, min_area=0, name="all").rule.steps == ("blank-empty",)


def test_an_ensemble_of_an_earlier_version_is_made_again(workspace: Workspace) -> None:
    stored = workspace.ensembles / "quick/ensemble.json"
    write_json(stored, {**read_json(stored), "decision": {"level": 99, "min_area": 20}})
    with pytest.raises(DataError, match=r"earlier version(.|\n)*next: salt ensemble quick --name"):
        submit(workspace)


@pytest.mark.parametrize(("threshold", "kind"), [(1.0, "empty"), (0.0, "full")])
def test_a_submission_that_says_the_same_of_nearly_every_tile_is_warned_of(
    workspace: Workspace, threshold: float, kind: str
) -> None:
    heard = Heard()
    submit(workspace, listener=heard)
    assert heard.warnings == []
    if kind == "full":  # the slope begins with a row of 0
        test = predictions.load(workspace.ensembles / "quick/test", memory_map=False)
        salt = Predictions(test.ids, np.maximum(test.probabilities, 1))
        predictions.save(workspace.ensembles / "quick/test", salt)
        document = workspace.ensembles / "quick/ensemble.json"
        stated = predictions.stated_hash(workspace.ensembles / "quick/test")
        write_json(document, {**read_json(document), "test_hash": stated})
    for _ in range(2):  # also of one that is there already
        submit(workspace, threshold=threshold, min_area=0, name=kind, listener=heard)
    told = rf"9 of 9 masks are {kind}; of the training masks \d+% are: look at the rule, at "
    assert [bool(re.match(told, text)) for text in heard.warnings] == [True, True]


def test_nearly_every_is_95_percent_unless_training_masks_are_so_too(
    workspace: Workspace, made: TinyCompetition
) -> None:
    competition = workspace.open(Listener())
    folder = workspace.ensembles / "quick"

    def warned(empty: int, masks: NDArray[np.bool_]) -> bool:
        heard = Heard()
        manifest = {"rows": 100, "empty_masks": empty, "full_masks": 0}
        warn_of_masks(manifest, replace(competition, masks=masks), folder, heard)
        return bool(heard.warnings)

    salt = np.ones((100, 8, 8), dtype=bool)
    rare = salt & (np.arange(100) < 3)[:, None, None]
    assert (warned(94, salt), warned(95, salt), warned(95, rare)) == (False, True, False)


def test_predictions_of_another_ensemble_are_refused(
    workspace: Workspace, made: TinyCompetition
) -> None:
    write_ensemble(workspace, "other", made, seed=1)
    for name in ("test.json", "test.npy"):
        shutil.copy(workspace.ensembles / "other" / name, workspace.ensembles / "quick" / name)
    with pytest.raises(DataError, match=r"are not those that(.|\n)*salt ensemble quick --name"):
        submit(workspace, ensemble="quick")
    assert not workspace.submissions.exists()
