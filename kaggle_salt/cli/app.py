"""The Typer application: how commands are registered, and how every call of it ends."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any, ParamSpec

import typer
from typer.core import TyperCommand, TyperGroup

from kaggle_salt.cli import failures
from kaggle_salt.cli.options import Debug
from kaggle_salt.cli.remedies import complete, present_call, to_go_on
from kaggle_salt.cli.stopping import exit_code, stopped_in_order
from kaggle_salt.cli.usage import in_our_words
from kaggle_salt.errors import SaltError
from kaggle_salt.storage.writing import NoRoomError

P = ParamSpec("P")

#: Of the program and all its commands.
SETTINGS = {"help_option_names": ["-h", "--help"]}


class SaltCommand(TyperCommand):
    """A command whose errors name remedies that can be pasted."""

    def invoke(self, ctx: Any) -> Any:
        """Call the function; what it raises is told while the call is known."""
        with present_call(ctx):
            try:
                with stopped_in_order():
                    return super().invoke(ctx)
            except OSError as error:
                if isinstance(error, BrokenPipeError):  # the reader of stdout has seen enough
                    raise
                raise failures.file_trouble(error) from error
            except SaltError as error:
                error.next_step = complete(error.next_step)
                if isinstance(error, NoRoomError):
                    error.next_step += to_go_on()
                raise
            except KeyboardInterrupt as interruption:
                failures.close_bar()
                typer.echo("interrupted" + to_go_on(), err=True)
                raise typer.Exit(exit_code(interruption)) from None


class SaltGroup(TyperGroup):
    """The whole program: no call of it ends with a traceback that nobody asked for."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run the command line; ends with ``SystemExit``."""
        words = list(sys.argv[1:] if args is None else args)
        try:
            code = super().main(
                words or ["--help"], "salt", complete_var, False, windows_expand_args, **extra
            )
        except typer.TyperException as error:
            code = failures.report(in_our_words(error, words), words)
        except SaltError as error:
            code = failures.report(error, words, debug=_State.debug)
        except Exception as error:
            code = failures.report(failures.unforeseen(error, words), words, debug=_State.debug)
        sys.exit(code if isinstance(code, int) else 0)


app = typer.Typer(
    name="salt",
    cls=SaltGroup,
    help="From Kaggle's salt tiles to a checked submission.\n\n"
    "In a folder that holds data/:  salt make-folds;  salt train --fold 0;  "
    "salt ensemble && salt submit.  No data yet?  salt download, or salt demo.",
    context_settings=SETTINGS,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


class _State:
    debug = False


def command(
    name: str, group: typer.Typer = app
) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """Register a command of ``salt``, or of one of its groups."""
    return group.command(name, cls=SaltCommand)


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
