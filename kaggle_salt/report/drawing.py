"""What all pictures share: colours, sizes of letters, and how a figure becomes a file.

The figures are built without pyplot, so that nothing is shared between two of them and no
display is needed. The colours are Okabe and Ito's, which colour-blind readers can tell apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib import rc_context
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kaggle_salt.storage.files import atomic_path

BLUE, VERMILLION, GREEN, GREY, INK = "#0072B2", "#D55E00", "#009E73", "#8A8A8A", "#222222"
SKY = "#56B4E9"
DOTS_PER_INCH = 150
TITLE_SIZE, LABEL_SIZE, SMALL_SIZE = 14, 11.5, 10.5  # points


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, or as SVG where the name ends so, atomically.

    The same figure gives the same bytes.
    """
    if path.suffix.lower() == ".svg":
        kind, backend, metadata = "svg", "svg", {"Date": None, "Creator": None}
    else:
        kind, backend, metadata = "png", "agg", {"Software": None}
    # an SVG's ids are hashes, salted at random unless a salt is given
    with atomic_path(path) as temporary, rc_context({"svg.hashsalt": "salt"}):
        figure.savefig(
            temporary, format=kind, dpi=DOTS_PER_INCH, facecolor="white", backend=backend,
            metadata=metadata,
        )  # fmt: skip


def clean(axes: Axes) -> None:
    """Give a panel the house's look: two spines, a light grid."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#DDDDDD", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=SMALL_SIZE, colors=INK)


def draw_legend(figure: Figure, handles: Sequence[Artist]) -> None:
    """One legend below all panels, where it can hide no line."""
    figure.legend(
        handles=handles, loc="outside lower center", ncols=len(handles), frameon=False,
        fontsize=SMALL_SIZE,
    )  # fmt: skip


# Learning curve
