"""bf16 beside float32: how much faster it is, and what it changes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from benchmarks.items import LackingError, Measurement, Setting, Target, item, require_equal
from benchmarks.loops import Loops, Stream, in_loops_of_fitting_length
from kaggle_salt import predictions
from kaggle_salt.competition.decision import DEFAULT_LEVEL
from kaggle_salt.competition.metric import image_scores
from kaggle_salt.config import Config
from kaggle_salt.config_file import load_run_config
from kaggle_salt.learning.device import choose_compute
from kaggle_salt.learning.fold import final_framing, load_networks
from kaggle_salt.learning.inference import predict
from kaggle_salt.pipeline.members import Member, open_member
from kaggle_salt.runs import FoldFolder

#: Stored probabilities, 0 to 255, of untrained networks may differ so much on average. Single
#: ones differ by more: there is nothing yet that such a network is sure of.
TOLERANCE = 4.0


def require_bf16(setting: Setting) -> None:
    """Refuse a device that would only emulate bf16.

    Raises:
        LackingError: It would.
    """
    if not choose_compute(setting.device).bf16:
        raise LackingError(
            f"the {setting.device} here does not compute in bf16",
            expected="a processor with AVX512-BF16 or AMX, or a GPU of 2020 or later",
            next_step="another machine, or another --device",
        )


def require_run(setting: Setting) -> None:
    """Refuse a call without a finished run on its tiles, before anything is measured.

    Raises:
        LackingError: No run was given, or the device does not compute in bf16.
        ConfigError: The run has no finished fold.
        DataError: It was trained on other tiles.
    """
    require_bf16(setting)
    _member(setting)


@item("bf16-quick", "ms", Target(1.8, at_any_size=True), peer="float32", require=require_bf16)
def bf16_quick(setting: Setting) -> Measurement:
    """Predicting a batch with ``quick`` and flip TTA in bf16, beside the same in float32.

    Target: 1.8, about twice as fast.
    """
    return _prediction(setting, "quick")


@item("bf16-resnet34", "ms", peer="float32", require=require_bf16)
def bf16_resnet34(setting: Setting) -> Measurement:
    """Predicting a batch with ``resnet34`` and flip TTA in bf16, likewise."""
    return _prediction(setting, "resnet34")


@item("bf16-score", "score", Target(0.001, at_any_size=True, on_gpu=0.001), require=require_run)
def bf16_score(setting: Setting) -> Measurement:
    """Change of a run's out-of-fold score at threshold .5 when bf16 takes the place of float32.

    The finished folds of ``--run`` predict their validation tiles in both. Target: 0.001.
    """
    member, tiles = _member(setting), setting.competition
    config = load_run_config(member.run.config)
    row_of = {tile: row for row, tile in enumerate(tiles.ids)}
    parts = []
    for fold in member.folds:
        folder = member.run.fold(fold)
        rows = [row_of[tile] for tile in predictions.load(folder.oof).ids]
        parts.append((tiles.masks[rows], *_in_both(config, folder, tiles.images[rows], setting)))
    truth, in_float32, in_bf16 = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return change(truth, in_float32, in_bf16)


def change(
    truth: NDArray[np.bool_], in_float32: NDArray[np.uint8], in_bf16: NDArray[np.uint8]
) -> Measurement:
    """What bf16 changes.

    Args:
        truth: bool ``[N, H, W]``, two tiles at least.
        in_float32: Stored probabilities, uint8 ``[N, H, W]``.
        in_bf16: The same.

    Returns:
        The absolute change of the mean score at threshold .5; in the details the change with
        its standard error over the tiles, how many of them score otherwise, the share of pixels
        whose mask changes, and the largest change of a probability.
    """
    masks = [probabilities > DEFAULT_LEVEL for probabilities in (in_float32, in_bf16)]
    before, after = (image_scores(truth, predicted) for predicted in masks)  # [N]
    differences = after - before
    details = {
        "tiles": len(truth),
        "float32": float(before.mean()),
        "bf16": float(after.mean()),
        "difference": float(differences.mean()),
        "changed_tiles": int(np.count_nonzero(differences)),
        "standard_error": float(differences.std(ddof=1) / np.sqrt(len(truth))),
        "changed_pixels": float((masks[0] != masks[1]).mean()),
        "largest_probability_change": int(_differences(in_float32, in_bf16).max()) / 255,
    }
    note = (
        f"{details['float32']:.4f} in float32 and {details['bf16']:.4f} in bf16 on {len(truth)} "
        f"tiles, standard error of the difference {details['standard_error']:.5f}; "
        f"{details['changed_tiles']} tiles and {details['changed_pixels']:.3%} of the pixels change"
    )
    return Measurement(abs(details["difference"]), note=note, details=details)


def _prediction(setting: Setting, preset: str) -> Measurement:
    def streams(steps: int) -> list[Stream]:
        return [
            Stream(setting, preset, steps, f"training.precision={precision}")
            for precision in ("bf16", "float32")
        ]

    def loops(steps: int) -> Loops:
        in_bf16, in_float32 = streams(steps)
        return in_bf16.predict, in_float32.predict

    pair = streams(1)
    for stream in pair:
        stream.predict()
    difference = float(_differences(pair[0].out, pair[1].out).mean())
    require_equal(difference <= TOLERANCE, "probabilities", "float32")
    return in_loops_of_fitting_length(setting, loops)


def _member(setting: Setting) -> Member:
    if setting.run is None:
        raise LackingError(
            "no finished run was given",
            expected="a run of salt train, and the tiles that it was trained on",
            next_step="--run runs/NAME --data FOLDER",
        )
    return open_member(setting.run, 1.0, setting.competition)


def _in_both(
    config: Config, folder: FoldFolder, images: NDArray[np.uint8], setting: Setting
) -> list[NDArray[np.uint8]]:
    """A fold's probabilities of some tiles in float32 and in bf16."""
    compute = choose_compute(setting.device, "float32", config.training.channels_last)
    networks = load_networks(config, folder, compute)
    framing = final_framing(config, setting.competition.tile_shape)
    outs = []
    for bf16 in (False, True):
        out = np.empty_like(images)
        predict(
            networks, images, out, framing=framing,
            compute=replace(compute, bf16=bf16), config=config.inference,
        )  # fmt: skip
        outs.append(out)
    return outs


def _differences(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> NDArray[np.int16]:
    differences: NDArray[np.int16] = np.abs(one.astype(np.int16) - other)
    return differences
