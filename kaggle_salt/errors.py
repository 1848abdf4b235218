"""Errors a person can act on: what was found, what was expected, what to do next."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Iterable
from typing import ClassVar

#: Characters of a value that a message shows.
LONGEST_VALUE = 60


class SaltError(Exception):
    """Base of every error the toolkit raises on purpose.

    Args:
        found: What is wrong, with the value or path that is wrong.
        expected: What would have been right.
        next_step: The command or edit that mends it.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, found: str, *, expected: str = "", next_step: str = "") -> None:
        self.found = found
        self.expected = expected
        self.next_step = next_step
        lines = [found]
        if expected:
            lines.append(f"expected: {expected}")
        if next_step:
            lines.append(f"next: {next_step}")
        super().__init__("\n".join(lines))


class TrainingError(SaltError):
    """Training or prediction failed at run time."""


class BusyError(SaltError):
    """Another process writes, or has taken over, what this one was to write."""


class ConfigError(SaltError):
    """A preset, key, value or option that cannot be used."""

    exit_code = 2


class DataError(SaltError):
    """Files that are missing, damaged or contradict each other."""

    exit_code = 3


class RleError(DataError):
    """A run-length string that Kaggle would refuse or misread."""


class NetworkError(SaltError):
    """Something that had to come over the network, or the credentials for it, is missing."""

    exit_code = 4


def salt_command(*words: object) -> str:
    """A ``salt`` command for an error's next step, quoted so that it can be pasted.

    It names the run, the fold and the file that it is to change: what it leaves out is another's.
    Where the data lie and on which device to compute, the command line adds itself.
    """
    return shlex.join(["salt", *map(str, words)])


def shortened(text: str) -> str:
    """What files or callers hold, as far as it fits into a message."""
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}..."


def reason(error: BaseException) -> str:
    """A foreign error in one short line: its kind and the first sentence of its message."""
    sentence = str(error).strip().partition("\n")[0].partition(". ")[0]
    return f"{type(error).__name__}: {sentence}" if sentence else type(error).__name__


def nearest(name: str, known: Iterable[str]) -> str:
    """Say which known name was probably meant, for the end of an error message.

    Returns:
        ``"did you mean 'x'?"``, or the whole list where nothing is close.
    """
    choices = sorted(known)
    close = closest(name, choices)
    return f"did you mean '{close}'?" if close else "one of " + ", ".join(choices)


def closest(name: str, known: Iterable[str]) -> str | None:
    """The known name that was probably meant; None where nothing is close."""
    return next(iter(difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.6)), None)
