"""How a call that fails ends: three plain lines, a JSON document beside them, an exit code."""

from __future__ import annotations

import platform
import shlex
import traceback
from collections.abc import Sequence

from kaggle_salt.cli.output import emit
from kaggle_salt.errors import SaltError, reason


class UnforeseenError(SaltError):
    """A fault of the program itself."""


def report(error: SaltError, words: Sequence[str], *, debug: bool = False) -> int:
    """Show an error on stderr, with ``--json`` also as one document on stdout.

    Args:
        error: What went wrong.
        words: The command line.
        debug: Show the traceback, too.

    Returns:
        The exit code.
    """
    from kaggle_salt.cli.console import ConsoleListener

    close_bar()
    if debug:
        shown = error.__cause__ if isinstance(error, UnforeseenError) else error
        traceback.print_exception(shown or error)
    if not debug or isinstance(error, UnforeseenError):
        ConsoleListener().error(error)
    if "--json" in words:
        parts = {"found": error.found, "expected": error.expected, "next": error.next_step}
        emit({"error": {**parts, "exit_code": error.exit_code}})
    return error.exit_code


def file_trouble(error: OSError) -> SaltError:
    """A full disk, a missing permission: what the system says of it."""
    return SaltError(
        f"{type(error).__name__}: {error}",
        expected="files and folders that can be read and written, and room on the disk",
        next_step="mend that and run the same command again",
    )


def unforeseen(error: Exception, words: Sequence[str]) -> SaltError:
    """The last resort: what to send to those who can mend it."""
    wrapped = UnforeseenError(
        f"salt itself is at fault: {reason(error)}",
        expected="another message than this one, whatever the input",
        next_step="report it with all that this shows: "
        f"{shlex.join(['salt', '--debug', *words])}\nversions: {_versions()}",
    )
    wrapped.__cause__ = error
    return wrapped


def _versions() -> str:
    from kaggle_salt.versions import package_versions

    packages = ", ".join(f"{name} {number}" for name, number in package_versions().items())
    return f"Python {platform.python_version()} on {platform.system()}, {packages}"


def close_bar() -> None:
    """Take the bar off the terminal, if there is one."""
    from kaggle_salt.cli.console import ConsoleListener

    ConsoleListener.close_bar()
