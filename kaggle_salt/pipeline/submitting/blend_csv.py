"""``salt blend-csv``: submissions by others, made one by a vote of their masks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kaggle_salt.competition import rle
from kaggle_salt.competition.archive import read_table, shortlist
from kaggle_salt.competition.decision import Rule
from kaggle_salt.competition.metric import image_scores
from kaggle_salt.competition.submission import COLUMNS, write_submission
from kaggle_salt.ensembling.blending import blend
from kaggle_salt.errors import ConfigError, DataError, RleError, salt_command, shortened
from kaggle_salt.pipeline.submitting.submit import SubmissionReport, submission_path
from kaggle_salt.pipeline.workspace import Listener, Workspace
from kaggle_salt.predictions import Predictions, blocks
from kaggle_salt.storage.files import HASH_KEY, file_hash, vouched_for

#: More than half of the votes.
MAJORITY = Rule()


@dataclass(frozen=True)
class _Submission:
    """A submission by others: the run-length string of each tile."""

    path: Path
    texts: Mapping[str, str]

    def masks(self, ids: Sequence[str], shape: tuple[int, int]) -> NDArray[np.bool_]:
        """Masks of some tiles, bool ``[N, H, W]``."""
        masks = np.empty((len(ids), *shape), dtype=np.bool_)
        for row, tile in enumerate(ids):
            try:
                masks[row] = rle.decode(self.texts[tile], shape)
            except RleError as error:
                raise DataError(
                    f"{self.path} has no valid mask for tile {shortened(tile)}: {error.found}",
                    expected=error.expected or f"run lengths of {shape[0]}x{shape[1]} pixels",
                    next_step="leave this file out, or get it anew; is the tile size right?",
                ) from error
        return masks


def blend_submissions(
    workspace: Workspace,
    files: Sequence[Path],
    *,
    weights: Sequence[float] | None = None,
    name: str | None = None,
    size: tuple[int, int] | None = None,
    overwrite: bool = False,
    listener: Listener | None = None,
) -> SubmissionReport:
    """Write ``submissions/<name>.csv`` where more than half of the votes say salt.

    A tie, exactly half of the votes, is not salt. One made of the same is left as it is.

    Args:
        workspace: Where data and submissions lie.
        files: Two submissions or more, ``id,rle_mask``, of the same tiles.
        weights: Votes of each, positive; one each by default.
        name: Name of the result; by default the files' names joined by ``+``.
        size: (height, width) of a tile where there are no data; then the rows come in the order
            of the first file. By default data tell the size, the ids and their order.
        overwrite: Replace a submission of that name made of something else.
        listener: Told how the work goes.

    Returns:
        The CSV and its manifest: the sources by their hash, and under ``agreement`` the mean
        score of each pair of sources (``pairs``), of each with the others (``with_others``) and
        with the result (``with_blend``), and their numbers of empty masks.

    Raises:
        ConfigError: Fewer than two files, wrong weights, or another submission has the name.
        DataError: A file is no submission, or their ids differ.
    """
    files = [Path(file) for file in files]
    votes = _votes(files, weights)
    csv = submission_path(workspace, name or "+".join(file.stem for file in files))
    submissions = [_read(file) for file in files]
    sources = _sources(files, votes)
    ids, shape = _tiles(workspace, submissions, size, listener or Listener())
    _refuse_other_ids(submissions, ids)
    wanted = {"kind": "vote of submissions", "sources": sources, "tile_shape": shape}
    same = vouched_for(csv.with_suffix(".json"), csv, wanted=wanted, check_hash=True)
    if same is not None:
        return SubmissionReport(csv, MAJORITY, same, existed=True)
    blended, agreement = _vote(submissions, ids, shape, votes)
    written = write_submission(
        csv, blended, ids, rule=MAJORITY,
        manifest={**wanted, "agreement": agreement}, overwrite=overwrite,
    )  # fmt: skip
    return SubmissionReport(csv, MAJORITY, written, existed=False)


def _votes(files: Sequence[Path], weights: Sequence[float] | None) -> list[float]:
    if len(files) < 2:
        raise ConfigError(
            f"{len(files)} submissions to blend",
            expected="two or more",
            next_step=salt_command("blend-csv", *files, *["FILE"] * (2 - len(files))),
        )
    if weights is None:
        return [1.0] * len(files)
    if len(weights) != len(files) or not all(math.isfinite(w) and w > 0 for w in weights):
        raise ConfigError(
            f"weights {', '.join(f'{w:g}' for w in weights)} for {len(files)} submissions",
            expected="one positive number for each submission, in their order",
            next_step=f"--weights {','.join(['1'] * len(files))}, or leave --weights out",
        )
    return [float(weight) for weight in weights]


def _read(path: Path) -> _Submission:
    table = read_table(path, COLUMNS, next_step="name a submission: a CSV with id and rle_mask")
    return _Submission(path, dict(zip(table["id"], table["rle_mask"], strict=True)))


def _sources(files: Sequence[Path], votes: Sequence[float]) -> list[dict[str, Any]]:
    """What was voted with, as the manifest has it; no file may be there twice."""
    sources = [
        {"file": file.name, HASH_KEY: file_hash(file), "weight": vote}
        for file, vote in zip(files, votes, strict=True)
    ]
    for one, other in combinations(sources, 2):
        if one[HASH_KEY] == other[HASH_KEY]:
            raise ConfigError(
                f"{one['file']} and {other['file']} are the same submission",
                expected="each submission once",
                next_step="leave one out; --weights gives a submission more votes",
            )
    return sources


def _tiles(
    workspace: Workspace,
    submissions: Sequence[_Submission],
    size: tuple[int, int] | None,
    listener: Listener,
) -> tuple[tuple[str, ...], tuple[int, int]]:
    """Ids in the order of the rows, and (height, width) of a tile."""
    if size is not None:
        if min(size) < 1:
            raise ConfigError(f"tiles of {size[0]}x{size[1]} pixels", expected="1x1 or more")
        return tuple(submissions[0].texts), size
    if not workspace.data.is_dir():
        files = [submission.path for submission in submissions]
        raise DataError(
            f"there is no folder {workspace.data} to tell the size of a tile",
            expected="the competition's data, or the size: height x width in pixels",
            next_step=salt_command("blend-csv", *files, "--size", "101x101") + ", or --data FOLDER",
        )
    competition = workspace.open(listener)
    if not competition.test_ids:
        raise DataError(
            f"{competition.path} has no test tiles",
            expected="test.zip (or test/) and sample_submission.csv",
            next_step="put them beside the training tiles, or give the size: --size 101x101",
        )
    return competition.test_ids, competition.tile_shape


def _refuse_other_ids(submissions: Sequence[_Submission], ids: Sequence[str]) -> None:
    for submission in submissions:
        faults = []
        if missing := sorted(set(ids) - set(submission.texts)):
            faults.append(f"lacks {len(missing)} of {len(ids)} tiles: {shortlist(missing)}")
        if strangers := sorted(set(submission.texts) - set(ids)):
            faults.append(f"names {len(strangers)} unknown tiles: {shortlist(strangers)}")
        if faults:
            raise DataError(
                f"{submission.path} {' and '.join(faults)}",
                expected="the same tiles in every submission, those of sample_submission.csv",
                next_step="leave this file out, or get it anew",
            )


def _vote(
    submissions: Sequence[_Submission],
    ids: tuple[str, ...],
    shape: tuple[int, int],
    votes: Sequence[float],
) -> tuple[Predictions, dict[str, Any]]:
    """Share of the votes for each pixel, and how far the submissions agree."""
    shares = np.empty((len(ids), *shape), dtype=np.uint8)
    numbers = range(len(submissions))
    pairs = np.zeros((len(submissions), len(submissions)))
    with_blend, empty = np.zeros(len(submissions)), np.zeros(len(submissions), dtype=np.int64)
    for block in blocks(shares):
        masks = [submission.masks(ids[block], shape) for submission in submissions]
        parts = [Predictions(ids[block], np.where(m, 255, 0).astype(np.uint8)) for m in masks]
        shares[block] = blend(parts, weights=votes, how="vote").probabilities
        blended = MAJORITY.apply(shares[block])
        for one, other in combinations(numbers, 2):
            pairs[one, other] += image_scores(masks[one], masks[other]).sum()
        for one in numbers:
            with_blend[one] += image_scores(blended, masks[one]).sum()
            empty[one] += np.count_nonzero(~masks[one].any(axis=(1, 2)))
    pairs = (pairs + pairs.T) / len(ids)
    agreement = {
        "with_others": (pairs.sum(axis=0) / (len(submissions) - 1)).tolist(),
        "with_blend": (with_blend / len(ids)).tolist(),
        "empty_masks": empty.tolist(),
        "pairs": (pairs + np.eye(len(submissions))).tolist(),
    }
    return Predictions(ids, shares), agreement
