"""Weights that come from elsewhere: a download, or a file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import safetensors.torch
import timm
import torch
from segmentation_models_pytorch.encoders.timm_universal import TimmUniversalEncoder
from torch import Tensor, nn

from kaggle_salt.errors import ConfigError, NetworkError, reason

#: How the names of batch norm's counters end, which no network needs.
COUNTER = "num_batches_tracked"

#: How names of tensors begin that classify what an encoder has seen.
CLASSIFIERS = ("fc.", "_fc.", "head.", "classifier.", "last_linear.", "linear.")


@contextmanager
def downloading(encoder: str) -> Iterator[None]:
    """Turn a failed download into an error that says how to go on without one.

    Raises:
        NetworkError: The weights of ``encoder`` could not be fetched.
    """
    try:
        yield
    except OSError as error:  # huggingface_hub's and httpx's errors are OSErrors, or are wrapped
        raise NetworkError(
            f"the ImageNet weights of {encoder} cannot be downloaded ({reason(error)})",
            expected="a connection to the model hub, or weights on disk",
            next_step="--set model.weights=none to train from scratch, "
            "or --set model.weights=FILE.safetensors",
        ) from error


def is_whole_network(tensors: dict[str, Tensor]) -> bool:
    """Whether tensors are of a network on an encoder, rather than of the encoder alone."""
    return any(name.startswith("encoder.") for name in tensors)


def fill_encoder(encoder: nn.Module, tensors: dict[str, Tensor], source: str) -> None:
    """Load an encoder's weights as torchvision, timm and the authors of encoders publish them.

    Args:
        encoder: As :func:`kaggle_salt.learning.networks.encoders.make_encoder` makes it, before
            a network leaves out or replaces layers of it.
        tensors: As the file names them: see :func:`_as_encoder`.
        source: The file, for messages.

    Raises:
        ConfigError: They belong to another encoder.
    """
    apply_weights(encoder, _as_encoder(tensors, encoder), source)


def _as_encoder(tensors: dict[str, Tensor], encoder: nn.Module) -> dict[str, Tensor]:
    """The tensors of a published file under the names that the encoder has for them.

    smp wraps timm's networks and joins their names with underscores (``model.stages_0.blocks``
    for ``stages.0.blocks``), and some of torchvision's. Counters of batch norm, which old files
    lack, keep their values; what comes after the encoder's last map is left out; and a first
    convolution of three colours is summed over them where the network sees grey.
    """
    own = encoder.state_dict()
    by_bare_name = {_bare(name): name for name in own}
    named = {by_bare_name.get(_bare(name), name): tensor for name, tensor in tensors.items()}
    counters = {name: value for name, value in own.items() if name.endswith(COUNTER)}
    behind = _behind_the_encoder(encoder)
    kept = {
        name: tensor for name, tensor in named.items()
        if name in own or not (name.startswith(CLASSIFIERS) or _bare(name) in behind)
    }  # fmt: skip
    return _sum_over_colours({**counters, **kept}, encoder)


def _bare(name: str) -> str:
    """A tensor's name without what wrappers add to it."""
    return name.removeprefix("model.").removeprefix("body.").replace(".", "").replace("_", "")


def _behind_the_encoder(encoder: nn.Module) -> set[str]:
    """Bare names of what timm's whole network has beside the encoder: norms and heads."""
    if not isinstance(encoder, TimmUniversalEncoder):
        return set()
    with torch.device("meta"):
        whole = timm.create_model(encoder.name, pretrained=False)
    return {_bare(name) for name in whole.state_dict()}


def _sum_over_colours(tensors: dict[str, Tensor], encoder: nn.Module) -> dict[str, Tensor]:
    """Make weights for three channels fit a single one, as if it were given three times."""
    convolutions = ((n, m) for n, m in encoder.named_modules() if isinstance(m, nn.Conv2d))
    name, first = next(convolutions, ("", None))
    weight = f"{name}.weight"
    colours = tensors[weight].shape[1:2] if weight in tensors else ()
    if first is None or first.in_channels != 1 or colours != (3,):
        return tensors
    return {**tensors, weight: tensors[weight].sum(dim=1, keepdim=True)}


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a file of named tensors.

    Raises:
        ConfigError: Missing file, or one that is neither safetensors nor a plain state dict.
    """
    if not path.is_file():
        raise ConfigError(
            f"the weights file {path} does not exist",
            expected="imagenet, none, or a file",
            next_step="--set model.weights=none",
        )
    try:
        if path.suffix == ".safetensors":
            tensors: dict[str, Tensor] = safetensors.torch.load_file(path)
        else:
            tensors = _tensors_only(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # on a damaged file torch raises whatever it trips over
        raise ConfigError(
            f"the weights file {path} cannot be read: {reason(error)}",
            expected="safetensors, or a state dict saved by torch",
            next_step="another file, or --set model.weights=none",
        ) from error
    return tensors


def _tensors_only(state: object) -> dict[str, Tensor]:
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise TypeError("it holds something else than named tensors")
    return state


def apply_weights(network: nn.Module, tensors: dict[str, Tensor], source: str) -> None:
    """Load tensors into a network that must have exactly these names and shapes.

    Raises:
        ConfigError: Naming the first tensors that are missing, left over or of another shape.
    """
    own = network.state_dict()
    missing = sorted(own.keys() - tensors.keys())
    left_over = sorted(tensors.keys() - own.keys())
    reshaped = sorted(k for k in own.keys() & tensors.keys() if own[k].shape != tensors[k].shape)
    if missing or left_over or reshaped:
        groups = {"missing": missing, "left over": left_over, "of another shape": reshaped}
        found = "; ".join(f"{len(g)} {what} ({g[0]})" for what, g in groups.items() if g)
        raise ConfigError(
            f"{source} does not fit {type(network).__name__}: {found}",
            expected=f"the {len(own)} tensors of this architecture",
            next_step="use the preset the weights were trained with, or --set model.weights=none",
        )
    network.load_state_dict(tensors)
