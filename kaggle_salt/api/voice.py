"""What a notebook is told while a function works."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kaggle_salt.pipeline.workspace import Listener


def listener_for(verbose: bool) -> Listener:
    """Prints plain lines, which a notebook shows as they come; or nothing but warnings."""
    from kaggle_salt.pipeline.lines import Lines, WarningLines

    def say(text: str) -> None:
        print(text, flush=True)

    return Lines(say) if verbose else WarningLines(say)
