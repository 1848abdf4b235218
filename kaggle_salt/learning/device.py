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

from kaggle_salt.config.schema import Precision
from kaggle_salt.errors import ConfigError, TrainingError, reason
from kaggle_salt.learning.outputs import Outputs

#: Parameters of glibc's ``mallopt``: how much free memory at the end of the heap goes back to
#: the system, and from which size on a block is mapped, and unmapped when it is freed.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3

#: Activations of a batch are below; what is larger, an array of all tiles say, goes back.
LARGEST_KEPT = 1 << 30

#: Who turns the traced network into machine code.
BACKEND = "inductor"

#: What a network can be run in, and those of them that autocast knows.
Format = Literal["float32", "bf16", "float16"]
HALVES = {"bf16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Compute:
    """A device with a number format and a memory layout.

    Args:
        device: Where tensors live.
        precision: What the network is run in, under autocast; weights stay float32.
        channels_last: Keep convolution weights and inputs as NHWC.
    """

    device: torch.device
    precision: Format = "float32"
    channels_last: bool = True

    def __str__(self) -> str:
        threads = f", {torch.get_num_threads()} threads" if self.device.type == "cpu" else ""
        return f"{self.device}{threads}, {self.precision}"

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
        half = HALVES.get(self.precision)
        with torch.autocast(self.device.type, dtype=half, enabled=half is not None):
            given: Tensor | Outputs = network(inputs)
        return (given if isinstance(given, Outputs) else Outputs(given)).float()

    def forward(self, network: nn.Module, inputs: Tensor) -> Tensor:
        """The final logits alone, float32 ``[B, 1, S, S]``; otherwise as :meth:`outputs`."""
        return self.outputs(network, inputs).logits


def choose_compute(
    device: str, precision: Precision = "auto", channels_last: bool = True
) -> Compute:
    """Turn ``--device`` and the preset's precision into a :class:`Compute`.

    On a CPU the C library is asked to keep freed memory for the steps to come
    (:func:`keep_freed_memory`).

    Args:
        device: ``auto`` (CUDA, then MPS, then CPU), ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        precision: ``auto`` takes what the hardware computes in natively: see
            :func:`native_format`.
        channels_last: See :class:`Compute`.

    Raises:
        ConfigError: Unknown device, or one this machine does not have.
    """
    chosen = _choose_device(device)
    if chosen.type == "cpu":
        keep_freed_memory()
    found = native_format(chosen)[0] if precision == "auto" else precision
    return Compute(chosen, found, channels_last)


@dataclass(frozen=True)
class Abilities:
    """What torch can do on this machine.

    Args:
        compute: Device and number format, as :class:`Compute` says them.
        because: Why this number format.
        threads: That torch computes with on the CPU.
        built_for: The version of CUDA that torch was built for; empty without.
        gpu: Name of the GPU that is taken; empty without one.
        gpu_free: Its free memory, in bytes.
        gpu_total: All of its memory, in bytes.
    """

    compute: str
    because: str
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
    because = native_format(compute.device)[1]
    told = (str(compute), because, torch.get_num_threads(), torch.version.cuda or "")
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


def native_format(device: torch.device) -> tuple[Format, str]:
    """The number format that a device computes fastest in, as far as it is known, and why.

    Returns:
        The format, and a few words.
    """
    if device.type == "cuda":
        capability = torch.cuda.get_device_capability(device)
        known: tuple[Format, str] = ("float32", "float16 is not measured without tensor cores")
        if capability >= (8, 0):
            known = ("bf16", "bf16 is native")
        elif capability >= (7, 0):
            known = ("float16", "float16 is native, bf16 is not")
        return known[0], f"compute capability {capability[0]}.{capability[1]}: {known[1]}"
    if device.type == "cpu":
        # private, but the only question torch answers about native (not emulated) bf16
        checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        if any(getattr(torch.cpu, check, bool)() for check in checks):
            return "bf16", "bf16 is native"
        return "float32", "bf16 is not native"
    return "float32", f"nothing else was tried on {device.type}"


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
