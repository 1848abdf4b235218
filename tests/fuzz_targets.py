"""Readers of what comes from outside, as fuzzers call them: bytes in, ``SaltError`` or nothing.

``tests/test_fuzz.py`` tries a few hundred inputs of each in every run of the tests, and
``scripts/fuzz`` as many as there is time for.
"""

from __future__ import annotations

import io
import json
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kaggle_salt.competition import rle
from kaggle_salt.competition.archive import open_files, read_table
from kaggle_salt.competition.pixels import open_picture, to_mask, to_tile
from kaggle_salt.config.file import dump_config, load_config
from kaggle_salt.errors import SaltError
from tests.makers import jpeg, png

SHAPE = (8, 8)


@dataclass(frozen=True)
class Target:
    """A reader.

    Args:
        call: Reads some bytes; a scratch folder is its own.
        seeds: Sound inputs, to be damaged.
        words: What such inputs are made of, for fuzzers that put them together.
    """

    call: Callable[[bytes, Path], None]
    seeds: tuple[bytes, ...]
    words: tuple[bytes, ...] = ()

    def __call__(self, data: bytes, folder: Path) -> None:
        """Read; whatever else than a ``SaltError`` comes out is a fault."""
        try:
            self.call(data, folder)
        except SaltError as error:
            if len(str(error)) > 20_000:
                raise AssertionError("the message is as long as the input") from error


def _rle(data: bytes, folder: Path) -> None:
    text = data.decode("latin-1")
    mask = rle.decode(text, SHAPE)
    if not np.array_equal(rle.decode(rle.encode(mask), SHAPE), mask):
        raise AssertionError("the mask does not come back")


def _csv(data: bytes, folder: Path) -> None:
    path = folder / "a.csv"
    path.write_bytes(data)
    table = read_table(path, ["id", "rle_mask"])
    for text in table["rle_mask"]:
        rle.decode(text, SHAPE)


def _config(data: bytes, folder: Path) -> None:
    path = folder / "a.toml"
    path.write_bytes(data)
    config = load_config(path)
    path.write_text(dump_config(config), encoding="utf-8")
    if load_config(path) != config:
        raise AssertionError("the configuration does not come back")


def _picture(data: bytes, folder: Path) -> None:
    pixels = open_picture(data, "a.png").decode()
    to_tile(pixels)
    to_mask(pixels, "a.png")


def _zip(data: bytes, folder: Path) -> None:
    (folder / "train.zip").write_bytes(data)
    with open_files(folder, "images") as files:
        for tile in files.members:
            open_picture(files.read(tile, 1 << 16), files.name(tile))


def _weights(data: bytes, folder: Path) -> None:
    from kaggle_salt.learning.keeping import read_origin  # torch takes seconds
    from kaggle_salt.learning.networks.pretrained import read_weights

    path = folder / "a.safetensors"
    path.write_bytes(data)
    read_origin(path)
    read_weights(path)


def _zips() -> tuple[bytes, ...]:
    levels = np.arange(64, dtype=np.uint8).reshape(SHAPE)
    packed = []
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", method) as archive:
            archive.writestr("images/a.png", png(levels))
            archive.writestr("images/b.png", b"")
        packed.append(out.getvalue())
    return tuple(packed)


def _pictures() -> tuple[bytes, ...]:
    levels = np.arange(64, dtype=np.uint8).reshape(SHAPE)
    modes = ("1", "L", "I;16", "RGB", "RGBA", "P", "LA")
    return (*(png(levels, mode) for mode in modes), jpeg(levels), jpeg(levels, "RGB"))


def _safetensors() -> bytes:
    tensor = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
    header = json.dumps({"__metadata__": {"kaggle_salt": '{"fold": 0}'}, "a": tensor}).encode()
    return len(header).to_bytes(8, "little") + header + bytes(8)


CONFIG = b"""[training]
seed = 1
[model]
options = { widths = [4, 8] }
[[stage]]
name = "bce"
epochs = 4
optimizer = { lr = 0.03 }
"""

TARGETS = {
    "rle": Target(_rle, (b"", b"1 1", b"1 3 10 5 60 5"), (b" ", b"-", b"0", b"64")),
    "csv": Target(
        _csv, (b"id,rle_mask\na,1 1\nb,\n", b'\xef\xbb\xbfid,rle_mask\r\n"a","1 3"\r\n'),
        (b",", b'"', b"\n", b"\r", b"\0", b"id", b"nan"),
    ),
    "config": Target(
        _config, (CONFIG, b'[[stage]]\nname = "a"\nepochs = 1\n'),
        (b"[[stage]]", b"inf", b"nan", b"0x", b"'''", b"1979-05-27T07:32:00Z", b"{", b"."),
    ),
    "png": Target(_picture, _pictures(), (b"IHDR", b"IDAT", b"IEND", b"acTL", b"fcTL", b"PLTE")),
    "zip": Target(_zip, _zips(), (b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06", b"PK\x06\x06")),
    "safetensors": Target(
        _weights, (_safetensors(),), (b"data_offsets", b"F8_E4M3", b"BOOL", b"shape", b"[")
    ),
}  # fmt: skip


def scratch() -> tempfile.TemporaryDirectory[str]:
    """A folder for a target's files, in memory where the system has such a place."""
    memory = Path("/dev/shm")
    return tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None)
