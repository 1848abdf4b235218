"""Runs, folds and ensembles compared on the tiles that all of them predicted out of fold."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from kaggle_salt import predictions
from kaggle_salt.competition.metric import image_scores
from kaggle_salt.competition.tiles import Competition
from kaggle_salt.errors import ConfigError, DataError
from kaggle_salt.pipeline.blending.ensemble import ensemble
from kaggle_salt.pipeline.judging import compare as module
from kaggle_salt.pipeline.judging.compare import compare
from kaggle_salt.pipeline.workspace import Workspace
from kaggle_salt.predictions import Predictions
from kaggle_salt.storage.files import read_json, write_json
from tests.tiny import Heard, configure

HERE = Workspace()


@pytest.fixture
def lively(trained: Path) -> Path:
    """The trained workspace, whose runs now see most of the salt: masks moved and in noise."""
    competition = Competition.open("data")
    row_of = {tile: row for row, tile in enumerate(competition.ids)}
    rng = np.random.default_rng(3)
    for stem in sorted(Path("runs").glob("*/fold*/oof.npy")):
        oof = predictions.load(stem.with_suffix(""))
        maps = []
        for tile in oof.ids:
            moved = np.roll(competition.masks[row_of[tile]], rng.integers(0, 9), axis=1)
            maps.append(rng.integers(0, 120, moved.shape) + 136 * (moved & (rng.random() < 0.9)))
        predictions.save(
            stem.with_suffix(""), Predictions(oof.ids, np.array(maps, np.uint8), oof.manifest)
        )
    return trained


def scores_at_half(run: str, fold: int) -> dict[str, float]:
    """Score of each tile of a fold, straight from the files."""
    competition = Competition.open("data")
    oof = predictions.load(Path(f"runs/{run}/fold{fold}/oof"))
    row_of = {tile: row for row, tile in enumerate(competition.ids)}
    masks = competition.masks[[row_of[tile] for tile in oof.ids]]
    return dict(zip(oof.ids, image_scores(masks, oof.probabilities > 127), strict=True))


def test_runs_are_compared_on_the_tiles_of_both(lively: Path) -> None:
    """Run tiny has folds 0 and 1, other has 1 and 2."""
    found = compare(HERE, ["tiny", "other"], at_half=True)
    tiny, other = scores_at_half("tiny", 1), scores_at_half("other", 1)
    assert found.tiles == len(tiny)
    assert found.decision == "threshold .5 for all, as asked"
    assert [(one.name, one.score) for one in found.standings] == [
        ("tiny", pytest.approx(np.mean(list(tiny.values())))),
        ("other", pytest.approx(np.mean(list(other.values())))),
    ]
    difference = np.mean([other[tile] - tiny[tile] for tile in tiny])
    assert found.rivals[0].paired.difference == pytest.approx(difference)
    assert len(found.rivals[0].changed) > 3
    for tile in found.rivals[0].changed:
        assert (tile.first, tile.score) == pytest.approx((tiny[tile.id], other[tile.id]))
        assert tile.fold == 1
    changes = [abs(tile.score - tile.first) for tile in found.rivals[0].changed]
    assert changes == pytest.approx(sorted(changes, reverse=True))


def test_each_has_its_own_decision_by_default(lively: Path) -> None:
    found = compare(HERE, ["tiny", "tiny+other"])
    assert "four random fifths of the tiles, for all are of fold 1" in found.decision
    report = ensemble(HERE, ["tiny", "other"], device="cpu")
    assert found.standings[1].score == pytest.approx(report.honest.score)


def test_with_several_folds_each_is_decided_on_by_the_others(lively: Path) -> None:
    shutil.copytree("runs/tiny", "runs/twin")
    found = compare(HERE, ["tiny", "twin"])
    assert "chosen on the other folds each time" in found.decision
    [rival] = found.rivals
    assert rival.verdict == "no: the two score the same"
    assert rival.changed == ()
    assert {(part.kind, part.name) for part in found.parts} >= {("fold", "0"), ("fold", "1")}
    for kind in ("fold", "coverage"):
        parts = [part for part in found.parts if part.kind == kind]
        assert sum(part.tiles for part in parts) == found.tiles
        whole = sum(part.tiles * part.scores[0] for part in parts) / found.tiles
        assert whole == pytest.approx(found.standings[0].score)
    assert found.seed_deviation is None, "a copy has the same seed"


def test_a_fold_of_a_run(lively: Path) -> None:
    found = compare(HERE, ["tiny", "tiny/fold0"], at_half=True)
    assert found.tiles == len(scores_at_half("tiny", 0))
    assert found.rivals[0].paired.difference == 0


def test_seeds_say_what_training_again_does(lively: Path) -> None:
    """Other is tiny with another seed."""
    found = compare(HERE, ["tiny", "other"], at_half=True)
    [recipe] = found.recipes
    assert (recipe.runs, recipe.seeds) == (("tiny", "other"), (0, 1))
    means = [np.mean(list(scores_at_half(run, 1).values())) for run in ("tiny", "other")]
    assert recipe.scores == pytest.approx(means)
    assert found.seed_deviation == pytest.approx(np.std(means, ddof=1))
    assert "differ in the seed alone" in found.rivals[0].verdict


def retrained(name: str, like: str, **changed: str) -> None:
    """A run that is a copy, but for lines of its configuration."""
    shutil.copytree(f"runs/{like}", f"runs/{name}")
    text = Path(f"runs/{name}/config.toml").read_text(encoding="utf-8")
    for key, value in changed.items():
        before = next(line for line in text.splitlines() if line.startswith(f"{key} ="))
        text = text.replace(before, f"{key} = {value}")
    configure(Path(f"runs/{name}"), text)


def test_repetitions_beside_the_runs_are_found(lively: Path) -> None:
    """Other is not named, but it lies beside tiny; large has another batch size."""
    retrained("large", "tiny", batch_size="8")
    (lively / "runs/broken").mkdir()
    (lively / "runs/broken/config.toml").write_text("nonsense", encoding="utf-8")
    found = compare(HERE, ["large/fold1", "tiny/fold1"], at_half=True)
    assert [recipe.runs for recipe in found.recipes] == [("tiny/fold1", "other")]
    [rival] = found.rivals
    assert rival.over_seeds
    assert rival.over_seeds.trainings == (2, 1)
    means = [np.mean(list(scores_at_half(run, 1).values())) for run in ("tiny", "other")]
    assert rival.over_seeds.difference == pytest.approx(np.mean(means) - means[0])
    assert "over 2 and 1 trainings" in rival.verdict
    alone = compare(HERE, ["large", "tiny"], at_half=True)
    assert alone.seed_deviation is None, "other lacks fold 0"


def test_an_ensemble_is_compared_as_it_was_made(lively: Path) -> None:
    report = ensemble(HERE, ["tiny", "other"], weights=[3, 1], how="logits", name="both",
                      device="cpu")  # fmt: skip
    found = compare(HERE, ["tiny", "both", "ensemble/both"])
    assert found.standings[1].score == pytest.approx(report.honest.score)
    assert found.rivals[0].paired == found.rivals[1].paired
    assert found.caveats[-1].startswith("the best of 3 looks better than it is")


def test_what_another_tool_made_can_be_compared(lively: Path) -> None:
    oof = [predictions.load(Path(f"runs/tiny/fold{fold}/oof")) for fold in (0, 1)]
    shutil.copytree("runs/tiny", "runs/foreign")
    for path in Path("runs/foreign").iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    ids = tuple(tile for one in oof for tile in one.ids)
    maps = np.concatenate([one.probabilities for one in oof])
    predictions.save(Path("runs/foreign/oof"), Predictions(ids, maps))
    competition = Competition.open("data")
    write_json(Path("runs/foreign/manifest.json"), {
        "kind": "foreign", "train_hash": competition.train_hash,
        "test_hash": competition.test_hash,
    })  # fmt: skip
    found = compare(HERE, ["tiny", "foreign"])
    assert found.rivals[0].paired.difference == 0
    assert any("the word of who imported them" in one for one in found.caveats)
    with pytest.raises(ConfigError, match="made by another tool, and not by folds"):
        compare(HERE, ["tiny", "foreign/fold0"])


def test_the_masks_on_the_page_are_those_that_were_scored(
    lively: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = {}
    monkeypatch.setattr(module, "write_page", lambda path, found, pictures: seen.update(pictures))
    found = compare(HERE, ["tiny", "other"], html=lively / "page.html")
    [rival] = found.rivals
    assert rival.changed
    for tile, picture in zip(rival.changed, seen["other"], strict=True):
        for mask, score in ((picture.first, tile.first), (picture.other, tile.score)):
            assert image_scores(picture.truth[None], mask[None])[0] == pytest.approx(score)
        assert (picture.first != picture.other).sum() == tile.pixels
        assert picture.truth.mean() == pytest.approx(tile.coverage)


def test_names_that_cannot_be_compared(lively: Path) -> None:
    with pytest.raises(ConfigError, match="tiny to compare\nexpected: two different"):
        compare(HERE, ["tiny"])
    with pytest.raises(ConfigError, match="a name comes twice: tiny other tiny"):
        compare(HERE, ["tiny", "other", "tiny"])
    with pytest.raises(
        ConfigError, match=r"no run and no ensemble 'tinny'.*\n.*did you mean 'tiny'"
    ):
        compare(HERE, ["tinny", "other"])
    with pytest.raises(ConfigError, match=r"fold 2 of run tiny is not trained\nexpected: .* 0, 1"):
        compare(HERE, ["tiny/fold2", "other"])
    shutil.rmtree("runs")
    with pytest.raises(ConfigError, match="expected: a run made by salt train"):
        compare(HERE, ["tiny", "other"])


def test_runs_that_share_no_tile(lively: Path) -> None:
    shutil.rmtree("runs/other/fold1")
    with pytest.raises(DataError, match=r"tiny and other have no out-of-fold tile in common: "
                       r"tiny has fold 0, 1; other has fold 2\n.*\n.*salt train --run other "
                       r"--fold 0 --resume$"):  # fmt: skip
        compare(HERE, ["tiny", "other"])


def test_an_ensemble_of_other_networks_is_refused(lively: Path) -> None:
    ensemble(HERE, ["tiny"], name="one", device="cpu")
    path = Path("runs/ensemble/one/ensemble.json")
    document = read_json(path)
    document["members"][0]["folds"]["1"] = "another"
    write_json(path, document)
    with pytest.raises(DataError, match="fold 1 of run tiny is not the network"):
        compare(HERE, ["one", "tiny"])
    write_json(path, {"members": [{"run": "tiny"}]})
    with pytest.raises(DataError, match=r"one/ensemble\.json: name is missing"):
        compare(HERE, ["one", "tiny"])


def test_the_note_on_steps_is_for_own_decisions_alone(lively: Path) -> None:
    heard = Heard()
    compare(HERE, ["tiny", "other"], at_half=True, listener=heard)
    assert heard.notes == []
