from __future__ import annotations

from pathlib import Path

import pytest

from kaggle_salt.errors import ConfigError, DataError
from kaggle_salt.sections.inputs import find_images, refuse_clashes


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("b.png", "a.TIF", "c.txt", ".hidden.png", "in/d.jpg", "in/e.png", "in[1].png"):
        path = tmp_path / "lines" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (["lines"], ["lines/a.TIF", "lines/b.png", "lines/in[1].png"]),
        (["lines/c.txt", "lines/b.png"], ["lines/c.txt", "lines/b.png"]),
        (["lines/in/*"], ["lines/in/d.jpg", "lines/in/e.png"]),
        (["lines/**/*.png"], ["lines/b.png", "lines/in/e.png", "lines/in[1].png"]),
        (["lines/in[1].png"], ["lines/in[1].png"]),
        (["lines/b.png", "lines/in", "./lines/b.png"],
         ["lines/b.png", "lines/in/d.jpg", "lines/in/e.png"]),
    ],
)  # fmt: skip
def test_files_folders_and_globs(work: Path, given: list[str], found: list[str]) -> None:
    assert [path.as_posix() for path in find_images([Path(one) for one in given])] == found


def test_nothing_there_is_said(work: Path) -> None:
    (work / "empty").mkdir()
    for given, message in (
        ("empty", "the folder empty holds no picture"),
        ("nowhere.png", "there is no file or folder nowhere.png"),
        ("lines/*.bmp", r"there is no file or folder lines/\*.bmp"),
    ):
        with pytest.raises(DataError, match=message):
            find_images([Path(given)])
    with pytest.raises(DataError, match="no picture is named"):
        find_images([])


def test_results_that_would_replace_something_are_refused(work: Path) -> None:
    out = work / "out"
    refuse_clashes([Path("a.png"), Path("b.png")], out, overwrite=False)
    with pytest.raises(ConfigError, match=r"results of x/A.png and y/a.tif would have the same"):
        refuse_clashes([Path("x/A.png"), Path("y/a.tif")], out, overwrite=True)
    out.mkdir()
    (out / "a-overlay.png").touch()
    with pytest.raises(ConfigError, match=r"a-overlay.png exists already") as refused:
        refuse_clashes([Path("a.png")], out, overwrite=False)
    assert refused.value.next_step == "--out FOLDER, or --overwrite to replace them"
    refuse_clashes([Path("a.png")], out, overwrite=True)
    with pytest.raises(ConfigError, match=r"written over the picture .*a-overlay.png"):
        refuse_clashes([Path("a.png"), out / "a-overlay.png"], out, overwrite=True)
