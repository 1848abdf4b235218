"""Inference without a network: what all around one costs, with no import but what it needs."""

from __future__ import annotations

from torch import nn

from benchmarks.harness import Measurement, Setting, item, median_time
from kaggle_salt.config import InferenceConfig, InputConfig
from kaggle_salt.learning.device import choose_compute
from kaggle_salt.learning.framing import Framing
from kaggle_salt.learning.inference import predict
from kaggle_salt.predictions import create


@item("inference", "s")
def inference(setting: Setting) -> Measurement:
    """18,400 test tiles to stored probabilities with flip TTA, through a single convolution.

    A network's arithmetic would hide the rest.
    """
    tiles = setting.competition
    compute = choose_compute("cpu", "float32")
    network = compute.place(nn.Conv2d(1, 1, 3, padding=1))
    framing = Framing(tiles.tile_shape, InputConfig())

    def predict_all() -> None:
        with create(setting.folder / "new", tiles.test_ids, tiles.tile_shape, {}) as out:
            predict(
                [network], tiles.test_images, out,
                framing=framing, compute=compute, config=InferenceConfig(),
            )  # fmt: skip

    return median_time(predict_all, setting.size)
