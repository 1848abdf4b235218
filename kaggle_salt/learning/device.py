"""Where and how to compute: the device, the number format, freed memory, compiled steps."""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from kaggle_salt.errors import ConfigError, TrainingError, reason
from kaggle_salt.learning.outputs import Outputs

#: Parameters of glibc's ``mallopt``: how much free memory at the end of the heap goes back to
#: the system, and from which size on a block is mapped, and unmapped when it is freed.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3

#: Activations of a batch are below; what is larger, an array of all tiles say, goes back.
LARGEST_KEPT = 1 << 30

#: Who turns the traced network into machine code.
BACKEND = "inductor"


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
    (:func:`keep_freed_memory`).

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


@dataclass(frozen=True)
class Abilities:
    """What torch can do on this machine.

    Args:
        compute: Device and number format, as :class:`Compute` says them.
        threads: That torch computes with on the CPU.
        built_for: The version of CUDA that torch was built for; empty without.
        gpu: Name of the GPU that is taken; empty without one.
        gpu_free: Its free memory, in bytes.
        gpu_total: All of its memory, in bytes.
    """

    compute: str
    threads: int
    built_for: str
    gpu: str = ""
    gpu_free: int = 0
    gpu_total: int = 0


def abilities(device: str) -> Abilities:
    """What torch can do with a device; see :func:`choose_compute`.

    Raises:
        ConfigError: Unknown device, or one this machine does not have.
    """
    compute = choose_compute(device)
    told = (str(compute), torch.get_num_threads(), torch.version.cuda or "")
    if compute.device.type != "cuda":
        return Abilities(*told)
    free, total = torch.cuda.mem_get_info(compute.device)
    return Abilities(*told, torch.cuda.get_device_name(compute.device), free, total)


def visible_gpus(device: str) -> list[str]:
    """The GPUs that a device may mean, as ``CUDA_VISIBLE_DEVICES`` names them.

    Args:
        device: As :func:`choose_compute` takes it.
    """
    if device not in ("auto", "cuda") or not torch.cuda.is_available():
        return []
    told = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = told.split(",") if told else map(str, range(torch.cuda.device_count()))
    return list(names)[: torch.cuda.device_count()]


def thread_count() -> int:
    """Threads that this process computes with on the CPU."""
    return torch.get_num_threads()


@contextmanager
def limited_threads(threads: int) -> Iterator[None]:
    """Compute on so many threads of the CPU while the block runs, or on fewer."""
    before = torch.get_num_threads()
    torch.set_num_threads(min(threads, before))
    try:
        yield
    finally:
        torch.set_num_threads(before)


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


def keep_freed_memory() -> bool:
    """Ask glibc to keep what is freed, so that the next step finds it at hand.

    It hands blocks of megabytes back to the system as soon as they are freed. A training step
    on the CPU asks for gigabytes of such blocks, the system clears every page of them, and a
    fifth of the step goes by so. The peak of the memory in use grows by about a tenth.

    Nothing happens with another C library, or where ``MALLOC_…`` or ``GLIBC_TUNABLES`` in the
    environment say how memory shall be dealt with.

    Returns:
        Whether it was asked.
    """
    told = any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ)
    if told or platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    kept = mallopt(M_MMAP_THRESHOLD, LARGEST_KEPT)
    return bool(kept and mallopt(M_TRIM_THRESHOLD, 2**31 - 1))


def compiled(network: nn.Module) -> nn.Module:
    """The same network with the same weights, to be compiled at the first step of each size.

    Only calls of what is returned run compiled code; the network itself stays as it is.
    """
    return torch.compile(network, backend=BACKEND, dynamic=False)  # type: ignore[return-value]


@contextmanager
def explained_failures() -> Iterator[None]:
    """Say what to do where the network cannot be compiled.

    Raises:
        TrainingError: The compiler is missing, or fails.
    """
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, torch._dynamo.exc.TorchDynamoException):
            raise
        raise TrainingError(
            f"the network cannot be compiled: {reason(error)}",
            expected="a C++ compiler (g++, or what CXX names) for the CPU, Triton for a GPU",
            next_step="--set training.compile=false",
        ) from error
