"""Signals at every kind of instant: an end in order, with 128 and the signal's number."""

from __future__ import annotations

import contextlib
import multiprocessing.util
import os
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest

from kaggle_salt.cli import prepare_commands, stopping
from kaggle_salt.cli.console import ConsoleListener
from kaggle_salt.storage import lease, writing
from kaggle_salt.storage.files import atomic_path
from kaggle_salt.storage.lease import hold
from tests.tiny import files_under, salt

TRAIN = ("train", "--config", "tiny.toml", "--run", "own", "--device", "cpu")


def do(patch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Let ``salt check`` do something else."""
    patch.setattr(prepare_commands, "workspace_of", lambda **_: act())


def at_epoch(patch: pytest.MonkeyPatch, number: int, act: Callable[[], object]) -> None:
    begun, usual = [], ConsoleListener.epoch_starts

    def epoch_starts(self: ConsoleListener, title: str, steps: int) -> None:
        begun.append(title)
        if len(begun) == number:
            act()
        usual(self, title, steps)

    patch.setattr(ConsoleListener, "epoch_starts", epoch_starts)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_training_that_is_asked_to_end_says_how_it_goes_on(
    trained: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, code: int
) -> None:
    before = signal.getsignal(number)
    with monkeypatch.context() as patch:
        at_epoch(patch, 3, lambda: signal.raise_signal(number))
        told = salt(*TRAIN, code=code).stderr
    assert told.endswith(f"interrupted; to go on: salt {' '.join(TRAIN)} --resume\n")
    assert signal.getsignal(number) == before
    left = [path.name for path in Path("runs/own").rglob("*")]
    assert sorted(left) == ["checkpoint.pt", "config.toml", "fold0", "history.csv", "manifest.json"]
    salt(*TRAIN, "--resume")
    own, tiny = (Path(f"runs/{run}/fold0/weights.safetensors") for run in ("own", "tiny"))
    assert own.read_bytes() == tiny.read_bytes()


def test_a_second_signal_does_not_cut_the_tidying_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = []

    def again(usual: Callable[..., object]) -> Callable[..., object]:
        def tidy(*given: object) -> object:
            if ends:
                signal.raise_signal(signal.SIGINT)
            return usual(*given)

        return tidy

    def act() -> None:
        with hold(tmp_path), atomic_path(tmp_path / "weights.pt"):
            ends.append("begins")
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(writing, "_end", again(writing._end))
    monkeypatch.setattr(lease, "_give_back", again(lease._give_back))
    do(monkeypatch, act)
    assert salt("check", code=143).stderr == "interrupted\n"
    assert not tmp_path.exists()


def test_an_import_is_not_torn_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it would make of an exception nobody knows: it is waited for."""
    (tmp_path / "library.py").write_text(
        "import signal\n"
        "try:\n"
        "    signal.raise_signal(signal.SIGINT)\n"
        "except BaseException as error:\n"
        "    raise ImportError('no signals, please') from error\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(tmp_path)

    def act() -> None:
        import library  # type: ignore[import-not-found]

        del library
        time.sleep(30)

    do(monkeypatch, act)
    salt("check", code=130)
    assert "library" in sys.modules
    del sys.modules["library"]


class Loader:
    """Like torch's, it takes its processes down as it goes."""

    taken_down = False

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)
        Loader.taken_down = True


class Quiet:
    """Nothing of its own happens when it goes."""


def test_a_destructor_does_its_work(monkeypatch: pytest.MonkeyPatch) -> None:
    def act() -> None:
        loader = Loader()
        del loader
        time.sleep(30)

    do(monkeypatch, act)
    assert salt("check", code=130).stderr == "interrupted\n"
    assert Loader.taken_down


def test_what_others_registered_for_an_object_does_its_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done = []

    def taken_down() -> None:
        signal.raise_signal(signal.SIGTERM)
        done.append("taken down")

    def act() -> None:
        for finalize in (weakref.finalize, multiprocessing.util.Finalize):
            loader = Quiet()
            finalize(loader, taken_down)
            del loader
        time.sleep(30)

    do(monkeypatch, act)
    assert salt("check", code=143).stderr == "interrupted\n"
    assert done == ["taken down"] * 2


def test_an_interruption_that_nobody_could_hear_comes_again_in_silence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def act() -> None:
        loader = Quiet()
        watched = weakref.ref(loader, lambda _: signal.raise_signal(signal.SIGINT))
        del loader
        time.sleep(30)
        del watched

    do(monkeypatch, act)
    assert salt("check", code=130).stderr == "interrupted\n"


def test_an_interruption_that_is_lost_comes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "AFTER_RAISING", 0.01)

    def act() -> None:
        with contextlib.suppress(BaseException):
            signal.raise_signal(signal.SIGTERM)
        time.sleep(30)

    do(monkeypatch, act)
    salt("check", code=143)


def test_what_a_library_makes_of_an_interruption_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def act() -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise ImportError("numpy failed to import") from None

    do(monkeypatch, act)
    assert salt("check", code=130).stderr == "interrupted\n"


def test_what_was_to_be_ignored_stays_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    do(monkeypatch, lambda: signal.raise_signal(signal.SIGHUP) or sys.exit(5))
    salt("check", code=5)
    signal.signal(signal.SIGHUP, before)


def test_a_loaders_process_ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = []

    def act() -> None:
        if not (child := os.fork()):
            signal.raise_signal(signal.SIGTERM)
        ended.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

    do(monkeypatch, act)
    with contextlib.suppress(AssertionError):  # the command itself goes on, and trips
        salt("check")
    assert ended == [143]


AT_IMPORT = """
import os, runpy, signal, sys

class At:
    def find_spec(self, name, *_):
        if name == {module!r}:
            os.kill(os.getpid(), signal.{signal})

sys.meta_path.insert(0, At())
sys.argv = ["salt", "make-folds"]
runpy.run_module("kaggle_salt", run_name="__main__")
"""


@pytest.mark.parametrize(
    ("module", "number", "code"),
    [
        ("kaggle_salt.cli", "SIGINT", 130),
        ("typer", "SIGTERM", 143),
        ("rich.console", "SIGINT", 130),
        ("pandas", "SIGINT", 130),  # inside the command
    ],
)
def test_while_the_program_loads_a_signal_ends_it_without_a_traceback(
    tmp_path: Path, module: str, number: str, code: int
) -> None:
    call = [sys.executable, "-c", AT_IMPORT.format(module=module, signal=number)]
    done = subprocess.run(call, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (done.returncode, done.stderr, done.stdout) == (code, "interrupted\n", "")
    assert files_under(tmp_path) == {}
