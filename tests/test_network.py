"""Nothing connects but ``salt download``, ``salt submit --upload`` and ``weights=imagenet``."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from torch import nn

from kaggle_salt.competition import kaggle_client
from kaggle_salt.config.schema import ModelConfig
from kaggle_salt.errors import SaltError
from kaggle_salt.learning.networks import build, encoders
from tests.test_imports import MODULES, Module, Rule, imports
from tests.tiny import N_FOLDS, TINY, salt, write_data

#: Packages that reach for the network, and who may import them.
CLIENTS = {
    "aiohttp", "ftplib", "http", "httpx", "httpx2", "huggingface_hub", "kaggle", "requests",
    "smtplib", "socket", "socketserver", "ssl", "telnetlib", "urllib", "urllib3", "webbrowser",
    "xmlrpc",
}  # fmt: skip
MAY_CONNECT = {
    "kaggle_salt.competition.kaggle_client": {"kaggle"},
    "kaggle_salt.learning.networks.hub": {"huggingface_hub", "socket", "urllib"},
}

#: Functions of other packages that fetch weights, and who may call them with any.
FETCHERS = {
    "create_model", "from_pretrained", "get_encoder", "get_model", "get_preprocessing_fn",
    "hf_hub_download", "load_state_dict_from_url", "load_url", "snapshot_download", "urlretrieve",
}  # fmt: skip
MAY_FETCH = {"kaggle_salt.learning.networks.encoders", "kaggle_salt.learning.networks.library"}

#: Runs the commands in its arguments, one a line; whatever makes a socket, or looks up a host,
#: ends the process. A hook cannot be taken off again, and it sees imports too.
FORBIDDEN = """
import os, sys

def refuse(event, arguments):
    if event.startswith("socket.") and event not in ("socket.gethostname", "socket.sethostname"):
        os.write(2, f"{event} {arguments}".encode())
        os._exit(99)

sys.addaudithook(refuse)
from kaggle_salt.cli import app
for line in sys.argv[1:]:
    try:
        app(line.split())
    except SystemExit as end:
        if end.code:
            sys.exit(f"{line}: {end.code}")
"""

PIPELINE = (
    f"make-folds --n-folds {N_FOLDS}",
    "train --config tiny.toml --run tiny --fold 0 --device cpu --set stage.*.epochs=1",
    "ensemble tiny --device cpu",
    "submit",
    "doctor tiny",
    "doctor --device cpu",
)


def without_network(folder: Path, *lines: str) -> subprocess.CompletedProcess[str]:
    """Run commands in a process of their own, which no variable tells to stay offline."""
    switches = {"HF_HUB_OFFLINE", "NO_ALBUMENTATIONS_UPDATE"}
    told = {name: value for name, value in os.environ.items() if name not in switches}
    return subprocess.run(
        [sys.executable, "-c", FORBIDDEN, *lines],
        cwd=folder, env={**told, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip


def test_the_whole_pipeline_makes_no_socket(tmp_path: Path) -> None:
    write_data(tmp_path / "data")
    (tmp_path / "tiny.toml").write_text(TINY, encoding="utf-8")
    done = without_network(tmp_path, *PIPELINE)
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "submissions" / "tiny.csv").exists()


def test_a_socket_would_be_noticed() -> None:
    code = FORBIDDEN.split("from kaggle_salt")[0] + "import socket; socket.socket()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 99
    assert done.stderr.startswith("socket.__new__")


def client_breaches(module: Module) -> Iterator[str]:
    """Imports of a package that reaches for the network, where none may."""
    allowed = MAY_CONNECT.get(module.name, set())
    for line, name in imports(module):
        if name.startswith("urllib.parse"):  # reads addresses, and goes to none
            continue
        if name.split(".")[0] in CLIENTS - allowed:
            yield f"{module.name}:{line} imports {name}"


def fetch_breaches(module: Module) -> Iterator[str]:
    """Names of functions that fetch weights, where none may be called."""
    if module.name in MAY_FETCH:
        return
    for node in ast.walk(module.tree):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func).split(".")[-1]
        told = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        if name in FETCHERS and told.get("pretrained") != "False":
            yield f"{module.name}:{node.lineno} calls {name}"


@pytest.mark.parametrize("rule", [client_breaches, fetch_breaches])
def test_only_two_modules_have_a_client_and_two_fetch(rule: Rule) -> None:
    assert [breach for module in MODULES for breach in rule(module)] == []
    names = {module.name for module in MODULES}
    assert MAY_CONNECT.keys() | MAY_FETCH <= names


@pytest.mark.parametrize(
    ("rule", "source"),
    [
        (client_breaches, "import socket"),
        (client_breaches, "def late():\n    from urllib.request import urlopen"),
        (client_breaches, "from huggingface_hub import hf_hub_download"),
        (fetch_breaches, "import timm\ntimm.create_model('resnet34')"),
        (fetch_breaches, "import timm\ntimm.create_model('resnet34', pretrained=True)"),
        (fetch_breaches, "torch.hub.load_state_dict_from_url(address)"),
    ],
)
def test_each_rule_can_fail(rule: Rule, source: str) -> None:
    assert len(list(rule(Module("kaggle_salt.pipeline.training.train", source)))) == 1
    assert list(client_breaches(Module("kaggle_salt.storage.files", "import urllib.parse"))) == []


class ReachedError(SaltError):
    """The command would have connected now."""


def reached(*_: object, **__: object) -> None:
    raise ReachedError("reached")


def test_kaggle_is_reached_by_download_and_upload_alone(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kaggle_client, "_connect", reached)
    salt("ensemble", "tiny", "--device", "cpu")
    salt("submit")
    for call in (("download", "--data", "new"), ("submit", "--upload")):
        assert "reached" in salt(*call, code=4).stderr


def test_weights_are_fetched_for_imagenet_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    usual = encoders.get_encoder

    def get_encoder(name: str, *, in_channels: int, weights: object) -> nn.Module:
        asked.append(weights)
        network: nn.Module = usual(name, in_channels=in_channels, weights=None)
        return network

    monkeypatch.setattr(encoders, "get_encoder", get_encoder)
    for weights, pretrained in (("none", True), ("imagenet", False), ("imagenet", True)):
        model = ModelConfig(architecture="unet", encoder="resnet18", weights=weights)
        build(model, 1, pretrained=pretrained)
    assert asked == [None, None, "imagenet"]
