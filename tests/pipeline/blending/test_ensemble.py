from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from kaggle_salt import predictions
from kaggle_salt.competition.fold_files import read_folds
from kaggle_salt.competition.metric import score
from kaggle_salt.ensembling.blending import blend
from kaggle_salt.ensembling.thresholds import best_decision
from kaggle_salt.errors import ConfigError, TrainingError
from kaggle_salt.pipeline.blending.ensemble import ensemble
from kaggle_salt.pipeline.blending.scores import Truth
from kaggle_salt.pipeline.workspace import Listener, Workspace
from kaggle_salt.storage.files import file_hash, read_json
from tests.tiny import N_TEST, Heard, files_under, forbid

WORKSPACE = Workspace()  # the tests stand in its folder


def stored(stem: str) -> predictions.Predictions:
    return predictions.load(WORKSPACE.runs / stem)


def test_one_run_averages_its_folds(trained: Path) -> None:
    report = ensemble(WORKSPACE, ["tiny"], device="cpu")
    parts = [stored(f"tiny/fold{fold}/test").probabilities.astype(int) for fold in (0, 1)]
    blended = stored("ensemble/tiny/test")
    assert np.array_equal(blended.probabilities, (parts[0] + parts[1] + 1) // 2)
    assert blended.ids == WORKSPACE.open(Listener()).test_ids
    assert (report.name, report.test_tiles, report.missing) == ("tiny", N_TEST, {"tiny": (2,)})


def test_the_scores_are_those_of_the_stored_predictions(trained: Path) -> None:
    report = ensemble(WORKSPACE, ["tiny"], device="cpu")
    competition = WORKSPACE.open(Listener())
    rows = {row.name: row for row in report.rows}
    truths, maps = [], []
    for fold in (0, 1):
        part = stored(f"tiny/fold{fold}/oof")
        truth = competition.masks[[competition.ids.index(tile) for tile in part.ids]]
        row = rows[f"tiny, fold {fold}"]
        assert row.at_half == pytest.approx(score(truth, part.probabilities > 127))
        assert row.tiles == len(part)
        truths.append(truth)
        maps.append(part.probabilities)
    assert report.decision.rule.steps == ()
    masks = report.decision.rule.apply(np.concatenate(maps))
    expected = score(np.concatenate(truths), masks)
    assert report.decision.score == pytest.approx(expected)
    assert rows["tiny, all its folds"].at_decision == pytest.approx(expected)
    assert report.honest.score <= report.decision.score


def test_two_runs_are_weighted_and_scored_where_both_predicted(trained: Path) -> None:
    report = ensemble(WORKSPACE, ["tiny", "other"], weights=[2, 1], device="cpu")
    means = {
        run: np.mean([stored(f"{run}/fold{fold}/test").probabilities for fold in folds], axis=0)
        for run, folds in (("tiny", (0, 1)), ("other", (1, 2)))
    }
    expected = (2 * means["tiny"] + means["other"]) / 3
    blended = stored("ensemble/tiny+other/test").probabilities
    assert np.abs(blended - expected).max() <= 0.501
    assert not np.array_equal(blended, np.rint(means["tiny"]))
    competition = WORKSPACE.open(Listener())
    table = read_folds(WORKSPACE.folds, competition.ids, competition.masks)
    assert report.rows[-1].name == "blend"
    assert report.rows[-1].tiles == (table["fold"] == 1).sum()
    assert report.missing == {"tiny": (2,), "other": (0,)}
    made = read_json(report.folder / "ensemble.json")
    assert [(member["run"], member["weight"]) for member in made["members"]] == [
        ("tiny", 2.0), ("other", 1.0)
    ]  # fmt: skip


def test_logits_are_averaged_out_of_fold_and_on_test_tiles(trained: Path) -> None:
    report = ensemble(WORKSPACE, ["tiny", "other"], how="logits", device="cpu")
    stems = ["tiny/fold0", "tiny/fold1", "other/fold1", "other/fold2"]
    maps = [stored(f"{stem}/test").probabilities.clip(0.5, 254.5) / 255 for stem in stems]
    logits = np.mean([np.log(p / (1 - p)) for p in maps], axis=0)
    blended = stored("ensemble/tiny+other/test").probabilities
    assert np.abs(blended - 255 / (1 + np.exp(-logits))).max() <= 0.52
    assert not np.array_equal(blended, np.rint(255 * np.mean(maps, axis=0)))
    assert (report.how, read_json(report.folder / "ensemble.json")["how"]) == ("logits", "logits")
    parts = [stored("tiny/fold1/oof"), stored("other/fold1/oof")]
    expected = best_decision(truth_here().count(blend(parts, how="logits")))
    assert report.decision == expected


def test_a_vote_counts_the_networks(trained: Path) -> None:
    report = ensemble(WORKSPACE, ["tiny"], how="vote", device="cpu")
    votes = [stored(f"tiny/fold{fold}/test").probabilities > 127 for fold in (0, 1)]
    blended = stored("ensemble/tiny/test").probabilities
    assert np.array_equal(blended, np.array([0, 127, 255])[np.sum(votes, axis=0)])
    # out of fold there is one network for each tile: any level but 255 is as good
    assert report.decision.rule.level == 127
    assert report.rows[-1].at_half == report.rows[-1].at_decision


def truth_here() -> Truth:
    competition = WORKSPACE.open(Listener())
    table = read_folds(WORKSPACE.folds, competition.ids, competition.masks)
    return Truth.of(competition, table)


def test_a_search_drops_the_run_that_knows_nothing(trained: Path) -> None:
    oof = stored("other/fold1/oof")
    all_salt = predictions.Predictions(oof.ids, np.full_like(oof.probabilities, 255), oof.manifest)
    predictions.save(WORKSPACE.runs / "other/fold1/oof", all_salt)
    heard = Heard()
    report = ensemble(
        WORKSPACE, ["tiny", "other"], weights="search", device="cpu", listener=heard
    )  # fmt: skip
    assert heard.notes[-1] == "searching the weights of 2 runs on 13 tiles"
    assert list(report.weights) == ["tiny"]
    assert not (WORKSPACE.runs / "other/fold1/test.npy").exists(), "predicted for nothing"
    parts = [stored(f"tiny/fold{fold}/test") for fold in (0, 1)]
    blended = stored("ensemble/tiny+other/test").probabilities
    assert np.array_equal(blended, blend(parts).probabilities)
    assert report.search is not None
    assert report.honest == report.search.honest
    assert report.rows[-1].tiles == 13
    shares = {one.member: one.weight for one in report.search.contributions}
    assert shares == {"tiny": 1.0, "other": 0.0}
    made = read_json(report.folder / "ensemble.json")
    assert [member["run"] for member in made["members"]] == ["tiny"]
    assert made["search"]["climb"]["path"] == [asdict(step) for step in report.search.climb.path]
    assert made["out_of_fold"]["score_cross_fitted"] == report.search.honest.score


def test_a_search_weighs_folds_of_a_run_alike_on_test_tiles(trained: Path) -> None:
    report = ensemble(WORKSPACE, ["tiny", "other"], weights="search", steps=7, device="cpu")
    stems = {"tiny": ["tiny/fold0", "tiny/fold1"], "other": ["other/fold1", "other/fold2"]}
    taken = {name: [stored(f"{stem}/test") for stem in stems[name]] for name in report.weights}
    expected = np.average(
        [np.mean([part.probabilities for part in parts], axis=0) for parts in taken.values()],
        axis=0,
        weights=list(report.weights.values()),
    )
    blended = stored("ensemble/tiny+other/test").probabilities
    assert np.abs(blended - expected).max() <= 0.501


def test_a_search_that_does_not_pay_is_warned_of(trained: Path) -> None:
    predictions.save(WORKSPACE.runs / "other/fold1/oof", stored("tiny/fold1/oof"))
    heard = Heard()
    report = ensemble(
        WORKSPACE, ["tiny", "other"], weights="search", device="cpu", listener=heard
    )  # fmt: skip
    assert report.search is not None
    score = f"{report.search.equal.score:.4f}"
    assert heard.warnings[-1] == (
        "searching the weights does not pay: on tiles that did not choose them they score "
        f"{score}, equal weights {score}; --weights equal is the safer choice"
    )


def test_a_second_call_does_no_inference(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = ensemble(WORKSPACE, ["tiny"], device="cpu")
    before = files_under(WORKSPACE.runs)
    forbid(monkeypatch, "kaggle_salt.learning.fold.predict")
    assert ensemble(WORKSPACE, ["tiny"], device="cpu") == first
    after = files_under(WORKSPACE.runs)
    assert {name: data for name, data in after.items() if not name.endswith(".png")} == {
        name: data for name, data in before.items() if not name.endswith(".png")
    }


def test_the_manifest_names_every_network(trained: Path) -> None:
    report = ensemble(WORKSPACE, ["tiny"], name="final", device="cpu")
    assert report.folder == WORKSPACE.runs / "ensemble/final"
    made = read_json(report.folder / "ensemble.json")
    weights = {
        str(fold): file_hash(WORKSPACE.runs / f"tiny/fold{fold}/weights.safetensors")
        for fold in (0, 1)
    }
    assert made["members"] == [{"run": "tiny", "weight": 1.0, "folds": weights}]
    assert (made["how"], made["search"]) == ("mean", None)
    assert made["data_hash"] == WORKSPACE.open(Listener()).data_hash
    assert made["decision"]["rule"] == report.decision.rule.as_json()
    assert made["out_of_fold"]["score_cross_fitted"] == report.honest.score
    assert [row["name"] for row in made["scores"]] == [row.name for row in report.rows]


def test_an_unknown_average_is_refused(trained: Path) -> None:
    with pytest.raises(ConfigError, match="unknown average 'median'"):
        ensemble(WORKSPACE, ["tiny"], how="median", device="cpu")
    assert not WORKSPACE.ensembles.exists()


def test_an_ensemble_has_a_plain_name(trained: Path) -> None:
    with pytest.raises(ConfigError, match="an ensemble cannot be called 'a/b'"):
        ensemble(WORKSPACE, ["tiny"], name="a/b", device="cpu")


def test_weights_that_changed_are_refused_and_the_old_decision_is_gone(trained: Path) -> None:
    report = ensemble(WORKSPACE, ["tiny"], device="cpu")
    (WORKSPACE.runs / "tiny/fold0/test.json").unlink()
    with (WORKSPACE.runs / "tiny/fold0/weights.safetensors").open("ab") as weights:
        weights.write(b" ")
    with pytest.raises(TrainingError, match="has changed since the fold was trained"):
        ensemble(WORKSPACE, ["tiny"], device="cpu")
    assert not (report.folder / "ensemble.json").exists(), "it would vouch for other probabilities"
