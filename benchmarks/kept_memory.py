"""A step on the CPU when the C library keeps freed memory, and when it gives it back.

Run as a module it takes the steps of one process and prints their median in milliseconds.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.items import LackingError, Measurement, Setting, item
from benchmarks.loops import config_of
from benchmarks.timing import compared, median_time
from kaggle_salt.config_file import dump_config, load_config
from kaggle_salt.files import write_text
from kaggle_salt.learning.channels import settle_channels
from kaggle_salt.learning.device import choose_compute, keep_freed_memory
from kaggle_salt.learning.networks import build

#: Three are enough for steps of seconds; each pair starts two processes.
PAIRS = 3


def require_glibc(setting: Setting) -> None:
    """Refuse a machine where nothing is asked for, and a GPU, which is not concerned.

    Raises:
        LackingError: It is one.
    """
    if setting.device != "cpu" or not keep_freed_memory():
        raise LackingError(
            "only glibc on a CPU is asked to keep freed memory",
            expected="Linux, and neither MALLOC_... nor GLIBC_TUNABLES in the environment",
            next_step="unset them, or leave out --device",
        )


@item("kept-memory", "ms", peer="glibc's default", require=require_glibc)
def kept_memory(setting: Setting) -> Measurement:
    """A bare training step of ``resnet34`` when freed memory is kept, beside glibc's default.

    Each in a process of its own.
    """
    config = setting.folder / "kept-memory.toml"
    write_text(config, dump_config(config_of(setting, "resnet34")))
    command = [sys.executable, "-m", "benchmarks.kept_memory", str(config)]

    def step(**environment: str) -> float:
        done = subprocess.run(
            command, check=True, stdout=subprocess.PIPE, text=True,
            env={**os.environ, **environment},
        )  # fmt: skip
        return float(done.stdout)

    pairs = min(PAIRS, setting.size.pairs)
    return compared([(step(), step(GLIBC_TUNABLES="")) for _ in range(pairs)])


def main(arguments: Sequence[str]) -> None:
    """Take some steps with a configuration's network and print the median time of one in ms."""
    config = settle_channels(load_config(Path(arguments[0])), coloured=False)
    compute = choose_compute("cpu", config.training.precision, config.training.channels_last)
    network = compute.place(build(config.model, config.input.channel_count)).train()
    shape = (config.training.batch_size, config.input.channel_count)
    inputs = torch.randn(*shape, config.input.size, config.input.size)

    def step() -> None:
        network.zero_grad()
        compute.forward(network, inputs).square().mean().backward()  # type: ignore[no-untyped-call]

    print(1000 * median_time(step, 3).ours)


if __name__ == "__main__":
    main(sys.argv[1:])
