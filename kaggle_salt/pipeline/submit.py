"""``salt submit``: an ensemble's test probabilities as a CSV that Kaggle accepts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kaggle_salt import predictions
from kaggle_salt.competition.decision import nearest_level
from kaggle_salt.competition.kaggle_client import DEFAULT_COMPETITION
from kaggle_salt.competition.kaggle_client import upload as send
from kaggle_salt.competition.submission import write_submission
from kaggle_salt.errors import ConfigError, DataError, nearest
from kaggle_salt.pipeline.workspace import Listener, Workspace, require_plain_name
from kaggle_salt.runs import file_hash, read_json


@dataclass(frozen=True)
class SubmissionReport:
    """A submission on disk: its CSV and what its manifest says."""

    csv: Path
    manifest: dict[str, Any]
    existed: bool


def submit(
    workspace: Workspace,
    *,
    ensemble: str | None = None,
    name: str | None = None,
    threshold: float | None = None,
    min_area: int | None = None,
    overwrite: bool = False,
    listener: Listener | None = None,
) -> SubmissionReport:
    """Write ``submissions/<name>.csv`` and its manifest; one made of the same is left as it is.

    Args:
        workspace: Where data, runs and submissions lie.
        ensemble: Name of an ensemble; by default the one made last.
        name: Name of the submission; by default the ensemble's.
        threshold: Instead of the ensemble's own, in [0, 1].
        min_area: Instead of the ensemble's own, in pixels.
        overwrite: Replace a submission of that name made of something else.
        listener: Told how the work goes.

    Raises:
        ConfigError: There is no ensemble, or another submission has the name.
        DataError: The ids are not those of the sample submission.
    """
    competition = workspace.open(listener or Listener())
    folder = _find_ensemble(workspace, ensemble)
    made = read_json(folder / "ensemble.json")
    decision = made["decision"]
    level = decision["level"] if threshold is None else nearest_level(threshold)
    min_area = decision["min_area"] if min_area is None else min_area
    csv = _csv_path(workspace, made["name"] if name is None else name)
    ensemble_hash = file_hash(folder / "ensemble.json")
    same = _same_submission(csv, ensemble_hash, level, min_area)
    if same is not None:
        return SubmissionReport(csv, same, existed=True)
    _require_test_predictions(folder)
    manifest = {
        "ensemble": made["name"],
        "ensemble_hash": ensemble_hash,
        "members": made["members"],
        "data_hash": made["data_hash"],
        "threshold": level / 255,
        "out_of_fold": made["out_of_fold"],
    }
    written = write_submission(
        csv, predictions.load(folder / "test"), competition.test_ids,
        level=level, min_area=min_area, manifest=manifest, overwrite=overwrite,
    )  # fmt: skip
    return SubmissionReport(csv, written, existed=False)


def _csv_path(workspace: Workspace, name: str) -> Path:
    require_plain_name(name, "a submission")
    return workspace.submissions / f"{name}.csv"


def _find_ensemble(workspace: Workspace, name: str | None) -> Path:
    made = sorted(
        workspace.ensembles.glob("*/ensemble.json"), key=lambda path: path.stat().st_mtime
    )
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
            next_step=f"salt submit --ensemble {names[-1]}",
        )
    return workspace.ensembles / name


def _require_test_predictions(folder: Path) -> None:
    if not predictions.exists(folder / "test"):
        raise DataError(
            f"the ensemble {folder.name} has no predictions of test tiles",
            expected="an ensemble made where the test tiles and sample_submission.csv were",
            next_step="put them beside the training tiles and make the ensemble again",
        )


def _same_submission(
    csv: Path, ensemble_hash: str, level: int, min_area: int
) -> dict[str, Any] | None:
    """Manifest of the submission at ``csv`` if it is whole and was made of the same."""
    manifest_path = csv.with_suffix(".json")
    if not (csv.exists() and manifest_path.exists()):
        return None
    manifest = read_json(manifest_path)
    wanted = {"ensemble_hash": ensemble_hash, "level": level, "min_area": min_area}
    same = all(manifest.get(key) == value for key, value in wanted.items())
    return manifest if same and manifest.get("csv_sha256") == file_hash(csv) else None


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
