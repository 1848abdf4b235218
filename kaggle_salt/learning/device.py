"""Where to compute, and in which number format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from kaggle_salt.errors import ConfigError
from kaggle_salt.learning.memory import keep_freed_memory
from kaggle_salt.learning.outputs import Outputs


@dataclass(frozen=True)
class Compute:
    """A device with a number format and a memory layout.

    Args:
        device: Where tensors live.
        bf16: Run the network under bfloat16 autocast; weights stay float32.
        channels_last: Keep convolution weights and inputs as NHWC.
    """

    device: torch.device
    bf16: bool = False
    channels_last: bool = True

    def __str__(self) -> str:
        threads = f", {torch.get_num_threads()} threads" if self.device.type == "cpu" else ""
        return f"{self.device}{threads}, {'bf16' if self.bf16 else 'float32'}"

    def place(self, network: nn.Module) -> nn.Module:
        """Move a network to the device, in the layout asked for."""
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        network.to(self.device)
        return network.to(memory_format=layout)

    def outputs(self, network: nn.Module, inputs: Tensor) -> Outputs:
        """What a network gives back, heads and all, in float32.

        Args:
            network: Placed with :meth:`place`.
            inputs: float32 ``[B, C, S, S]`` on the device.
        """
        if self.channels_last:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.bf16):
            given: Tensor | Outputs = network(inputs)
        return (given if isinstance(given, Outputs) else Outputs(given)).float()

    def forward(self, network: nn.Module, inputs: Tensor) -> Tensor:
        """The final logits alone, float32 ``[B, 1, S, S]``; otherwise as :meth:`outputs`."""
        return self.outputs(network, inputs).logits


def choose_compute(
    device: str, precision: Literal["auto", "float32", "bf16"] = "auto", channels_last: bool = True
) -> Compute:
    """Turn ``--device`` and the preset's precision into a :class:`Compute`.

    On a CPU the C library is asked to keep freed memory for the steps to come
    (:func:`~kaggle_salt.learning.memory.keep_freed_memory`).

    Args:
        device: ``auto`` (CUDA, then MPS, then CPU), ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        precision: ``auto`` takes bf16 where the hardware computes in it natively.
        channels_last: See :class:`Compute`.

    Raises:
        ConfigError: Unknown device, or one this machine does not have.
    """
    chosen = _choose_device(device)
    if chosen.type == "cpu":
        keep_freed_memory()
    bf16 = precision == "bf16" or (precision == "auto" and _has_native_bf16(chosen))
    return Compute(chosen, bf16=bf16, channels_last=channels_last)


def _choose_device(name: str) -> torch.device:
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return torch.device(next((kind for kind, there in available.items() if there), "cpu"))
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or not (device.type == "cpu" or available.get(device.type, False)):
        there = ["auto", "cpu", *(kind for kind, has in available.items() if has)]
        raise ConfigError(
            f"the device '{name}' is not available on this machine",
            expected="one of " + ", ".join(there),
            next_step="--device auto",
        )
    return device


def _has_native_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        # private, but the only question torch answers about native (not emulated) bf16
        checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        return any(getattr(torch.cpu, check, bool)() for check in checks)
    return False
