"""``salt predict``: masks of images of any size, from a run's networks.

An image as large as the tiles that the run was trained on is treated as a test tile is: its
probabilities are those that ``salt ensemble`` stores, its mask that of ``salt submit``, but for
steps that look at a tile's neighbours in mosaics. A larger one is cut into overlapping tiles
(:mod:`kaggle_salt.sections.tiling`), and of the run's rule it takes the threshold alone: minimum
area and steps were chosen for whole tiles. The depth of ``grey+depth`` is the row's place within
each tile, as in training.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kaggle_salt.competition.decision import Rule
from kaggle_salt.competition.postprocess import TileContext
from kaggle_salt.pipeline.predicting.finished import (
    deciding_rule,
    followed,
    ready_run,
    tile_predictor,
)
from kaggle_salt.pipeline.workspace import Listener, Workspace
from kaggle_salt.sections.headers import Header, read_header
from kaggle_salt.sections.images import ImageSection, read_image
from kaggle_salt.sections.inputs import find_images, refuse_clashes
from kaggle_salt.sections.outputs import Outputs, write_outputs
from kaggle_salt.sections.tiling import OVERLAP, Grid, predict_sections
from kaggle_salt.storage.writing import clear_leftovers


@dataclass(frozen=True)
class PredictedImage:
    """What was made of an image.

    Args:
        image: The file.
        height: In pixels.
        width: In pixels.
        tiles: Tiles that it was cut into.
        coverage: Share of its pixels that are salt.
        mask: PNG, 255 where there is salt, else 0.
        probability: PNG, probability = level / 255.
        overlay: PNG, the image with its salt tinted and outlined.
    """

    image: Path
    height: int
    width: int
    tiles: int
    coverage: float
    mask: Path
    probability: Path
    overlay: Path


@dataclass(frozen=True)
class PredictReport:
    """What ``salt predict`` did.

    Args:
        run: Name of the run, or of the network.
        folds: Whose networks were averaged.
        rule: What became of the probabilities: of images as large as a tile all of it, of others
            the threshold alone.
        decided_by: Where the rule comes from, in words.
        images: In the order they were given.
    """

    run: str
    folds: tuple[int, ...]
    rule: Rule
    decided_by: str
    images: tuple[PredictedImage, ...]

    @property
    def coverage(self) -> float:
        """Share of all pixels that are salt."""
        sizes = [image.height * image.width for image in self.images]
        return float(np.average([image.coverage for image in self.images], weights=sizes))


def predict(
    workspace: Workspace,
    images: Sequence[Path],
    *,
    run: str | None = None,
    model: str | None = None,
    out: Path = Path("predictions"),
    threshold: float | None = None,
    overlap: float = OVERLAP,
    stretch: bool = False,
    overwrite: bool = False,
    device: str = "auto",
    listener: Listener | None = None,
) -> PredictReport:
    """Write mask, probabilities and overlay of images of any size.

    Args:
        workspace: Where runs lie.
        images: Files, folders or globs, see :func:`kaggle_salt.sections.inputs.find_images`.
        run: Name of a run; by default the one trained last.
        model: In place of a run, ``shipped`` or a folder that ``salt ship`` wrote.
        out: Folder of the results.
        threshold: In place of the one chosen out of fold, in [0, 1].
        overlap: Share of a tile that the next one sees too, from 0 to below 1.
        stretch: Stretch each image's levels, see :func:`kaggle_salt.sections.images.read_image`.
        overwrite: Replace results that are there.
        device: Where the networks compute.
        listener: Told how the work goes.

    Raises:
        ConfigError: There is no such run, or results would replace each other or what is there.
        DataError: An image is missing or cannot be read.
    """
    listener = listener or Listener()
    paths = find_images(images)
    refuse_clashes(paths, out, overwrite=overwrite)
    clear_leftovers(out)
    finished = ready_run(workspace, run=run, model=model, listener=listener)
    rule, decided_by = deciding_rule(finished, threshold)
    headers = {path: read_header(path) for path in paths}
    grids = _grids(headers, finished.tile_shape, overlap)
    _tell(headers, grids, listener)
    total = sum(map(len, grids.values()))
    levels_of = followed(tile_predictor(finished, device), total, listener)
    opened = _opened(headers, stretch, listener)
    predicted = predict_sections(opened, finished.tile_shape, levels_of, overlap=overlap)
    done = [_written(one, levels, rule, grids[one.path], out) for one, levels in predicted]
    return PredictReport(finished.run.name, finished.folds, rule, decided_by, tuple(done))


def _grids(
    headers: dict[Path, Header], tile_shape: tuple[int, int], overlap: float
) -> dict[Path, Grid]:
    return {
        path: Grid((header.height, header.width), tile_shape, overlap)
        for path, header in headers.items()
    }


def _tell(headers: dict[Path, Header], grids: dict[Path, Grid], listener: Listener) -> None:
    """Say what is not as it may seem: of each kind the first image, and how many there are."""
    kinds = {
        "has an alpha channel, which is ignored": [p for p, h in headers.items() if h.alpha],
        "holds several pictures: the first is taken": [p for p in headers if headers[p].pages > 1],
        "is smaller than a tile: reflected to its size": [p for p in grids if grids[p].padded],
    }
    for what, found in kinds.items():
        if found:
            more = f" (and so {len(found) - 1} more)" if len(found) > 1 else ""
            listener.note(f"{found[0]} {what}{more}")


def _opened(
    headers: dict[Path, Header], stretch: bool, listener: Listener
) -> Iterator[ImageSection]:
    warned = False
    for path, header in headers.items():
        image = read_image(path, header, stretch=stretch)
        if image.flat and not warned:
            warned = True
            listener.warn(
                f"{path} has 16 bits and uses little of their range: the networks see hardly any "
                "contrast in it; --stretch spreads its levels"
            )
        yield image


def _written(
    image: ImageSection, levels: NDArray[np.uint8], rule: Rule, grid: Grid, out: Path
) -> PredictedImage:
    """Write what was predicted of an image."""
    if levels.shape == grid.tile_shape:
        tile = TileContext([image.path.stem], image.levels[np.newaxis])
        mask = rule.apply(levels[np.newaxis], tile)[0]
    else:
        mask = levels > rule.level
    files = Outputs.of(image.path, out)
    write_outputs(image, levels, mask, files)
    return PredictedImage(
        image=image.path,
        height=image.height,
        width=image.width,
        tiles=len(grid),
        coverage=float(np.mean(mask)),
        **files._asdict(),
    )
