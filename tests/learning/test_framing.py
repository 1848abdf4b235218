from __future__ import annotations

from typing import Literal

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kaggle_salt.config.schema import InputConfig
from kaggle_salt.errors import ConfigError
from kaggle_salt.learning.channels import IMAGENET_MEAN, IMAGENET_STD
from kaggle_salt.learning.framing import Framing

Border = Literal["reflect", "edge"]
BORDERS: list[Border] = ["reflect", "edge"]


@st.composite
def paddings(draw: st.DrawFn) -> tuple[tuple[int, int], InputConfig]:
    """A tile shape and an input it can be padded to, odd rests included."""
    height, width = draw(st.integers(1, 20)), draw(st.integers(1, 20))
    border = draw(st.sampled_from(BORDERS))
    # reflection reaches less far than the tile; ceil((size - side) / 2) pixels are added
    reach = 2 * (min(height, width) - 1) + min(height, width) if border == "reflect" else 60
    size = draw(st.integers(max(height, width), max(reach, max(height, width))))
    if border == "reflect" and -(-(size - min(height, width)) // 2) >= min(height, width):
        size, border = max(height, width), "edge"
    return (height, width), InputConfig(size=size, border=border)


@given(paddings(), st.integers(1, 3))
def test_unframe_undoes_padding_exactly(
    case: tuple[tuple[int, int], InputConfig], channels: int
) -> None:
    shape, config = case
    framing = Framing(shape, config)
    maps = torch.randn(2, channels, *shape, generator=torch.Generator().manual_seed(0))
    framed = framing.frame(maps)
    assert framed.shape == (2, channels, config.size, config.size)
    assert torch.equal(framing.unframe(framed), maps)


@pytest.mark.parametrize(
    ("border", "expected"), [("reflect", [2, 1, 2, 3, 2, 1]), ("edge", [1, 1, 2, 3, 3, 3])]
)
def test_padding_by_hand_with_the_odd_pixel_at_the_end(
    border: Border, expected: list[float]
) -> None:
    framing = Framing((3, 3), InputConfig(size=6, border=border))
    rows = torch.tensor([1.0, 2.0, 3.0]).expand(1, 1, 3, 3)
    columns = rows.transpose(-1, -2)
    assert framing.frame(rows)[0, 0, 0].tolist() == expected
    assert framing.frame(columns)[0, 0, :, 0].tolist() == expected


def test_shrinking_a_padded_tile_takes_means_of_squares() -> None:
    framing = Framing((4, 4), InputConfig(size=4), shrink=2)
    maps = torch.arange(16.0).view(1, 1, 4, 4)
    assert framing.network_shape == (2, 2)
    assert framing.frame(maps).tolist() == [[[[2.5, 4.5], [10.5, 12.5]]]]


@pytest.mark.parametrize("mode", ["pad", "resize"])
@pytest.mark.parametrize("shrink", [1, 2, 4])
def test_a_shrunk_input_comes_back_to_the_tile(mode: Literal["pad", "resize"], shrink: int) -> None:
    framing = Framing((21, 18), InputConfig(size=32, framing=mode), shrink)
    framed = framing.frame(torch.full((2, 1, 21, 18), 0.25))
    assert framed.shape == (2, 1, 32 // shrink, 32 // shrink)
    restored = framing.unframe(framed)
    assert restored.shape == (2, 1, 21, 18)
    torch.testing.assert_close(restored, torch.full_like(restored, 0.25))


@pytest.mark.parametrize("mode", ["pad", "resize"])
def test_a_place_in_the_tile_stays_in_its_place(mode: Literal["pad", "resize"]) -> None:
    framing = Framing((20, 20), InputConfig(size=32, framing=mode), shrink=2)
    ramp = torch.linspace(0, 1, 20).expand(1, 1, 20, 20)
    restored = framing.unframe(framing.frame(ramp))
    # half the resolution, yet no shift: the inner pixels of a ramp are where they were
    torch.testing.assert_close(restored[..., 3:-3], ramp[..., 3:-3], atol=0.01, rtol=0)


def test_grey_input_is_normalised_by_the_mean_of_imagenets_channels() -> None:
    framing = Framing((2, 2), InputConfig(size=2, channels="grey"))
    prepared = framing.prepare(torch.tensor([[[0, 255], [255, 0]]], dtype=torch.uint8))
    low, high = -0.449 / 0.226, (1 - 0.449) / 0.226
    assert prepared.shape == (1, 1, 2, 2)
    expected = torch.tensor([[[[low, high], [high, low]]]])
    torch.testing.assert_close(prepared, expected)


def test_three_channels_are_normalised_one_by_one() -> None:
    framing = Framing((2, 2), InputConfig(size=4, border="edge", channels="grey3"))
    prepared = framing.prepare(torch.full((1, 2, 2), 255, dtype=torch.uint8))
    assert prepared.shape == (1, 3, 4, 4)
    for channel in range(3):
        expected = (1 - IMAGENET_MEAN[channel]) / IMAGENET_STD[channel]
        assert prepared[0, channel].flatten().tolist() == pytest.approx([expected] * 16, abs=1e-6)


def test_a_tile_that_is_too_large_is_refused_with_a_size_that_fits() -> None:
    with pytest.raises(ConfigError, match=r"101x101 cannot be padded to 96x96(.|\n)*size=128"):
        Framing((101, 101), InputConfig(size=96))


@pytest.mark.parametrize(("size", "zoom"), [(128, 1), (224, 1), (256, 2), (512, 4)])
def test_a_size_for_several_tiles_enlarges_the_pixels(size: int, zoom: int) -> None:
    framing = Framing((101, 101), InputConfig(size=size))
    tile = torch.rand(1, 1, 101, 101)
    framed = framing.frame(tile)
    assert framed.shape == (1, 1, size, size)
    start = (size - zoom * 101) // 2
    inner = framed[..., start : start + zoom * 101, start : start + zoom * 101]
    assert torch.equal(inner, tile.repeat_interleave(zoom, -2).repeat_interleave(zoom, -1))
    torch.testing.assert_close(framing.unframe(framed), tile, rtol=1e-6, atol=0)
    assert zoom > 1 or torch.equal(framing.unframe(framed), tile)


def test_an_enlarged_pixels_logit_is_the_mean_of_its_square() -> None:
    framing = Framing((32, 32), InputConfig(size=64))
    logits = torch.zeros(1, 1, 64, 64)
    logits[0, 0, 2, 6], logits[0, 0, 3, 7] = 4.0, 8.0
    assert framing.unframe(logits)[0, 0, 1, 3] == 3
    assert framing.unframe(logits).sum() == 3


def test_a_tile_that_is_too_large_can_be_resized() -> None:
    framing = Framing((101, 101), InputConfig(size=64, framing="resize"))
    assert framing.frame(torch.zeros(1, 1, 101, 101)).shape == (1, 1, 64, 64)


def test_a_size_that_cannot_be_shrunk_is_refused() -> None:
    with pytest.raises(ConfigError, match="33 pixels cannot be shrunk 2 times"):
        Framing((24, 24), InputConfig(size=33), shrink=2)


def test_a_reflection_further_than_the_tile_is_refused() -> None:
    Framing((8, 8), InputConfig(size=22))  # 7 pixels on each side: the farthest there is
    with pytest.raises(ConfigError, match=r"8x8 are too small to be reflected by 8 (.|\n)*edge"):
        Framing((8, 8), InputConfig(size=23))


def test_a_tile_reflected_further_along_one_side_only_is_refused() -> None:
    Framing((8, 24), InputConfig(size=22))  # 24 px need no more than 2
    with pytest.raises(ConfigError, match=r"8x24 are too small to be reflected by 8 "):
        Framing((8, 24), InputConfig(size=23))


# --- the depth of the rows


def depth_of(framing: Framing) -> list[float]:
    """The depth channel's rows, all columns of which are alike."""
    tiles = torch.full((1, *framing.tile_shape), 255, dtype=torch.uint8)
    grey, depth, product = framing.prepare(tiles)[0]
    assert torch.equal(depth, depth[:, :1].expand_as(depth))
    assert torch.equal(product, grey * depth)
    assert grey.unique().numel() == 1
    return [round(value, 6) for value in depth[:, 0].tolist()]


@pytest.mark.parametrize(
    ("border", "expected"),
    [("reflect", [0.5, 0, 0.5, 1, 0.5, 0]), ("edge", [0, 0, 0.5, 1, 1, 1])],
)
def test_depth_is_the_tiles_own_where_it_is_padded(border: Border, expected: list[float]) -> None:
    config = InputConfig(size=6, border=border, channels="grey+depth")
    assert depth_of(Framing((3, 3), config)) == expected


def test_depth_of_an_enlarged_pixel_is_its_own() -> None:
    rows = depth_of(Framing((32, 32), InputConfig(size=64, channels="grey+depth")))
    assert rows == [round(row / 31, 6) for row in range(32) for _ in range(2)]


def test_depth_falls_from_top_to_bottom_where_the_tile_is_resized() -> None:
    config = InputConfig(size=8, framing="resize", channels="grey+depth")
    assert depth_of(Framing((5, 5), config))[::7] == [0, 1]
    rows = depth_of(Framing((5, 5), config))
    assert rows == sorted(rows)
    assert len({*rows}) == 8
    assert rows == pytest.approx([1 - row for row in reversed(rows)], abs=1e-6)


@pytest.mark.parametrize("mode", ["pad", "resize"])
def test_depth_of_a_shrunk_input_is_the_mean_of_its_rows(mode: Literal["pad", "resize"]) -> None:
    config = InputConfig(size=4, framing=mode, channels="grey+depth")
    rows = depth_of(Framing((4, 4), config, shrink=2))
    assert rows == sorted(rows)
    assert rows == pytest.approx([1 - row for row in reversed(rows)], abs=1e-6)
    assert mode == "resize" or rows == pytest.approx([1 / 6, 5 / 6], abs=1e-6)


# --- what is finer than the network's pixels


@pytest.mark.parametrize(
    ("tile", "size", "shrink", "mode"),
    [
        (96, 32, 1, "resize"),
        (48, 64, 4, "resize"),
        (60, 60, 3, "resize"),
        (48, 48, 2, "pad"),
        (48, 64, 4, "pad"),
    ],
)
def test_a_fine_checkerboard_becomes_grey(
    tile: int, size: int, shrink: int, mode: Literal["pad", "resize"]
) -> None:
    """Of every third pixel alone it would be a coarser board, as black and white as before."""
    framing = Framing((tile, tile), InputConfig(size=size, framing=mode), shrink)
    board = (torch.arange(tile)[:, None] + torch.arange(tile)) % 2
    seen = framing.frame(board.float()[None, None])
    assert seen.shape == (1, 1, *framing.network_shape)
    inner = seen[..., 2:-2, 2:-2]
    assert inner.sub(0.5).abs().max() < 0.1


def test_antialiasing_is_for_smaller_sizes_only() -> None:
    """An enlarged tile is interpolated and nothing else, though the stage shrinks its input."""
    maps = torch.rand(1, 1, 20, 20, generator=torch.Generator().manual_seed(0))
    seen = Framing((20, 20), InputConfig(size=64, framing="resize"), shrink=2).frame(maps)
    assert torch.equal(seen, torch.nn.functional.interpolate(maps, size=32, mode="bilinear"))


# --- tiles that are no squares


@pytest.mark.parametrize(
    ("tile", "size", "mode", "shape"),
    [
        ((101, 151), 112, "pad", (112, 160)),
        ((151, 101), 112, "pad", (160, 112)),
        ((101, 151), 128, "pad", (128, 160)),
        ((100, 101), 128, "pad", (128, 128)),
        ((64, 96), 128, "pad", (128, 192)),  # a pixel is four, in both directions
        ((64, 96), 112, "pad", (112, 112)),
        ((101, 151), 128, "resize", (128, 192)),
        ((64, 96), 128, "resize", (128, 192)),
        ((96, 64), 160, "resize", (256, 160)),
        ((101, 101), 101, "resize", (101, 101)),
        ((30, 70), 33, "resize", (33, 77)),
    ],
)
def test_a_rectangle_keeps_its_proportions(
    tile: tuple[int, int], size: int, mode: Literal["pad", "resize"], shape: tuple[int, int]
) -> None:
    framing = Framing(tile, InputConfig(size=size, framing=mode))
    assert framing.network_shape == shape
    assert framing.frame(torch.zeros(1, 1, *tile)).shape == (1, 1, *shape)


@pytest.mark.parametrize(
    ("size", "shrink", "shape"),
    [(112, 1, (112, 160)), (112, 2, (56, 80)), (128, 1, (128, 160)), (128, 2, (64, 96))],
)
def test_a_longer_side_is_halved_as_often_as_the_shorter(
    size: int, shrink: int, shape: tuple[int, int]
) -> None:
    """56 px are 7 of 8, and so are 80; but 64 px are 2 of 32, so that 80 would not do."""
    assert Framing((101, 151), InputConfig(size=size), shrink).network_shape == shape


@st.composite
def rectangles(draw: st.DrawFn) -> tuple[tuple[int, int], InputConfig]:
    """Tiles of which one side may be longer than the input's size."""
    shorter = draw(st.integers(1, 40))
    sides = (shorter, draw(st.integers(shorter, 3 * shorter)))
    height, width = draw(st.permutations(sides))
    return (height, width), InputConfig(size=draw(st.integers(shorter, 70)), border="edge")


@given(rectangles())
def test_unframe_undoes_padding_of_rectangles(
    case: tuple[tuple[int, int], InputConfig],
) -> None:
    shape, config = case
    framing = Framing(shape, config)
    maps = torch.randint(0, 256, (1, 2, *shape), generator=torch.Generator().manual_seed(0)).float()
    framed = framing.frame(maps)
    assert framed.shape == (1, 2, *framing.network_shape)
    assert min(framed.shape[-2:]) == config.size
    assert torch.equal(framing.unframe(framed), maps)


@pytest.mark.parametrize("mode", ["pad", "resize"])
@pytest.mark.parametrize("shrink", [1, 2])
def test_a_place_in_a_rectangle_stays_in_its_place(
    mode: Literal["pad", "resize"], shrink: int
) -> None:
    framing = Framing((20, 44), InputConfig(size=32, framing=mode), shrink)
    ramps = [
        torch.linspace(0, 1, 44).expand(20, 44),
        torch.linspace(0, 1, 20)[:, None].expand(20, 44),
    ]
    maps = torch.stack(ramps)[None]
    restored = framing.unframe(framing.frame(maps))
    assert restored.shape == maps.shape
    torch.testing.assert_close(restored[..., 3:-3, 3:-3], maps[..., 3:-3, 3:-3], atol=0.01, rtol=0)


def test_coloured_tiles_are_framed_channel_by_channel() -> None:
    tiles = torch.randint(0, 256, (2, 6, 4, 3), generator=torch.Generator().manual_seed(0)).byte()
    framing = Framing((6, 4), InputConfig(size=8, border="edge", channels="rgb"))
    seen = framing.prepare(tiles)
    assert seen.shape == (2, 3, 8, 8)
    levels = seen[..., 1:7, 2:6] * torch.tensor(IMAGENET_STD)[:, None, None]
    levels = (levels + torch.tensor(IMAGENET_MEAN)[:, None, None]) * 255
    assert torch.equal(levels.round().byte().permute(0, 2, 3, 1), tiles)
