"""The environment that the scripts make for themselves."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.skipif(sys.platform == "win32", reason="the scripts are for bash")
def test_the_environment_of_another_checkout_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "here/scripts").mkdir(parents=True)
    (tmp_path / "there").mkdir()
    (tmp_path / "there/salt-stamp").write_text("as it was")
    (tmp_path / "here/.venv").symlink_to("../there")
    for name in ("_environment", "growth", "constraints.txt"):
        shutil.copy(ROOT / "scripts" / name, tmp_path / "here/scripts")
    shutil.copy(ROOT / "pyproject.toml", tmp_path / "here")
    script = tmp_path / "here/scripts/growth"
    ended = subprocess.run([script], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr.splitlines() == [
        "growth: .venv is a link to ../there, which belongs to something else",
        "growth: next: rm .venv, and this makes one of its own",
    ]
    assert (tmp_path / "there/salt-stamp").read_text() == "as it was"
    assert [path.name for path in (tmp_path / "there").iterdir()] == ["salt-stamp"]
