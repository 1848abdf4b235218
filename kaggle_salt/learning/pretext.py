"""What a network learns from tiles alone: to rebuild what was hidden, or to see the same twice.

All that is drawn at random here comes from torch's generator, which checkpoints hold: a resumed
training draws what the uninterrupted one would have drawn.
"""

from __future__ import annotations

from torch import nn

from kaggle_salt.config.schema import Config
from kaggle_salt.learning.device import Compute
from kaggle_salt.learning.framing import Framing
from kaggle_salt.learning.rebuilding import RebuildingStep
from kaggle_salt.learning.steps import Step
from kaggle_salt.learning.views import FeatureNetwork, ViewsStep


def learner_of(config: Config, network: nn.Module, tile_shape: tuple[int, int]) -> nn.Module:
    """What is trained: the network, and for ``vicreg`` a projector behind its features.

    Args:
        config: The configuration; where it learns from masks, the network is all there is.
        network: It stays one and the same module, so that it has learnt in the end.
        tile_shape: (height, width) of a tile, in pixels.
    """
    if config.pretext.name != "vicreg":
        return network
    shape = Framing(tile_shape, config.input).network_shape
    return FeatureNetwork(network, config.input.channel_count, shape)


def pretext_step(
    config: Config, learner: nn.Module, step_learner: nn.Module, framing: Framing, compute: Compute
) -> Step:
    """What the stages of a pretraining do.

    Args:
        config: With a pretext.
        learner: As from :func:`learner_of`.
        step_learner: The same, as the steps call it: maybe compiled.
        framing: How tiles fit the network in this stage.
        compute: Device and number format.
    """
    if isinstance(learner, FeatureNetwork):
        return ViewsStep(config.pretext, learner, step_learner, framing, compute)
    return RebuildingStep(config.pretext, step_learner, framing, compute)
