"""What SECURITY.md promises of the code: nothing is evaluated, unpickled or given to a shell."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = [
    *sorted((ROOT / "kaggle_salt").rglob("*.py")),
    *sorted((ROOT / "benchmarks").rglob("*.py")),
]

#: Never called: they run what they are given, or build whatever a file asks for.
FORBIDDEN = {
    "eval", "exec", "compile", "__import__", "input", "os.system", "os.popen", "tempfile.mktemp",
    "subprocess.getoutput", "subprocess.getstatusoutput", "pandas.read_pickle", "pd.read_pickle",
    "code.interact", "runpy.run_path",
}  # fmt: skip

#: Never imported: the same, as packages.
FORBIDDEN_MODULES = {"cPickle", "cloudpickle", "dill", "jsonpickle", "marshal", "pickle", "shelve"}

#: What a call must say, so that it cannot run what it reads.
MUST_SAY = {
    "torch.load": ("weights_only", "True"),
    "np.load": ("allow_pickle", "False"),
    "numpy.load": ("allow_pickle", "False"),
    "yaml.load": ("Loader", "yaml.SafeLoader"),
}


def breaches(source: str) -> Iterator[str]:
    """What in a source could run something that it was given."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            whole = [getattr(node, "module", None) or ""]
            for name in [*whole, *(alias.name for alias in node.names)]:
                if name.split(".")[0] in FORBIDDEN_MODULES:
                    yield f"{node.lineno} imports {name}"
        elif isinstance(node, ast.Call):
            yield from (f"{node.lineno} {said}" for said in _wrong_in(node))


def _wrong_in(call: ast.Call) -> Iterator[str]:
    name = ast.unparse(call.func)
    told = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
    if name in FORBIDDEN:
        yield f"calls {name}"
    if told.get("shell", "False") != "False":
        yield f"gives {name} to a shell"
    keyword, value = MUST_SAY.get(name, ("", ""))
    if keyword and told.get(keyword) != value:
        yield f"calls {name} without {keyword}={value}"


def test_nothing_given_is_ever_run() -> None:
    assert len(SOURCES) > 100
    found = {path.name: list(breaches(path.read_text(encoding="utf-8"))) for path in SOURCES}
    assert {name: said for name, said in found.items() if said} == {}


@pytest.mark.parametrize(
    "source",
    [
        "eval('1')",
        "exec('x = 1')",
        "import pickle",
        "from cloudpickle import loads",
        "import os\nos.system('ls')",
        "import subprocess\nsubprocess.run('ls', shell=True)",
        "import subprocess\nsubprocess.Popen('ls', shell=told)",
        "import torch\ntorch.load('a.pt')",
        "import torch\ntorch.load('a.pt', weights_only=False)",
        "import yaml\nyaml.load(text)",
        "import yaml\nyaml.load(text, Loader=yaml.Loader)",
        "import numpy as np\nnp.load('a.npy')",
        "import numpy as np\nnp.load('a.npy', allow_pickle=True)",
        "import pandas as pd\npd.read_pickle('a')",
    ],
)
def test_each_would_be_found(source: str) -> None:
    assert len(list(breaches(source))) == 1


@pytest.mark.parametrize(
    "source",
    [
        "network.eval()",
        "import re\nre.compile('a')",
        "import torch\ntorch.compile(network)",
        "import torch\ntorch.load('a.pt', map_location='cpu', weights_only=True)",
        "import subprocess\nsubprocess.run(['ls'], check=True)",
    ],
)
def test_what_is_harmless_passes(source: str) -> None:
    assert list(breaches(source)) == []


def test_the_page_names_no_machine_and_no_person() -> None:
    page = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    assert re.findall(r"https?://\S+|\b\d+\.\d+\.\d+\.\d+\b|\S+@\S+", page) == []
    for promise in ("weights_only=True", "salt download", "--upload", "weights=imagenet"):
        assert promise in page


def test_the_links_of_the_page_lead_somewhere() -> None:
    page = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#:]+)\)", page)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
