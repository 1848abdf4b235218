"""Names of runs, ensembles and submissions: each is one folder or file of its own."""

from __future__ import annotations

from kaggle_salt.errors import ConfigError, shortened

#: Bytes of the longest name: file systems take 255, and there are endings to add.
LONGEST_NAME = 200


def require_plain_name(name: str, what: str) -> None:
    """Refuse a name that would not be one folder or file of its own.

    Args:
        name: Name of a run, an ensemble or a submission.
        what: Which of them, with its article, for the message.

    Raises:
        ConfigError: The name is empty, hidden, a path, too long, or has what no line can show.
    """
    fits = len(name.encode(errors="replace")) <= LONGEST_NAME and name.isprintable()
    if not name or name.startswith(".") or "/" in name or "\\" in name or not fits:
        raise ConfigError(
            f"{what} cannot be called {shortened(repr(name))}",
            expected="a plain name, without slashes and without a dot in front, "
            f"of {LONGEST_NAME} bytes at most",
            next_step="choose another name",
        )
