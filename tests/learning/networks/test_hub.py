from __future__ import annotations

import socket
from typing import Any

import pytest

from kaggle_salt.errors import NetworkError
from kaggle_salt.learning.networks import hub
from tests.tiny import forbid

HUB = "kaggle_salt.learning.networks.hub"


@pytest.fixture(autouse=True)
def nothing_cached(monkeypatch: pytest.MonkeyPatch) -> None:
    """No weights on disk, and no proxy."""
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_, **__: None)
    monkeypatch.setattr("urllib.request.getproxies", dict)


def test_cached_weights_are_had_without_a_look_at_the_network(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_, **__: "/a/file")
    forbid(monkeypatch, f"{HUB}._unreachable")
    forbid(monkeypatch, f"{HUB}.make_encoder")
    assert hub.lacking_weights("resnet34", 3) == ""


def test_offline_is_known_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    forbid(monkeypatch, f"{HUB}.make_encoder")
    assert hub.lacking_weights("resnet34", 3) == "HF_HUB_OFFLINE is set"


def test_no_hopeless_download_is_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, int]] = []

    def connect(address: tuple[str, int], timeout: float) -> Any:
        asked.append(address)
        raise socket.gaierror("no name server")

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "https://hub.example")
    monkeypatch.setattr("socket.create_connection", connect)
    forbid(monkeypatch, f"{HUB}.make_encoder")
    assert hub.lacking_weights("resnet34", 3) == "hub.example cannot be reached"
    assert asked == [("hub.example", 443)]


def test_a_download_that_fails_and_one_that_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise NetworkError("half of it came")

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("urllib.request.getproxies", lambda: {"https": "http://proxy"})
    forbid(monkeypatch, "socket.create_connection")  # the proxy would have to be asked
    monkeypatch.setattr(f"{HUB}.make_encoder", fail)
    assert hub.lacking_weights("resnet34", 3) == "half of it came"
    monkeypatch.setattr(f"{HUB}.make_encoder", lambda *_, **__: None)
    assert hub.lacking_weights("resnet34", 3) == ""
