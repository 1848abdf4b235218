"""A preset made to fit minutes in which it may not fit: its input is shrunk where that helps.

The stages are scaled as ``salt train --minutes`` scales them. Where fewer than fifteen epochs would
fit, the input is shrunk first: on a processor a network that has seen the tiles often at half the
size beats one that has hardly seen them.
"""

from __future__ import annotations

from dataclasses import dataclass

from kaggle_salt.config.schema import Config
from kaggle_salt.errors import ConfigError
from kaggle_salt.learning.batches import TrainingTiles
from kaggle_salt.learning.device import Compute
from kaggle_salt.learning.fold import check_trainable
from kaggle_salt.learning.timing import stage_costs, time_stages
from kaggle_salt.pipeline.budget import fit, lengths_of

#: Inputs are shrunk by the last of these at which so many epochs fit into the budget.
SHRINKS, ENOUGH_EPOCHS = (4, 2, 1), 15


@dataclass(frozen=True)
class Fitted:
    """A configuration made to fit."""

    config: Config

    @property
    def size(self) -> int:
        """Input of the largest stage, in pixels."""
        return self.config.input.size // min(stage.shrink for stage in self.config.stage)

    @property
    def epochs(self) -> int:
        """Of all stages."""
        return sum(stage.epochs for stage in self.config.stage)

    @property
    def note(self) -> str:
        """What was changed, or might have been, as ``KEY=VALUE`` texts."""
        settings = [f"input.size={self.config.input.size}"]
        for stage in self.config.stage:
            lengths = {**lengths_of(stage), "shrink": stage.shrink}
            settings += [f"stage.{stage.name}.{key}={value}" for key, value in lengths.items()]
        return " ".join(settings)


def fit_or_shrink(config: Config, tiles: TrainingTiles, seconds: float, compute: Compute) -> Fitted:
    """Scale a configuration's epochs, and if need be its input, to a training time.

    Args:
        config: The preset, channels settled.
        tiles: A fold's.
        seconds: Wall time of the fold.
        compute: Where it is trained.

    Returns:
        The one with the largest input at which :data:`ENOUGH_EPOCHS` fit (or all that the preset
        has, if fewer), or else the smallest.
        One epoch a stage (one a cycle) is the least, even where it takes longer: every preset
        shall have its row.

    Raises:
        ConfigError: The network cannot be trained at any of the sizes.
    """
    wanted = sum(stage.epochs for stage in config.stage)
    enough, fitted = min(ENOUGH_EPOCHS, wanted), list[Fitted]()
    for shrink in SHRINKS:
        # twice the side costs twice at least, and one step of it gigabytes: not tried in vain
        if fitted and fitted[-1].epochs < min(2 * enough, wanted):
            break
        shrunk = _shrink(config, tiles, shrink)
        if shrunk is not None:
            costs = stage_costs(shrunk, time_stages(shrunk, tiles, compute), tiles)
            larger = Fitted(fit(shrunk, costs, seconds))
            if fitted and larger.epochs < enough:
                break
            fitted.append(larger)
    if not fitted:
        check_trainable(config, tiles.tile_shape, pretrained=False)  # says why
    return fitted[-1]


def _shrink(config: Config, tiles: TrainingTiles, shrink: int) -> Config | None:
    """Every stage at 1/shrink of its size, the input a little larger where that needs it."""
    stages = tuple(s.model_copy(update={"shrink": s.shrink * shrink}) for s in config.stage)
    unit = 32 * shrink
    for size in (config.input.size, -(-config.input.size // unit) * unit):
        changed = {"stage": stages, "input": config.input.model_copy(update={"size": size})}
        shrunk = config.model_copy(update=changed)
        try:
            check_trainable(shrunk, tiles.tile_shape, pretrained=False)
        except ConfigError:
            continue  # the network halves more often than this size allows
        return shrunk
    return None
