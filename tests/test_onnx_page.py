"""The page in docs/onnx-web: a network in a browser says what it says in Python."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from kaggle_salt.competition.decision import nearest_level
from kaggle_salt.config.schema import InputConfig, ModelConfig
from kaggle_salt.learning.export import COMPUTE, export_onnx
from kaggle_salt.learning.framing import Framing
from kaggle_salt.learning.inference import tile_probabilities
from tests.conftest import chromium
from tests.learning.makers import lively

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

FOLDER = Path(__file__).parents[1] / "docs" / "onnx-web"
RUNTIME = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")
KINDS = {".html": "text/html", ".mjs": "text/javascript", ".wasm": "application/wasm"}
SHAPE = (30, 24)


def test_its_readme_names_what_belongs_beside_it() -> None:
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    page = (FOLDER / "index.html").read_text(encoding="utf-8")
    assert [name for name in RUNTIME if f"package/dist/{name}" not in readme] == []
    assert f'import("./{RUNTIME[0]}")' in page
    assert "http" not in page  # nothing from elsewhere


def serve(route: Route) -> None:
    """Answer with a file of the folder: there is no server, and no network."""
    path = FOLDER / route.request.url.rpartition("/")[2]
    route.fulfill(body=path.read_bytes(), content_type=KINDS[path.suffix])


@pytest.fixture
def page() -> Iterator[Page]:
    """The page in a browser that is offline; an error in it, or a request elsewhere, fails."""
    missing = [name for name in RUNTIME if not (FOLDER / name).exists()]
    if missing:
        pytest.skip(f"docs/onnx-web has no {' and no '.join(missing)}: see its README.md")
    from playwright.sync_api import sync_playwright

    faults: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        context = browser.new_context(offline=True)
        context.route("http://localhost/*", serve)
        context.on("requestfailed", lambda request: faults.append(request.url))
        page = context.new_page()
        page.on("console", lambda message: faults.append(message.text))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto("http://localhost/index.html")
        yield page
        browser.close()
    assert not faults


def written(tiles: NDArray[np.uint8], path: Path, **metadata: str) -> NDArray[np.float32]:
    """Write a network; what it says of the tiles in torch."""
    options = {"widths": [4, 8], "depths": [1, 1], "decoder": [4], "hypercolumn": 4}
    config = ModelConfig(architecture="compact", weights="none", options=options)
    framing = Framing(SHAPE, InputConfig(size=32))
    network = lively(config, framing, tiles, seed=0)
    height, width = map(str, SHAPE)
    sides = {"tile_height": height, "tile_width": width, "tile_colours": "1"}
    export_onnx([[network]], framing, "flip", tiles, path, metadata | sides)
    return tile_probabilities(network, torch.from_numpy(tiles), framing, COMPUTE, "flip").numpy()


@pytest.mark.browser
def test_a_tile_gives_the_same_probabilities_in_a_browser(page: Page, tmp_path: Path) -> None:
    tiles = np.random.default_rng(0).integers(0, 256, (2, *SHAPE), dtype=np.uint8)
    expected = written(tiles, tmp_path / "a.onnx", run="mine", threshold="0.45")[1].ravel()
    Image.fromarray(tiles[1]).save(tmp_path / "tile.png")
    Image.fromarray(tiles[1, :, :20]).save(tmp_path / "narrow.png")
    page.set_input_files("#network", tmp_path / "a.onnx")
    page.wait_for_function("document.querySelector('#status').textContent.startsWith('run mine')")
    assert page.text_content("#shown") == "0.45"
    page.set_input_files("#tile", tmp_path / "tile.png")
    page.wait_for_function("window.probabilities")
    probabilities = page.evaluate("Array.from(window.probabilities)")
    np.testing.assert_allclose(probabilities, expected, atol=1e-5)
    area = np.count_nonzero(np.round(255 * expected) > nearest_level(0.45))
    assert 0 < area < expected.size
    assert (page.text_content("#status") or "").startswith(f"tile.png: {area} of 720 pixels")
    page.set_input_files("#tile", tmp_path / "narrow.png")
    page.wait_for_function("document.querySelector('#status').textContent.includes('20 x 30')")
