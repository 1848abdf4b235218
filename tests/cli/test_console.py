from __future__ import annotations

import io

import pytest
from rich.console import Console

from kaggle_salt.cli.console import ConsoleListener

HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"
ROW: dict[str, object] = {
    "stage": "bce", "epoch": 3, "lr": 0.001, "train_loss": 0.5, "val_loss": 0.25,
    "score": 0.75, "seconds": 60.0,
}  # fmt: skip


def listener(*, terminal: bool) -> tuple[ConsoleListener, io.StringIO]:
    """A listener that writes to a text, as if to a terminal or not."""
    out = io.StringIO()
    made = ConsoleListener()
    made.console = Console(file=out, force_terminal=terminal, width=100, soft_wrap=True)
    return made, out


def test_elsewhere_than_on_a_terminal_there_is_one_line_an_epoch() -> None:
    told, out = listener(terminal=False)
    told.epoch_starts("bce 3/20", 10)
    told.steps_done(10, 0.5)
    told.epoch_ends(ROW, epochs_left=17)
    assert out.getvalue() == (
        "epoch   3  bce          loss 0.5000  validation 0.2500  score 0.7500  60.0 s  "
        "about 17 min left\n"
    )


@pytest.mark.parametrize(
    ("left", "told"), [(1, "about 60 s left"), (30, "about 30 min left"), (120, "about 2.0 h left")]
)
def test_the_time_left_is_in_a_fitting_unit(left: int, told: str) -> None:
    follower, out = listener(terminal=False)
    follower.epoch_ends(ROW, epochs_left=left)
    assert told in out.getvalue()


def test_the_time_left_follows_the_latest_epochs() -> None:
    follower, out = listener(terminal=False)
    for seconds in (900.0, 10.0, 10.0, 10.0):
        follower.epoch_ends({**ROW, "seconds": seconds}, epochs_left=6)
    assert out.getvalue().splitlines()[-1].endswith("about 60 s left")


def test_a_terminal_has_a_bar_with_rate_and_loss() -> None:
    told, out = listener(terminal=True)
    told.epoch_starts("bce 3/20", 10)
    told.steps_done(5, 0.5)
    ConsoleListener.close_bar()
    assert "bce 3/20" in out.getvalue()
    assert "5/10" in out.getvalue()
    assert "steps/s  loss 0.5000" in out.getvalue()


def test_whoever_ends_the_work_gives_the_cursor_back() -> None:
    told, out = listener(terminal=True)
    told.epoch_starts("bce 3/20", 10)
    assert HIDE in out.getvalue()
    assert SHOW not in out.getvalue()
    ConsoleListener.close_bar()
    assert out.getvalue().rindex(SHOW) > out.getvalue().rindex(HIDE)
    ConsoleListener.close_bar()  # nothing left to close


def test_work_ends_with_a_line() -> None:
    told, out = listener(terminal=False)
    progress = told.progress("decoding tiles")
    progress(4, 8)
    assert out.getvalue() == ""
    progress(8, 8)
    assert out.getvalue().startswith("decoding tiles: 8 in ")


def test_notes_and_warnings_are_shown_as_they_are() -> None:
    told, out = listener(terminal=False)
    told.note("runs/[a]: written")
    told.warn("fold 2 is missing")
    assert out.getvalue() == "runs/[a]: written\nwarning: fold 2 is missing\n"
