"""The page that goes with a packed network: what it is, how good, and what it is not for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kaggle_salt.competition.decision import Rule

_CARD = """\
# {name}: a network that finds salt in seismic tiles

{megabytes:.1f} MB, fold {fold} of the run {run}; `config.toml` describes it, and `manifest.json`
says what it was made of.

    salt predict IMAGE --model {name}
    salt submit --model {name}

## What it takes and gives

Grey or coloured images of a seismic section, best at the scale of its training tiles, which are
{height} x {width} pixels. It gives the probability of salt for every pixel. Masks are made by the
rule *{rule}*, chosen out of fold.

## How good it is

- On {tiles} tiles that it has not seen, by that rule: {packed_score:.4f} (competition score).
  Before its weights were rounded to float16: {score:.4f}; {changed:.2%} of the pixels changed.
- The run it comes from, out of fold over {run_tiles} tiles: {cross_fitted}, the rule chosen on the
  other tiles each time.
{caveats}{teachers}
## What it learnt from

The training tiles of the TGS Salt Identification Challenge{unlabelled}.
SHA-256 of the tiles: `{train_hash}`.

## What it must not be used for

- Decisions about drilling, safety or money. It has seen one survey's tiles, at one scale and one
  processing; on others its probabilities are not calibrated, and nobody has measured its error.
- Depths or volumes: it sees pixels, and knows neither metres nor feet.
- A benchmark of the challenge's training tiles: it has seen all of them but one fold's.

## Terms

The code is under the MIT licence. The tiles are TGS's, under the
[rules of the challenge](https://www.kaggle.com/c/tgs-salt-identification-challenge/rules), which
bind whoever uses what was made of them: read them before you use this network outside it.
"""


def model_card(manifest: Mapping[str, Any], made: Mapping[str, Any], megabytes: float) -> str:
    """The model card of a packed network, in Markdown.

    Args:
        manifest: Of the network, as ``salt ship`` writes it.
        made: The ``ensemble.json`` of the run it comes from.
        megabytes: Size of its weights.
    """
    compared = manifest["compared"]
    height, width = manifest["tile_shape"]
    teachers = manifest["teachers"]
    return _CARD.format(
        name=manifest["run"],
        megabytes=megabytes,
        run=manifest["packed_from"]["run"],
        fold=manifest["packed_from"]["fold"],
        height=height,
        width=width,
        rule=Rule.from_json(made["decision"]["rule"]),
        tiles=compared["tiles"],
        score=compared["score"],
        packed_score=compared["packed_score"],
        changed=compared["changed_pixels"],
        run_tiles=made["out_of_fold"]["tiles"],
        cross_fitted=_score_text(made["out_of_fold"]),
        caveats="".join(f"- {caveat}.\n" for caveat in made["out_of_fold"]["caveats"]),
        teachers=_teachers_text(teachers),
        unlabelled=", and test tiles as its teachers labelled them"
        if manifest.get("pseudo_teachers")
        else "",
        train_hash=manifest.get("train_hash"),
    )


def _score_text(out_of_fold: Mapping[str, Any]) -> str:
    low, high = out_of_fold["interval_cross_fitted"]
    return f"{out_of_fold['score_cross_fitted']:.4f} [{low:.4f}, {high:.4f}]"


def _teachers_text(teachers: Mapping[str, Any] | None) -> str:
    if teachers is None:
        return ""
    score = _score_text(teachers["out_of_fold"])
    return f"- Its teachers, the ensemble {teachers['ensemble']}, out of fold: {score}.\n"
