"""The ``salt`` command: parse, call one function, print. The only package that prints or exits.

Heavy imports stand inside the commands, so that ``salt --help`` answers at once.
"""

from kaggle_salt.cli import prepare_commands, preset_commands, train_commands
from kaggle_salt.cli.app import app

# isort: split
from kaggle_salt.cli import run_commands  # after train: the help names the commands in this order

# isort: split
from kaggle_salt.cli import (
    blend_commands,
    compare_commands,
    doctor_commands,
    export_commands,
    mosaic_commands,
    predict_commands,
    pretrain_commands,
    pseudo_commands,
    report_commands,
    tune_commands,
)

__all__ = [
    "app",
    "blend_commands",
    "compare_commands",
    "doctor_commands",
    "export_commands",
    "main",
    "mosaic_commands",
    "predict_commands",
    "prepare_commands",
    "preset_commands",
    "pretrain_commands",
    "pseudo_commands",
    "report_commands",
    "run_commands",
    "train_commands",
    "tune_commands",
]


def main() -> None:
    """Entry point of the console script."""
    app()
