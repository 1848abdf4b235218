from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from kaggle_salt import presets
from kaggle_salt.presets import MEASURED, Measured, list_presets, preset_names, preset_path
from tests.tiny import TINY, refused, salt


def test_the_list_has_a_line_for_each() -> None:
    header, *lines = salt("presets").stdout.splitlines()
    assert header.split() == ["preset", "made", "for", "parameters", "score", "what", "it", "is"]
    assert [line.split()[0] for line in lines] == preset_names()
    by_name = dict(zip(preset_names(), lines, strict=True))
    assert "two CPU cores       3.2 M" in by_name["quick"]
    for preset in list_presets():
        assert by_name[preset.name].rstrip().endswith(preset.description)  # nothing is cut off


def test_the_list_shows_what_was_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = MEASURED.read_text(encoding="utf-8").splitlines()
    unmeasured = [f"{line.split(',')[0]},{line.split(',')[1]}" + "," * 10 for line in lines[1:]]
    of = {
        "quick": "quick,3180905,,112,39,16.2,75.5,0.8089,0.78,0.83,a laptop,",
        "unet": "unet,2160177,30,64,36,20.3,84.9,0.7549,0.72,0.78,a laptop,at half the size",
    }
    rows = [of.get(row.split(",")[0], row) for row in unmeasured]
    (tmp_path / "measured.csv").write_text("\n".join([lines[0], *rows]) + "\n", encoding="utf-8")
    results = presets.read_measured(tmp_path / "measured.csv")
    monkeypatch.setattr(presets, "read_measured", lambda: results)
    listed = salt("presets")
    told = listed.stdout
    assert "0.8089 in 16 min  " in told
    assert "0.7549 in 20 min, fitted  " in told
    assert listed.stderr == "fitted: fewer epochs, mostly a smaller input, nothing pretrained\n"
    assert told.count("not measured") == len(rows) - 2
    documents = json.loads(salt("presets", "--json").stdout)
    [document] = [one for one in documents if one["name"] == "quick"]
    assert document["measured"]["score"] == 0.8089
    assert document["measured"]["machine"] == "a laptop"


def test_the_list_as_json() -> None:
    documents = json.loads(salt("presets", "--json").stdout)
    assert [document["name"] for document in documents] == preset_names()
    for document in documents:
        assert set(document) == {"name", "machine", "description", "measured"}
        assert set(document["measured"]) == set(Measured.__dataclass_fields__)


def test_the_list_does_not_load_torch() -> None:
    call = (
        "import sys; sys.argv = ['salt', 'presets']\n"
        "from kaggle_salt.cli import main\n"
        "try:\n    main()\n"
        "finally:\n    sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", call], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "resnet34" in done.stdout


@pytest.mark.parametrize("name", preset_names())
def test_a_preset_is_shown_to_be_copied(name: str) -> None:
    assert salt("presets", "show", name).stdout == preset_path(name).read_text(encoding="utf-8")


def test_an_unknown_preset_is_refused() -> None:
    refused(2, "presets", "show", "qiuck", found="unknown preset 'qiuck'",
            expected="did you mean 'quick'", then="--preset NAME")  # fmt: skip


def test_layers_are_a_table_that_is_whole_at_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for name in ("unet", "seresnext50"):
        head, columns, *rows, total = salt("presets", "show", name, "--layers").stdout.splitlines()
        assert max(map(len, [columns, *rows, total])) <= 80
        assert columns.split() == ["layer", "kind", "output", "parameters"]
        counts = [int(row.split()[-1].replace(",", "")) for row in rows]
        assert sum(counts) == int(total.split()[-1].replace(",", ""))
    assert head == "seresnext50: unet, 36.6 M parameters; input 3x128x128"
    assert rows[0].split() == ["encoder.layer0", "Sequential", "64x64x64", "9,536"]


def test_layers_as_json() -> None:
    report = json.loads(salt("presets", "show", "quick", "--layers", "--json").stdout)
    assert sum(layer["parameters"] for layer in report["layers"]) == report["parameters"]
    assert "--json needs --layers" in salt("presets", "show", "quick", "--json", code=2).stderr


def test_a_network_is_drawn(tmp_path: Path) -> None:
    drawing = tmp_path / "quick.svg"
    told = salt("presets", "show", "quick", "--draw", drawing).stdout
    assert told == f"drawing: {drawing}\n"
    assert drawing.read_text(encoding="utf-8").startswith("<?xml")
    refused(2, "presets", "show", "quick", "--draw", tmp_path / "quick.pdf",
            found="cannot be written as 'quick.pdf'", expected=".png or .svg",
            then=f"--draw {tmp_path / 'quick.png'}")  # fmt: skip


def own(folder: Path, text: str = TINY) -> str:
    path = folder / "own.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_a_file_is_checked_and_described(tmp_path: Path) -> None:
    path = own(tmp_path)
    told = salt("presets", "check", path, "--tile", 24).stdout.splitlines()
    assert told[0].startswith(f"{path} can be trained")
    assert told[1].startswith("network: compact, 0.0 M parameters, weights none")
    assert told[2] == "input: tiles of 24 px, pad to 32 px, grey; augmentation flip"
    assert told[3] == "channels: the grey level, about zero mean and unit variance"
    bce = "bce 4 32 mixed bce adamw 0.03 cosine last"
    swa = "swa 1 32 mixed lovasz adamw 0.001 cosine average"
    assert [" ".join(line.split()) for line in told[5:]] == [bce, swa]


def test_what_is_needed_is_said() -> None:
    told = salt("presets", "check", "pseudo").stdout.splitlines()
    assert told[-1] == "needs pseudo-labels: salt train --pseudo FILE"


def test_a_check_as_json(tmp_path: Path) -> None:
    report = json.loads(salt("presets", "check", own(tmp_path), "--tile", 24, "--json").stdout)
    assert [stage["name"] for stage in report["stages"]] == ["bce", "swa"]
    assert report["tile"] == 24


def test_a_fault_has_three_parts_and_exit_code_2(tmp_path: Path) -> None:
    path = own(tmp_path, TINY.replace("size = 32", "sise = 32"))
    refused(2, "presets", "check", path, found="unknown key 'input.sise'",
            expected="did you mean 'size'", then="correct sise under .input. in ")  # fmt: skip
    path = own(tmp_path)  # Kaggle's tiles are larger than its 32 px
    refused(2, "presets", "check", path, found="101x101 cannot be padded to 32x32",
            expected="at least 101", then="--set input.size=128")  # fmt: skip


def test_the_help_shows_an_example() -> None:
    assert "salt presets show quick > mine.toml" in " ".join(
        salt("presets", "--help").stdout.split()
    )
    for name in ("show", "check"):
        told = salt("presets", name, "--help").stdout
        assert f"salt presets {name}" in told.split("Example:")[1]


def test_an_option_of_the_list_is_not_swallowed() -> None:
    result = salt("presets", "--json", "check", "quick", code=2)
    assert "--json comes after check" in result.stderr
    assert set(json.loads(result.stdout)) == {"error"}


def test_an_unknown_subcommand_is_a_usage_error() -> None:
    refused(2, "presets", "shwo", found="'shwo'", expected="did you mean 'show'",
            then="salt presets --help")  # fmt: skip
