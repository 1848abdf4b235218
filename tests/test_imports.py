"""The walls of the house, read from the syntax tree of every module.

Imports run downward only, the two wings never import each other, torch stays in one of them,
and only the shell prints or exits.
"""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "kaggle_salt"

WORDS = {
    "errors", "names", "versions", "storage", "config", "presets", "runs", "runs_pretraining",
    "predictions", "pseudo_labels", "pseudo_origin",
}  # fmt: skip
WINGS = {"learning", "ensembling"}
BELOW_SHELL = {
    *WORDS, *WINGS, "competition", "sections", "synthetic", "report", "pipeline", "launch",
}  # fmt: skip

#: What each layer may import beside itself.
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "names": {"errors"},
    "versions": set(),
    "storage": {"errors"},
    "config": {"errors", "storage"},
    "presets": {"errors"},
    "runs": {"errors", "storage", "names"},
    "runs_pretraining": {"errors", "storage", "runs"},
    "predictions": {"errors", "storage", "runs"},
    "pseudo_labels": {"errors", "storage", "predictions", "pseudo_origin"},
    "pseudo_origin": {"errors"},
    "competition": WORDS,
    "sections": {*WORDS, "competition"},
    "synthetic": {*WORDS, "competition"},
    "learning": {*WORDS, "competition"},
    "ensembling": {*WORDS, "competition"},
    "report": {*WORDS, *WINGS, "competition"},
    # where the two wings meet
    "pipeline": {*WORDS, *WINGS, "competition", "sections", "synthetic", "report"},
    # runs commands of the pipeline in other processes, and need not know what they compute
    "launch": {*WORDS, "learning", "pipeline"},
    "cli": BELOW_SHELL,
    "api": BELOW_SHELL,  # what the command line is to a shell, it is to Python
    "__main__": {"cli"},
    # kaggle_salt/__init__.py: fetches names when they are asked for
    "": {*BELOW_SHELL, "api"},
}

#: The rooms of ``pipeline``, and what each may import beside itself. What lies beside the rooms
#: is for all of them and imports none, but for the demo, which runs the commands of several.
PIPELINE_ROOMS: dict[str, set[str]] = {
    "blending": set(),
    "health": {"blending"},
    "judging": {"blending"},
    "predicting": {"blending"},
    "preparing": {"blending"},
    "submitting": {"blending", "predicting"},
    "training": {"blending", "health", "judging"},
}

SHELL = {"cli", "api", "__main__"}
SHELL_LIBRARIES = ("rich", "typer", "click")
SHELL_CALLS = (
    "print", "exit", "quit", "sys.exit", "os._exit", "SystemExit",
    "sys.stdout.write", "sys.stderr.write",
)  # fmt: skip

#: Who may import the packages that take seconds to load.
HEAVY = ("torch", "timm", "segmentation_models_pytorch", "albumentations")
TORCHLESS = ("competition", "ensembling", "sections")
NETWORK_LIBRARIES = ("timm", "segmentation_models_pytorch")

MAX_MODULE_LINES = 300
MAX_FUNCTION_LINES = 50


@dataclass(frozen=True)
class Module:
    """A module of the package: dotted name and source text."""

    name: str
    source: str
    is_package: bool = False

    @property
    def layer(self) -> str:
        return layer_of(self.name)

    @property
    def tree(self) -> ast.Module:
        return ast.parse(self.source)


def layer_of(name: str) -> str:
    """The part after ``kaggle_salt``: ``kaggle_salt.learning.losses`` -> ``learning``."""
    return name.split(".")[1] if "." in name else ""


def read_module(path: Path) -> Module:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    is_package = parts[-1] == "__init__"
    name = ".".join(parts[:-1] if is_package else parts)
    return Module(name, path.read_text(encoding="utf-8"), is_package)


MODULES = [read_module(path) for path in sorted(PACKAGE.rglob("*.py"))]


def imports(module: Module) -> Iterator[tuple[int, str]]:
    """Line and absolute dotted name of everything a module imports, inside functions too."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = import_origin(module, node)
            yield from ((node.lineno, f"{origin}.{alias.name}") for alias in node.names)


def import_origin(module: Module, node: ast.ImportFrom) -> str:
    """Absolute name of the ``a.b`` in ``from a.b import c``; leading dots are resolved."""
    if node.level == 0:
        return node.module or ""
    levels_up = node.level - 1 if module.is_package else node.level
    parts = module.name.split(".")
    return ".".join(parts[: len(parts) - levels_up] + ([node.module] if node.module else []))


def wall_breaches(module: Module) -> Iterator[str]:
    allowed = {*MAY_IMPORT[module.layer], module.layer, "__version__"}
    for line, name in imports(module):
        # what is no layer is a name of the face, as in `from kaggle_salt import train`: not for
        # the package itself, of which any module may ask no more than the version
        if name.split(".")[0] == PACKAGE.name and layer_of(name) not in allowed:
            yield f"{module.name}:{line} imports {name}"


def room_of(name: str) -> str:
    """The room of ``pipeline`` that a name lies in; nothing for what lies beside them."""
    room = name.removeprefix("kaggle_salt.pipeline.").split(".")[0]
    return room if room in PIPELINE_ROOMS else ""


def room_breaches(module: Module) -> Iterator[str]:
    if module.layer != "pipeline" or module.name == "kaggle_salt.pipeline.demo":
        return
    room = room_of(module.name)
    allowed = {"", room, *PIPELINE_ROOMS.get(room, ())}
    for line, name in imports(module):
        if room_of(name) not in allowed or name.startswith("kaggle_salt.pipeline.demo"):
            yield f"{module.name}:{line} imports {name}"


def library_breaches(module: Module) -> Iterator[str]:
    in_networks = module.name.startswith("kaggle_salt.learning.networks")
    for line, name in imports(module):
        library = name.split(".")[0]
        outside_learning = library in HEAVY and module.layer != "learning"
        outside_networks = library in NETWORK_LIBRARIES and not in_networks
        if outside_learning or outside_networks:
            yield f"{module.name}:{line} imports {name}"


def voice_breaches(module: Module) -> Iterator[str]:
    """Printing, drawing on the terminal or exiting anywhere but in the shell."""
    if module.layer in SHELL:
        return
    for line, name in imports(module):
        if name.split(".")[0] in SHELL_LIBRARIES:
            yield f"{module.name}:{line} imports {name}"
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in SHELL_CALLS:
            yield f"{module.name}:{node.lineno} calls {ast.unparse(node.func)}"
        elif isinstance(node, ast.Raise) and isinstance(node.exc, ast.Name):
            if node.exc.id == "SystemExit":
                yield f"{module.name}:{node.lineno} raises SystemExit"


def size_breaches(module: Module) -> Iterator[str]:
    lines = len(module.source.splitlines())
    if lines > MAX_MODULE_LINES:
        yield f"{module.name} has {lines} lines"
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > MAX_FUNCTION_LINES:
                yield f"{module.name}.{node.name} has {length} lines"


def name_breaches(module: Module) -> Iterator[str]:
    if module.name.split(".")[-1] in ("utils", "util", "helpers", "common", "misc"):
        yield f"{module.name} says nothing about what it holds"
    for line, name in imports(module):
        if name.endswith(".*"):
            yield f"{module.name}:{line} imports {name}"


RULES = [
    wall_breaches,
    room_breaches,
    library_breaches,
    voice_breaches,
    size_breaches,
    name_breaches,
]
Rule = Callable[[Module], Iterator[str]]


def test_every_module_is_read_and_belongs_to_a_layer() -> None:
    assert len(MODULES) > 10
    assert {layer_of(module.name) for module in MODULES} >= {"errors", "competition", *WINGS, ""}
    assert [module.name for module in MODULES if module.layer not in MAY_IMPORT] == []
    assert {room_of(module.name) for module in MODULES} == {"", *PIPELINE_ROOMS}


@pytest.mark.parametrize("may_import", [MAY_IMPORT, PIPELINE_ROOMS], ids=["layers", "rooms"])
def test_there_is_no_cycle(may_import: dict[str, set[str]]) -> None:
    assert list(graphlib.TopologicalSorter(may_import).static_order())


@pytest.mark.parametrize("rule", RULES)
def test_package_keeps_the_rule(rule: Rule) -> None:
    assert [breach for module in MODULES for breach in rule(module)] == []


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("competition.folds", "import kaggle_salt.learning.losses"),
        ("competition.folds", "from kaggle_salt import report"),
        ("errors", "from kaggle_salt.storage.files import file_hash"),
        ("runs", "from . import predictions"),
        ("learning.training", "from kaggle_salt.ensembling.thresholds import search"),
        ("learning.networks.unet", "from ...ensembling import thresholds"),
        ("ensembling.blending", "def late():\n    from ..learning import inference"),
        ("report.pages", "import numpy, kaggle_salt.cli"),
        ("pipeline", "from kaggle_salt.cli import main"),
        ("pipeline.blending.ensemble", "import kaggle_salt.api"),
        ("api", "from kaggle_salt.cli import main"),
        ("learning.training", "from kaggle_salt import score"),
    ],
)
def test_upward_and_cross_wing_imports_are_found(name: str, source: str) -> None:
    module = Module(f"kaggle_salt.{name}", source)
    assert len(list(wall_breaches(module))) == 1


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("cli", "from kaggle_salt import __version__, pipeline, runs"),
        ("api", "from kaggle_salt.pipeline.arguments import choose_run"),
        ("pipeline.blending.ensemble", "from kaggle_salt import learning, ensembling"),
        ("learning.losses", "from kaggle_salt.learning import framing\nfrom . import optim"),
        ("learning.batches", "from ..competition.tiles import Competition"),
        ("competition.folds", "import numpy as np\nfrom kaggle_salt.errors import DataError"),
    ],
)
def test_downward_imports_pass(name: str, source: str) -> None:
    module = Module(f"kaggle_salt.{name}", source)
    assert list(wall_breaches(module)) == []


def test_relative_import_in_a_package_starts_from_the_package_itself() -> None:
    package = Module("kaggle_salt.learning", "from . import losses", is_package=True)
    assert list(imports(package)) == [(1, "kaggle_salt.learning.losses")]


@pytest.mark.parametrize(
    ("rule", "name", "source"),
    [
        (room_breaches, "pipeline.blending.members", "import kaggle_salt.pipeline.training.train"),
        (room_breaches, "pipeline.judging", "from kaggle_salt.pipeline import predicting"),
        (room_breaches, "pipeline.choose", "from kaggle_salt.pipeline.health import signs"),
        (room_breaches, "pipeline.workspace", "from . import demo"),
        (library_breaches, "ensembling.blending", "import torch.nn as nn"),
        (library_breaches, "competition.tiles", "def late():\n    import albumentations"),
        (library_breaches, "learning.training", "from timm import create_model"),
        (voice_breaches, "learning.training", "print('epoch 1')"),
        (voice_breaches, "competition.tiles", "from rich.console import Console"),
        (voice_breaches, "runs", "import sys\nsys.exit(1)"),
        (voice_breaches, "runs", "raise SystemExit"),
        (voice_breaches, "runs", "raise SystemExit(1)"),
        (size_breaches, "runs", "x = 1\n" * 301),
        (size_breaches, "runs", "def long():\n" + "    x = 1\n" * 50),
        (name_breaches, "learning.utils", ""),
        (name_breaches, "learning.losses", "from kaggle_salt.config.schema import *"),
    ],
)
def test_each_rule_can_fail(rule: Rule, name: str, source: str) -> None:
    assert len(list(rule(Module(f"kaggle_salt.{name}", source)))) == 1


def test_rules_allow_their_limits() -> None:
    longest = Module("kaggle_salt.runs", "def long():\n" + "    x = 1\n" * 49)
    assert list(size_breaches(longest)) == []
    network = Module("kaggle_salt.learning.networks.smp_unet", "import torch, timm")
    assert list(library_breaches(network)) == []
    client = Module("kaggle_salt.runs", "try:\n    go()\nexcept SystemExit:\n    pass")
    assert list(voice_breaches(client)) == []
    shell = Module("kaggle_salt.cli", "import sys, typer\nprint(1)\nsys.exit(0)")
    assert list(voice_breaches(shell)) == []
    assert list(voice_breaches(Module("kaggle_salt.api", "print(1)"))) == []


LOADED_HEAVY = f"""
import sys
loaded = sorted({set(HEAVY)} & set(sys.modules))
sys.exit("loaded: " + ", ".join(loaded) if loaded else 0)
"""


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_what_needs_no_network_does_not_load_torch() -> None:
    names = [module.name for module in MODULES if module.layer in TORCHLESS]
    assert len(names) > 2
    finished = run_python(f"import {', '.join(names)}" + LOADED_HEAVY)
    assert finished.returncode == 0, finished.stderr


def test_command_line_does_not_load_torch_on_import() -> None:
    finished = run_python("import kaggle_salt.cli" + LOADED_HEAVY)
    assert finished.returncode == 0, finished.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["make-folds", "--help"]])
def test_help_does_not_load_torch(arguments: list[str]) -> None:
    call = f"""
import runpy, sys
sys.argv = ["salt", *{arguments}]
try:
    runpy.run_module("kaggle_salt", run_name="__main__")
except SystemExit as exit:
    assert not exit.code, exit.code
"""
    finished = run_python(call + LOADED_HEAVY)
    assert finished.returncode == 0, finished.stderr
    assert "Usage" in finished.stdout


def test_loading_torch_would_be_noticed() -> None:
    finished = run_python("import sys\nsys.modules['torch'] = sys" + LOADED_HEAVY)
    assert finished.stderr == "loaded: torch\n"
