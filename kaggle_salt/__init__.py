"""From Kaggle's tiles to a checked submission, with a score that can be trusted.

What a notebook or a script needs is here: ``from kaggle_salt import train``. Importing the
package loads none of it; each name is fetched from its module when it is first asked for.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kaggle_salt.api.comparing import compare, list_runs, sweep
    from kaggle_salt.api.outputs import export, predict, predict_survey, submit
    from kaggle_salt.api.pretraining import pretrain
    from kaggle_salt.api.reporting import look, make_report
    from kaggle_salt.api.training import (
        check_data,
        ensemble,
        load_preset,
        make_folds,
        pseudo_label,
        train,
    )
    from kaggle_salt.competition.metric import image_scores, score
    from kaggle_salt.competition.rle import decode, encode, encode_batch
    from kaggle_salt.competition.tiles import Competition
    from kaggle_salt.errors import SaltError
    from kaggle_salt.pipeline.health.doctor import diagnose
    from kaggle_salt.pipeline.workspace import Workspace
    from kaggle_salt.predictions import Predictions
    from kaggle_salt.synthetic.kaggle_files import write_demo_competition

    __version__: str

__all__ = [
    "Competition",
    "Predictions",
    "SaltError",
    "Workspace",
    "__version__",
    "check_data",
    "compare",
    "decode",
    "diagnose",
    "encode",
    "encode_batch",
    "ensemble",
    "export",
    "image_scores",
    "list_runs",
    "load_preset",
    "look",
    "make_folds",
    "make_report",
    "predict",
    "predict_survey",
    "pretrain",
    "pseudo_label",
    "score",
    "submit",
    "sweep",
    "train",
    "write_demo_competition",
]

#: The modules that hold them.
_HOMES = {
    "api.training": (
        "check_data", "ensemble", "load_preset", "make_folds", "pseudo_label", "train",
    ),
    "api.comparing": ("compare", "list_runs", "sweep"),
    "api.outputs": ("export", "predict", "predict_survey", "submit"),
    "api.pretraining": ("pretrain",),
    "api.reporting": ("look", "make_report"),
    "competition.metric": ("image_scores", "score"),
    "competition.rle": ("decode", "encode", "encode_batch"),
    "competition.tiles": ("Competition",),
    "errors": ("SaltError",),
    "pipeline.health.doctor": ("diagnose",),
    "pipeline.workspace": ("Workspace",),
    "predictions": ("Predictions",),
    "synthetic.kaggle_files": ("write_demo_competition",),
}  # fmt: skip


def __getattr__(name: str) -> object:
    if name == "__version__":
        value: object = _version()
    else:
        homes = [home for home, names in _HOMES.items() if name in names]
        if not homes:
            raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
        from importlib import import_module

        value = getattr(import_module(f"{__name__}.{homes[0]}"), name)
    globals()[name] = value  # asked for once
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("kaggle-salt")
    except PackageNotFoundError:  # imported from a source tree that was never installed
        return "0+unknown"
