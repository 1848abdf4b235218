from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from kaggle_salt.errors import DataError
from kaggle_salt.sections.headers import Header, read_header
from kaggle_salt.sections.images import ImageSection, read_image
from tests.makers import jpeg, png, put

GREY = np.random.default_rng(0).integers(0, 256, (20, 30), dtype=np.uint8)
COLOURS = np.random.default_rng(1).integers(0, 256, (20, 30, 3), dtype=np.uint8)


def tiff(levels: NDArray[Any], mode: str | None = None, **options: Any) -> bytes:
    picture = Image.fromarray(levels)
    out = io.BytesIO()
    (picture.convert(mode) if mode else picture).save(out, format="TIFF", **options)
    return out.getvalue()


def write(folder: Path, data: bytes, name: str = "a.png") -> Path:
    return put(folder / name, data)


def read(path: Path, *, stretch: bool = False) -> ImageSection:
    return read_image(path, read_header(path), stretch=stretch)


SIXTEEN = GREY.astype(np.uint16) * 257
FILES: dict[str, tuple[bytes, Header]] = {
    "PNG": (png(GREY), Header("PNG", 20, 30)),
    "PNG of 16 bits": (png(GREY, "I;16"), Header("PNG", 20, 30)),
    "PNG of equal colours": (png(GREY, "RGB"), Header("PNG", 20, 30)),
    "PNG with alpha": (png(GREY, "LA"), Header("PNG", 20, 30, alpha=True)),
    "TIFF": (tiff(GREY), Header("TIFF", 20, 30)),
    "TIFF of 16 bits": (tiff(SIXTEEN), Header("TIFF", 20, 30)),
    "TIFF packed": (tiff(GREY, compression="tiff_lzw"), Header("TIFF", 20, 30)),
    "TIFF with alpha": (tiff(GREY, "RGBA"), Header("TIFF", 20, 30, alpha=True)),
    "TIFF of two pages": (
        tiff(GREY, save_all=True, append_images=[Image.fromarray(GREY[:5])]),
        Header("TIFF", 20, 30, pages=2),
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_every_format_gives_the_same_levels(tmp_path: Path, name: str) -> None:
    data, header = FILES[name]
    path = write(tmp_path, data)  # whatever it is called
    assert read_header(path) == header
    section = read(path)
    assert not section.coloured
    assert (section.height, section.width) == (20, 30)
    assert np.array_equal(section.levels, GREY)
    assert np.array_equal(section.rows(3, 7), GREY[3:7])


def test_colours_stay(tmp_path: Path) -> None:
    for data in (png(COLOURS, "RGB"), tiff(COLOURS), png(COLOURS, "RGBA")):
        section = read(write(tmp_path, data))
        assert section.coloured
        assert np.array_equal(section.levels, COLOURS)


def test_jpegs_are_read(tmp_path: Path) -> None:
    smooth = np.add.outer(np.arange(20), np.arange(30)).astype(np.uint8)
    path = write(tmp_path, jpeg(smooth))
    assert read_header(path) == Header("JPEG", 20, 30)
    assert np.abs(read(path).levels.astype(int) - smooth).max() <= 3
    assert read_header(write(tmp_path, jpeg(COLOURS, "RGB"))) == Header("JPEG", 20, 30)


def test_a_tiff_of_the_other_byte_order(tmp_path: Path) -> None:
    entries = [(256, 3, 1, 3), (257, 3, 1, 2), (258, 3, 1, 16), (262, 3, 1, 1), (273, 4, 1, 8),
               (277, 3, 1, 1), (278, 3, 1, 2), (279, 4, 1, 12)]  # fmt: skip
    levels = (np.arange(6).reshape(2, 3) * 10000).astype(">u2")
    table = b"".join(
        struct.pack(">HHI", *entry[:3])
        + (struct.pack(">HH", entry[3], 0) if entry[1] == 3 else struct.pack(">I", entry[3]))
        for entry in entries
    )
    data = (b"MM\0*" + struct.pack(">I", 20) + levels.tobytes()
            + struct.pack(">H", len(entries)) + table + bytes(4))  # fmt: skip
    path = write(tmp_path, data)
    assert read_header(path) == Header("TIFF", 2, 3)
    expected = (levels.astype(np.int64) * 255 + 32767) // 65535
    assert np.array_equal(read(path).levels, expected)


@pytest.mark.parametrize(
    "data",
    [b"", b"x", b"no image at all", png(GREY)[:20], jpeg(GREY)[:3], tiff(GREY)[:6], b"II*\0" * 9],
)
def test_what_is_no_image_is_refused(tmp_path: Path, data: bytes) -> None:
    path = write(tmp_path, data)
    with pytest.raises(DataError, match=r"a\.png is no image, or its beginning is damaged"):
        read_header(path)


@pytest.mark.parametrize("data", [png(GREY), jpeg(GREY), tiff(GREY), tiff(SIXTEEN)])
def test_half_an_image_is_refused(tmp_path: Path, data: bytes) -> None:
    path = write(tmp_path, data[: len(data) // 2])
    with pytest.raises(DataError, match=r"a\.png is (truncated|damaged|no image)") as refused:
        read(path)
    assert refused.value.next_step == "mend it, save it as PNG, or leave it out"


@pytest.mark.parametrize(
    ("levels", "kind"),
    [
        (GREY.astype(np.float32), "floating-point levels of 32 bits"),
        (GREY.astype(np.int32), "signed levels of 32 bits"),
    ],
)
def test_levels_of_another_kind_are_refused(
    tmp_path: Path, levels: NDArray[Any], kind: str
) -> None:
    with pytest.raises(DataError, match=f"a.png has {kind}"):
        read_header(write(tmp_path, tiff(levels)))


def test_sixteen_bits_go_over_their_full_range_unless_they_are_stretched(tmp_path: Path) -> None:
    ramp = np.linspace(1000, 3000, 1000).astype(np.uint16).reshape(20, 50)
    out = io.BytesIO()
    Image.fromarray(ramp).save(out, format="PNG")
    path = write(tmp_path, out.getvalue())
    plain, stretched = read(path), read(path, stretch=True)
    assert plain.flat
    assert not stretched.flat
    assert np.array_equal(plain.levels, np.rint(ramp / 65535 * 255))
    low, high = np.percentile(ramp, (0.5, 99.5), method="nearest").astype(int)
    spread = np.clip(np.rint((ramp - float(low)) * 255 / (high - low)), 0, 255)
    assert np.array_equal(stretched.levels, spread)


def test_an_image_of_one_level_can_be_stretched(tmp_path: Path) -> None:
    blank = read(write(tmp_path, png(np.full((4, 5), 77, np.uint8))), stretch=True)
    assert (blank.levels == 0).all()
    assert not blank.flat
