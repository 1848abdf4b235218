"""A run's networks as one ONNX file: framing, mirror images, folds and their mean are inside.

The packages onnx, onnxruntime and onnxscript (an extra) are imported where they are needed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kaggle_salt.errors import ConfigError, TrainingError
from kaggle_salt.learning.device import Compute
from kaggle_salt.learning.framing import Framing
from kaggle_salt.learning.inference import tile_probabilities
from kaggle_salt.storage.files import atomic_path

if TYPE_CHECKING:
    import onnx

#: What the exporter and the check stand on: the extra ``onnx``.
PACKAGES = ("onnx", "onnxruntime", "onnxscript")

#: How far ONNX Runtime's probabilities may be from torch's: a quarter of a stored level, so that
#: stored levels differ by one at most, and only where a probability lies between two of them.
TOLERANCE = 1 / 1020

#: Bytes of weights that are taken: a file is one message of protobuf, which ends at 2 GiB.
LARGEST = 2_000_000_000

#: Where networks are exported and checked: in float32, whatever they were trained in.
COMPUTE = Compute(torch.device("cpu"), channels_last=False)

#: Names of the one input and the one output.
INPUT, OUTPUT = "tiles", "probabilities"

#: The networks of each fold: one, or its snapshots.
FoldNetworks = Sequence[Sequence[nn.Module]]


class RunNetwork(nn.Module):
    """All networks of a run as one: from tiles to what their ensemble says of them.

    Tiles and mirror images go through each network together, so that the graph holds it once.

    Args:
        folds: The networks of each fold; all folds count alike.
        framing: How tiles fit the networks.
        tta: ``none`` or ``flip``.
    """

    def __init__(self, folds: FoldNetworks, framing: Framing, tta: str) -> None:
        super().__init__()
        self.folds = nn.ModuleList(nn.ModuleList(networks) for networks in folds)
        self.framing = framing
        self.flip = tta == "flip"
        self.eval().requires_grad_(False)

    def forward(self, tiles: Tensor) -> Tensor:
        """Probabilities, float32 ``[B, H, W]``, of tiles, uint8 ``[B, H, W]`` or ``[..., 3]``."""
        views = torch.cat([tiles, tiles.flip(2)]) if self.flip else tiles
        framed = self.framing.prepare(views)  # [2 B, C, S, S]
        means = [
            torch.stack([self._probabilities(one, framed) for one in fold.children()]).mean(dim=0)
            for fold in self.folds.children()
        ]
        mean = torch.stack(means).mean(dim=0)  # [2 B, H, W]
        if not self.flip:
            return mean
        batch = tiles.shape[0]
        return (mean[:batch] + mean[batch:].flip(2)) / 2

    def _probabilities(self, network: nn.Module, framed: Tensor) -> Tensor:
        return self.framing.unframe(network(framed)).sigmoid()[:, 0]


def require_packages() -> None:
    """Refuse to go on without the extra.

    Raises:
        ConfigError: A package of :data:`PACKAGES` is not installed.
    """
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed",
            expected=f"the packages {', '.join(PACKAGES)}",
            next_step="pip install 'kaggle-salt[onnx]'",
        )


def export_onnx(
    folds: FoldNetworks,
    framing: Framing,
    tta: str,
    tiles: NDArray[np.uint8],
    path: Path,
    metadata: Mapping[str, str],
) -> float:
    """Write the networks of a run as one ONNX file, once ONNX Runtime has agreed with torch.

    Args:
        folds: The networks of each fold, on the CPU; all folds count alike.
        framing: How tiles fit the networks.
        tta: ``none`` or ``flip``.
        tiles: Tiles to check it on, two or more, uint8 ``[N, H, W]``, or ``[N, H, W, 3]``: the
            file will take tiles of this shape, any number at a time.
        path: The file, replaced if it is there.
        metadata: What the file says of itself.

    Returns:
        The largest difference of a probability from torch's.

    Raises:
        ConfigError: The weights are too many for one file.
        TrainingError: ONNX Runtime's probabilities differ by more than :data:`TOLERANCE`.
    """
    _refuse_too_large(folds)
    network = RunNetwork(folds, framing, tta)
    expected = _probabilities(folds, framing, tta, tiles)
    import onnx

    model = _convert(network, tiles, metadata)
    with atomic_path(path) as temporary:
        onnx.save(model, temporary)
        difference = _largest_difference(temporary, tiles, expected)
    return difference


def _refuse_too_large(folds: FoldNetworks) -> None:
    tensors = [t for networks in folds for one in networks for t in one.state_dict().values()]
    size = sum(tensor.nbytes for tensor in tensors)
    if size > LARGEST:
        raise ConfigError(
            f"the weights of {sum(map(len, folds))} networks are {size / 1e9:.1f} GB",
            expected=f"{LARGEST / 1e9:g} GB at most: an ONNX file is one message of protobuf",
            next_step="export fewer folds, as in --fold 0",
        )


def _probabilities(
    folds: FoldNetworks, framing: Framing, tta: str, tiles: NDArray[np.uint8]
) -> NDArray[np.float32]:
    """What the networks say in torch, one by one as an ensemble asks them."""
    batch = torch.from_numpy(tiles)
    means = [
        torch.stack([tile_probabilities(n, batch, framing, COMPUTE, tta) for n in networks]).mean(0)
        for networks in folds
    ]
    return np.asarray(torch.stack(means).mean(dim=0).numpy())


def _convert(
    network: nn.Module, tiles: NDArray[np.uint8], metadata: Mapping[str, str]
) -> onnx.ModelProto:
    """The network as a graph that takes any number of tiles."""
    import onnx.helper

    batch = torch.from_numpy(tiles[:2].copy())  # a batch of one would be taken for a constant
    program = torch.onnx.export(
        network, (batch,), dynamo=True, verbose=False, input_names=[INPUT], output_names=[OUTPUT],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
    )  # fmt: skip
    assert program is not None
    model: onnx.ModelProto = program.model_proto
    graph = model.graph
    for part in (graph.node, graph.value_info, graph.initializer, graph.input, graph.output):
        for one in part:  # lines of source files, with their paths on this machine
            one.ClearField("metadata_props")
    onnx.helper.set_model_props(model, dict(metadata))
    model.producer_name, model.producer_version = "kaggle-salt", metadata.get("version", "")
    return model


def _largest_difference(
    path: Path, tiles: NDArray[np.uint8], expected: NDArray[np.float32]
) -> float:
    """How far the file's probabilities are from what is expected: of one tile, and of the rest.

    Raises:
        TrainingError: Further than :data:`TOLERANCE`.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    parts = [session.run([OUTPUT], {INPUT: part})[0] for part in (tiles[:1], tiles[1:])]
    difference = float(np.abs(np.concatenate(parts) - expected).max())
    if not difference <= TOLERANCE:  # so that NaN is refused too
        raise TrainingError(
            f"ONNX Runtime's probabilities differ from torch's by up to {difference:.2g}",
            expected=f"{TOLERANCE:.2g} at most; nothing is written",
            next_step="report it, with the run's config.toml",
        )
    return difference
