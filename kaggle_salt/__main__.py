"""``python -m kaggle_salt`` is ``salt``, and so is the script of that name."""

import os
import signal
from types import FrameType


def main() -> None:
    """Run the command line. Until it is loaded nothing is begun, and a signal ends it at once."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _end)
    from kaggle_salt.cli import main as run

    run()


def _end(number: int, frame: FrameType | None) -> None:
    os.write(2, b"interrupted\n")
    os._exit(128 + number)


if __name__ == "__main__":
    main()
