"""The words of ``salt export``; what it writes is looked at in ``tests/pipeline``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from kaggle_salt import Workspace
from kaggle_salt import export as export_from_python
from tests.tiny import files_under, refused, salt


@pytest.fixture(autouse=True)
def not_converted(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write a file that does not run: the conversion is most of the time."""

    def write(*given: object) -> float:
        path = given[4]
        assert isinstance(path, Path)
        path.write_bytes(b"a file")
        return 4e-7

    monkeypatch.setattr("kaggle_salt.pipeline.predicting.export.export_onnx", write)


def test_it_says_what_was_written_and_checked() -> None:
    said = salt("export", "tiny")
    assert said.stdout == (
        "runs/tiny/tiny.onnx: run tiny, fold 0,1, 0.0 MB\n"
        "checked: ONNX Runtime's probabilities are those of torch within 4e-07\n"
    )
    assert "exporting 2 networks of run tiny" in said.stderr


def test_one_document_for_programs() -> None:
    told = json.loads(salt("export", "tiny", "--fold", 1, "--out", "a.onnx", "--json").stdout)
    assert (told["path"], told["size"], told["difference"]) == ("a.onnx", 6, 4e-7)
    assert told["metadata"]["folds"] == "1"


def test_it_is_called_from_python(capsys: pytest.CaptureFixture[str]) -> None:
    Path("runs").rename("elsewhere")
    report = export_from_python("tiny", Workspace(runs=Path("elsewhere")), folds=0, out="b.onnx")
    assert report.path == Path("b.onnx")
    assert "exporting 1 network" in capsys.readouterr().out


def test_a_file_that_is_there_stays() -> None:
    Path("runs/tiny/tiny.onnx").write_text("mine")
    refused(2, "export", "tiny", found="runs/tiny/tiny.onnx exists",
            expected="another name, or a decision",
            then="--out FILE, or --overwrite")  # fmt: skip
    assert Path("runs/tiny/tiny.onnx").read_text() == "mine"
    salt("export", "tiny", "--overwrite")
    assert Path("runs/tiny/tiny.onnx").read_text() == "a file"


def test_what_cannot_be_exported_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    (Path("runs/other/fold1/fold.json")).unlink()
    (Path("runs/other/fold2/fold.json")).unlink()
    before = files_under(Path())
    refused(2, "export", "other", found="run other has no trained fold", expected="at least one",
            then="salt train --run other --fold 1 --resume")  # fmt: skip
    refused(2, "export", "tinny", found="there is no run 'tinny'", expected="'tiny'",
            then="salt train --run tinny")  # fmt: skip
    refused(2, "export", "tiny", "--to", "onx", found="no way to export to 'onx'",
            expected="did you mean 'onnx'", then="--to onnx")  # fmt: skip
    refused(2, "export", "tiny", "--fold", 2, found="there is no fold '2'",
            expected="some of 0, 1, or all", then="--fold 0")  # fmt: skip
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    refused(2, "export", "tiny", found="onnxruntime is not installed",
            expected="onnx, onnxruntime, onnxscript",
            then=r"pip install 'kaggle-salt\[onnx\]'")  # fmt: skip
    assert files_under(Path()) == before


def test_weights_that_changed_are_refused() -> None:
    with Path("runs/tiny/fold1/weights.safetensors").open("ab") as file:
        file.write(b" ")
    refused(1, "export", "tiny", found="has changed since the fold was trained",
            expected="the weights whose hash", then="salt train --run tiny --fold 1")  # fmt: skip
    assert not Path("runs/tiny/tiny.onnx").exists()
