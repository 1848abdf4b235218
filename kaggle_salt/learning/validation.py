"""How good a network is on tiles it does not learn from, after each epoch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from kaggle_salt.competition.decision import DEFAULT_LEVEL
from kaggle_salt.competition.metric import Agreement, agreement
from kaggle_salt.learning.batches import TrainingTiles
from kaggle_salt.learning.device import Compute
from kaggle_salt.learning.framing import Framing
from kaggle_salt.learning.inference import to_levels
from kaggle_salt.learning.losses import Loss


@dataclass(frozen=True)
class Validation:
    """What an epoch is judged by.

    Args:
        loss: Mean over the tiles that the loss counts; 0 where it counts none.
        agreement: Of the predicted masks (threshold .5, no TTA) with the true ones.
    """

    loss: float
    agreement: Agreement


@torch.inference_mode()
def validate(
    network: nn.Module,
    tiles: TrainingTiles,
    framing: Framing,
    loss: Loss,
    compute: Compute,
    batch_size: int = 64,
) -> Validation:
    """Loss, competition score, pixel accuracy and mean IoU on the validation tiles.

    A pixel is salt where the stored prediction would say so: see
    :func:`kaggle_salt.learning.inference.to_levels`.
    """
    network.eval()
    rows = tiles.validation_rows
    losses, predicted = [], []
    for start in range(0, len(rows), batch_size):
        batch = rows[start : start + batch_size]
        inputs = framing.prepare(torch.from_numpy(tiles.images[batch]).to(compute.device))
        logits = framing.unframe(compute.forward(network, inputs))  # [B, 1, H, W]
        target = torch.from_numpy(tiles.masks[batch]).to(compute.device)[:, None]
        losses.append(loss.of_tiles(logits, target).cpu().numpy())
        predicted.append((to_levels(logits[:, 0].sigmoid()) > DEFAULT_LEVEL).cpu().numpy())
    counted = np.concatenate(losses).astype(np.float64)
    mean = float(counted.mean()) if len(counted) else 0.0
    return Validation(mean, agreement(tiles.masks[rows], np.concatenate(predicted)))
