"""Where the package raises an error whose next step names a ``salt`` command: found by syntax."""

from __future__ import annotations

import ast
import functools
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "kaggle_salt"

#: A command in a text. What follows the name is read when it is run.
COMMAND = re.compile(r"\bsalt (?:[a-z]+(?:-[a-z]+)*\b|--debug)")

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Site:
    """A call that gives an error its next step.

    Args:
        key: ``module:function#number``, or the name of the constant that is its whole text.
        path: The file.
        first: First line of the call.
        last: Last line of the call.
    """

    key: str
    path: Path
    first: int
    last: int


@functools.cache
def trees() -> dict[Path, ast.Module]:
    return {path: ast.parse(path.read_text("utf-8")) for path in sorted(PACKAGE.rglob("*.py"))}


@functools.cache
def makers() -> frozenset[str]:
    """Names of the constants and functions that are, or give back, a text with a command."""
    names = {"salt_command"}
    while True:
        found = {name for tree in trees().values() for name in _makers_of(tree, names)}
        if found <= names:
            return frozenset(names)
        names |= found


def _makers_of(tree: ast.Module, known: set[str]) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and _tells(node.value, known, None):
            yield from (target.id for target in node.targets if isinstance(target, ast.Name))
    for node in ast.walk(tree):
        if isinstance(node, Function):
            returned = [one.value for one in ast.walk(node) if isinstance(one, ast.Return)]
            if any(value is not None and _tells(value, known, node) for value in returned):
                yield node.name


def _tells(value: ast.expr, known: set[str] | frozenset[str], inside: Function | None) -> bool:
    """Whether an expression holds a command: in its own words, or by a name that stands for one."""
    for node in _given_back(value):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if COMMAND.search(node.value):
                return True
        elif isinstance(node, ast.Attribute) and node.attr in known:
            return True
        elif isinstance(node, ast.Name):
            if node.id in known:
                return True
            if inside is not None and any(_tells(v, known, None) for v in _local(node.id, inside)):
                return True
    return False


def _given_back(value: ast.AST) -> Iterator[ast.AST]:
    """An expression and its parts, but for what calls in it are to advise: those are sites."""
    yield value
    for child in ast.iter_child_nodes(value):
        if not (isinstance(child, ast.keyword) and child.arg == "next_step"):
            yield from _given_back(child)


def _local(name: str, function: Function) -> Iterator[ast.expr]:
    """What a name stands for in a function: what is assigned to it, or its default."""
    for node in ast.walk(function):
        if isinstance(node, ast.Assign):
            if any(isinstance(target, ast.Name) and target.id == name for target in node.targets):
                yield node.value
    given = zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True)
    yield from (default for argument, default in given if argument.arg == name and default)


@functools.cache
def sites() -> tuple[Site, ...]:
    """All of them, in the order of files and lines."""
    found, counts = [], Counter[str]()
    for path, tree in trees().items():
        for function in [node for node in ast.walk(tree) if isinstance(node, Function)]:
            for call in [node for node in ast.walk(function) if isinstance(node, ast.Call)]:
                for keyword in call.keywords:
                    if keyword.arg != "next_step" or not _tells(keyword.value, makers(), function):
                        continue
                    key = _key(path, function, keyword.value)
                    if not key.isupper():
                        counts[key] += 1
                        key += f"#{counts[key]}" if counts[key] > 1 else ""
                    found.append(Site(key, path, call.lineno, call.end_lineno or call.lineno))
    return tuple(found)


def _key(path: Path, function: Function, value: ast.expr) -> str:
    if isinstance(value, ast.Name):
        if value.id.isupper():
            return value.id
        names = [one.id for one in _local(value.id, function) if isinstance(one, ast.Name)]
        if len(names) == 1 and names[0].isupper():
            return names[0]
    return f"{path.stem}:{function.name}"
