"""``scripts/offline-bundle``: what it takes, what it leaves out, and the folders it makes."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from packaging.utils import canonicalize_name

from scripts import offline_bundle
from scripts.offline_bundle import IN_THE_IMAGE, ROOT, WHEELS, build_wheel, main, needed
from tests.test_notebooks import code_cells


def pinned() -> dict[str, str]:
    lines = (ROOT / "scripts" / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = [line.split("==") for line in lines if "==" in line]
    return {canonicalize_name(name): version for name, version in pairs}


def test_what_torch_alone_needs_is_left_out_with_it() -> None:
    taken, everything = needed(IN_THE_IMAGE, "3.12"), needed((), "3.12")
    assert {"numpy", "timm", "jinja2", "opencv-python-headless", "psutil"} <= set(taken)
    assert IN_THE_IMAGE <= set(everything) - set(taken)
    assert not {"sympy", "networkx", "triton", "kaggle-salt"} & set(taken)
    assert [name for name in taken if name.startswith(("nvidia", "cuda"))] == []


def test_all_that_is_taken_is_pinned() -> None:
    assert set(needed(IN_THE_IMAGE, "3.12")) - pinned().keys() == set()


def test_what_development_needs_is_not_taken() -> None:
    assert not {"pytest", "mypy", "ruff", "onnx", "segyio"} & set(needed((), "3.11"))


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[list[str]]:
    """What pip was told; the hub gives every file it is asked for."""
    calls: list[list[str]] = []
    weights = tmp_path / "weights"
    weights.write_bytes(b"weights")

    def pip(words: Sequence[str | Path]) -> None:
        calls.append([str(word) for word in words])
        if words[0] == "wheel":
            Path(words[words.index("--wheel-dir") + 1]).mkdir(parents=True)

    def download(repo_id: str, filename: str, revision: str | None = None) -> str:
        calls.append([repo_id, filename])
        return str(weights)

    monkeypatch.setattr(offline_bundle, "pip", pip)
    monkeypatch.setattr(offline_bundle, "hf_hub_download", download)
    return calls


def test_two_folders_are_made(said: list[list[str]], tmp_path: Path) -> None:
    out = tmp_path / "out"
    encoders = ["--encoder", "resnet34", "--encoder", "tu-resnet18"]
    assert main(["--user", "somebody", "--out", str(out), "--python", "3.13", *encoders]) == 0
    built, downloaded, *fetched = said
    assert built[0] == "wheel"
    assert downloaded[downloaded.index("--python-version") + 1] == "3.13"
    assert Path(downloaded[downloaded.index("--dest") + 1]).name == WHEELS
    assert "manylinux_2_28_x86_64" in downloaded
    assert f"timm=={pinned()['timm']}" in downloaded
    assert fetched == [
        ["smp-hub/resnet34.imagenet", "model.safetensors"],
        ["timm/resnet18", "model.safetensors"],
    ]
    assert sorted(path.relative_to(out).as_posix() for path in out.rglob("*.*")) == [
        "salt-encoders/dataset-metadata.json",
        "salt-encoders/resnet34.safetensors",
        "salt-encoders/tu-resnet18.safetensors",
        "salt-wheels/dataset-metadata.json",
    ]
    about: dict[str, Any] = json.loads((out / WHEELS / "dataset-metadata.json").read_text("utf-8"))
    assert about["id"] == "somebody/salt-wheels"


def test_what_is_there_is_not_replaced(
    said: list[list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / WHEELS).mkdir()
    assert main(["--user", "somebody", "--out", str(tmp_path)]) == 2
    assert "salt-wheels is there already" in capsys.readouterr().out
    assert said == []


def test_an_unknown_encoder_is_refused(
    said: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["--user", "somebody", "--encoder", "resnet35"])
    assert "--encoder resnet35: none of smp's" in capsys.readouterr().err
    assert said == []


@pytest.mark.parametrize("name", ["pip", "hf_hub_download"])
def test_a_failure_is_told_and_leaves_nothing(
    name: str, said: list[list[str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def fail(*_: object, **__: object) -> None:
        raise {"pip": subprocess.CalledProcessError(7, "pip")}.get(name, OSError("no network"))

    monkeypatch.setattr(offline_bundle, name, fail)
    out = tmp_path / "out"
    assert main(["--user", "somebody", "--out", str(out)]) == 1
    assert "\nnext: try again" in capsys.readouterr().out
    assert list(out.iterdir()) == []


def test_our_wheel_is_built_from_a_copy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen: list[Path] = []

    def look(words: Sequence[str | Path]) -> None:
        copied = Path(words[-1])
        assert copied != ROOT
        seen.extend(path.relative_to(copied) for path in copied.rglob("*"))

    monkeypatch.setattr(offline_bundle, "pip", look)
    build_wheel(tmp_path)
    ours = {str(path) for path in seen}
    assert {"pyproject.toml", "README.md", "LICENSE", "kaggle_salt/presets/quick.toml"} <= ours
    assert not any("__pycache__" in path for path in ours)


def test_the_notebook_looks_for_these_names() -> None:
    notebook = "\n".join(code_cells(ROOT / "notebooks" / "kaggle.ipynb"))
    assert f'needed("{offline_bundle.WHEELS}")' in notebook
    assert f"{offline_bundle.ENCODERS}/{{ENCODER}}.safetensors" in notebook
