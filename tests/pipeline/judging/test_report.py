from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from kaggle_salt.competition.metric import image_scores
from kaggle_salt.errors import ConfigError, DataError
from kaggle_salt.pipeline.blending.ensemble import ensemble
from kaggle_salt.pipeline.judging import report_judging
from kaggle_salt.pipeline.judging.report import make_report
from kaggle_salt.pipeline.workspace import Listener, Workspace
from kaggle_salt.predictions import load
from kaggle_salt.report.facts import Judged, Scored
from kaggle_salt.report.page import made_for
from kaggle_salt.storage.files import read_json, write_json
from tests.tiny import Heard, files_under

WORKSPACE = Workspace()  # the tests stand in its folder


@pytest.fixture(autouse=True)
def quick_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are made but not laid out, which takes longer than all the rest."""
    monkeypatch.setattr("kaggle_salt.report.page.inline_svg", lambda figure, key, title: "<svg/>")


def judged_of(name: str) -> Judged:
    judged = make_report(WORKSPACE, name).facts.judged
    assert judged is not None
    return judged


def test_a_run_is_scored_as_its_ensemble_is(trained: Path) -> None:
    made = ensemble(WORKSPACE, ["tiny"], name="alone", device="cpu")
    for judged in (judged_of("tiny"), judged_of("alone")):
        assert (judged.score, judged.interval) == (made.honest.score, made.honest.interval)
        assert judged.decision == made.decision
        assert judged.rows == [
            Scored(row.name, row.tiles, row.at_half, row.interval, row.at_decision)
            for row in made.rows
        ]
        types = judged.breakdowns[1].rows
        assert types == [Scored(r.type, r.tiles, r.score, r.interval) for r in made.types]
        assert judged.parts == {part: one.rule for part, one in made.honest.decisions.items()}
        at = judged.curve["score"][judged.decision.rule.level]
        assert at == pytest.approx(judged.decision.score)
        row = list(judged.areas.areas).index(judged.decision.rule.min_area)
        assert judged.areas.scores[row, judged.decision.rule.level] == pytest.approx(at)
        assert judged.areas.scores.max() == pytest.approx(judged.decision.score)


def test_every_sort_of_tile_adds_up_to_all(trained: Path) -> None:
    judged = judged_of("tiny")
    for one in judged.breakdowns:
        assert sum(row.tiles for row in one.rows) == judged.tiles
        mean = sum(row.tiles * row.score for row in one.rows) / judged.tiles
        assert mean == pytest.approx(judged.decision.score)


def test_the_gallery_shows_what_the_rule_makes_of_the_stored_tiles(trained: Path) -> None:
    gallery = judged_of("tiny").gallery
    table = gallery.table.set_index("id")
    competition = WORKSPACE.open(Listener())
    scores = image_scores(gallery.truths, gallery.masks)
    assert table["score"].tolist() == pytest.approx(scores.tolist())
    for fold in (0, 1):
        part = load(WORKSPACE.runs / f"tiny/fold{fold}/oof")
        assert set(part.ids) == set(table.index[table["fold"] == fold])
        for tile, values in zip(part.ids, part.probabilities, strict=True):
            place, row = list(table.index).index(tile), competition.ids.index(tile)
            assert np.array_equal(gallery.probabilities[place], values)
            assert np.array_equal(gallery.images[place], competition.images[row])
            assert np.array_equal(gallery.truths[place], competition.masks[row])
            truth, mask = gallery.truths[place], gallery.masks[place]
            counts = (truth.sum(), mask.sum(), (truth & mask).sum(), truth.mean())
            assert tuple(table.loc[tile, ["truth", "predicted", "hit", "coverage"]]) == counts
            assert table.loc[tile, "depth"] == competition.depths[row]


def test_of_many_tiles_the_gallery_has_some_of_all_scores(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = judged_of("tiny").gallery
    monkeypatch.setattr(report_judging, "GALLERY_TILES", 7)
    some = judged_of("tiny").gallery
    assert (len(some.table), some.left_out) == (7, len(whole.table) - 7)
    for end in (min, max):
        assert end(some.table["score"]) == end(whole.table["score"])


def test_borderline_tiles_are_those_whose_score_hangs_on_the_threshold(trained: Path) -> None:
    judged, scores = judged_of("tiny"), []
    rule, gallery = judged.decision.rule, judged.gallery
    for level in (max(rule.level - 13, 0), rule.level, min(rule.level + 13, 255)):
        masks = gallery.probabilities > level
        masks[masks.sum(axis=(1, 2)) < rule.min_area] = False
        scores.append(image_scores(gallery.truths, masks))
    expected = np.ptp(scores, axis=0) >= 0.25
    assert gallery.table["borderline"].tolist() == expected.tolist()


def test_a_run_half_done_shows_what_there_is(trained: Path) -> None:
    (trained / "runs/tiny/fold1/fold.json").unlink()
    (trained / "runs/tiny/fold0/history.csv").write_bytes(b"")
    listener = Heard()
    made = make_report(WORKSPACE, "tiny", listener=listener)
    states = [(one.state, one.epochs, one.planned) for one in made.facts.folds]
    assert states == [("finished", 5, 5), ("half done", 5, 5), ("not begun", 0, 5)]
    assert made.facts.judged is not None
    assert [row.name for row in made.facts.judged.rows] == ["tiny, fold 0", "tiny, all its folds"]
    told = [f"{one.text} {one.command}".strip() for one in made.facts.missing]
    assert told == [
        "Fold 0 of run tiny has no history.csv that can be read: its learning curve is missing.",
        "Fold 1 of run tiny is half done: epoch 5 of 5. salt train --run tiny --fold 1 --resume",
        "Fold 2 of run tiny: not begun. salt train --run tiny --fold 2 --resume",
    ]
    assert listener.warnings == told
    text = made.html.read_text(encoding="utf-8")
    assert "salt train --run tiny --fold 1 --resume" in text


def test_a_run_without_a_finished_fold_has_no_score(trained: Path) -> None:
    for fold in (0, 1):
        (trained / f"runs/tiny/fold{fold}/fold.json").unlink()
    shutil.rmtree(trained / "runs/tiny/fold1")
    (trained / "runs/tiny/fold1").mkdir()
    made = make_report(WORKSPACE, "tiny")
    assert made.facts.judged is None
    assert [one.text for one in made.facts.missing][1] == (
        "Fold 1 of run tiny is half done: no epoch done yet."
    )
    assert "none yet" in made.html.read_text(encoding="utf-8")


def test_what_each_run_adds_to_an_ensemble(trained: Path) -> None:
    made = ensemble(WORKSPACE, ["tiny", "other"], name="both", weights=[3, 1], device="cpu")
    facts = make_report(WORKSPACE, "both").facts
    assert facts.judged is not None
    assert facts.judged.score == made.honest.score
    assert [(one.run, one.weight) for one in facts.members] == [("tiny", 0.75), ("other", 0.25)]
    alone = {one.run: one.alone for one in facts.members}
    for one, other in zip(facts.members, facts.members[::-1], strict=True):
        assert one.adds == pytest.approx(made.honest.score - alone[other.run])
        assert one.interval is None
    assert [(one.run, one.fold) for one in facts.folds if one.state == "finished"] == [
        ("tiny", 0), ("tiny", 1), ("other", 1), ("other", 2)
    ]  # fmt: skip


def test_searched_weights_are_told_with_what_the_search_found(trained: Path) -> None:
    made = ensemble(WORKSPACE, ["tiny", "other"], name="both", weights="search", device="cpu")
    facts = make_report(WORKSPACE, "both").facts
    assert facts.judged is not None
    assert made.search is not None
    assert [row.name for row in facts.judged.rows] == [row.name for row in made.rows]
    assert [row.at_decision for row in facts.judged.rows] == [r.at_decision for r in made.rows]
    assert (facts.judged.tiles, facts.judged.decision) == (made.rows[-1].tiles, made.decision)
    assert (facts.judged.score, facts.judged.chosen) == (
        made.search.honest.score, "weights and decision"
    )  # fmt: skip
    assert [(one.run, one.weight, one.alone, one.adds, one.interval) for one in facts.members] == [
        (one.member, one.weight, one.alone, one.loss, one.interval)
        for one in made.search.contributions
    ]


def test_an_ensemble_keeps_the_folds_it_was_made_of(trained: Path) -> None:
    ensemble(WORKSPACE, ["tiny"], device="cpu")
    shutil.copytree(trained / "runs/tiny/fold1", trained / "runs/tiny/fold2")  # trained since
    facts = make_report(WORKSPACE, "ensemble/tiny").facts
    assert facts.kind == "ensemble"
    assert facts.judged is not None
    assert [row.name for row in facts.judged.rows][:2] == ["tiny, fold 0", "tiny, fold 1"]


def test_an_ensemble_of_other_networks_is_refused(trained: Path) -> None:
    ensemble(WORKSPACE, ["tiny"], name="old", device="cpu")
    summary = trained / "runs/tiny/fold1/fold.json"
    write_json(summary, {**read_json(summary), "weights_hash": "another"})
    before = files_under(trained)
    with pytest.raises(DataError, match="fold 1 of run tiny is not the network") as caught:
        make_report(WORKSPACE, "old")
    assert caught.value.next_step == "salt ensemble tiny --name old"
    assert files_under(trained) == before


def test_an_ensemble_that_says_too_little_is_refused(trained: Path) -> None:
    write_json(trained / "runs/ensemble/old/ensemble.json", {"members": []})
    with pytest.raises(DataError, match="name is missing"):
        make_report(WORKSPACE, "old")


def test_without_a_name_it_is_the_run_worked_on_last(trained: Path) -> None:
    (trained / "runs/other/fold1/history.csv").touch()
    listener = Heard()
    assert make_report(WORKSPACE, listener=listener).facts.name == "other"
    assert "taking run other, worked on last; to take another, name it" in listener.notes
    shutil.rmtree(trained / "runs")
    with pytest.raises(ConfigError, match="no run in runs has an epoch done"):
        make_report(WORKSPACE)


def test_an_earlier_page_of_the_same_is_replaced_and_no_other_file(trained: Path) -> None:
    made = make_report(WORKSPACE, "tiny")
    assert made.html == Path("runs/tiny/report.html")
    text = made.html.read_text(encoding="utf-8")
    assert made.size == len(text.encode())
    assert made_for(text) == ("run", "tiny")
    assert make_report(WORKSPACE, "tiny").html.read_text(encoding="utf-8") == text
    with pytest.raises(ConfigError, match="is there, and is no report of run other"):
        make_report(WORKSPACE, "other", out=made.html)
    Path("mine.html").write_text("mine", encoding="utf-8")
    for taken in (Path("mine.html"), Path("runs")):
        with pytest.raises(ConfigError, match="and is no report of run tiny") as caught:
            make_report(WORKSPACE, "tiny", out=taken)
        assert "--overwrite" in caught.value.next_step
    assert Path("mine.html").read_text(encoding="utf-8") == "mine"
    make_report(WORKSPACE, "tiny", out=Path("mine.html"), overwrite=True)
    assert made_for(Path("mine.html").read_text(encoding="utf-8")) == ("run", "tiny")


def test_an_unknown_name_is_refused_with_the_nearest(trained: Path) -> None:
    ensemble(WORKSPACE, ["tiny"], name="blended", device="cpu")
    with pytest.raises(ConfigError, match="there is no run or ensemble 'blend'") as caught:
        make_report(WORKSPACE, "blend")
    assert re.search("did you mean 'blended'", caught.value.expected)
