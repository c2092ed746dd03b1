"""What the project's methods declare, read from their files without importing them (and torch)."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import dcbench

_FOLDERS = ("methods", "baselines")


@dataclass(frozen=True)
class MethodDeclaration:
    """What a method's file says of it: ``@register("dm", title="DM")``, ``presets = {…}``."""

    title: str  # empty if there is none
    presets: frozenset[str]


@cache
def declared_methods() -> Mapping[str, MethodDeclaration]:
    """The project's own methods by name."""
    root = Path(dcbench.__file__).parent
    files = [path for folder in _FOLDERS for path in sorted((root / folder).glob("*.py"))]
    return dict(pair for path in files for pair in _declared(path))


def method_titles() -> Mapping[str, str]:
    """The title of each method that declares one."""
    return {name: method.title for name, method in declared_methods().items() if method.title}


def _declared(path: Path) -> Iterator[tuple[str, MethodDeclaration]]:
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        for call in node.decorator_list if isinstance(node, ast.ClassDef) else ():
            if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "register":
                assert isinstance(node, ast.ClassDef)  # noqa: S101 - else it has no decorators
                words = {word.arg: ast.literal_eval(word.value) for word in call.keywords}
                yield (
                    ast.literal_eval(call.args[0]),
                    MethodDeclaration(words.get("title", ""), frozenset(_presets(node))),
                )


def _presets(method: ast.ClassDef) -> Iterator[str]:
    """The names in ``presets = {"quick": …}``."""
    for statement in method.body:
        if not (isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Dict)):
            continue
        if [getattr(target, "id", "") for target in statement.targets] == ["presets"]:
            yield from (ast.literal_eval(key) for key in statement.value.keys if key)
