"""A report as one HTML file: styles, script, figures and thumbnails inside, nothing fetched."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from html import unescape
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from kaggle_salt.report.charts import area_figure, calibration_figure, epochs_figure
from kaggle_salt.report.curves import learning_figure, threshold_figure
from kaggle_salt.report.facts import Facts, FoldFacts, Judged, Scored
from kaggle_salt.report.gallery import SORTS, gallery_parts
from kaggle_salt.report.svg import inline_svg

_MADE_FOR = re.compile(
    r'<meta name="salt-report" content="(?P<kind>run|ensemble) (?P<name>[^"]*)">'
)


def render(facts: Facts) -> str:
    """Make the page; the same facts give the same text."""
    pages = Environment(
        loader=PackageLoader("kaggle_salt.report", "pages"),
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    pages.filters |= {"score": _score, "interval": _interval, "share": _share, "time": _time}
    judged = facts.judged
    return pages.get_template("report.html.j2").render(
        facts=facts,
        judged=judged,
        style=_verbatim(pages, "report.css"),
        script=_verbatim(pages, "report.js"),
        curves=_training_figures(facts.folds),
        figures=_judged_figures(judged) if judged else {},
        gallery=gallery_parts(judged.gallery) if judged else None,
        sorts=SORTS,
        scale=_scale,
        finished=[one for one in facts.folds if one.state == "finished"],
        seconds=sum(one.seconds for one in facts.folds),
    )


def made_for(text: str) -> tuple[str, str] | None:
    """Kind and name of what a page is a report of; None for anything else."""
    found = _MADE_FOR.search(text[:2000])
    return (found["kind"], unescape(found["name"])) if found else None


def _verbatim(pages: Environment, name: str) -> Markup:
    assert pages.loader is not None
    return Markup(pages.loader.get_source(pages, name)[0])


# Figures


def _training_figures(folds: Sequence[FoldFacts]) -> dict[str, Any]:
    """All folds in one picture where there are several, and each fold of a single run alone."""
    drawn = [one for one in folds if one.history is not None]
    if not drawn:
        return {"all": None, "each": []}
    together = None
    if len(drawn) > 1:
        told = f"Validation score and learning rate of {len(drawn)} folds, epoch by epoch"
        together = Markup(inline_svg(epochs_figure(drawn), "epochs", told))
    each = []
    if len({one.run for one in drawn}) == 1:
        for one in drawn:
            assert one.history is not None
            told = f"Fold {one.fold}: validation score, losses and learning rate, epoch by epoch"
            figure = inline_svg(learning_figure(one.history), f"fold{one.fold}", told)
            each.append((one, Markup(figure)))
    return {"all": together, "each": each}


def _judged_figures(judged: Judged) -> dict[str, Markup]:
    decision = judged.decision
    threshold = threshold_figure(
        judged.curve, chosen_threshold=decision.rule.threshold, chosen_score=decision.score,
        interval=decision.interval,
    )  # fmt: skip
    told = {
        "threshold": (threshold, "Mean score at every threshold, the whole range and a close-up"),
        "areas": (
            area_figure(judged.areas, decision.rule),
            "Map of the mean score over threshold and minimum area",
        ),
        "calibration": (
            calibration_figure(judged.calibration),
            "Observed share of salt against the stated probability, and pixels stating it",
        ),
    }
    return {key: Markup(inline_svg(figure, key, text)) for key, (figure, text) in told.items()}


def _scale(rows: Sequence[Scored]) -> dict[str, Any]:
    """Ends of an axis that holds the intervals of some rows, and where on it a score lies."""
    low = math.floor(10 * min(row.interval[0] for row in rows) - 1e-9) / 10
    high = math.ceil(10 * max(row.interval[1] for row in rows) + 1e-9) / 10
    low, high = max(low, 0.0), min(max(high, low + 0.1), 1.0)
    low = min(low, high - 0.1)

    def place(score: float) -> str:
        return f"{100 * min(max((score - low) / (high - low), 0), 1):.2f}%"

    return {"low": f"{low:.1f}", "high": f"{high:.1f}", "place": place}


# Numbers


def _score(value: float) -> str:
    return f"{value:.4f}"


def _interval(interval: tuple[float, float]) -> str:
    return f"{interval[0]:.4f} to {interval[1]:.4f}"


def _share(value: float, digits: int = 0) -> str:
    return f"{100 * value:.{digits}f} %"


def _time(seconds: float) -> str:
    """For people: ``2 h 05 min``, ``12 min`` or ``40 s``."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min"
