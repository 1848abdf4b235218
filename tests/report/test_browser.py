"""The page of a report in a real browser without a network: filters, keys, sizes, colours."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from kaggle_salt.report.page import render
from tests.conftest import chromium
from tests.report.makers import make_facts, make_gallery

pytestmark = pytest.mark.browser

TILES = 130  # more than a sheet


@pytest.fixture(scope="module")
def page_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of tiles of one grey level each, so that one can see which is shown."""
    gallery = make_gallery(TILES, (20, 30))
    levels = (np.arange(TILES) * 37 % 256).astype(np.uint8)
    images = np.broadcast_to(levels[:, None, None], gallery.images.shape)
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(render(make_facts(replace(gallery, images=images.copy()))), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        yield started
        started.close()


class Opened:
    """A page in a window of its own, and all that went wrong there."""

    def __init__(self, browser: Any, path: Path, **window: Any) -> None:
        window = {"viewport": {"width": 1280, "height": 900}, **window}
        self.context = browser.new_context(offline=True, **window)
        self.page = self.context.new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(path.as_uri())

    def to_tiles(self) -> None:
        self.page.locator("#filters").scroll_into_view_if_needed()
        self.page.locator(".tile").first.wait_for()

    def value(self, script: str) -> Any:
        return self.page.evaluate(script)

    def shown(self) -> list[str]:
        return [str(text) for text in self.page.locator(".tile code").all_inner_texts()]

    def focused(self) -> str:
        return str(self.value("document.activeElement.querySelector('code')?.textContent ?? ''"))


@pytest.fixture
def opened(browser: Any, page_path: Path) -> Iterator[Opened]:
    one = Opened(browser, page_path)
    yield one
    one.context.close()


def expected_ids(sort: str = "all") -> list[str]:
    """Ids from the worst tile to the best, worked out anew."""
    table = make_gallery(TILES, (20, 30)).table
    table["wrong"] = table["truth"] + table["predicted"] - 2 * table["hit"]
    if sort == "false-salt":
        table = table[(table["truth"] == 0) & (table["predicted"] > 0)]
    ranked = table.sort_values(["score", "wrong", "id"], ascending=[True, False, True])
    return [str(tile) for tile in ranked["id"]]


def test_it_opens_from_disk_and_asks_for_nothing(browser: Any, page_path: Path) -> None:
    opened = Opened(browser, page_path, viewport={"width": 900, "height": 200})
    assert opened.value("document.querySelectorAll('.tile').length") == 0, (
        "drawn when they are near"
    )
    opened.to_tiles()
    while opened.page.locator("#more").is_visible():
        opened.page.click("#more")
    assert opened.shown() == expected_ids()
    assert opened.said == []
    outside = [url for url in opened.asked if not url.startswith(("file:", "blob:", "data:"))]
    assert outside == []
    assert opened.page.title() == "tiny · salt report"
    opened.context.close()


def test_every_thumbnail_is_of_its_tile(opened: Opened) -> None:
    opened.to_tiles()
    while opened.page.locator("#more").is_visible():
        opened.page.click("#more")
    ids = expected_ids()
    for place in (0, 9, 10, 57, 99, 100, TILES - 1):  # corners of the sheets
        panel = opened.page.locator(".tile").nth(place).locator(".panel").first
        data = np.frombuffer(panel.screenshot(), np.uint8)
        seen = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)
        assert seen is not None
        height, width = seen.shape
        middle = seen[height // 8 : -height // 8, width // 8 : -width // 8]
        assert width / height == pytest.approx(1.5, abs=0.06)
        assert np.ptp(middle) <= 6, "no other tile shines in"
        assert middle.mean() == pytest.approx(int(ids[place][4:]) * 37 % 256, abs=6)


def test_filters_filter_and_orders_order(opened: Opened) -> None:
    opened.to_tiles()
    page, status = opened.page, opened.page.locator("#shown")
    assert status.inner_text() == f"{TILES} tiles"
    page.click("[data-sort=false-salt]")
    false = expected_ids("false-salt")
    assert opened.shown() == false[:24]
    assert status.inner_text() == f"{len(false)} of {TILES} tiles"
    assert page.get_attribute("[data-sort=false-salt]", "aria-pressed") == "true"
    page.select_option("#fold", "1")
    table = make_gallery(TILES, (20, 30)).table.set_index("id")
    of_fold = [tile for tile in false if table.loc[tile, "fold"] == 1]
    assert opened.shown() == of_fold[:24]
    page.select_option("#fold", "")
    page.click("[data-sort=all]")
    page.select_option("#coverage", label="no salt")
    assert status.inner_text() == f"{(table['coverage'] == 0).sum()} of {TILES} tiles"
    page.select_option("#coverage", "")
    page.select_option("#order", "best")
    assert opened.shown()[0] == expected_ids()[-1]
    page.select_option("#order", "most")
    covers = [float(table.loc[tile, "coverage"]) for tile in opened.shown()]
    assert covers == sorted(table["coverage"], reverse=True)[:24]
    page.fill("#search", "TILE0007")
    assert opened.shown() == ["tile0007"]
    page.fill("#search", "nowhere")
    assert (opened.shown(), status.inner_text()) == ([], f"0 of {TILES} tiles")
    assert opened.said == []


def test_arrow_keys_walk_and_enter_opens(opened: Opened) -> None:
    opened.to_tiles()
    ids, press = expected_ids(), opened.page.keyboard.press
    across = opened.value(
        "getComputedStyle(document.querySelector('#grid')).gridTemplateColumns.split(' ').length"
    )
    opened.page.locator(".tile").first.focus()
    ways = [("ArrowRight", 1), ("ArrowDown", 1 + across), ("ArrowLeft", across), ("ArrowUp", 0),
            ("ArrowUp", 0), ("End", TILES - 1), ("Home", 0)]  # fmt: skip
    for key, place in ways:
        press(key)
        assert opened.focused() == ids[place], key
    assert opened.value("document.querySelectorAll('.tile[tabindex=\"0\"]').length") == 1
    press("Enter")
    title = opened.page.locator("#viewer-title")
    assert title.inner_text() == ids[0]
    assert opened.page.locator("#previous").is_disabled()
    press("ArrowRight")
    press("ArrowRight")
    assert title.inner_text() == ids[2]
    assert opened.page.locator("#viewer-place").inner_text() == f"3 of {TILES}"
    labels = opened.page.locator("#viewer [role=img]").evaluate_all(
        "panels => panels.map(panel => panel.getAttribute('aria-label'))"
    )
    assert [label.split(",")[0] for label in labels] == [ids[2]] * 4
    press("Escape")
    assert not opened.page.locator("#viewer").is_visible()
    assert opened.focused() == ids[2]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_in_light_and_in_dark(browser: Any, page_path: Path, scheme: str) -> None:
    phone = {"viewport": {"width": 390, "height": 844}, "color_scheme": scheme}
    opened = Opened(browser, page_path, **phone)
    opened.to_tiles()
    assert opened.value("document.documentElement.scrollWidth") == 390

    def brightness() -> float:
        colour = opened.value("getComputedStyle(document.body).backgroundColor")
        return float(np.mean([int(part) for part in colour.strip("rgb()").split(",")]))

    dark = scheme == "dark"
    assert (brightness() < 100) == dark
    opened.page.click("#theme")
    assert (brightness() < 100) != dark
    assert opened.page.get_attribute("#theme", "aria-pressed") == str(not dark).lower()
    opened.page.reload()
    assert (brightness() < 100) != dark, "remembered"
    assert opened.said == []
    opened.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_that_keeps_anyone_out(
    browser: Any, page_path: Path, scheme: str
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="no axe-core here")
    opened = Opened(browser, page_path, color_scheme=scheme)
    opened.value("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    opened.to_tiles()
    if scheme == "dark":
        opened.page.locator(".tile").first.click()
        opened.page.locator("#viewer").wait_for()
    found = axe.Axe().run(opened.page).response
    assert [one["id"] for one in found["violations"]] == []
    # of letters that are signs it cannot tell how well they stand out
    assert [one["id"] for one in found["incomplete"] if one["id"] != "color-contrast"] == []
    opened.context.close()
