"""``scripts/pictures``: the README's pictures of what can be seen, made from the demo alone.

A second, shorter training of the demo's recipe is compared with the first: minutes on a CPU.
"""

from __future__ import annotations

import argparse
import io
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

import kaggle_salt
from kaggle_salt import Workspace
from kaggle_salt.report.drawing import LABEL_SIZE, clean, save_figure
from kaggle_salt.synthetic.geology import draw_tile

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

DOCS = Path(__file__).parents[1] / "docs"

#: Bytes of a picture, and its width in pixels, at most.
LIMIT, WIDTH = 150_000, 720

#: The files beside the page of docs/onnx-web, and what they are.
KINDS = {".html": "text/html", ".mjs": "text/javascript", ".wasm": "application/wasm"}

#: The demo's recipe with a quarter of its epochs.
SHORT = {"training.batch_size": 16, "stage.bce.epochs": 10, "stage.lovasz.epochs": 4,
         "stage.swa.epochs": 1}  # fmt: skip

#: Leaves of the page of a comparison the verdict, the scores and the first tiles.
SHORTEN = """() => {
  for (const head of [...document.querySelectorAll("h2")].slice(2, 5)) {
    while (head.nextElementSibling.tagName !== "H2") head.nextElementSibling.remove();
    head.remove();
  }
  [...document.querySelectorAll(".tiles li")].slice(6).forEach((one) => one.remove());
}"""

#: Leaves out how long the network took: it says more of the moment than of the network.
UNTIMED = "() => { const s = document.querySelector('#status'); " \
          "s.textContent = s.textContent.split(';')[0]; }"  # fmt: skip

#: Of the section that is predicted; chosen by eye: two flanks of salt under dipping layers.
SEED = 109


def main(arguments: Sequence[str] | None = None) -> None:
    """Make some of the pictures, or all."""
    parser = argparse.ArgumentParser(prog="scripts/pictures", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(PICTURES)}")
    parser.add_argument("--demo", type=Path, default=Path("demo"), help="what salt demo wrote")
    parser.add_argument("--docs", type=Path, default=DOCS, help="where the pictures go")
    options = parser.parse_args(arguments)
    for name in options.names or PICTURES:
        save(PICTURES[name](options.demo), options.docs / f"{name}.png")


def save(picture: Image.Image, path: Path) -> None:
    """Write a picture with as many colours as the limit allows.

    Raises:
        ValueError: Even 16 colours are too many.
    """
    if picture.width > WIDTH:
        size = WIDTH, round(picture.height * WIDTH / picture.width)
        picture = picture.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    for colours in (256, 128, 64, 32, 16):
        content = io.BytesIO()
        # k-means keeps the rare colours, as a thin outline's, which median cut alone loses
        few = picture.convert("RGB").quantize(colours, kmeans=4, dither=Image.Dither.NONE)
        few.save(content, "PNG", optimize=True)
        if content.tell() <= LIMIT:
            path.write_bytes(content.getvalue())
            return
    raise ValueError(f"{path} has {content.tell()} bytes in {colours} colours, over {LIMIT}")


def of_report(demo: Path) -> Image.Image:
    """The head of the page of ``salt report``, and its first tiles."""
    made = kaggle_salt.make_report(Workspace.under(demo), "quick", verbose=False)
    with browser(1000, 1000) as page:
        page.goto(made.html.resolve().as_uri())
        head = page.locator("section.hero").screenshot()
        page.select_option("#coverage", label="25 to 50 %")
        page.select_option("#order", "id")
        page.locator("#filters").scroll_into_view_if_needed()
        page.locator(".tile").first.wait_for()
        tiles = page.locator("#tiles-section").screenshot()
    return stacked([seen(head), seen(tiles).crop((0, 80, 968, 620))])


def of_compare(demo: Path) -> Image.Image:
    """The page of ``salt compare``: the verdict, and tiles that changed."""
    workspace = Workspace.under(demo)
    if not (workspace.runs / "short/fold1/fold.json").exists():
        kaggle_salt.train(workspace, preset="quick", run="short", folds=[0, 1], set=SHORT)
    path = demo / "compared.html"
    kaggle_salt.compare(workspace, ["short", "quick"], html=path, verbose=False)
    with browser(960, 900) as page:
        page.goto(path.resolve().as_uri())
        page.evaluate(SHORTEN)
        return seen(page.locator("body").screenshot())


def of_predict(demo: Path) -> Image.Image:
    """A section of twice and four times a tile's sides, and its overlay."""
    path = demo / "section.png"
    Image.fromarray(draw_section()).save(path)
    kaggle_salt.predict(
        [path], Workspace.under(demo), run="quick", out=demo / "masks", overwrite=True,
        verbose=False,
    )  # fmt: skip
    overlay = Image.open(demo / "masks/section-overlay.png")
    return stacked([Image.open(path).resize((720, 396)), overlay.resize((720, 396))])


def of_survey(demo: Path) -> Image.Image:
    """An inline of a SEG-Y cube, and the same of the copy that ``salt predict`` writes."""
    import segyio

    path = demo / "survey.sgy"
    cube = np.stack([draw_section(2 * line) for line in range(4)]).astype(np.float32) - 121
    segyio.tools.from_array3D(path, cube.transpose(0, 2, 1).copy())
    kaggle_salt.predict_survey(
        path, Workspace.under(demo), run="quick", out=demo / "salt", overwrite=True, verbose=False
    )
    figure = Figure(figsize=(6, 6), layout="constrained")
    for axes, file, what, colours, ends in zip(
        figure.subplots(2, 1), (path, demo / "salt/survey-probability.sgy"),
        ("survey.sgy: amplitude", "survey-probability.sgy"), ("gray", "cividis"),
        ((-90, 90), (0, 1)), strict=True,
    ):  # fmt: skip
        with segyio.open(file) as survey:
            line = survey.iline[survey.ilines[2]].T
            extent = (survey.xlines[0], survey.xlines[-1], survey.samples[-1], survey.samples[0])
        shown = axes.imshow(line, cmap=colours, vmin=ends[0], vmax=ends[1], extent=extent,
                            aspect="auto")  # fmt: skip
        clean(axes)
        axes.grid(visible=False)
        axes.set_title(what, fontsize=LABEL_SIZE, loc="left")
        axes.set_xlabel("crossline of inline 3", fontsize=LABEL_SIZE)
        axes.set_ylabel("ms", fontsize=LABEL_SIZE)
        figure.colorbar(shown, ax=axes, pad=0.02)
    save_figure(figure, demo / "survey.png")
    return Image.open(demo / "survey.png")


def of_onnx(demo: Path) -> Image.Image:
    """The page of docs/onnx-web with a network and a tile; its two other files must be there."""
    network = demo / "quick.onnx"
    if not network.exists():
        kaggle_salt.export("quick", Workspace.under(demo), folds=[0], out=network)
    tile = demo / "tile.png"
    Image.fromarray(draw_section()[-101:, :101]).save(tile)
    with browser(760, 640) as page:
        page.set_default_timeout(120_000)
        page.context.route("http://localhost/*", serve)
        page.goto("http://localhost/index.html")
        page.set_input_files("#network", network)
        page.wait_for_function("document.querySelector('#status').textContent.startsWith('run ')")
        page.set_input_files("#tile", tile)
        page.wait_for_function("window.probabilities")
        page.evaluate(UNTIMED)
        return seen(page.screenshot(full_page=True))


def of_look(demo: Path) -> Image.Image:
    """The sheet of tiles by coverage that ``salt look`` draws."""
    kaggle_salt.look(Workspace.under(demo), demo / "pictures", verbose=False)
    return Image.open(demo / "pictures/tiles.png")


PICTURES: dict[str, Callable[[Path], Image.Image]] = {
    "look": of_look, "report": of_report, "compare": of_compare, "predict": of_predict,
    "survey": of_survey, "onnx": of_onnx,
}  # fmt: skip


def draw_section(up: int = 0) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    """A section of 220 x 400 pixels, uint8, that lies ``up`` pixels deeper in the same ground."""
    return draw_tile(np.random.default_rng(SEED), 400, 0.69).image[90 + up : 310 + up]


@contextmanager
def browser(width: int, height: int) -> Iterator[Page]:
    """A window of the chromium that is installed, without a network."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        started = driver.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        context = started.new_context(
            offline=True, viewport={"width": width, "height": height}, color_scheme="light"
        )
        yield context.new_page()
        started.close()


def serve(route: Route) -> None:
    """Answer with a file of docs/onnx-web: there is no server."""
    path = DOCS / "onnx-web" / route.request.url.rpartition("/")[2]
    route.fulfill(body=path.read_bytes(), content_type=KINDS[path.suffix])


def seen(screenshot: bytes) -> Image.Image:
    """A screenshot as a picture."""
    return Image.open(io.BytesIO(screenshot)).convert("RGB")


def stacked(pictures: Sequence[Image.Image], gap: int = 12) -> Image.Image:
    """One below the other, on white."""
    height = sum(one.height for one in pictures) + gap * (len(pictures) - 1)
    sheet = Image.new("RGB", (max(one.width for one in pictures), height), "white")
    top = 0
    for one in pictures:
        sheet.paste(one, (0, top))
        top += one.height + gap
    return sheet


if __name__ == "__main__":
    main()
