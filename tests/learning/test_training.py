from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import torch
from torch import Tensor

from kaggle_salt.competition.metric import score as metric_score
from kaggle_salt.config.schema import Config, InferenceConfig
from kaggle_salt.config.stage import LossConfig, StageConfig
from kaggle_salt.errors import ConfigError, TrainingError
from kaggle_salt.learning import steps, training
from kaggle_salt.learning.averaging import reestimate_batch_norm
from kaggle_salt.learning.batches import TileDataset, TrainingTiles
from kaggle_salt.learning.framing import Framing
from kaggle_salt.learning.inference import predict
from kaggle_salt.learning.losses import make_loss
from kaggle_salt.learning.optim import Schedule
from kaggle_salt.learning.training import fold_seed
from kaggle_salt.learning.validation import validate
from kaggle_salt.report.curves import learning_curve
from kaggle_salt.runs import FoldFolder
from tests.learning.makers import (
    CLASSIC,
    COMPACT,
    COMPUTE,
    SIDE,
    PowerCut,
    Silent,
    copy_state,
    same_bits,
    script_validation,
    start,
    tiny_config,
    tiny_tiles,
    train,
)


def stage(name: str = "bce", epochs: int = 1, **keys: Any) -> dict[str, Any]:
    return {"name": name, "epochs": epochs, **keys}


def history(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "history.csv")


def three_stages(optimizer: str) -> Config:
    """Most kinds of weights handed on, every state a stage carries, dropout in the network."""
    optimisation = {"name": optimizer, "lr": 0.01, "weight_decay": 0.01, "clip": 1.0}
    plateau = {"name": "plateau", "patience": 1, "factor": 0.5}
    return tiny_config(
        stage("bce", 2, shrink=2, optimizer=optimisation, keep="best", schedule=plateau),
        stage("lovasz", 2, loss={"name": "lovasz"}, optimizer=optimisation, early_stopping=2),
        stage("swa", 2, loss={"name": "bce+lovasz"}, optimizer=optimisation, keep="average"),
        model=CLASSIC,
    )


# --- what an epoch does


class Recorder(Silent):
    """Writes down all that a watcher is told."""

    def __init__(self) -> None:
        self.titles: list[tuple[str, int]] = []
        self.steps: list[int] = []
        self.left: list[float] = []

    def epoch_starts(self, title: str, steps: int) -> None:
        self.titles.append((title, steps))

    def steps_done(self, steps: int, loss: float) -> None:
        assert np.isfinite(loss)
        self.steps.append(steps)

    def epoch_ends(self, row: dict[str, object], epochs_left: float) -> None:
        self.left.append(epochs_left)


def test_the_watcher_is_told_of_every_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "LOOK_EVERY", 1)
    recorder = Recorder()
    config = tiny_config(stage("half", 2, shrink=2), stage("full", 1))
    train(config, tmp_path, recorder)
    assert recorder.titles == [("half 1/2", 2), ("half 2/2", 2), ("full 1/1", 2)]
    assert recorder.steps == [1, 2] * 3
    # the last epoch costs as much as four at half size
    assert recorder.left == [1 + 4, 4, 0]


def test_history_has_a_row_for_each_epoch(tmp_path: Path) -> None:
    train(tiny_config(stage("bce", 2), stage("lovasz", 1, loss={"name": "lovasz"})), tmp_path)
    table = history(tmp_path)
    assert list(table.columns) == [
        "stage", "epoch", "lr", "train_loss", "val_loss", "score", "accuracy", "iou",
        "seconds",
    ]  # fmt: skip
    assert table["stage"].tolist() == ["bce", "bce", "lovasz"]
    assert table["epoch"].tolist() == [1, 2, 3]
    assert table[["score", "accuracy", "iou"]].stack().between(0, 1).all()
    assert (table[["train_loss", "val_loss"]] > 0).all(axis=None)


def test_the_loss_falls(tmp_path: Path) -> None:
    optimisation = {"lr": 0.02}
    train(tiny_config(stage("bce", 6, optimizer=optimisation), batch_size=2), tmp_path)
    losses = history(tmp_path)["train_loss"]
    assert losses.iloc[-1] < 0.6 * losses.iloc[0]


def test_validation_by_hand() -> None:
    """A network that calls every pixel salt, with certainty."""
    tiles = tiny_tiles()

    class AllSalt(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.full_like(x, 3.0)

    framing = Framing((SIDE, SIDE), tiny_config().input)
    found = validate(AllSalt(), tiles, framing, make_loss(LossConfig()), COMPUTE, batch_size=3)
    truth = tiles.masks[tiles.validation_rows]
    share = float(truth.mean())
    expected = share * np.log1p(np.exp(-3)) + (1 - share) * np.log1p(np.exp(3))
    assert found.loss == pytest.approx(expected, rel=1e-5)
    ious = truth.mean(axis=(1, 2))
    levels = np.arange(10) * 0.05 + 0.5
    assert found.agreement.score == pytest.approx((ious[:, None] > levels).mean())
    assert found.agreement.accuracy == pytest.approx(share)
    assert found.agreement.iou == pytest.approx(ious.mean())


class Scripted(torch.nn.Module):
    """Gives the logit ``value`` for every pixel, but for the tiles' bright ones ``bright``."""

    def __init__(self, value: float, bright: float = 3.0) -> None:
        super().__init__()
        self.value, self.bright = value, bright

    def forward(self, x: Tensor) -> Tensor:
        return torch.where(x > 0, self.bright, self.value)


def test_validation_loss_is_the_mean_over_the_tiles_that_the_loss_counts() -> None:
    """With ``ignore_empty``, whatever batches the empty tiles come to lie in."""
    tiles = tiny_tiles(n=13, n_validation=9)  # rows 4 to 12; 4, 8 and 12 are empty
    framing = Framing((SIDE, SIDE), tiny_config().input)
    counted = make_loss(LossConfig(ignore_empty=True))
    by_hand = []
    for row in tiles.validation_rows:
        salt = float(tiles.masks[row].mean())
        if salt:
            by_hand.append(salt * np.log1p(np.exp(-0.7)) + (1 - salt) * np.log1p(np.exp(0.7)))
    assert len(by_hand) == 6
    for size in (1, 2, 4, 64):
        network = Scripted(0.7, 0.7)
        found = validate(network, tiles, framing, counted, COMPUTE, batch_size=size)
        assert found.loss == pytest.approx(np.mean(by_hand), rel=1e-6)


def test_validation_of_empty_tiles_alone_has_no_loss_to_ignore() -> None:
    tiles = replace(tiny_tiles(), validation_rows=np.array([0, 4, 8]))
    framing = Framing((SIDE, SIDE), tiny_config().input)
    counted = make_loss(LossConfig(ignore_empty=True))
    found = validate(Scripted(-9.0, -9.0), tiles, framing, counted, COMPUTE)
    assert (found.loss, found.agreement.score, found.agreement.accuracy) == (0.0, 1.0, 1.0)
    assert np.isnan(found.agreement.iou)


@pytest.mark.parametrize("logit", [-1e-2, -1e-6, -1e-8, -0.0, 0.0, 1e-8, 1e-6, 4e-3, 1e-2])
def test_validation_and_storage_agree_on_what_is_salt(logit: float) -> None:
    """Around p = .5, where a logit above 0 may be stored like one below."""
    tiles, framing = tiny_tiles(), Framing((SIDE, SIDE), tiny_config().input)
    rows, network = tiles.validation_rows, Scripted(logit)
    stored = np.empty((len(rows), SIDE, SIDE), np.uint8)
    predict([network], tiles.images[rows], stored, framing=framing, compute=COMPUTE,
            config=InferenceConfig(tta="none"))  # fmt: skip
    found = validate(network, tiles, framing, make_loss(LossConfig()), COMPUTE)
    validated = found.agreement.score
    assert validated == metric_score(tiles.masks[rows], stored > 127)
    assert (validated < 1) == (logit > -1e-7)  # a probability of .5, rounded, is salt


def test_clipping_limits_the_step(tmp_path: Path) -> None:
    def moved(clip: float, folder: str) -> float:
        plain = {"name": "sgd", "lr": 0.1, "momentum": 0.0, "clip": clip}
        config = tiny_config(stage(optimizer=plain, schedule={"name": "constant"}), batch_size=8)
        job = start(config, tmp_path / folder)
        before = [p.detach().clone() for p in job.network.parameters()]
        job.run()
        after = [p.detach() for p in job.network.parameters()]
        steps = zip(before, after, strict=True)
        return float(torch.stack([((a - b) ** 2).sum() for a, b in steps]).sum().sqrt())

    # one step of gradient descent goes as far as rate times norm
    assert moved(0.01, "clipped") == pytest.approx(0.1 * 0.01, rel=0.01)
    assert moved(0, "free") > 0.01


@pytest.mark.parametrize("key", ["shrink", "keep", "loss", "optimizer", "schedule"])
def test_each_key_of_a_stage_changes_the_result(key: str, tmp_path: Path) -> None:
    changed: dict[str, Any] = {
        "shrink": 2,
        "keep": "average",
        "loss": {"name": "lovasz"},
        "optimizer": {"lr": 0.01},
        "schedule": {"name": "constant"},
    }
    plain = train(tiny_config(stage(epochs=2)), tmp_path / "plain")
    other = train(tiny_config(stage(epochs=2, **{key: changed[key]})), tmp_path / "other")
    assert not same_bits(plain, other)


# --- a loss that is no number


class Keeper(Silent):
    """Keeps the checkpoint as it was when the running epoch began."""

    def __init__(self, checkpoint: Path) -> None:
        self.checkpoint = checkpoint
        self.content = b""

    def epoch_starts(self, title: str, steps: int) -> None:
        if self.checkpoint.exists():
            self.content = self.checkpoint.read_bytes()


def test_a_loss_that_is_no_number_stops_and_leaves_the_last_good_checkpoint(
    tmp_path: Path,
) -> None:
    explosive = {"name": "sgd", "lr": 1e30}
    config = tiny_config(stage("good"), stage("bad", 2, optimizer=explosive))
    keeper = Keeper(tmp_path / "checkpoint.pt")
    expected = r"'bad' is (nan|inf) in epoch 1(.|\n)*stage\.bad\.optimizer\.lr=0\.001 --set"
    with pytest.raises(TrainingError, match=expected):
        train(config, tmp_path, keeper)
    assert keeper.content
    assert keeper.checkpoint.read_bytes() == keeper.content


# --- which weights a stage hands on


def run_scripted(
    config: Config,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    figures: Sequence[tuple[float, float]],
) -> tuple[dict[str, Tensor], list[dict[str, Tensor]]]:
    """Train with validation figures (loss, score) from a list: final state, state by epoch."""
    scripted, seen = script_validation(figures)
    monkeypatch.setattr(steps, "validate", scripted)
    return train(config, folder), seen


@pytest.mark.parametrize(("monitor", "best"), [("score", 1), ("loss", 2)])
def test_best_is_the_epoch_that_was_best_and_not_the_last(
    monitor: str, best: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = [(0.5, 0.3), (0.4, 0.9), (0.1, 0.5), (0.6, 0.4)]
    config = tiny_config(stage(epochs=4, keep="best", monitor=monitor))
    final, seen = run_scripted(config, tmp_path, monkeypatch, figures)
    assert [same_bits(final, state) for state in seen] == [epoch == best for epoch in range(4)]


def test_the_first_of_equals_is_best(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny_config(stage(epochs=2, keep="best"))
    final, seen = run_scripted(config, tmp_path, monkeypatch, [(0.5, 0.7), (0.5, 0.7)])
    assert same_bits(final, seen[0])


def test_last_is_the_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny_config(stage(epochs=2))
    final, seen = run_scripted(config, tmp_path, monkeypatch, [(0.1, 0.9), (0.5, 0.1)])
    assert same_bits(final, seen[1])


def test_a_stage_starts_from_the_weights_that_were_handed_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    still = {"name": "sgd", "lr": 1e-30, "momentum": 0}  # the second stage moves nothing
    config = tiny_config(stage("a", 2, keep="best"), stage("b", 1, optimizer=still))
    _, seen = run_scripted(config, tmp_path, monkeypatch, [(0, 0.9), (0, 0.1), (0, 0.2)])
    assert torch.equal(seen[2]["stem.0.weight"], seen[0]["stem.0.weight"])
    assert not torch.equal(seen[2]["stem.0.weight"], seen[1]["stem.0.weight"])


def test_average_is_the_mean_of_the_epochs_with_batch_norm_to_match(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted, seen = script_validation([(0.1, 0.1)] * 3)
    monkeypatch.setattr(steps, "validate", scripted)
    config = tiny_config(stage(epochs=3, keep="average", optimizer={"lr": 0.01}), batch_size=3)
    job = start(config, tmp_path)
    job.run()
    for name, parameter in job.network.named_parameters():
        mean = torch.stack([state[name] for state in seen]).mean(0)
        torch.testing.assert_close(parameter.detach(), mean)
    assert not same_bits(copy_state(job.network), seen[-1])
    # the statistics are those of the training tiles, in batches of nearly one size: 3, 3, 2
    tiles, framing = tiny_tiles(), Framing((SIDE, SIDE), config.input)
    batches = [torch.from_numpy(tiles.images[rows]) for rows in ([0, 1, 2], [3, 4, 5], [6, 7])]
    before = copy_state(job.network)
    reestimate_batch_norm(job.network, map(framing.prepare, batches), COMPUTE.forward)
    assert same_bits(copy_state(job.network), before)


def test_a_moving_average_is_taken_at_every_step(tmp_path: Path) -> None:
    """Decay 0 leaves the last step's weights, but with batch-norm statistics to match."""
    last = train(tiny_config(stage(epochs=2)), tmp_path / "last")
    ema = train(tiny_config(stage(epochs=2, keep="ema", ema_decay=0.0)), tmp_path / "ema")
    assert torch.equal(ema["stem.0.weight"], last["stem.0.weight"])
    assert not torch.equal(ema["stem.1.running_mean"], last["stem.1.running_mean"])
    slow = train(tiny_config(stage(epochs=2, keep="ema")), tmp_path / "slow")
    assert not torch.equal(slow["stem.0.weight"], last["stem.0.weight"])


def test_a_snapshot_of_each_cycle_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    restarts = {"name": "cosine-restarts", "cycle": 2}
    config = tiny_config(stage(epochs=4, keep="snapshots", schedule=restarts))
    _, seen = run_scripted(config, tmp_path, monkeypatch, [(0.5, 0.5)] * 4)
    for number, epoch in ((1, 2), (2, 4)):
        snapshot = safetensors.torch.load_file(tmp_path / f"snapshot{number}.safetensors")
        assert same_bits(snapshot, seen[epoch - 1])
    assert len(list(tmp_path.glob("snapshot*"))) == 2


def pseudo_tiles() -> TrainingTiles:
    """Twelve tiles, of which two more are appended with pseudo-labels that say the opposite."""
    tiles = tiny_tiles()
    images = np.concatenate([tiles.images, tiles.images[:2]])
    masks = np.concatenate([tiles.masks, ~tiles.masks[:2]])
    return replace(tiles, images=images, masks=masks, pseudo_rows=np.array([12, 13]))


def rows_seen(kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> set[int]:
    seen: list[int] = []
    usual = TileDataset.__getitem__

    def getitem(self: TileDataset, key: tuple[int, int]) -> tuple[Tensor, Tensor]:
        seen.append(key[1])
        return usual(self, key)

    with monkeypatch.context() as patch:
        patch.setattr(TileDataset, "__getitem__", getitem)
        config = tiny_config(stage(epochs=2, tiles=kind))
        start(config, folder, tiles=pseudo_tiles()).run()
    return set(seen)


def test_a_stage_trains_on_the_tiles_it_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = {int(row) for row in tiny_tiles().train_rows}
    assert rows_seen("masks", tmp_path / "a", monkeypatch) == own
    assert rows_seen("pseudo", tmp_path / "b", monkeypatch) == {12, 13}
    assert rows_seen("mixed", tmp_path / "c", monkeypatch) == own | {12, 13}


def test_average_has_no_batch_of_a_single_tile(tmp_path: Path) -> None:
    """Batch norm behind a global pooling would fail on it."""
    config = tiny_config(stage(keep="average"), batch_size=7)  # 8 tiles to train on
    batches = list(start(config, tmp_path)._plain_inputs(Framing((SIDE, SIDE), config.input)))
    assert [len(batch) for batch in batches] == [4, 4]


# --- when a stage ends, and how its rate falls


def test_early_stopping_goes_on_with_the_next_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_config(stage("long", 9, early_stopping=2), stage("next", 2, early_stopping=1))
    figures = [(0, 0.3), (0, 0.5), (0, 0.5), (0, 0.4), (0, 0.1), (0, 0.2)]
    run_scripted(config, tmp_path, monkeypatch, figures)
    # the count starts anew: .1 is the next stage's first, .2 an improvement
    assert history(tmp_path)["stage"].tolist() == ["long"] * 4 + ["next"] * 2


CYCLES_OF_THREE = {"name": "cosine-restarts", "cycle": 3}


@pytest.mark.parametrize("cut", [None, 2, 3])
def test_an_early_stop_waits_for_the_end_of_a_cycle_and_its_snapshot(
    cut: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing improves after the first epoch: stopping after the second would keep nothing."""
    config = tiny_config(
        stage(epochs=9, keep="snapshots", schedule=CYCLES_OF_THREE, early_stopping=1)
    )
    figures = [(0, 0.5)] * 9
    if cut:
        scripted, _ = script_validation(figures)
        monkeypatch.setattr(steps, "validate", scripted)
        with pytest.raises(KeyboardInterrupt, match="epoch starts"):
            train(config, tmp_path, PowerCut("epoch starts", cut))
    final, seen = run_scripted(config, tmp_path, monkeypatch, figures)
    assert len(history(tmp_path)) == 3
    assert [path.name for path in tmp_path.glob("snapshot*")] == ["snapshot1.safetensors"]
    snapshot = safetensors.torch.load_file(tmp_path / "snapshot1.safetensors")
    assert same_bits(snapshot, seen[-1])
    assert same_bits(snapshot, final)


def test_an_early_stop_hands_on_the_average_of_whole_cycles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_config(
        stage(
            epochs=9, keep="average", average_over="cycles", schedule=CYCLES_OF_THREE,
            early_stopping=3, optimizer={"lr": 0.01},
        )
    )  # fmt: skip
    figures = [(0, 0.5), (0, 0.6), *[(0, 0.1)] * 7]  # patience ends after the fifth epoch
    final, seen = run_scripted(config, tmp_path, monkeypatch, figures)
    assert len(seen) == 6
    mean = (seen[2]["stem.0.weight"] + seen[5]["stem.0.weight"]) / 2
    torch.testing.assert_close(final["stem.0.weight"], mean)
    assert not torch.equal(final["stem.0.weight"], seen[5]["stem.0.weight"])


def test_an_improvement_before_the_end_of_the_cycle_takes_the_stop_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_config(
        stage(epochs=6, keep="snapshots", schedule=CYCLES_OF_THREE, early_stopping=1)
    )
    figures = [(0, 0.5), (0, 0.4), (0, 0.6), (0, 0.1), (0, 0.1), (0, 0.1)]
    run_scripted(config, tmp_path, monkeypatch, figures)
    assert len(history(tmp_path)) == 6


def test_the_rate_of_every_step_follows_the_schedule_across_epochs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The steps are counted from the start of the stage, also where a resume takes it up."""
    config = tiny_config(stage(epochs=3, optimizer={"lr": 0.01}), stage("next", 2))
    steps = 2  # of an epoch
    taken: list[float] = []
    usual = training.set_learning_rate

    def spy(optimizer: torch.optim.Optimizer, lr: float) -> None:
        taken.append(lr)
        usual(optimizer, lr)

    monkeypatch.setattr(training, "set_learning_rate", spy)
    expected = []
    for one in config.stage:
        schedule = Schedule(one.schedule, one.optimizer.lr, one.epochs, steps)
        expected += [schedule.learning_rate(step) for step in range(one.epochs * steps)]
    assert len(set(expected)) == 10  # no two steps are alike
    train(config, tmp_path / "whole")
    assert taken == expected
    taken.clear()
    with pytest.raises(KeyboardInterrupt, match="epoch starts"):
        train(config, tmp_path / "cut", PowerCut("epoch starts", 3))
    train(config, tmp_path / "cut")
    assert taken == expected
    assert history(tmp_path / "cut")["lr"].tolist() == pytest.approx(expected[1::2], rel=1e-5)


def test_a_plateau_lowers_the_rate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plateau = {"name": "plateau", "patience": 2, "factor": 0.1, "floor": 0.05}
    config = tiny_config(
        stage(epochs=6, monitor="loss", optimizer={"lr": 0.01}, schedule=plateau),
    )
    figures = [(0.5, 0.0), (0.6, 0.9), (0.5, 0.9), (0.6, 0.9), (0.6, 0.9), (0.6, 0.9)]
    run_scripted(config, tmp_path, monkeypatch, figures)
    expected = [0.01, 0.01, 0.01, 0.001, 0.001, 0.0005]
    assert history(tmp_path)["lr"].tolist() == pytest.approx(expected)


# --- the same bits


def test_a_seed_gives_the_same_bits_and_another_seed_others(tmp_path: Path) -> None:
    config = three_stages("adamw")
    one, other = train(config, tmp_path / "one"), train(config, tmp_path / "other")
    assert same_bits(one, other)
    reseeded = config.training.model_copy(update={"seed": 1})
    changed = config.model_copy(update={"training": reseeded})
    assert not same_bits(one, train(changed, tmp_path / "seed"))


@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")  # on one core
def test_workers_do_not_change_the_bits(tmp_path: Path) -> None:
    """Dropout included: the loader must not draw from the generator that dropout draws from."""
    config = tiny_config(stage(epochs=2), model=CLASSIC)
    workers = config.model_copy(
        update={"training": config.training.model_copy(update={"workers": 2})}
    )
    assert same_bits(train(config, tmp_path / "none"), train(workers, tmp_path / "two"))


def test_folds_draw_differently() -> None:
    config = tiny_config(seed=3)
    assert [fold_seed(config, fold) for fold in (0, 4)] == [3000, 3004]


# --- resume


def resume_after(config: Config, folder: Path, *cuts: PowerCut) -> dict[str, Tensor]:
    """Train with interruptions, each time in a process that knows nothing of the one before."""
    for cut in cuts:
        with pytest.raises(KeyboardInterrupt, match=cut.moment):
            train(config, folder, cut)
        torch.manual_seed(999)  # the generator is somewhere else altogether
    return train(config, folder)


def same_history(one: Path, other: Path) -> bool:
    return history(one).drop(columns="seconds").equals(history(other).drop(columns="seconds"))


WholeRuns = dict[str, tuple[Path, dict[str, Tensor]]]


@pytest.fixture(scope="module")
def whole_runs(
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, tuple[Path, dict[str, Tensor]]]:
    """Folder and final state of an uninterrupted run with each optimiser."""
    folders = {name: tmp_path_factory.mktemp(name) for name in ("adam", "adamw", "sgd")}
    return {name: (path, train(three_stages(name), path)) for name, path in folders.items()}


#: In the first epoch, the last of a stage, the middle of a later one, and the last of all.
CUTS = [
    *(("adamw", moment, 2) for moment in ("epoch starts", "steps done", "epoch ends")),
    *(("adamw", "steps done", epoch) for epoch in (1, 4, 6)),
    *(("adam", "epoch ends", epoch) for epoch in (2, 6)),
    *(("sgd", "epoch starts", epoch) for epoch in (4, 6)),
]


@pytest.mark.parametrize(("optimizer", "moment", "epoch"), CUTS)
def test_a_resume_gives_the_bits_of_an_uninterrupted_run(
    optimizer: str,
    moment: str,
    epoch: int,
    tmp_path: Path,
    whole_runs: WholeRuns,
) -> None:
    folder, state = whole_runs[optimizer]
    resumed = resume_after(three_stages(optimizer), tmp_path, PowerCut(moment, epoch))
    assert same_bits(resumed, state)
    assert same_history(tmp_path, folder)


@pytest.mark.parametrize("epoch", [2, 3, 4, 6])
def test_a_resume_keeps_moving_averages_pseudo_labels_and_snapshots(
    epoch: int, tmp_path: Path
) -> None:
    restarts = {"name": "cosine-restarts", "cycle": 2}
    config = tiny_config(
        stage("pseudo", 2, tiles="pseudo", keep="ema"),
        stage("cycles", 4, keep="snapshots", schedule=restarts, optimizer={"normalized": True}),
    )
    whole = start(config, tmp_path / "whole", tiles=pseudo_tiles())
    whole.run()
    with pytest.raises(KeyboardInterrupt, match="epoch ends"):
        start(config, tmp_path / "cut", PowerCut("epoch ends", epoch), pseudo_tiles()).run()
    torch.manual_seed(999)
    resumed = start(config, tmp_path / "cut", tiles=pseudo_tiles())
    resumed.run()
    assert same_bits(copy_state(resumed.network), copy_state(whole.network))
    for number in (1, 2):
        name = f"snapshot{number}.safetensors"
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_run_can_be_interrupted_more_than_once(tmp_path: Path) -> None:
    config = three_stages("adamw")
    cuts = [PowerCut("steps done", 2), PowerCut("epoch ends", 2), PowerCut("epoch starts", 3)]
    resumed = resume_after(config, tmp_path / "cut", *cuts)
    assert same_bits(resumed, train(config, tmp_path / "whole"))
    assert same_history(tmp_path / "cut", tmp_path / "whole")


def test_a_resume_from_before_accuracy_and_iou_leaves_their_first_cells_empty(
    tmp_path: Path,
) -> None:
    config = tiny_config(stage("bce", 2), stage("lovasz", 1, loss={"name": "lovasz"}))
    with pytest.raises(KeyboardInterrupt, match="epoch ends"):
        train(config, tmp_path, PowerCut("epoch ends", 2))
    checkpoint = FoldFolder(tmp_path, 0).checkpoint
    state = torch.load(checkpoint, weights_only=True)
    for row in state["progress"]["history"]:
        del row["accuracy"], row["iou"]
    torch.save(state, checkpoint)
    train(config, tmp_path)
    table = history(tmp_path)
    assert list(table.columns)[5:] == ["score", "accuracy", "iou", "seconds"]
    assert table[["accuracy", "iou"]].notna().to_numpy().tolist()[0] == [False, False]
    assert table[["accuracy", "iou"]].notna().to_numpy().tolist()[-1] == [True, True]
    learning_curve(table, tmp_path / "curve.png", title="resumed")


def test_a_resume_between_last_epoch_and_handing_on_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def power_cut(*_: object) -> None:
        raise KeyboardInterrupt("while the statistics are estimated")

    config = three_stages("adamw")
    with monkeypatch.context() as patch:
        patch.setattr(training, "reestimate_batch_norm", power_cut)
        with pytest.raises(KeyboardInterrupt, match="estimated"):
            train(config, tmp_path / "cut")
    assert same_bits(train(config, tmp_path / "cut"), train(config, tmp_path / "whole"))


def test_a_resume_of_a_scripted_plateau_and_best_keeps_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plateau = {"name": "plateau", "patience": 2, "factor": 0.1}
    config = tiny_config(
        stage(epochs=8, keep="best", schedule=plateau, early_stopping=4), model=COMPACT
    )
    figures = [(0, 0.3), (0, 0.8), (0, 0.5), (0, 0.4), (0, 0.5), (0, 0.5), (0, 0.9)]
    whole, seen = run_scripted(config, tmp_path / "whole", monkeypatch, figures)
    assert same_bits(whole, seen[1])
    for epoch in (3, 5, 6):  # before, between and after the plateaus
        folder = tmp_path / f"cut{epoch}"
        scripted, _ = script_validation(figures)
        monkeypatch.setattr(steps, "validate", scripted)
        with pytest.raises(KeyboardInterrupt, match="epoch starts"):
            train(config, folder, PowerCut("epoch starts", epoch))
        assert same_bits(whole, train(config, folder))
        assert same_history(tmp_path / "whole", folder)


def test_a_finished_training_is_not_trained_again(tmp_path: Path) -> None:
    config = tiny_config(stage(epochs=2))
    final = train(config, tmp_path)
    assert same_bits(final, train(config, tmp_path, PowerCut("epoch starts", 1)))


def test_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt, match="epoch starts"):
        train(tiny_config(stage(epochs=2)), tmp_path, PowerCut("epoch starts", 2))
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(TrainingError, match=r"checkpoint\.pt cannot be read(.|\n)*--overwrite"):
        train(tiny_config(stage(epochs=2)), tmp_path)
    assert path.stat().st_size == 500


def test_an_unknown_augmentation_is_refused_before_training(tmp_path: Path) -> None:
    config = tiny_config().model_copy(
        update={"augment": tiny_config().augment.model_copy(update={"pipeline": "strnog"})}
    )
    with pytest.raises(ConfigError, match=r"'strnog'\n.*'strong'"):
        start(config, tmp_path)


def test_stages_of_the_default_kind_need_no_more_than_a_name_and_a_length() -> None:
    assert tiny_config().stage == (StageConfig(name="bce", epochs=1),)
