"""``salt compare`` as a user calls it."""

from __future__ import annotations

import json
from pathlib import Path

from tests.tiny import files_under, refused, salt


def test_the_verdict_comes_first(trained: Path) -> None:
    before = files_under(trained)
    told = salt("compare", "tiny", "other").stdout.splitlines()
    assert told[0] == "is the gain over tiny real?"
    assert told[1].startswith("other: ")
    table = "\n".join(told)
    for word in ("same sign in", "coverage", "tiles that changed most", "tiles are right: other",
                 "another seed: it alone moves a score by"):  # fmt: skip
        assert word in table
    assert files_under(trained) == before


def test_one_document(trained: Path) -> None:
    said = salt("compare", "tiny", "other", "tiny+other", "--at-half", "--json").stdout
    document = json.loads(said)
    assert [one["name"] for one in document["standings"]] == ["tiny", "other", "tiny+other"]
    assert [one["name"] for one in document["rivals"]] == ["other", "tiny+other"]
    assert document["rivals"][0]["shake"]["public_tiles"] == 3  # of eight
    assert document["html"] is None
    printed = salt("compare", "tiny", "other", "tiny+other", "--at-half").stdout
    assert f"{document['rivals'][1]['paired']['difference']:+.4f}" in printed


def test_a_page(trained: Path) -> None:
    assert "compared.html" in salt("compare", "tiny", "other", "--html", "compared.html").stdout
    page = Path("compared.html").read_text(encoding="utf-8")
    assert "other against tiny" in page
    salt("compare", "tiny", "other", "--html", "compared.html")
    refused(2, "compare", "tiny", "other", "--html", "folds/folds.csv", found="is no page",
            expected="a name that is free", then="--html ANOTHER.html")  # fmt: skip


def test_a_damaged_run_is_an_error_in_three_parts(trained: Path) -> None:
    Path("runs/other/fold1/oof.json").write_text("{}", encoding="utf-8")
    refused(3, "compare", "tiny", "other", found="oof.npy cannot be read", expected="predictions",
            then="salt train --run other --fold 1 --overwrite$")  # fmt: skip
