from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from kaggle_salt.report.gallery import SORTS, gallery_parts
from kaggle_salt.report.page import made_for, render
from tests.report.makers import make_facts, make_gallery

VOID = {"meta", "link", "input", "br"}


class Checked(HTMLParser):
    """Reads a page and writes down what it is made of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.attributes: list[tuple[str, dict[str, str]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.attributes.append((tag, found))
        self.ids += [found["id"]] if "id" in found else []
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def values(self, *names: str) -> set[str]:
        return {found[name] for _, found in self.attributes for name in names if name in found}


@pytest.fixture(scope="module")
def text() -> str:
    return render(make_facts(make_gallery(), name='ti"<ny'))


def test_the_page_is_sound_and_points_nowhere_else(text: str) -> None:
    page = Checked(text)
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    links = page.values("href", "src", "xlink:href")
    outside = [link for link in links if not link.startswith(("#", "data:"))]
    assert outside == []
    assert {link[1:] for link in links if link.startswith("#")} <= set(page.ids)
    assert page.values("aria-labelledby") <= set(page.ids)
    assert "@import" not in text
    assert {found[:2] for found in re.findall(r"url\((..)", text)} <= {"#f", '"$'}


def test_it_says_what_it_was_given(text: str) -> None:
    for told in ("0.4321", "0.4000 to 0.5000", "Fold 1 is half done.", "Run tiny was steered.",
                 "salt train --run ti&#34;&lt;ny --fold 1 --resume", "1 of 2 finished", "1,234",
                 "&lt;b&gt;32x32&lt;/b&gt;"):  # fmt: skip
        assert told in text
    assert "<b>32x32" not in text
    assert made_for(text) == ("run", 'ti"<ny')
    assert made_for("<html>") is None


def test_the_same_facts_give_the_same_text() -> None:
    """Figures do too: see the tests of ``report.svg``."""
    facts = replace(make_facts(), folds=[])
    assert render(facts) == render(facts)
    assert gallery_parts(make_gallery()) == gallery_parts(make_gallery())


def test_without_a_finished_fold_it_shows_the_training() -> None:
    text = render(make_facts())
    page = Checked(text)
    assert page.open == []
    assert "none yet" in text
    assert {"training", "configuration"} <= set(page.ids)
    assert {"scores", "tiles", "decision", "calibration"}.isdisjoint(page.ids)


def test_tiles_go_from_the_worst_to_the_best_with_what_is_known_of_them() -> None:
    gallery = make_gallery()
    parts = gallery_parts(gallery)
    told = json.loads(parts.tiles)
    by_id = gallery.table.set_index("id")
    assert sorted(told["id"]) == sorted(by_id.index)
    assert told["tenths"] == sorted(told["tenths"])
    for place, tile in enumerate(told["id"]):
        row = by_id.loc[tile]
        assert told["tenths"][place] == round(10 * row["score"])
        assert told["classes"][told["class"][place]] == row["coverage_class"]
        assert told["types"][told["type"][place]] == row["type"]
        assert [told[name][place] for name in ("truth", "predicted", "hit", "edges", "fold")] == [
            row[name] for name in ("truth", "predicted", "hit", "edges", "fold")
        ]
        depth = told["depth"][place]
        assert (
            depth is None if tile == "tile0000" else depth == pytest.approx(row["depth"], abs=0.1)
        )
    sorts = told["sorts"]
    assert set(sorts) == {key for key, _, _ in SORTS} - {"all"}
    false = {told["id"][place] for place in sorts["false-salt"]}
    assert false == set(by_id.index[(by_id["truth"] == 0) & (by_id["predicted"] > 0)])
    missed = {told["id"][place] for place in sorts["missed-salt"]}
    assert missed == set(by_id.index[(by_id["truth"] > 0) & (by_id["predicted"] == 0)])
    assert parts.counts == {"all": 30} | {key: len(places) for key, places in sorts.items()}


def test_ids_cannot_end_the_script_that_holds_them() -> None:
    gallery = make_gallery(2)
    gallery.table["id"] = ["</script><b>", "b"]
    assert "<" not in gallery_parts(gallery).tiles
