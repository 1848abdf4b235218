from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from kaggle_salt import look, make_report
from kaggle_salt.competition.tiles import Competition
from tests.makers import write_competition
from tests.tiny import refused, salt


@pytest.fixture(autouse=True)
def quick_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are made but not laid out, which takes longer than all the rest."""
    monkeypatch.setattr("kaggle_salt.report.page.inline_svg", lambda figure, key, title: "<svg/>")


def test_report_names_the_score_the_page_and_what_is_missing(trained: Path) -> None:
    result = salt("report", "tiny")
    score, page = result.stdout.splitlines()
    assert score.startswith("score to quote: 0.")
    assert page.startswith("look at runs/tiny/report.html (")
    assert "Fold 2 of run tiny: not begun. salt train --run tiny --fold 2" in result.stderr
    told = json.loads(salt("report", "tiny", "--out", "a.html", "--json").stdout)
    assert (told["html"], told["run"]) == ("a.html", "tiny")
    assert told["bytes"] == Path("a.html").stat().st_size
    low, high = told["interval"]
    assert score == f"score to quote: {told['score']:.4f} [{low:.4f}, {high:.4f}]"
    assert [one["command"] for one in told["missing"]] == [
        "salt train --run tiny --fold 2 --resume"
    ]


def test_report_without_a_score_says_so(trained: Path) -> None:
    for fold in (0, 1):
        (trained / f"runs/tiny/fold{fold}/fold.json").unlink()
    assert salt("report", "tiny").stdout.startswith("no fold is finished: there is no score yet\n")
    told = json.loads(salt("report", "tiny", "--json").stdout)
    assert (told["score"], told["interval"], told["tiles"]) == (None, None, 0)


def test_predictions_of_another_tool_have_a_report_too(trained: Path) -> None:
    competition = Competition.open("data")
    for part, ids in (("OOF", competition.ids), ("TEST", competition.test_ids)):
        np.save(f"{part}.npy", np.full((len(ids), *competition.tile_shape), 0.25))
        Path(f"{part}.csv").write_text("\n".join(("id", *ids)), encoding="utf-8")
    salt("import-predictions", "foreign", "--oof", "OOF.npy", "--oof-ids", "OOF.csv",
         "--test", "TEST.npy", "--test-ids", "TEST.csv")  # fmt: skip
    made = make_report(name="foreign", verbose=False)
    assert made.facts.judged is not None
    assert made.facts.judged.tiles == len(competition.ids)
    assert (made.facts.folds, made.facts.recipes) == ([], [])
    assert "made by another tool" in made.html.read_text(encoding="utf-8")


def test_report_keeps_a_file_that_is_no_page_of_the_same(trained: Path) -> None:
    Path("mine.html").write_text("mine", encoding="utf-8")
    refused(2, "report", "tiny", "--out", "mine.html", found="mine.html is there, and is no report",
            expected="an earlier page of the same", then="--out FILE .* --overwrite")  # fmt: skip
    assert Path("mine.html").read_text(encoding="utf-8") == "mine"


def test_report_of_other_tiles(trained: Path) -> None:
    Path("data/depths.csv").write_text("id,z\n", encoding="utf-8")
    refused(3, "report", "tiny", found="run tiny was trained on other tiles",
            expected="the data", then="--data FOLDER")  # fmt: skip
    assert not Path("runs/tiny/report.html").exists()


def test_look_names_its_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_competition(tmp_path / "data", n_train=12, n_test=2)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("kaggle_salt.report.drawing.Figure.savefig", lambda *_, **__: None)
    names = [f"pictures/{name}.png" for name in ("tiles", "coverage", "depth", "copies")]
    assert salt("look").stdout.splitlines() == names
    assert all(Path(name).exists() for name in names)
    salt("make-folds", "--n-folds", 3)
    told = json.loads(salt("look", "more", "--json").stdout)
    assert told["pictures"][-1] == "more/folds.png"
    assert [path.name for path in look(folder="more", verbose=False)][-1] == "folds.png"
    Path("taken").touch()
    refused(2, "look", "taken", found="taken", expected="", then="salt look --help")
