"""Networks, tiles and trainings that take milliseconds, for tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kaggle_salt.competition.metric import Agreement
from kaggle_salt.config.schema import Config, ModelConfig
from kaggle_salt.learning.batches import TrainingTiles
from kaggle_salt.learning.device import Compute
from kaggle_salt.learning.framing import Framing
from kaggle_salt.learning.networks import build
from kaggle_salt.learning.training import FoldTraining, Watcher, fold_seed
from kaggle_salt.learning.validation import Validation
from kaggle_salt.runs import FoldFolder

SIDE = 24
COMPUTE = Compute(torch.device("cpu"))  # float32: exact comparisons need it

#: A network without dropout, and one with.
COMPACT = {
    "architecture": "compact",
    "weights": "none",
    "options": {"widths": [4, 8], "depths": [1, 1], "decoder": [4], "hypercolumn": 4},
}
CLASSIC = {
    "architecture": "classic-unet",
    "weights": "none",
    "options": {"widths": [4, 8], "dropout": 0.3},
}


def tiny_config(
    *stages: dict[str, Any], model: dict[str, Any] = COMPACT, **training: Any
) -> Config:
    """A configuration for tiles of 24 px; without stages, one of a single BCE epoch."""
    return Config.model_validate(
        {
            "input": {"size": 32},
            "model": model,
            "training": {"batch_size": 4, "precision": "float32", **training},
            "stage": list(stages) or [{"name": "bce", "epochs": 1}],
        }
    )


def tiny_tiles(n: int = 12, n_validation: int = 4, seed: int = 0) -> TrainingTiles:
    """Noisy tiles whose bright lower part is salt; every fourth is empty. The last validate."""
    rng = np.random.default_rng(seed)
    masks = np.zeros((n, SIDE, SIDE), dtype=np.bool_)
    for row in range(n):
        if row % 4:
            masks[row, int(rng.integers(6, 18)) :] = True
    noise = rng.integers(0, 80, masks.shape)
    images = (noise + 120 * masks).astype(np.uint8)
    rows = np.arange(n)
    return TrainingTiles(images, masks, rows[:-n_validation], rows[-n_validation:])


class Silent:
    """A watcher that follows nothing; tests override what they need."""

    def epoch_starts(self, title: str, steps: int) -> None: ...
    def steps_done(self, steps: int, loss: float) -> None: ...
    def epoch_ends(self, row: dict[str, object], epochs_left: float) -> None: ...


class PowerCut(Silent):
    """Interrupts the training the ``count``-th time that ``moment`` comes."""

    def __init__(self, moment: str, count: int) -> None:
        self.moment = moment
        self.left = count

    def _comes(self, moment: str) -> None:
        self.left -= moment == self.moment
        if self.left == 0:
            raise KeyboardInterrupt(moment)

    def epoch_starts(self, title: str, steps: int) -> None:
        self._comes("epoch starts")

    def steps_done(self, steps: int, loss: float) -> None:
        self._comes("steps done")

    def epoch_ends(self, row: dict[str, object], epochs_left: float) -> None:
        self._comes("epoch ends")


def start(
    config: Config,
    folder: Path,
    watcher: Watcher | None = None,
    tiles: TrainingTiles | None = None,
    compute: Compute = COMPUTE,
) -> FoldTraining:
    """A training of fold 0 in ``folder``, seeded as a fold is."""
    torch.manual_seed(fold_seed(config, 0))
    network = build(config.model, config.input.channel_count)
    return FoldTraining(
        config,
        network,
        tiles or tiny_tiles(),
        FoldFolder(folder, 0),
        compute,
        watcher or Silent(),
    )


def train(config: Config, folder: Path, watcher: Watcher | None = None) -> dict[str, Tensor]:
    """Train to the end; the network's final state."""
    training = start(config, folder, watcher)
    training.run()
    return copy_state(training.network)


def copy_state(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}


def same_bits(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def push_down(network: nn.Module) -> None:
    """Give the last convolution a bias that makes every logit negative, but no probability."""
    last = [module for module in network.modules() if isinstance(module, nn.Conv2d)][-1]
    assert last.bias is not None
    nn.init.constant_(last.bias, -50.0)


def script_validation(
    figures: Sequence[tuple[float, float]],
) -> tuple[Callable[..., Validation], list[dict[str, Tensor]]]:
    """A validation that returns (loss, score) from a sequence, and the states that it saw."""
    seen: list[dict[str, Tensor]] = []

    def validate(network: nn.Module, *_: object) -> Validation:
        seen.append(copy_state(network))
        loss, score = figures[len(seen) - 1]
        return Validation(loss, Agreement(score, accuracy=score, iou=score))

    return validate, seen


def random_masks(rng: np.random.Generator, n: int, side: int) -> NDArray[np.bool_]:
    """Masks of random pixels; the first is empty, the second full."""
    masks = rng.random((n, side, side)) < 0.3
    masks[0], masks[1] = False, True
    return masks


def thin(network: nn.Module) -> nn.Module:
    """Take out blocks of an encoder that are like the one before; they cost seconds each."""
    encoder = getattr(network, "encoder", nn.Module())
    for name, part in list(encoder.named_children()):
        if name.startswith("layer"):
            setattr(encoder, name, part[:1])  # type: ignore[index]
        if name in [f"block{number}" for number in range(5, 12)]:
            setattr(encoder, name, nn.Identity())
    return network


def lively(config: ModelConfig, framing: Framing, tiles: NDArray[np.uint8], seed: int) -> nn.Module:
    """A network whose batch norms know these tiles: at its start it would hardly look at them.

    Args:
        config: Which network; blocks that are like the one before are taken out.
        framing: How the tiles fit it.
        tiles: uint8 ``[N, H, W]`` or ``[N, H, W, 3]``.
        seed: Of its weights.
    """
    torch.manual_seed(seed)
    network = thin(build(config, framing.config.channel_count, pretrained=False))
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
        nn.init.uniform_(norm.weight, 0.5, 1.5)
    with torch.no_grad():
        network.train()(framing.prepare(torch.from_numpy(tiles)))
    return network.eval()
