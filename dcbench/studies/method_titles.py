"""Titles of the project's methods, read from their files without importing them (and torch)."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import dcbench

_FOLDERS = ("methods", "baselines")


@cache
def method_titles() -> Mapping[str, str]:
    """The title of each method that declares one: ``@register("dm", title="DM")``."""
    root = Path(dcbench.__file__).parent
    files = [path for folder in _FOLDERS for path in sorted((root / folder).glob("*.py"))]
    return dict(pair for path in files for pair in _declared(path))


def _declared(path: Path) -> Iterator[tuple[str, str]]:
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        for call in node.decorator_list if isinstance(node, ast.ClassDef) else ():
            if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "register":
                words = {word.arg: ast.literal_eval(word.value) for word in call.keywords}
                if words.get("title"):
                    yield ast.literal_eval(call.args[0]), words["title"]
