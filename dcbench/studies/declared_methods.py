"""The declarations of the project's methods, read from their files without importing them
or torch.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

import dcbench

Group = Literal["selection", "generative", "matching", "whole", "other"]
_FOLDERS = ("families", "methods", "baselines")
_UNREADABLE = object()


@dataclass(frozen=True)
class DeclaredMethod:
    """One method as its file declares it: title, presets, fields, and its place in tables."""

    name: str
    title: str
    group: Group
    fields: frozenset[str] = frozenset()  # their names
    defaults: Mapping[str, Any] = field(default_factory=dict)  # of fields with literal defaults
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    letters: Mapping[str, str] = field(default_factory=dict)  # the paper's, of its fields

    def preset(self, name: str | None) -> Mapping[str, Any]:
        """Return the fields of a preset; of the preset ``paper`` the defaults."""
        return {**self.defaults, **self.presets.get(name or "", {})}


@cache
def declared_methods() -> Mapping[str, DeclaredMethod]:
    """Return all methods of the project by name."""
    root = Path(dcbench.__file__).parent
    classes: dict[str, ast.ClassDef] = {}
    found: dict[str, DeclaredMethod] = {}
    for folder in _FOLDERS:
        for path in sorted((root / folder).glob("*.py")):
            own = [
                node
                for node in ast.parse(path.read_text(encoding="utf-8")).body
                if isinstance(node, ast.ClassDef)
            ]
            classes |= {node.name: node for node in own}
            found |= {
                method.name: method
                for node in own
                for method in _declared(node, _with_bases(node, classes), folder)
            }
    return found


def _with_bases(node: ast.ClassDef, classes: Mapping[str, ast.ClassDef]) -> list[ast.ClassDef]:
    """Return the class and, before it, the classes that it inherits from, as far as families
    declare them.
    """
    names = [base.id for base in node.bases if isinstance(base, ast.Name)]
    above = [
        each for name in names if name in classes for each in _with_bases(classes[name], classes)
    ]
    return [*above, node]


def _declared(
    node: ast.ClassDef, lineage: list[ast.ClassDef], folder: str
) -> Iterator[DeclaredMethod]:
    for call in node.decorator_list:
        if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "register":
            words = {word.arg: ast.literal_eval(word.value) for word in call.keywords}
            name = ast.literal_eval(call.args[0])
            values = [dict(_values(each)) for each in lineage]
            fields = {key: value for own in values for key, value in own.items()}
            yield DeclaredMethod(
                name,
                words.get("title") or name,
                _group(name, folder, {each.name for each in lineage}),
                frozenset(name for each in lineage for name in _field_names(each)),
                fields,
                fields.pop("presets", {}),
                fields.pop("letters", {}),
            )


def _group(name: str, folder: str, classes: set[str]) -> Group:
    if name == "whole":
        return "whole"
    if "Generative" in classes:
        return "generative"
    matching = folder == "methods" or "FeatureMatching" in classes
    return "matching" if matching else "selection"


def _field_names(node: ast.ClassDef) -> Iterator[str]:
    annotated = (line for line in node.body if isinstance(line, ast.AnnAssign))
    for line in annotated:
        if isinstance(line.target, ast.Name) and "ClassVar" not in ast.unparse(line.annotation):
            yield line.target.id


def _values(node: ast.ClassDef) -> Iterator[tuple[str, Any]]:
    """Return a class's fields, ``presets`` and ``letters``, where their values are literals."""
    for line in node.body:
        if isinstance(line, ast.AnnAssign) and "ClassVar" not in ast.unparse(line.annotation):
            targets: list[ast.expr] = [line.target]
        elif isinstance(line, ast.Assign):
            targets = [
                each for each in line.targets if getattr(each, "id", "") in ("presets", "letters")
            ]
        else:
            continue
        value = _literal(line.value) if line.value is not None else _UNREADABLE
        if value is not _UNREADABLE:
            yield from ((target.id, value) for target in targets if isinstance(target, ast.Name))


def _literal(node: ast.expr) -> Any:
    """Evaluate a literal, or dictionaries joined by ``|``."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        left, right = _literal(node.left), _literal(node.right)
        joined = isinstance(left, dict) and isinstance(right, dict)
        return {**left, **right} if joined else _UNREADABLE
    if isinstance(node, ast.Dict) and None not in node.keys:
        pairs = {
            ast.literal_eval(key): _literal(value)
            for key, value in zip(node.keys, node.values, strict=True)
            if key
        }
        return {key: value for key, value in pairs.items() if value is not _UNREADABLE}
    try:
        return ast.literal_eval(node)
    except ValueError:
        return _UNREADABLE
