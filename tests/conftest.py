"""What every test stands on: no network, no screen, the same examples in every run."""

from __future__ import annotations

import functools
import os
import shutil
import signal
import socket
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import settings

# Who starts the tests in the background has them ignore what a terminal sends: not so here.
for _name in ("SIGINT", "SIGTERM", "SIGHUP"):
    _number = getattr(signal, _name, None)
    if _number is not None and signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, signal.default_int_handler if _name == "SIGINT" else signal.SIG_DFL)

# Set before any test module imports the packages that read them.
os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # it asks for its newest version on import
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["MPLBACKEND"] = "Agg"
os.environ.setdefault("OMP_NUM_THREADS", "2")  # torch's threads too, without importing it

settings.register_profile("deterministic", derandomize=True, deadline=None, database=None)
settings.load_profile("deterministic")


@functools.cache
def missing_tiles() -> str:
    """Why the competition's real files cannot be used; empty where they can."""
    folder = os.environ.get("SALT_DATA")
    if not folder:
        return "SALT_DATA is not set: it names the folder with the competition's files"
    if not Path(folder).is_dir():
        return f"SALT_DATA names {folder}, which is not a folder"
    return ""


@functools.cache
def missing_gpu() -> str:
    """Why no CUDA device can be used; empty where one can."""
    import torch  # seconds, so only where a test asks for it

    return "" if torch.cuda.is_available() else "torch.cuda.is_available() is False"


@functools.cache
def missing_compiler() -> str:
    """Why torch.compile has no C++ compiler; empty where it has."""
    name = os.environ.get("CXX", "g++")
    return "" if shutil.which(name) else f"there is no {name}"


def chromium() -> str | None:
    """The browser to drive: one that is installed, for playwright's own would be fetched."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next(filter(None, map(shutil.which, names)), None)


@functools.cache
def missing_browser() -> str:
    """Why no browser can be driven; empty where one can."""
    if find_spec("playwright") is None:
        return "playwright is not installed"
    return "" if chromium() else "there is no chromium (Debian, Ubuntu: apt install chromium)"


@functools.cache
def missing_ray() -> str:
    """Why no Ray cluster can be started; empty where one can."""
    return "" if find_spec("ray") else "the extra ray is not installed"


@functools.cache
def missing_slurm() -> str:
    """Why no SLURM cluster can be started; empty where one can."""
    from tests.launch import slurm_cluster

    return slurm_cluster.missing_slurm()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a marked test before any of its fixtures is made."""
    lacks = {
        "tiles": missing_tiles, "gpu": missing_gpu, "compiler": missing_compiler,
        "browser": missing_browser, "ray": missing_ray, "slurm": missing_slurm,
    }  # fmt: skip
    for mark, missing in lacks.items():
        if item.get_closest_marker(mark) and missing():
            pytest.skip(missing())


@pytest.fixture(autouse=True)
def no_settings_from_outside(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hide the caller's SALT_ variables and screen: a test sees those it sets itself."""
    monkeypatch.delenv("COLUMNS", raising=False)
    wanted = {"SALT_DATA"} if request.node.get_closest_marker("tiles") else set()
    for name in [name for name in os.environ if name.startswith("SALT_")]:
        if name not in wanted:
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True, scope="session")
def no_network() -> Iterator[None]:
    """Fail whatever looks up a host or connects to one; local sockets of workers pass."""

    def refuse_lookup(host: object, *_: object, **__: object) -> None:
        raise AssertionError(f"a test tried to reach the network: {host}")

    def refuse_connection(connection: socket.socket, address: object) -> None:
        if connection.family != socket.AF_UNIX:
            raise AssertionError(f"a test tried to reach the network: {address}")
        connect(connection, address)  # type: ignore[arg-type]  # as socket.connect takes it

    connect = socket.socket.connect
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", refuse_lookup)
        patch.setattr(socket.socket, "connect", refuse_connection)
        yield


@pytest.fixture(scope="session")
def trained_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with two trained runs, made once: see ``tests.tiny``."""
    from tests.tiny import one_thread, write_trained_workspace  # imports torch

    folder = tmp_path_factory.mktemp("trained")
    with one_thread():
        write_trained_workspace(folder)
    return folder


@pytest.fixture
def trained(
    trained_template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """A copy of the trained workspace, which is the current folder; curves are not drawn there."""
    from tests.tiny import draw_no_curves, one_thread

    folder = tmp_path / "work"
    shutil.copytree(trained_template, folder)
    monkeypatch.chdir(folder)
    draw_no_curves(monkeypatch)
    with one_thread():
        yield folder
