"""The ``salt`` command: parse, call one function, print. The only package that prints or exits.

Heavy imports stand inside the commands, so that ``salt --help`` answers at once.
"""

from kaggle_salt.cli import prepare, presets, run
from kaggle_salt.cli.app import app

# isort: split
from kaggle_salt.cli import pseudo, tune  # after run: the help names the commands in this order

__all__ = ["app", "main", "prepare", "presets", "pseudo", "run", "tune"]


def main() -> None:
    """Entry point of the console script."""
    app()
