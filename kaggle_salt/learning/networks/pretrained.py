"""Weights that come from elsewhere: a download, or a file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from kaggle_salt.errors import ConfigError, NetworkError, reason


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


def load_weights_file(network: nn.Module, name: str) -> None:
    """Load a whole network's weights, or its encoder's, from a file.

    Args:
        network: The network to fill; it must have exactly the file's tensors. Of an encoder's
            file more may be left over (a classifier's last layer), and the weights of its first
            convolution are summed over colours where the network sees grey.
        name: A ``.safetensors`` file, or a ``.pt``/``.pth`` state dict (read without pickle).

    Raises:
        ConfigError: The file is missing, unreadable, or belongs to another architecture.
    """
    tensors = read_weights(Path(name))
    encoder = getattr(network, "encoder", None)
    target = network
    if isinstance(encoder, nn.Module) and encoder.state_dict().keys() <= tensors.keys():
        target = encoder  # a classifier's last layer, which such files carry, has no place here
        tensors = _sum_over_colours({name: tensors[name] for name in encoder.state_dict()}, encoder)
    apply_weights(target, tensors, name)


def _sum_over_colours(tensors: dict[str, Tensor], encoder: nn.Module) -> dict[str, Tensor]:
    """Make weights for three channels fit a single one, as if it were given three times."""
    convolutions = ((n, m) for n, m in encoder.named_modules() if isinstance(m, nn.Conv2d))
    name, first = next(convolutions, ("", None))
    weight = f"{name}.weight"
    if first is None or first.in_channels != 1 or tensors[weight].shape[1] != 3:
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
