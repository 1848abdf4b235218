from __future__ import annotations

from pathlib import Path

import pytest

from kaggle_salt.competition.mask_threshold import read_threshold, remember_threshold
from kaggle_salt.errors import ConfigError
from tests.makers import put


def test_nothing_is_remembered_of_new_data(tmp_path: Path) -> None:
    assert read_threshold(tmp_path) is None


def test_it_is_told_once(tmp_path: Path) -> None:
    for _ in range(2):
        assert remember_threshold(tmp_path, 100) == tmp_path / "salt-data.toml"
        assert read_threshold(tmp_path) == 100
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["salt-data.toml"]


def test_another_one_is_refused_and_the_first_stays(tmp_path: Path) -> None:
    remember_threshold(tmp_path, 100)
    other = r"salt from level 100 on, not 128\nexpected: one threshold[\s\S]*next: write mask_thre"
    with pytest.raises(ConfigError, match=other):
        remember_threshold(tmp_path, 128)
    assert read_threshold(tmp_path) == 100


@pytest.mark.parametrize("level", [0, 256, -1])
def test_no_level_of_8_bits(tmp_path: Path, level: int) -> None:
    with pytest.raises(ConfigError, match=f"the mask threshold is {level}\nexpected: a grey level"):
        remember_threshold(tmp_path, level)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_nobody_may_write_to_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user-cache"))
    data = tmp_path / "data"
    data.mkdir()
    data.chmod(0o555)
    try:
        path = remember_threshold(data, 100)
        assert path.is_relative_to(tmp_path / "user-cache")
        assert read_threshold(data) == 100
        assert list(data.iterdir()) == []
    finally:
        data.chmod(0o755)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("mask_threshold = ", "cannot be read"),
        ("", "holds nothing"),
        ("threshold = 3", "holds threshold"),
        ("mask_threshold = 0", "says mask_threshold = 0"),
        ("mask_threshold = true", "says mask_threshold = True"),
        ("mask_threshold = 0.5", r"says mask_threshold = 0\.5"),
    ],
)
def test_settings_that_cannot_be_used(tmp_path: Path, text: str, found: str) -> None:
    put(tmp_path / "salt-data.toml", text.encode())
    with pytest.raises(ConfigError, match=rf"salt-data\.toml {found}[\s\S]*next: mend"):
        read_threshold(tmp_path)
