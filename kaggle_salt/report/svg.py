"""A figure as inline SVG that takes colours, letters and darkness from the page around it."""

from __future__ import annotations

import io
import re
from html import escape

from matplotlib import rc_context
from matplotlib.figure import Figure

from kaggle_salt.report.drawing import BLUE, GREEN, GREY, INK, SKY, VERMILLION

#: What stands for each colour of the figures in the page's style sheet.
_VARIABLES = {
    BLUE: "blue", VERMILLION: "vermillion", GREEN: "green", GREY: "grey", INK: "ink", SKY: "sky",
    "#000000": "ink", "#FFFFFF": "paper", "#DDDDDD": "rule", "#F1F1EC": "shade",
    "#666666": "soft", "#CC79A7": "purple", "#E69F00": "orange",
}  # fmt: skip

_COLOUR = re.compile(r"#[0-9a-f]{6}\b")
_SIZE = re.compile(r'<svg [^>]*?viewBox="([^"]+)"[^>]*>')


def inline_svg(figure: Figure, key: str, title: str) -> str:
    """Draw a figure for a page.

    Text stays text. Colours of the house become variables of the style sheet (``var(--blue)``),
    and the background is left out. The same figure gives the same text.

    Args:
        figure: Drawn in the colours of :mod:`kaggle_salt.report.drawing`.
        key: What tells its ids from those of every other figure of the page.
        title: What it shows, for those who cannot see it.
    """
    figure.patch.set_visible(False)
    for axes in figure.axes:
        axes.patch.set_visible(False)
    buffer = io.StringIO()
    with rc_context({"svg.hashsalt": "salt", "svg.fonttype": "none"}):
        figure.savefig(
            buffer, format="svg", backend="svg", metadata={"Date": None, "Creator": None}
        )
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.S)
    text = re.sub(r'\bid="', f'id="figure-{key}-', text)
    text = re.sub(r'(url\(#|xlink:href="#)', rf"\g<1>figure-{key}-", text)
    text = _COLOUR.sub(lambda found: _variable(found[0]), text)
    text = re.sub(r"\s*\n\s*", "\n", text)
    head = (
        f'<svg viewBox="\\1" role="img" aria-labelledby="figure-{key}-title" '
        f'xmlns:xlink="http://www.w3.org/1999/xlink"><title id="figure-{key}-title">'
        + escape(title).replace("\\", "\\\\")
        + "</title>"
    )
    return _SIZE.sub(head, text, count=1)


def _variable(colour: str) -> str:
    name = _VARIABLES.get(colour.upper(), _VARIABLES.get(colour))
    return f"var(--{name})" if name else colour
