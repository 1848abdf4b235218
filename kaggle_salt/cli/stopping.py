"""An end that is asked for from outside comes in order, as a Ctrl-C does: state is saved first."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

#: From a scheduler, or whoever ends a process; and from a terminal that is closed.
SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)
)  # fmt: skip


class Stopped(KeyboardInterrupt):
    """A signal asked the process to end.

    Args:
        number: Of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


def exit_code(interruption: KeyboardInterrupt) -> int:
    """As shells have it: 128 and the number of the signal."""
    number = interruption.number if isinstance(interruption, Stopped) else signal.SIGINT
    return 128 + int(number)


@contextmanager
def stopped_in_order() -> Iterator[None]:
    """While the block runs, a signal to end raises :class:`Stopped`.

    Signals that the process was started to ignore stay ignored, as by ``nohup``.
    """
    try:
        before = {
            number: signal.signal(number, _stop)
            for number in SIGNALS
            if signal.getsignal(number) is signal.SIG_DFL
        }
    except ValueError:  # not the main thread, which alone is told of signals
        before = {}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stop(number: int, frame: FrameType | None) -> None:
    raise Stopped(number)
