"""From Kaggle's tiles to a checked submission, with a score that can be trusted."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("kaggle-salt")
except PackageNotFoundError:  # imported from a source tree that was never installed
    __version__ = "0+unknown"
