"""Every pinned package has a licence that somebody has looked at."""

from __future__ import annotations

import csv
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]

#: Parts of the licences' names; all but the last line allow everything that is done here.
KNOWN = re.compile(
    r"(MIT|MIT-CMU|MIT License|0BSD|BSD|BSD License|BSD-2-Clause|BSD-3-Clause|3-Clause BSD License"
    r"|FreeBSD|ISC|ISC License \(ISCL\)|Zlib|CC0-1\.0|BSL-1\.0|PSF-2\.0|Python-2\.0"
    r"|Python Software Foundation License|Apache-2\.0|Apache-2\.0 WITH LLVM-exception"
    r"|Apache Software License|The Unlicense \(Unlicense\)"
    # copyleft of single files, which are not changed here
    r"|MPL-2\.0|Mozilla Public License 2\.0 \(MPL 2\.0\)"
    # copyleft of a library, of an extra: it is loaded as it is
    r"|LGPL-3\.0-or-later"
    # for use with NVIDIA's GPUs; comes with torch, and is not handed on by this package
    r"|LicenseRef-NVIDIA-Proprietary|NVIDIA Proprietary Software)"
)

#: Packages that declare none; what holds for them.
UNDECLARED = {
    "atheris": "its file LICENSE is the Apache License, 2.0",
    "axe-playwright-python": "its file LICENSE is MIT's; it holds axe-core, under MPL-2.0",
    "cuda-toolkit": "an empty package that asks for NVIDIA's, which declare theirs",
}


def licences() -> dict[str, str]:
    with (ROOT / "docs" / "licences.csv").open(newline="", encoding="utf-8") as file:
        return {row["package"]: row["licence"] for row in csv.DictReader(file)}


def unknown(licence: str) -> list[str]:
    """The parts of a licence that nobody has looked at."""
    parts = re.split(r"; | AND | OR ", licence)
    return [part for part in parts if not KNOWN.fullmatch(part)]


def test_the_table_names_the_pinned_packages() -> None:
    pinned = (ROOT / "scripts" / "constraints.txt").read_text(encoding="utf-8").splitlines()
    names = [line.partition("==")[0] for line in pinned if "==" in line]
    assert len(names) > 50
    assert list(licences()) == names, "scripts/sbom writes docs/licences.csv anew"


def test_every_licence_is_known() -> None:
    odd = {name: text for name, text in licences().items() if unknown(text)}
    assert {name: text for name, text in odd.items() if name not in UNDECLARED} == {}
    assert set(odd.values()) <= {"UNKNOWN"}, "what is declared now need not be excused"


def test_an_unknown_licence_would_be_noticed() -> None:
    assert unknown("MIT AND GPL-3.0-only") == ["GPL-3.0-only"]
    assert unknown("UNKNOWN") == ["UNKNOWN"]
    assert unknown("Apache-2.0 OR BSD-2-Clause") == []
