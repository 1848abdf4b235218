from __future__ import annotations

from base64 import b64decode
from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from kaggle_salt.report import sprites
from kaggle_salt.report.facts import Gallery
from kaggle_salt.report.sprites import COLUMNS, MARGIN, SHEET, make_sheets
from kaggle_salt.synthetic.geology import draw_tile
from tests.report.makers import make_gallery


def decoded(picture: tuple[str, str]) -> NDArray[np.uint8]:
    kind, data = picture
    content = b64decode(data)
    assert content.startswith(b"\x89PNG" if kind == "image/png" else b"RIFF")
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    assert pixels is not None
    return np.asarray(pixels, dtype=np.uint8)


def cell(sheet: NDArray[np.uint8], place: int, height: int, width: int) -> NDArray[np.uint8]:
    row, column = divmod(place, COLUMNS)
    top = row * (height + 2 * MARGIN) + MARGIN
    left = column * (width + 2 * MARGIN) + MARGIN
    return sheet[top : top + height, left : left + width]


def test_every_tile_is_where_the_order_says_in_the_colours_of_its_pixels() -> None:
    gallery = make_gallery(SHEET + 13)
    order = np.random.default_rng(1).permutation(len(gallery.images))
    made = make_sheets(gallery, order)
    assert (made.height, made.width, len(made.sheets)) == (12, 10, 2)
    for place, row in enumerate(order.tolist()):
        sheet = made.sheets[place // SHEET]
        truth, mask = gallery.truths[row], gallery.masks[row]
        seen = cell(decoded(sheet["truth"]), place % SHEET, 12, 10)
        assert np.array_equal(seen[..., 3] > 0, truth)
        errors = cell(decoded(sheet["error"]), place % SHEET, 12, 10)[..., 2::-1]  # red first
        for colour, which in zip(sprites.ERRORS[1:], (truth & mask, truth & ~mask, mask & ~truth),
                                 strict=True):  # fmt: skip
            assert (errors[which] == colour[:3]).all()
        tile = cell(decoded(sheet["tile"]), place % SHEET, 12, 10)[..., 0]
        assert np.corrcoef(tile.ravel(), gallery.images[row].ravel())[0, 1] > 0.7
    assert decoded(made.sheets[1]["truth"]).shape[0] == 2 * (12 + 2 * MARGIN)


def test_the_outline_of_the_mask_lies_over_the_probabilities() -> None:
    masks = np.zeros((1, 5, 5), dtype=bool)
    masks[0, 1:, 1:] = True
    one = make_gallery(2, (5, 5))
    gallery = replace(one, masks=masks, probabilities=masks * np.uint8(200),
                      images=one.images[:1], truths=one.truths[:1])  # fmt: skip
    sheet = decoded(make_sheets(gallery, np.array([0])).sheets[0]["prediction"])
    seen = cell(sheet, 0, 5, 5)
    white = (seen == 255).all(axis=-1)
    expected = masks[0].copy()
    expected[2:, 2:] = False  # inner pixels; the edge of the tile is no side of the mask
    assert np.array_equal(white, expected)
    opacity = seen[..., 3]
    assert set(opacity[~masks[0]].tolist()) == {0}
    assert (opacity[2:, 2:] > 150).all()


@pytest.mark.parametrize(("shape", "thumbnail"), [
    ((12, 10, 3), (12, 10)), ((224, 112), (112, 56)), ((300, 3), (112, 1)),
])  # fmt: skip
def test_colours_and_large_tiles(shape: tuple[int, ...], thumbnail: tuple[int, int]) -> None:
    made = make_sheets(make_gallery(3, shape), np.arange(3))
    assert (made.height, made.width) == thumbnail
    sizes = {decoded(picture).shape[:2] for picture in made.sheets[0].values()}
    assert sizes == {(thumbnail[0] + 2, COLUMNS * (thumbnail[1] + 2))}


def drawn_gallery(tiles: int) -> Gallery:
    """Tiles of the competition's size and of much its grain, and maps as blurred as predictions."""
    rng = np.random.default_rng(0)
    drawn = [draw_tile(rng, 101, place / tiles) for place in range(tiles)]
    truths = np.stack([one.mask for one in drawn])
    soft = np.stack([cv2.GaussianBlur(one.mask.astype(np.float32), (0, 0), 4) for one in drawn])
    probabilities = np.roll((255 * soft).astype(np.uint8), 4, axis=1)
    return replace(
        make_gallery(2), images=np.stack([one.image for one in drawn]), truths=truths,
        masks=probabilities > 127, probabilities=probabilities,
    )  # fmt: skip


def test_a_tile_takes_less_than_its_share_of_ten_megabytes() -> None:
    """3,600 tiles are to fit into a page of 10 MB, with half a megabyte for all the rest."""
    made = make_sheets(drawn_gallery(SHEET), np.arange(SHEET))
    size = sum(len(data) for _, data in made.sheets[0].values())
    assert size / SHEET < 9.5e6 / 3600
