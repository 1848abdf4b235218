"""The Typer application, its errors and exit codes."""

from __future__ import annotations

import functools
import traceback
from collections.abc import Callable
from typing import Annotated, ParamSpec

import typer

from kaggle_salt.cli.options import Debug
from kaggle_salt.errors import SaltError

P = ParamSpec("P")

app = typer.Typer(
    name="salt",
    help="From Kaggle's salt tiles to a checked submission.\n\n"
    "In a folder that holds data/:  salt make-folds;  salt train --fold 0;  "
    "salt ensemble && salt submit.  No data yet?  salt download, or salt demo.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


class _State:
    debug = False


def command(
    name: str, group: typer.Typer = app
) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """Register a command of ``salt``, or of one of its groups, with :func:`guarded`."""

    def register(function: Callable[P, None]) -> Callable[P, None]:
        return group.command(name)(guarded(name, function))

    return register


def guarded(name: str, function: Callable[P, None]) -> Callable[P, None]:
    """A command whose errors end in plain words and the right exit code."""

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            function(*args, **kwargs)
        except SaltError as error:
            raise typer.Exit(_report(error)) from None
        except BrokenPipeError:  # the reader of stdout has seen enough
            raise
        except OSError as error:
            raise typer.Exit(_report(_file_trouble(error))) from None
        except KeyboardInterrupt:
            again = "; a half-trained fold goes on with --resume" if name == "train" else ""
            _close_bar()
            typer.echo(f"interrupted{again}", err=True)
            raise typer.Exit(130) from None

    return run


def _report(error: SaltError) -> int:
    """Show an error on stderr, with --debug as a traceback; give the exit code."""
    from kaggle_salt.cli.console import ConsoleListener

    _close_bar()
    if _State.debug:
        traceback.print_exception(error)
    else:
        ConsoleListener().error(error)
    return error.exit_code


def _file_trouble(error: OSError) -> SaltError:
    """A full disk, a missing permission: what the system says of it."""
    wrapped = SaltError(
        f"{type(error).__name__}: {error}",
        expected="files and folders that can be read and written, and room on the disk",
        next_step="mend that and run the same command again; salt --debug shows where it happened",
    )
    wrapped.__cause__ = error
    return wrapped


def _close_bar() -> None:
    from kaggle_salt.cli.console import ConsoleListener

    ConsoleListener.close_bar()


def _version(show: bool) -> None:
    if show:
        from kaggle_salt import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def root(
    debug: Debug = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print and exit.")
    ] = False,
) -> None:
    """Options that stand before the command."""
    _State.debug = debug
