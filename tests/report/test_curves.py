from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from kaggle_salt.errors import DataError
from kaggle_salt.report import curves


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that were drawn, kept for a look at what is in them."""
    kept: list[Figure] = []
    save = curves.save_figure

    def keep(figure: Figure, path: Path) -> None:
        kept.append(figure)
        save(figure, path)

    monkeypatch.setattr(curves, "save_figure", keep)
    return kept


def history(stages: tuple[str, ...] = ("bce", "bce", "lovasz", "lovasz", "swa")) -> pd.DataFrame:
    count = len(stages)
    return pd.DataFrame(
        {
            "stage": stages,
            "epoch": np.arange(1, count + 1),
            "lr": np.linspace(1e-3, 1e-5, count),
            "train_loss": np.linspace(0.5, 0.1, count),
            "val_loss": np.linspace(0.6, 0.2, count),
            "score": [0.4, 0.6, 0.55, 0.72, 0.70][:count],
            "seconds": np.ones(count),
            "averaged_score": np.full(count, np.nan),
        }
    )


def score_curve() -> pd.DataFrame:
    threshold = np.arange(256) / 255
    return pd.DataFrame({"threshold": threshold, "score": 0.8 - (threshold - 0.4) ** 2})


def draw_threshold_curve(path: Path, table: pd.DataFrame) -> None:
    curves.threshold_curve(
        table, path, chosen_threshold=0.4, chosen_score=0.8, interval=(0.78, 0.82), title="blend"
    )


def texts(figure: Figure) -> set[str]:
    found = {text.get_text() for axes in figure.axes for text in axes.texts}
    return found | {text.get_text() for legend in figure.legends for text in legend.get_texts()}


def test_learning_curve_is_a_png_at_150_dots_per_inch(tmp_path: Path) -> None:
    curves.learning_curve(history(), tmp_path / "new" / "curve.png", title="fold 0")
    with Image.open(tmp_path / "new" / "curve.png") as picture:
        assert picture.size == (1440, 960)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["curve.png"]


def test_learning_curve_names_stages_best_and_last(tmp_path: Path, figures: list[Figure]) -> None:
    curves.learning_curve(history(), tmp_path / "curve.png", title="fold 0")
    assert texts(figures[0]) == {
        "bce", "lovasz", "swa", "best 0.7200", "last 0.7000",
        "training loss", "validation loss", "learning rate",
    }  # fmt: skip
    assert figures[0].get_suptitle() == "fold 0"


def test_accuracy_and_iou_are_drawn_where_they_were_measured(
    tmp_path: Path, figures: list[Figure]
) -> None:
    table = history().assign(accuracy=[np.nan, 0.8, 0.85, 0.9, 0.91], iou=np.nan)
    curves.learning_curve(table, tmp_path / "curve.png", title="fold 0")
    lines = {str(line.get_label()): line for line in figures[0].axes[0].get_lines()}
    assert np.array_equal(lines["accuracy"].get_ydata(), table["accuracy"], equal_nan=True)
    assert "IoU" not in lines
    assert "accuracy" in texts(figures[0])
    curves.learning_curve(table.assign(iou=0.5), tmp_path / "curve.png", title="fold 0")
    assert {"accuracy", "IoU"} <= texts(figures[1])


def test_losses_are_not_joined_across_stages(tmp_path: Path, figures: list[Figure]) -> None:
    curves.learning_curve(history(), tmp_path / "curve.png", title="fold 0")
    lines = [line for line in figures[0].axes[1].get_lines() if "training" in str(line.get_label())]
    assert [list(np.asarray(line.get_xdata())) for line in lines] == [[1, 2], [3, 4], [5]]


def test_history_of_one_epoch_can_be_drawn(tmp_path: Path, figures: list[Figure]) -> None:
    curves.learning_curve(history(("bce",)), tmp_path / "curve.png", title="fold 0")
    assert "best and last 0.4000" in texts(figures[0])


def test_missing_scores_leave_a_gap(tmp_path: Path, figures: list[Figure]) -> None:
    table = history()
    table.loc[3:, "score"] = np.nan
    curves.learning_curve(table, tmp_path / "curve.png", title="fold 0")
    assert {"best 0.6000", "last 0.5500"} <= texts(figures[0])


def test_history_without_any_score_can_be_drawn(tmp_path: Path, figures: list[Figure]) -> None:
    table = history()
    table["score"] = np.nan
    curves.learning_curve(table, tmp_path / "curve.png", title="fold 0")
    assert not any("best" in text for text in texts(figures[0]))


def test_stage_that_comes_twice_is_two_stages() -> None:
    table = history(("bce", "lovasz", "bce", "bce"))
    assert curves._stages(table) == [("bce", 1, 1), ("lovasz", 2, 2), ("bce", 3, 4)]


def test_learning_curve_needs_its_columns(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no column lr, score to draw"):
        curves.learning_curve(history().drop(columns=["lr", "score"]), tmp_path / "x.png", title="")
    assert list(tmp_path.iterdir()) == []


def test_learning_curve_needs_an_epoch(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no row to draw"):
        curves.learning_curve(history(()), tmp_path / "x.png", title="")


def test_threshold_curve_marks_the_choice(tmp_path: Path, figures: list[Figure]) -> None:
    draw_threshold_curve(tmp_path / "curve.png", score_curve())
    expected = {"95 % interval", "threshold 0.5", "score", "chosen 0.400: 0.8000"}
    assert texts(figures[0]) == expected
    with Image.open(tmp_path / "curve.png") as picture:
        assert picture.size == (1440, 660)


def test_close_up_shows_the_choice_the_interval_and_one_half(
    tmp_path: Path, figures: list[Figure]
) -> None:
    draw_threshold_curve(tmp_path / "curve.png", score_curve())
    whole, closeup = figures[0].axes
    assert whole.get_xlim() == (0, 1)
    left, right = closeup.get_xlim()
    assert left == pytest.approx(0.2)
    assert right == pytest.approx(0.6)
    low, high = closeup.get_ylim()
    assert 0.7 < low < 0.78
    assert 0.82 < high < 0.9


@pytest.mark.parametrize("chosen", [0.0, 1.0])
def test_choice_at_the_edge_stays_in_the_picture(
    tmp_path: Path, figures: list[Figure], chosen: float
) -> None:
    curves.threshold_curve(
        score_curve(), tmp_path / "curve.png", chosen_threshold=chosen, chosen_score=0.5,
        interval=(0.5, 0.5), title="",
    )  # fmt: skip
    left, right = figures[0].axes[1].get_xlim()
    assert 0 <= left <= min(chosen, 0.5)
    assert max(chosen, 0.5) <= right <= 1


def test_threshold_curve_needs_its_columns(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no column score"):
        draw_threshold_curve(tmp_path / "x.png", score_curve()[["threshold"]])


def test_same_table_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        draw_threshold_curve(tmp_path / name, score_curve())
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_failed_drawing_leaves_the_old_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any, **options: Any) -> None:
        raise OSError("disk full")

    path = tmp_path / "curve.png"
    path.write_bytes(b"old")
    monkeypatch.setattr(Figure, "savefig", fail)
    with pytest.raises(OSError, match="disk full"):
        draw_threshold_curve(path, score_curve())
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [
        ("curve.png", b"old")
    ]


def sweep() -> pd.DataFrame:
    """A loss that falls from .7 to .4 and then runs away."""
    smoothed = [0.7, 0.7, 0.5, 0.4, 1.6, 90.0]
    losses = [0.7, 0.7, 0.45, 0.35, 2.0, 300.0]
    return pd.DataFrame({"lr": np.geomspace(1e-5, 1, 6), "loss": losses, "smoothed": smoothed})


def draw_rate_curve(path: Path, table: pd.DataFrame) -> None:
    curves.rate_curve(table, path, steepest=1e-3, tenth_of_lowest=2.5e-3, title="sweep")


def test_rate_curve_names_both_rates(tmp_path: Path, figures: list[Figure]) -> None:
    draw_rate_curve(tmp_path / "curve.png", sweep())
    assert texts(figures[0]) == {
        "loss of a batch", "smoothed", "steepest descent: 0.001", "a tenth of the lowest: 0.0025",
    }  # fmt: skip
    assert figures[0].axes[0].get_xscale() == "log"
    with Image.open(tmp_path / "curve.png") as picture:
        assert picture.size == (1440, 720)


def test_a_loss_that_runs_away_does_not_flatten_the_descent(
    tmp_path: Path, figures: list[Figure]
) -> None:
    draw_rate_curve(tmp_path / "curve.png", sweep())
    bottom, top = figures[0].axes[0].get_ylim()
    assert 0.25 < bottom < 0.35
    assert 0.7 < top < 0.8


def test_rate_curve_needs_its_columns_and_a_step(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no column smoothed to draw"):
        draw_rate_curve(tmp_path / "x.png", sweep().drop(columns="smoothed"))
    with pytest.raises(DataError, match="no row to draw"):
        draw_rate_curve(tmp_path / "x.png", sweep().iloc[:0])
    assert list(tmp_path.iterdir()) == []
