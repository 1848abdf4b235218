from __future__ import annotations

import re
from xml.etree import ElementTree

from matplotlib.figure import Figure

from kaggle_salt.report.charts import epochs_figure
from kaggle_salt.report.curves import learning_figure
from kaggle_salt.report.drawing import BLUE
from kaggle_salt.report.facts import FoldFacts
from kaggle_salt.report.svg import inline_svg
from tests.report.makers import make_history


def test_a_figure_takes_its_colours_from_the_page() -> None:
    text = inline_svg(learning_figure(make_history()), "fold0", "scores & losses")
    root = ElementTree.fromstring(text.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" '))
    [title] = [one for one in root if one.tag.endswith("title")]
    assert (root.attrib["role"], title.text) == ("img", "scores & losses")
    assert root.attrib["aria-labelledby"] == title.attrib["id"] == "figure-fold0-title"
    assert re.findall(r"#[0-9a-fA-F]{6}\b", text) == []
    for name in ("blue", "vermillion", "green", "ink", "rule", "paper", "shade"):
        assert f"var(--{name})" in text
    assert "validation score</text>" in text, "text stays text"
    assert "<metadata>" not in text
    assert "width=" not in text[: text.index(">")]


def test_ids_are_those_of_one_figure_and_every_reference_finds_one() -> None:
    fold = FoldFacts("tiny", 0, "finished", 4, 4, history=make_history())
    texts = [inline_svg(epochs_figure([fold]), key, "x") for key in ("a", "b")]
    ids = [set(re.findall(r'\bid="([^"]+)"', text)) for text in texts]
    assert ids[0].isdisjoint(ids[1])
    for text, there in zip(texts, ids, strict=True):
        used = set(re.findall(r'(?:url\(#|href="#)([^")]+)', text))
        assert used
        assert used <= there


def test_the_same_figure_gives_the_same_text() -> None:
    def draw() -> str:
        figure = Figure()
        figure.subplots().plot([0, 1], color=BLUE)
        return inline_svg(figure, "one", "x")

    assert draw() == draw()
