"""The ``salt`` command: parse, call one function, print. The only package that prints or exits.

Heavy imports stand inside the commands, so that ``salt --help`` answers at once.
"""

from kaggle_salt.cli import prepare, run
from kaggle_salt.cli.app import app

__all__ = ["app", "main", "prepare", "run"]


def main() -> None:
    """Entry point of the console script."""
    app()
