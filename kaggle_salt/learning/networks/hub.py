"""Whether pretrained weights can be had, told in seconds: a hopeless download takes half a minute.

Only the choice that nobody made asks this. Who names a preset gets its weights or an error.
"""

from __future__ import annotations

import socket
import urllib.request
from urllib.parse import urlsplit

import huggingface_hub
from huggingface_hub import constants
from segmentation_models_pytorch.encoders import encoders as native_encoders

from kaggle_salt.errors import NetworkError
from kaggle_salt.learning.networks.encoders import make_encoder

#: Files of an encoder in its repository on the hub.
HUB_FILES = ("config.json", "model.safetensors")

PATIENCE = 3.0  # seconds to wait for a connection


def lacking_weights(encoder: str, channels: int) -> str:
    """Fetch an encoder's ImageNet weights, unless they are here.

    Args:
        encoder: One of smp's own.
        channels: Input channels.

    Returns:
        Why they cannot be had; empty if they lie in the hub's cache now.
    """
    if is_cached(encoder):
        return ""
    if offline():
        return "HF_HUB_OFFLINE is set"
    if reason := _unreachable():
        return reason
    try:
        make_encoder(encoder, channels, imagenet=True)
    except NetworkError as error:
        return error.found
    return ""


def offline() -> bool:
    """Whether the environment forbids downloads from the hub."""
    return bool(constants.HF_HUB_OFFLINE)


def is_cached(encoder: str) -> bool:
    """Whether the ImageNet weights of an encoder, one of smp's own, lie in the hub's cache."""
    settings = native_encoders[encoder]["pretrained_settings"]["imagenet"]
    found = (
        huggingface_hub.try_to_load_from_cache(
            settings["repo_id"], name, revision=settings["revision"]
        )
        for name in HUB_FILES
    )
    return all(isinstance(path, str) for path in found)


def _unreachable() -> str:
    """Why the hub cannot be reached; empty if it can, or if a proxy has to be asked."""
    if urllib.request.getproxies().keys() & {"http", "https", "all"}:
        return ""
    address = urlsplit(constants.ENDPOINT)
    port = address.port or (80 if address.scheme == "http" else 443)
    try:
        socket.create_connection((address.hostname or "", port), timeout=PATIENCE).close()
    except OSError:
        return f"{address.hostname} cannot be reached"
    return ""
