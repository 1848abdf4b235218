"""From weights and tiles to stored probabilities, with flip test-time augmentation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kaggle_salt.config.schema import InferenceConfig
from kaggle_salt.errors import TrainingError
from kaggle_salt.learning.device import Compute
from kaggle_salt.learning.framing import Framing
from kaggle_salt.learning.mishaps import enough_memory
from kaggle_salt.predictions import release

Progress = Callable[[int, int], None]


def predict(
    networks: Sequence[nn.Module],
    tiles: NDArray[np.uint8],
    out: NDArray[np.uint8],
    *,
    framing: Framing,
    compute: Compute,
    config: InferenceConfig,
    progress: Progress | None = None,
) -> None:
    """Write the salt probability of every pixel.

    It is the mean over the networks and, with ``tta = flip``, over the tile and its left-right
    mirror image. Only one batch is in memory at a time, so that ``tiles`` and ``out`` may both
    be memory-mapped.

    Args:
        networks: Placed on ``compute``; set to eval mode. More than one are the snapshots of a
            training.
        tiles: uint8 ``[N, H, W]``, or in colour ``[N, H, W, 3]``.
        out: uint8 ``[N, H, W]``, filled by :func:`to_levels`.
        framing: How tiles fit the network.
        compute: Device and number format.
        config: TTA and batch size.
        progress: Called with (tiles done, tiles in all) after each batch.

    Raises:
        TrainingError: The network computes what float16 cannot hold.
    """
    for network in networks:
        network.eval()
    with enough_memory(config.batch_size, "a run with --set inference.batch_size={}".format):
        for start, batch in _batches(tiles, config.batch_size, compute.device):
            views = [tile_probabilities(n, batch, framing, compute, config.tta) for n in networks]
            probabilities = torch.stack(views).mean(dim=0)
            if compute.precision == "float16":
                _refuse_overflow(probabilities)
            out[start : start + len(batch)] = to_levels(probabilities).cpu().numpy()
            release(tiles)
            release(out)
            if progress:
                progress(start + len(batch), len(tiles))


def _refuse_overflow(probabilities: Tensor) -> None:
    """Refuse what would be stored as if it were probabilities; waits for the device."""
    if probabilities.isnan().any():
        raise TrainingError(
            "the network computes values that float16 cannot hold",
            expected="activations below 65,504, as where it was trained in float16",
            next_step="--device cpu, or a GPU with bf16, where training.precision is auto; "
            "otherwise a run with --set training.precision=float32",
        )


def to_levels(probabilities: Tensor) -> Tensor:
    """Probabilities as they are stored, and as everything decides on them.

    A probability of .5 becomes level 128, which is above the level of threshold .5
    (:data:`kaggle_salt.competition.decision.DEFAULT_LEVEL`): it is salt, in validation and in
    what is stored alike.

    Args:
        probabilities: float32 in [0, 1], any shape.

    Returns:
        uint8 of the same shape: round(255 p), halves to the even number.
    """
    return (probabilities * 255).round().to(torch.uint8)


@torch.inference_mode()
def tile_probabilities(
    network: nn.Module, tiles: Tensor, framing: Framing, compute: Compute, tta: str
) -> Tensor:
    """Probabilities of one batch.

    Args:
        network: In eval mode.
        tiles: uint8 ``[B, H, W]`` or ``[B, H, W, 3]`` on the device.
        framing: How tiles fit the network.
        compute: Device and number format.
        tta: ``none`` or ``flip``.

    Returns:
        float32 ``[B, H, W]`` in [0, 1].
    """

    def probabilities(views: Tensor) -> Tensor:
        logits = compute.forward(network, framing.prepare(views))  # [B, 1, S, S]
        return framing.unframe(logits).sigmoid()[:, 0]  # [B, H, W]

    plain = probabilities(tiles)
    if tta == "none":
        return plain
    return (plain + probabilities(tiles.flip(2)).flip(2)) / 2  # of [B, H, W(, 3)] the columns


def _batches(
    tiles: NDArray[np.uint8], size: int, device: torch.device
) -> Iterator[tuple[int, Tensor]]:
    for start in range(0, len(tiles), size):
        # np.array copies: a memory-mapped array is read-only, which torch does not accept
        yield start, torch.from_numpy(np.array(tiles[start : start + size])).to(device)
