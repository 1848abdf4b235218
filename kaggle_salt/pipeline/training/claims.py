"""What a run's folder says of its making, and what may not be mixed with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from kaggle_salt.config.file import dump_config
from kaggle_salt.config.readers import read_part
from kaggle_salt.config.schema import Config
from kaggle_salt.errors import ConfigError, DataError
from kaggle_salt.learning.device import Compute
from kaggle_salt.pipeline.training.plan import PLAN, Plan
from kaggle_salt.runs import RunFolder
from kaggle_salt.storage.files import (
    HASH_KEY,
    file_hash,
    read_json,
    vouched,
    vouched_for,
    write_json,
)
from kaggle_salt.versions import package_versions


def refuse_both(*, resume: bool, overwrite: bool) -> None:
    """Refuse to go on with what is there and to throw it away."""
    if resume and overwrite:
        raise ConfigError(
            "--resume and --overwrite exclude each other",
            expected="one of the two",
            next_step="--resume to go on with what is there, or --overwrite to start anew",
        )


def refuse_pretext(config: Config) -> None:
    """Refuse a configuration whose stages learn nothing from masks."""
    if config.pretrains:
        raise ConfigError(
            f"pretext.name = {config.pretext.name}: these stages learn from no mask, and a fold "
            "has to",
            expected="pretext.name = none",
            next_step="another preset or file, or what is pretrained so in model.weights",
        )


def refuse_unclaimed(run: RunFolder) -> None:
    """Refuse a run with folds that lost what says of what they were made: no guess is written."""
    for path in (run.config, run.manifest):
        if not path.exists():
            raise DataError(
                f"run {run.name} has something trained in it, and no {path.name}",
                expected="the file that was written when the run was begun",
                next_step="restore it, or start a new run with --run NAME",
            )


def refuse_other_data(run: RunFolder, hashes: Mapping[str, str]) -> None:
    """Refuse to mix data in a run."""
    manifest = read_json(run.manifest)
    names = {
        "train_hash": "tiles",
        "data_hash": "tiles",
        "folds_hash": "folds",
        "pseudo_hash": "pseudo-labels",
    }
    changed = [name for key, name in names.items() if manifest.get(key) != hashes.get(key)]
    if changed:
        raise DataError(
            f"run {run.name} was trained on other {' and '.join(changed)}",
            expected="the data, folds and labels whose hashes stand in its manifest.json",
            next_step="restore them, or start a new run with --run NAME",
        )


def refuse_other_weights(
    run: RunFolder, weights: Mapping[str, Any], replaced: Sequence[int]
) -> None:
    """Refuse to begin a fold with other starting weights than the folds that stay had."""
    if not weights or not run.manifest.exists() or not set(run.claimed_folds()) - set(replaced):
        return
    before = read_json(run.manifest).get("weights_hash")
    if before not in (None, weights["weights_hash"]):
        raise ConfigError(
            f"run {run.name} was started from other weights than those now in the file",
            expected="the file whose hash stands in its manifest.json",
            next_step="restore it, or start a new run with --run NAME",
        )


def claim(
    run: RunFolder,
    config: Config,
    hashes: Mapping[str, Any],
    plan: Plan | None,
    compute: Compute,
    because: str,
    kind: str = "",
) -> None:
    """Write configuration and manifest together, for a run in which nothing is trained.

    Args:
        run: The run's folder, which the caller owns (see :mod:`kaggle_salt.storage.lease`).
        config: What will be trained.
        hashes: What the manifest says of the data, and of the weights it starts from.
        plan: How it was fitted to a budget, if it was.
        compute: Where it will be trained.
        because: Why this preset, where nobody named one.
        kind: Of the run, where it is none of folds.
    """
    asked = f"# planned for {plan.asked} a fold: see manifest.json\n" if plan else ""
    text = asked + dump_config(config)
    before = vouched_for(run.manifest, run.config, wanted={}, check_hash=False)
    told = before if before and run.config.read_text(encoding="utf-8") == text else {}
    because = because or told.get("chosen_because", "")
    manifest = {
        "run": run.name,
        **({"kind": kind} if kind else {}),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        **({"chosen_because": because} if because else {}),
        "seed": config.training.seed,
        **hashes,
        **({PLAN: plan.to_manifest()} if plan else {}),
        "compute": str(compute),
        "versions": package_versions(),
        "config": read_part(config),
    }
    if told:  # at no instant gone: other folds may begin beside this one
        write_json(run.manifest, {**manifest, HASH_KEY: file_hash(run.config)})
        return
    with vouched(run.manifest, run.config) as draft:
        draft.paths[0].write_text(text, encoding="utf-8", newline="\n")
        draft.document.update(manifest)
