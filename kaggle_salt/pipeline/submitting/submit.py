"""``salt submit``: an ensemble's test probabilities as a CSV that Kaggle accepts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kaggle_salt import predictions
from kaggle_salt.competition.decision import Rule
from kaggle_salt.competition.kaggle_client import DEFAULT_COMPETITION
from kaggle_salt.competition.kaggle_client import upload as send
from kaggle_salt.competition.submission import write_submission
from kaggle_salt.competition.tiles import Competition
from kaggle_salt.errors import ConfigError, DataError, closest, nearest, salt_command
from kaggle_salt.names import require_plain_name
from kaggle_salt.pipeline.blending.ensemble_document import (
    DOCUMENT,
    chosen_rule,
    make_ensemble_again,
    read_ensemble,
)
from kaggle_salt.pipeline.blending.mosaic_rules import tiles_to_submit, told_mosaic
from kaggle_salt.pipeline.predicting.finished import ready_run
from kaggle_salt.pipeline.predicting.packed import predict_test_tiles
from kaggle_salt.pipeline.workspace import Listener, Workspace
from kaggle_salt.storage.files import file_hash, vouched_for

#: Share of a submission's masks from which on they are nearly all empty, or nearly all full.
NEARLY_ALL = 0.95


@dataclass(frozen=True)
class SubmissionReport:
    """A submission on disk: its CSV, the rule that made its masks, and what its manifest says."""

    csv: Path
    rule: Rule
    manifest: dict[str, Any]
    existed: bool


def submit(
    workspace: Workspace,
    *,
    ensemble: str | None = None,
    model: str | None = None,
    name: str | None = None,
    threshold: float | None = None,
    min_area: int | None = None,
    overwrite: bool = False,
    device: str = "auto",
    listener: Listener | None = None,
) -> SubmissionReport:
    """Write ``submissions/<name>.csv`` and its manifest; one made of the same is left as it is.

    Where nearly all masks are empty, or full (:data:`NEARLY_ALL`), and those of the training
    tiles are not, a warning says so.

    Args:
        workspace: Where data, runs and submissions lie.
        ensemble: Name of an ensemble; by default the one made last.
        model: A network to make one with: ``shipped``, or a folder that ``salt ship`` wrote.
        name: Name of the submission, with or without ``.csv``; by default the ensemble's.
        threshold: Instead of that of the ensemble's rule, in [0, 1].
        min_area: Instead of that of the ensemble's rule, in pixels.
        overwrite: Replace a submission of that name made of something else.
        device: Where a ``model`` runs.
        listener: Told how the work goes.

    Raises:
        ConfigError: There is no ensemble or model, or another submission has the name.
        DataError: The ids are not those of the sample submission, or the table of mosaics is not
            the one that the ensemble was made with.
    """
    listener = listener or Listener()
    competition = workspace.open(listener)
    if model is not None:
        _refuse_both(ensemble, model)
        ensemble = _predicted_by(model, workspace, competition, device, listener)
    folder = _find_ensemble(workspace, ensemble)
    made = read_ensemble(folder)
    rule = chosen_rule(folder, made, threshold, min_area)
    csv = submission_path(workspace, made["name"] if name is None else name)
    ensemble_hash = file_hash(folder / DOCUMENT)
    wanted = {"ensemble_hash": ensemble_hash, "rule": rule.as_json()}
    manifest = vouched_for(csv.with_suffix(".json"), csv, wanted=wanted, check_hash=True)
    existed = manifest is not None
    if manifest is None:
        manifest = _write(csv, folder, made, ensemble_hash, rule, competition, overwrite)
    warn_of_masks(manifest, competition, folder, listener)
    return SubmissionReport(csv, rule, manifest, existed)


def _refuse_both(ensemble: str | None, model: str) -> None:
    if ensemble is not None:
        raise ConfigError(
            f"the ensemble {ensemble} and the model {model}",
            expected="one of the two",
            next_step="leave out --ensemble, or --model",
        )


def _predicted_by(
    model: str, workspace: Workspace, competition: Competition, device: str, listener: Listener
) -> str:
    """Predict the test tiles with a network that was packed; the ensemble that it makes."""
    network = ready_run(workspace, model=model, listener=listener)
    return predict_test_tiles(workspace, network, competition, device, listener)


def _write(
    csv: Path,
    folder: Path,
    made: Mapping[str, Any],
    ensemble_hash: str,
    rule: Rule,
    competition: Competition,
    overwrite: bool,
) -> dict[str, Any]:
    again = make_ensemble_again(made)
    _require_test_predictions(folder, made)
    around = told_mosaic(made.get("mosaic"), competition, again)
    manifest = {"ensemble_hash": ensemble_hash, **_origin(made)}
    return write_submission(
        csv, predictions.load(folder / "test", next_step=again), competition.test_ids,
        rule=rule, tiles=tiles_to_submit(competition, around),
        manifest=manifest, overwrite=overwrite,
    )  # fmt: skip


def warn_of_masks(
    manifest: Mapping[str, Any], competition: Competition, folder: Path, listener: Listener
) -> None:
    """Warn of a submission that says the same of nearly every tile, unless the training masks do.

    It scores about what it would without any network, and is mostly a fault: of the rule, of a
    network that has learnt nothing, or of test tiles that look otherwise.
    """
    rows, pixels = manifest["rows"], math.prod(competition.tile_shape)
    for kind, area in (("empty", 0), ("full", pixels)):
        count = manifest[f"{kind}_masks"]
        if count < NEARLY_ALL * rows:
            continue
        training = np.mean([np.count_nonzero(mask) == area for mask in competition.masks])
        if training < NEARLY_ALL:
            listener.warn(
                f"{count} of {rows} masks are {kind}; of the training masks {training:.0%} are: "
                f"look at the rule, at {folder / 'threshold-curve.png'} and at the test tiles"
            )


def _origin(made: Mapping[str, Any]) -> dict[str, Any]:
    """What a submission's manifest repeats of its ensemble's."""
    kept = {key: made[key] for key in ("members", "data_hash", "out_of_fold")}
    return {"ensemble": made["name"], **kept}


def submission_path(workspace: Workspace, name: str) -> Path:
    """Where the submission of this name lies; a suffix ``.csv`` of the name is its own.

    Raises:
        ConfigError: It is no plain name.
    """
    stem = name[:-4] if name.lower().endswith(".csv") else name
    require_plain_name(stem, "a submission")
    return workspace.submissions / f"{stem}.csv"


def _find_ensemble(workspace: Workspace, name: str | None) -> Path:
    made = sorted(workspace.ensembles.glob(f"*/{DOCUMENT}"), key=lambda path: path.stat().st_mtime)
    if not made:
        raise ConfigError(
            f"there is no ensemble in {workspace.ensembles}",
            expected="one made by salt ensemble",
            next_step="salt ensemble",
        )
    if name is None:
        return made[-1].parent
    names = [path.parent.name for path in made]
    if name not in names:
        raise ConfigError(
            f"there is no ensemble '{name}'",
            expected=nearest(name, names),
            next_step=salt_command("submit", "--ensemble", closest(name, names) or names[-1]),
        )
    return workspace.ensembles / name


def _require_test_predictions(folder: Path, made: Mapping[str, Any]) -> None:
    """Refuse an ensemble without predictions of test tiles, or with those of another one."""
    again = make_ensemble_again(made)
    if not predictions.exists(folder / "test"):
        raise DataError(
            f"the ensemble {folder.name} has no predictions of test tiles",
            expected="an ensemble made where the test tiles and sample_submission.csv were",
            next_step="put them beside the training tiles and make the ensemble again",
        )
    if predictions.stated_hash(folder / "test", next_step=again) != made.get("test_hash"):
        raise DataError(
            f"the predictions in {folder} are not those that ensemble.json is about",
            expected="both from one call of salt ensemble",
            next_step=again,
        )


def upload(
    report: SubmissionReport, message: str = "", *, listener: Listener | None = None
) -> dict[str, Any]:
    """Send a submission to Kaggle and wait for its score.

    Args:
        report: What :func:`submit` wrote.
        message: Text beside the submission; by default its out-of-fold score.
        listener: Told that it was sent.

    Returns:
        ``status``, ``public_score`` and ``private_score``.

    Raises:
        NetworkError: No client, no token, or Kaggle refused.
    """
    out_of_fold = report.manifest["out_of_fold"]["score_cross_fitted"]
    text = message or f"{report.manifest['ensemble']}, out of fold {out_of_fold:.4f}"
    (listener or Listener()).note(f"sending {report.csv} to Kaggle")
    return dict(send(report.csv, text, DEFAULT_COMPETITION))
