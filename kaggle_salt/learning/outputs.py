"""What a network gives back while it trains: the logits, and what further heads say."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor


class Outputs(NamedTuple):
    """Logits of a batch, and those of the heads that only help the training.

    A network with such heads returns this in training mode. In evaluation mode every network
    returns the final logits alone, as a plain tensor.

    Args:
        logits: float ``[B, 1, S, S]``, salt or not, for every pixel.
        sides: float ``[B, 1, S, S]`` each, from the decoder's stages (deep supervision).
        nonempty: float ``[B, 1, S, S]``, of the branch that learns from tiles with salt only.
        has_salt: float ``[B]``, whether the tile has any salt (the empty head).
    """

    logits: Tensor
    sides: tuple[Tensor, ...] = ()
    nonempty: Tensor | None = None
    has_salt: Tensor | None = None

    def map(self, change: Callable[[Tensor], Tensor]) -> Outputs:
        """Apply ``change`` to every map of logits; ``has_salt``, which is no map, stays."""
        return Outputs(
            change(self.logits),
            tuple(change(side) for side in self.sides),
            None if self.nonempty is None else change(self.nonempty),
            self.has_salt,
        )

    def first(self, count: int) -> Outputs:
        """Those of the first tiles of the batch."""
        has_salt = None if self.has_salt is None else self.has_salt[:count]
        return self.map(lambda logits: logits[:count])._replace(has_salt=has_salt)

    def float(self) -> Outputs:
        """All of it in float32."""
        outputs = self.map(lambda logits: logits.float())
        has_salt = None if self.has_salt is None else self.has_salt.float()
        return outputs._replace(has_salt=has_salt)
