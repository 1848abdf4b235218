"""An end that is asked for from outside comes in order: what was begun is tidied up first.

A signal raises :class:`Stopped` where the program stands, so that every ``finally`` is gone
through. Three things are in the way of that, and dealt with here. A second signal must not cut
the tidying short. A library that is being imported may make anything of an exception, and in a
destructor it is lost: these are waited for. And where a library catches all there is, or Python
itself does because nobody could hear of it, it is raised again.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

#: From a person's Ctrl-C, a scheduler or whoever ends a process, and a terminal that is closed.
SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)

#: Seconds until a signal is looked at again: one that had to wait, and one that was raised.
AFTER_WAITING, AFTER_RAISING = 0.05, 1.0

#: What takes an object down: its own method, and what others have registered for that.
TAKES_DOWN = ("__del__", "Finalize.__call__", "finalize.__call__")


class Stopped(KeyboardInterrupt):
    """A signal asked the process to end.

    Args:
        number: Of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


class _Asked:
    """The signal that asked this process to end, once there was one; 0 before."""

    number = 0
    process = 0


def exit_code(interruption: KeyboardInterrupt) -> int:
    """As shells have it: 128 and the number of the signal."""
    number = interruption.number if isinstance(interruption, Stopped) else signal.SIGINT
    return 128 + int(number)


@contextmanager
def stopped_in_order() -> Iterator[None]:
    """While the block runs, a signal to end raises :class:`Stopped`, whatever becomes of it there.

    Signals that the process was started to ignore stay ignored, as by ``nohup``.
    """
    _Asked.number, _Asked.process = 0, os.getpid()
    wanted = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    again = [signal.SIGALRM] if hasattr(signal, "SIGALRM") else []
    try:
        before = {number: signal.signal(number, _stop) for number in [*wanted, *again]}
    except ValueError:  # not the main thread, which alone is told of signals
        before = {}
    told = sys.unraisablehook
    sys.unraisablehook = lambda lost: _lost(lost, told)
    try:
        yield
    except Exception as error:  # what a library made of it
        if _Asked.number:
            raise Stopped(_Asked.number) from error
        raise
    finally:
        sys.unraisablehook = told
        if before:
            _look_again(0)
        for number, handler in before.items():
            signal.signal(number, handler)


def _stop(number: int, frame: FrameType | None) -> None:
    if os.getpid() != _Asked.process:  # a loader's worker: it has nothing to tidy up
        os._exit(128 + number)
    _Asked.number = _Asked.number or number
    if _is_on_its_way():
        _look_again(AFTER_RAISING)
    elif _must_wait(frame):
        _look_again(AFTER_WAITING)
    else:
        _look_again(AFTER_RAISING)
        raise Stopped(_Asked.number)


def _lost(lost: sys.UnraisableHookArgs, told: Callable[[sys.UnraisableHookArgs], object]) -> None:
    """Hear of what Python has to ignore, as in a callback: an interruption comes again."""
    if isinstance(lost.exc_value, Stopped):
        _look_again(AFTER_WAITING)
    else:
        told(lost)


def _look_again(seconds: float) -> None:
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds)


def _is_on_its_way() -> bool:
    """Whether what is done now is done because of an interruption."""
    error = sys.exception()
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__context__
    return False


def _must_wait(frame: FrameType | None) -> bool:
    """Whether a module is being imported, or an object taken down."""
    if not hasattr(signal, "setitimer"):
        return False
    while frame is not None:
        code = frame.f_code
        named = code.co_qualname.endswith(TAKES_DOWN)
        if named or code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False
