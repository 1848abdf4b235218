"""``salt import-predictions``: probabilities that other tools made, as a member of ensembles.

They become a run without networks: ``runs/<name>/oof.*`` and ``test.*`` for all folds at once,
and a manifest of the kind ``foreign``, which is written last. That the out-of-fold ones are out of
fold is the user's word.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kaggle_salt import predictions
from kaggle_salt.competition.archive import shortlist
from kaggle_salt.competition.decision import DEFAULT_LEVEL, LEVELS
from kaggle_salt.competition.metric import image_scores
from kaggle_salt.competition.tiles import Competition
from kaggle_salt.errors import ConfigError, DataError, reason, salt_command
from kaggle_salt.pipeline.choose import RESERVED_NAMES
from kaggle_salt.pipeline.workspace import Listener, Workspace
from kaggle_salt.predictions import Predictions, blocks, map_array
from kaggle_salt.runs import FOREIGN, RunFolder, find_run
from kaggle_salt.storage.files import file_hash, vouched_for, write_json
from kaggle_salt.storage.reading import parse, read_bytes

_KINDS = f"uint8 from 0 to {LEVELS - 1}, or floats from 0 to 1"


@dataclass(frozen=True)
class GivenFiles:
    """What another tool wrote: probabilities ``.npy`` ``[N, H, W]``, and the id of each tile."""

    oof: Path
    oof_ids: Path
    test: Path | None = None
    test_ids: Path | None = None


@dataclass(frozen=True)
class ForeignReport:
    """A run of imported predictions, and what its manifest says."""

    run: RunFolder
    manifest: dict[str, Any]
    existed: bool


def import_predictions(
    workspace: Workspace,
    name: str,
    given: GivenFiles,
    *,
    overwrite: bool = False,
    listener: Listener | None = None,
) -> ForeignReport:
    """Make a run of probabilities that another tool made; the same again is left as it is.

    Args:
        workspace: Where data and runs lie.
        name: Name of the run.
        given: Every training tile, predicted by networks that had not seen it, and every test
            tile, in any order: uint8 (probability = value / 255), or floats from 0 to 1 of any
            type, which are rounded to the nearest of these, halves downwards.
        overwrite: Replace other imported predictions of that name; never a trained run.
        listener: Told how the work goes.

    Raises:
        ConfigError: The name cannot be used or is taken, or test predictions are lacking.
        DataError: A file cannot be read, values or shapes are not as they should be, or ids are
            missing, unknown or come twice; nothing is written then.
    """
    run = find_run(workspace.runs, name)
    competition = workspace.open(listener or Listener())
    _refuse_wrong_halves(given, competition)
    hashes = {"train_hash": competition.train_hash, "test_hash": competition.test_hash}
    sources = {part: file_hash(path) for part, path in _paths(given).items()}
    wanted = {"kind": FOREIGN, **hashes, "sources": sources}
    written = [run.oof, run.test] if given.test else [run.oof]
    there = all(map(predictions.exists, written))
    same = vouched_for(run.manifest, wanted=wanted, check_hash=False) if there else None
    if same is not None:
        return ForeignReport(run, same, existed=True)
    _refuse_taken(run, overwrite=overwrite)
    return ForeignReport(run, _write_run(run, given, competition, wanted), existed=False)


def import_beside(name: str, competition: Competition) -> str:
    """How to take predictions of another tool for these tiles, beside those called ``name``."""
    train = ["--oof", "OOF.npy", "--oof-ids", "OOF.csv"]
    test = ["--test", "TEST.npy", "--test-ids", "TEST.csv"] if competition.test_ids else []
    return salt_command("import-predictions", f"{name}-2", *train, *test)


def import_again(run: RunFolder) -> str:
    """How damaged predictions of another tool are replaced."""
    return f"import the files again that {run.manifest} names, with --overwrite"


def _write_run(
    run: RunFolder, given: GivenFiles, competition: Competition, wanted: dict[str, Any]
) -> dict[str, Any]:
    """Look through all files, then write the predictions, and last the manifest."""
    shape = competition.tile_shape
    parts = {run.oof: _open(given.oof, given.oof_ids, competition.ids, shape)}
    if given.test and given.test_ids:
        parts[run.test] = _open(given.test, given.test_ids, competition.test_ids, shape)
    run.manifest.unlink(missing_ok=True)  # it would vouch for other probabilities
    for stem, (ids, values) in parts.items():
        _write(stem, ids, values, wanted)
    manifest = {
        "run": run.name,
        **wanted,
        "files": {part: path.name for part, path in _paths(given).items()},
        "tiles": {"oof": len(competition.ids), "test": len(competition.test_ids)},
        "score_at_half": _score(predictions.load(run.oof), competition),
    }
    write_json(run.manifest, manifest)
    return manifest


def _paths(given: GivenFiles) -> dict[str, Path]:
    """The files that were given, by what they are."""
    parts = {
        "oof": given.oof, "oof_ids": given.oof_ids, "test": given.test, "test_ids": given.test_ids,
    }  # fmt: skip
    there = {part: path for part, path in parts.items() if path is not None}
    for path in there.values():
        if not path.is_file():
            raise DataError(
                f"there is no file {path}",
                expected="predictions as .npy, ids as .json, .csv or .txt",
                next_step="mend the path",
            )
    return there


def _refuse_wrong_halves(given: GivenFiles, competition: Competition) -> None:
    has_tiles = bool(competition.test_ids)
    if (given.test is not None, given.test_ids is not None) != (has_tiles, has_tiles):
        found = "without" if has_tiles else "with"
        raise ConfigError(
            f"predictions {found} --test or --test-ids; "
            f"there are {len(competition.test_ids)} test tiles",
            expected="both where the competition has test tiles, neither where it has none",
            next_step="--test TEST.npy --test-ids IDS.csv" if has_tiles else "leave them out",
        )


def _refuse_taken(run: RunFolder, *, overwrite: bool) -> None:
    trained = run.config.exists() or bool(run.claimed_folds()) or run.name in RESERVED_NAMES
    if trained or (run.manifest.exists() and not overwrite):
        what = "is not one of imported predictions" if trained else "holds other predictions"
        raise ConfigError(
            f"run {run.name} exists in {run.path.parent} and {what}",
            expected="a new name",
            next_step="another NAME" + ("" if trained else ", or --overwrite to replace them"),
        )


def _open(
    path: Path, ids_path: Path, wanted: Sequence[str], shape: tuple[int, int]
) -> tuple[Sequence[str], NDArray[Any]]:
    """Ids and probabilities, mapped, if they are of all these tiles and in range."""
    ids = _read_ids(ids_path)
    _refuse_other_ids(ids, wanted, ids_path)
    try:
        values = map_array(path)
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path} cannot be read: {reason(error)}",
            expected="an array written by numpy.save",
            next_step=f"write {path.name} again",
        ) from error
    is_known = values.dtype.kind in "fu"
    if not is_known or (values.dtype.kind == "u" and values.dtype != np.uint8):
        raise _unusable(path, f"is {values.dtype}", _KINDS)
    if values.shape != (len(ids), *shape):
        expected = f"{[len(ids), *shape]}: a map for each id, of the size of the tiles"
        raise _unusable(path, f"has the shape {list(values.shape)}", expected)
    _refuse_wrong_values(path, ids, values)
    return ids, values


def _read_ids(path: Path) -> tuple[str, ...]:
    """Ids in their order: a JSON list, or one a line, with a header ``id`` or without."""
    expected = "a .json list of ids, or a .csv or .txt with one id a line"
    try:
        text = read_bytes(path).decode("utf-8-sig")
        if path.suffix == ".json":
            ids = parse(json.loads, text)
            fits = isinstance(ids, list) and all(isinstance(tile, str) for tile in ids)
        else:
            rows = [row for row in csv.reader(text.splitlines()) if row]
            fits = all(len(row) == 1 for row in rows)
            ids = [row[0].strip() for row in rows]
            ids = ids[1:] if ids[:1] == ["id"] else ids
    except (OSError, ValueError, csv.Error) as error:
        raise _unusable(path, f"cannot be read: {reason(error)}", expected) from error
    if not fits:
        raise _unusable(path, "holds something other than ids", expected)
    return tuple(ids)


def _refuse_other_ids(ids: Sequence[str], wanted: Sequence[str], path: Path) -> None:
    faults = []
    if missing := sorted(set(wanted) - set(ids)):
        faults.append(f"lacks {len(missing)} of {len(wanted)} tiles: {shortlist(missing)}")
    if strangers := sorted(set(ids) - set(wanted)):
        faults.append(f"names {len(strangers)} unknown tiles: {shortlist(strangers)}")
    if len(set(ids)) < len(ids):
        seen: set[str] = set()
        twice = [tile for tile in ids if tile in seen or seen.add(tile)]  # type: ignore[func-returns-value]
        faults.append(f"names {shortlist(twice)} more than once")
    if faults:
        raise _unusable(path, " and ".join(faults), "each tile of the competition, once")


def _refuse_wrong_values(path: Path, ids: Sequence[str], values: NDArray[Any]) -> None:
    highest = 0.0
    for block in blocks(values):
        part = values[block]
        if values.dtype != np.uint8:
            with np.errstate(invalid="ignore"):
                right = (part >= 0) & (part <= 1)  # nan is neither
            if not right.all():
                row, *_ = np.argwhere(~right)[0].tolist()
                value = part[~right][0]
                raise _unusable(
                    path,
                    f"holds {value:g} in tile {ids[block.start + row]}",
                    _KINDS + ": logits go through a sigmoid first",
                )
        highest = max(highest, float(part.max(initial=0)))
    if values.dtype == np.uint8 and highest == 1:
        raise _unusable(path, "is uint8 and holds nothing above 1", _KINDS + ": is it a mask?")


def _unusable(path: Path, found: str, expected: str) -> DataError:
    return DataError(f"{path} {found}", expected=expected, next_step=f"write {path.name} anew")


def _write(stem: Path, ids: Sequence[str], values: NDArray[Any], origin: dict[str, Any]) -> None:
    manifest = {"kind": FOREIGN, "run": stem.parent.name, "sources": origin["sources"]}
    with predictions.create(stem, ids, values.shape[1:], manifest) as out:
        for block in blocks(out, values):
            part = values[block]
            # halves downwards: .5 is level 127, which is not above threshold .5
            out[block] = part if part.dtype == np.uint8 else _levels(part)


def _levels(part: NDArray[Any]) -> NDArray[np.uint8]:
    scaled = part.astype(np.float64) * (LEVELS - 1)
    return np.ceil(scaled - 0.5).astype(np.uint8)


def _score(oof: Predictions, competition: Competition) -> float:
    """Score at threshold .5, the mean over all training tiles."""
    row_of = {tile: row for row, tile in enumerate(competition.ids)}
    rows = np.array([row_of[tile] for tile in oof.ids])
    scores = [
        image_scores(competition.masks[rows[block]], oof.probabilities[block] > DEFAULT_LEVEL)
        for block in blocks(oof.probabilities, competition.masks)
    ]
    return float(np.concatenate(scores).mean())
