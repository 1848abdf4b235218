from __future__ import annotations

from kaggle_salt.pipeline.lines import Lines, WarningLines, epoch_line

ROW: dict[str, object] = {
    "epoch": 3, "stage": "bce", "train_loss": 0.5, "val_loss": 0.25, "score": 0.75, "seconds": 60.0,
}  # fmt: skip


def test_an_epoch_is_one_line() -> None:
    line = epoch_line(ROW, epochs_left=10.0)
    assert line.split() == (
        "epoch 3 bce loss 0.5000 validation 0.2500 score 0.7500 60.0 s about 10 min left".split()
    )
    assert "score 0.7500  2 steps skipped  60.0 s" in epoch_line({**ROW, "skipped": 2}, 1.0)
    assert epoch_line({**ROW, "skipped": 0}, 1.0) == epoch_line(ROW, 1.0)
    assert epoch_line(ROW, epochs_left=1.0).endswith("about 60 s left")
    assert epoch_line(ROW, epochs_left=120.0).endswith("about 2.0 h left")


def test_patient_lines_tell_only_what_is_done() -> None:
    said: list[str] = []
    lines = Lines(said.append, patience=1e9)
    work(lines)
    assert [line.split()[0] for line in said] == ["a", "warning:", "decoding:", "epoch"]
    assert said[2].startswith("decoding: 2 in ")


def test_impatient_lines_tell_how_far_it_is() -> None:
    said: list[str] = []
    work(Lines(said.append, patience=0.0))
    assert "decoding: 1 of 2" in said
    assert "epoch 3: 1 of 2 steps, loss 0.5000" in said
    assert not any("2 of 2" in line for line in said)


def test_warnings_alone() -> None:
    said: list[str] = []
    work(WarningLines(said.append))
    assert said == ["warning: a fault"]


def work(lines: WarningLines) -> None:
    lines.note("a note")
    lines.warn("a fault")
    update = lines.progress("decoding")
    update(1, 2)
    update(2, 2)
    lines.epoch_starts("epoch 3", 2)
    lines.steps_done(1, 0.5)
    lines.steps_done(2, 0.5)
    lines.epoch_ends(ROW, 10.0)
