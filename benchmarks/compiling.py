"""Training steps compiled by ``torch.compile``, and after how many epochs they pay."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace

import torch
from torch._inductor.utils import fresh_cache

from benchmarks.items import LackingError, Measurement, Setting, item, require_equal
from benchmarks.loops import Loops, Rehearsal, in_loops_of_fitting_length
from benchmarks.timing import seconds

#: Training tiles of one of five folds.
EPOCH_TILES = 2880

#: Losses may differ by such a part: bf16 is rounded at other places in compiled code.
TOLERANCE = 0.02


def require_compiler(setting: Setting) -> None:
    """Refuse a processor without a C++ compiler.

    Raises:
        LackingError: There is none.
    """
    name = os.environ.get("CXX", "g++")
    if setting.device == "cpu" and not shutil.which(name):
        raise LackingError(
            f"there is no {name}, with which torch.compile makes code for a processor",
            expected="a C++ compiler",
            next_step="install one, or name yours in CXX",
        )


@item("compile-quick", "ms", peer="eager", require=require_compiler)
def compile_quick(setting: Setting) -> Measurement:
    """A training step of ``quick`` at its full input size under ``torch.compile``, beside without.

    Both are steps of the loop of ``salt train``, ours with ``training.compile``.
    """
    return compilation(setting, "quick")


def compilation(setting: Setting, preset: str) -> Measurement:
    """What compiling the steps of a preset costs, and what it saves.

    Args:
        setting: Where the steps run.
        preset: Its name.

    Returns:
        Times of a step. The details hold the seconds that the first step took longer than a
        later one, with nothing compiled before, what an epoch of :data:`EPOCH_TILES` tiles
        saves, and their quotient (None where it saves nothing).

    Raises:
        DisagreementError: Losses before and after a step are not nearly the same.
    """

    def rehearsals(steps: int) -> list[Rehearsal]:
        return [
            Rehearsal(setting, preset, 1, steps, f"training.compile={compile}")
            for compile in ("true", "false")
        ]

    def loops(steps: int) -> Loops:
        compiled, eager = rehearsals(steps)
        return compiled.ours, eager.ours

    torch._dynamo.reset()
    with fresh_cache():
        compiled, eager = rehearsals(1)
        losses: list[float] = []
        first = seconds(lambda: losses.append(compiled.ours()))
        for ours in (losses[0], compiled.ours()):
            peers = eager.ours()
            require_equal(abs(ours / peers - 1) < TOLERANCE, "losses", "eager steps")
        measured = in_loops_of_fitting_length(setting, loops)
    assert measured.peer is not None
    compile_seconds = first - measured.ours / 1000
    saved = (measured.peer - measured.ours) / 1000 * (EPOCH_TILES // setting.training_batch)
    epochs = compile_seconds / saved if saved > 0 else None
    details = {
        **measured.details,
        "compile_seconds": compile_seconds,
        "seconds_saved_per_epoch": saved,
        "break_even_epochs": epochs,
    }
    pays = "saves nothing" if epochs is None else f"pays after {epochs:.1f} epochs"
    note = f"compiling takes {compile_seconds:.0f} s and {pays} of {EPOCH_TILES:,} tiles"
    return replace(measured, equal=True, note=note, details=details)
