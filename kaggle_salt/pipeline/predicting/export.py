"""``salt export``: a finished run as one file for other programs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kaggle_salt.competition.decision import Rule
from kaggle_salt.config.file import load_run_config
from kaggle_salt.config.schema import Config
from kaggle_salt.errors import ConfigError, nearest
from kaggle_salt.learning.export import COMPUTE, export_onnx, require_packages
from kaggle_salt.learning.fold import final_framing, load_networks, read_summary
from kaggle_salt.pipeline.blending.ensemble_document import DOCUMENT
from kaggle_salt.pipeline.blending.members import trained_folds
from kaggle_salt.pipeline.choose import parse_folds
from kaggle_salt.pipeline.predicting.finished import tile_shape_of
from kaggle_salt.pipeline.workspace import Listener, Workspace
from kaggle_salt.runs import RunFolder, open_run
from kaggle_salt.storage.files import read_json
from kaggle_salt.synthetic.geology import draw_tile
from kaggle_salt.versions import package_versions

#: Kinds of files, each with its suffix.
TARGETS = {"onnx": ".onnx"}

#: Places of the tiles that a file is checked on, in :func:`draw_tile`'s range from blank to full.
CHECKED = (0.3, 0.5, 0.65, 0.8, 0.95)

#: Side in pixels from which on a tile can be drawn; smaller ones are cut out.
SMALLEST = 32


@dataclass(frozen=True)
class ExportReport:
    """A file for other programs.

    Args:
        path: The file.
        size: In bytes.
        difference: The largest difference of a probability from torch's, on drawn tiles.
        metadata: What the file says of itself.
    """

    path: Path
    size: int
    difference: float
    metadata: Mapping[str, str]


def export_run(
    workspace: Workspace,
    run: str,
    *,
    to: str = "onnx",
    folds: str = "all",
    out: Path | None = None,
    overwrite: bool = False,
    listener: Listener | None = None,
) -> ExportReport:
    """Write the networks of a run as one file: tiles in, the folds' mean probabilities out.

    No tiles are needed: the file is checked on tiles that are drawn.

    Args:
        workspace: Where the runs lie.
        run: Name of a run.
        to: One of :data:`TARGETS`.
        folds: Which of the finished folds: ``all``, ``0`` or ``0,2``.
        out: The file; by default ``<run>.onnx`` in the run's folder.
        overwrite: Replace a file that is there.
        listener: Told how the work goes.

    Raises:
        ConfigError: Unknown run or target, no finished fold, a file that is there, weights too
            many for one file, or the extra is not installed.
        TrainingError: The weights have changed, or the file would say something else than torch.
    """
    listener = listener or Listener()
    if to not in TARGETS:
        raise ConfigError(
            f"there is no way to export to '{to}'",
            expected=nearest(to, TARGETS),
            next_step="--to onnx",
        )
    folder = open_run(workspace.runs, run)
    numbers = parse_folds(folds, list(trained_folds(folder)))
    path = out or folder.path / f"{run}{TARGETS[to]}"
    if path.exists() and not overwrite:
        raise ConfigError(
            f"{path} exists",
            expected="another name, or a decision to replace it",
            next_step="--out FILE, or --overwrite to replace it",
        )
    require_packages()
    return _export(workspace, folder, numbers, path, listener)


def _export(
    workspace: Workspace, run: RunFolder, folds: Sequence[int], path: Path, listener: Listener
) -> ExportReport:
    config = load_run_config(run.config)
    networks = [load_networks(config, run.fold(fold), COMPUTE) for fold in folds]
    shape = tile_shape_of(run, folds[0])
    coloured = config.input.channels == "rgb"
    count = sum(map(len, networks))
    listener.note(
        f"exporting {count} {'network' if count == 1 else 'networks'} of run {run.name}; "
        "a large one takes a minute"
    )
    metadata = {
        **_origin(run, folds, config, shape, coloured=coloured),
        **_decision(workspace, run, folds, listener),
    }
    framing, tiles = final_framing(config, shape), drawn_tiles(shape, coloured=coloured)
    difference = export_onnx(networks, framing, config.inference.tta, tiles, path, metadata)
    return ExportReport(path, path.stat().st_size, difference, metadata)


def drawn_tiles(shape: tuple[int, int], *, coloured: bool) -> NDArray[np.uint8]:
    """Synthetic tiles and one of noise, the same every time.

    Args:
        shape: (height, width) in pixels.
        coloured: Give each three colours that are not alike.

    Returns:
        uint8 ``[N, H, W]``, or ``[N, H, W, 3]``.
    """
    rng = np.random.default_rng(0)
    height, width = shape
    side = max(height, width, SMALLEST)
    drawn = [draw_tile(rng, side, position).image for position in CHECKED]
    noise = rng.integers(0, 256, (side, side), dtype=np.uint8)
    tiles = np.stack([*drawn, noise])[:, :height, :width]
    if coloured:
        return np.stack([tiles, tiles // 2, 255 - tiles], axis=-1)
    return np.ascontiguousarray(tiles)


def _origin(
    run: RunFolder, folds: Sequence[int], config: Config, shape: tuple[int, int], *, coloured: bool
) -> dict[str, str]:
    """Which networks a file holds, and what it takes."""
    hashes = {str(fold): read_summary(run.fold(fold)).weights_hash for fold in folds}
    versions = package_versions()
    return {
        "run": run.name,
        "description": config.description,
        "architecture": config.model.architecture,
        "folds": ",".join(map(str, folds)),
        "weights_hash": json.dumps(hashes),
        "tta": config.inference.tta,
        "tile_height": str(shape[0]),
        "tile_width": str(shape[1]),
        "tile_colours": "3" if coloured else "1",
        "version": versions.get("kaggle-salt", ""),
        "torch": versions.get("torch", ""),
    }


def _decision(
    workspace: Workspace, run: RunFolder, folds: Sequence[int], listener: Listener
) -> dict[str, str]:
    """The rule of the ensemble that is of this run alone, if it was chosen for these networks."""
    document = workspace.ensembles / run.name / DOCUMENT
    if not document.exists():
        return {}
    made = read_json(document)
    hashes = {str(fold): read_summary(run.fold(fold)).weights_hash for fold in folds}
    members = [(member["run"], member.get("folds")) for member in made["members"]]
    if members != [(run.name, hashes)] or made.get("how", "mean") != "mean":
        listener.note(
            f"the decision in {document} is left out: it was not chosen for the mean of these folds"
        )
        return {}
    stored: Mapping[str, Any] | None = made["decision"].get("rule")
    if stored is None:
        return {}  # of an earlier version
    rule = Rule.from_json(stored)
    return {
        "threshold": f"{rule.threshold:.6f}",
        "level": str(rule.level),
        "min_area": str(rule.min_area),
        "steps": ",".join(rule.steps),
    }
