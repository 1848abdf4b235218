from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from PIL import Image

from kaggle_salt.errors import ConfigError
from kaggle_salt.learning.networks.anatomy import INPUT, Block
from kaggle_salt.report import architecture
from kaggle_salt.report.architecture_layout import DOWN, LOGITS, UP
from kaggle_salt.report.drawing import BLUE, GREY, VERMILLION


def block(name: str, channels: int, side: int, *sources: str, kind: str = "Conv2d") -> Block:
    return Block(name, kind, channels, (side, side), sources)


#: A U-Net of two levels whose head gathers all that its decoder makes, one of it by a side block.
BLOCKS = [
    block("down.0", 16, 64, INPUT),
    block("down.1", 64, 16, "down.0"),
    block("bottom", 256, 4, "down.1"),
    block("up.0", 64, 16, "down.1", "bottom"),
    block("side", 9, 16, "up.0"),
    block("up.1", 16, 64, "down.0", "up.0"),
    block("up.2", 16, 64, "up.1"),
    block("head", 1, 64, "bottom", "side", "up.1", "up.2"),
]


def draw(path: Path, blocks: list[Block], side: int = 64) -> None:
    architecture.draw_architecture(blocks, path, channels=1, shape=(side, side), title="toy")


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that were drawn; nothing is written."""
    kept: list[Figure] = []
    monkeypatch.setattr(architecture, "save_figure", lambda figure, path: kept.append(figure))
    return kept


def boxes(figure: Figure) -> list[FancyBboxPatch]:
    return [patch for patch in figure.axes[0].patches if isinstance(patch, FancyBboxPatch)]


def arrows(figure: Figure, colour: str) -> int:
    patches = [patch for patch in figure.axes[0].patches if isinstance(patch, FancyArrowPatch)]
    return sum(to_hex(patch.get_edgecolor()).upper() == colour for patch in patches)


def words(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


def test_boxes_grow_with_the_root_of_map_and_channels(figures: list[Figure]) -> None:
    draw(Path("toy.png"), BLOCKS)
    found = boxes(figures[0])
    assert len(found) == 1 + len(BLOCKS)  # the tile, too
    _, first, second, bottom, *_ = found
    assert first.get_height() == pytest.approx(2 * second.get_height())  # 64 and 16 px
    assert bottom.get_width() == pytest.approx(2 * second.get_width())  # 256 and 64 channels


def test_skips_are_arrows_above_and_what_is_gathered_below(figures: list[Figure]) -> None:
    draw(Path("toy.png"), BLOCKS)
    assert arrows(figures[0], GREY) == 7  # between the tile and seven blocks in a row
    assert arrows(figures[0], BLUE) == 2
    assert arrows(figures[0], VERMILLION) == 2  # down to the block at the side, and to the head
    key = figures[0].axes[0].get_legend()
    assert key is not None
    assert [text.get_text() for text in key.get_texts()] == ["skip", "gathered"]


def test_the_key_names_only_what_is_there(figures: list[Figure]) -> None:
    draw(Path("toy.png"), [*BLOCKS[:4], block("head", 1, 64, "up.0")])
    key = figures[0].axes[0].get_legend()
    assert key is not None
    assert [text.get_text() for text in key.get_texts()] == ["skip"]


def test_channels_sides_and_names_are_written(figures: list[Figure]) -> None:
    draw(Path("toy.png"), BLOCKS)
    told = words(figures[0])
    assert {block.name for block in BLOCKS} < set(told)
    assert [word for word in told if word.isdecimal()][:6] == ["64", "16", "4", "16", "64", "1"]
    assert "256" in told


def test_sides_of_maps_that_are_no_squares_are_both_written(figures: list[Figure]) -> None:
    wide = [
        Block("conv", "Conv2d", 4, (8, 12), (INPUT,)),
        Block("head", "Conv2d", 1, (8, 12), ("conv",)),
    ]
    architecture.draw_architecture(wide, Path("x.png"), channels=1, shape=(8, 12), title="toy")
    assert "8x12" in words(figures[0])


def test_many_blocks_alike_become_one(figures: list[Figure]) -> None:
    chain = [block("e.0", 8, 16, INPUT)]
    chain += [block(f"e.{n}", 8, 16, f"e.{n - 1}") for n in range(1, 5)]
    draw(Path("x.png"), [*chain, block("head", 1, 16, "e.4")])
    assert len(boxes(figures[0])) == 3
    assert "e.0 … 4" in words(figures[0])
    draw(Path("x.png"), [*chain, block("head", 1, 16, "e.2", "e.4")])
    assert "e.0 … 2" in words(figures[1]), "a map that others read stays in sight"


def test_everything_is_on_the_page(figures: list[Figure]) -> None:
    draw(Path("toy.png"), BLOCKS)
    axes = figures[0].axes[0]
    figures[0].canvas.draw()
    page = figures[0].bbox
    for text in axes.texts:
        box = text.get_window_extent()
        assert page.x0 <= box.x0 < box.x1 <= page.x1, text.get_text()
        assert page.y0 <= box.y0 < box.y1 <= page.y1, text.get_text()


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_the_same_network_gives_the_same_bytes(tmp_path: Path, suffix: str) -> None:
    for name in ("one", "two"):
        draw(tmp_path / f"{name}{suffix}", BLOCKS)
    one, two = ((tmp_path / f"{name}{suffix}").read_bytes() for name in ("one", "two"))
    assert one == two
    assert one.startswith(b"\x89PNG" if suffix == ".png" else b"<?xml")


def test_the_ways_down_and_up_have_their_colours(tmp_path: Path) -> None:
    draw(tmp_path / "toy.png", BLOCKS)
    with Image.open(tmp_path / "toy.png") as picture:
        colours = picture.convert("RGB").getcolors(1 << 20)
    assert colours is not None
    found = {"#{:02X}{:02X}{:02X}".format(*colour) for count, colour in colours if count > 200}
    assert {DOWN, UP, LOGITS, BLUE} < found


def test_another_kind_of_file_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"cannot be written as 'toy.pdf'"):
        draw(Path("toy.pdf"), BLOCKS)
