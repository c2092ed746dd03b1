"""Completion of an option's value by the shell, from names that are known without torch."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Collection
from typing import Any

import click
from click.shell_completion import CompletionItem

from dcbench.cli.words import NAMES, declared_presets, known

FILES = {"method": "file", "study": "file", "proxy": "file", "dataset": "dir"}  # also a path's
_PLUGINS = {
    "method": "dcbench.distillers",
    "dataset": "dcbench.datasets",
    "network": "dcbench.networks",
}

_Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def word(kind: str) -> dict[str, Any]:
    """Return the arguments of an option whose value is a name of this ``kind``: it is checked and
    completed.
    """
    return {"callback": known(kind), "shell_complete": completing(kind)}


def completing(kind: str) -> _Complete:
    """Return an option's ``shell_complete``: it offers the names of this ``kind``, after the last
    comma of a list those that it does not have, and paths if there is no such name.
    """

    def complete(
        _context: click.Context, option: click.Parameter, begun: str
    ) -> list[CompletionItem]:
        before, comma, last = (
            begun.rpartition(",") if option.type.name == "list" else ("", "", begun)
        )
        given = before.split(",")
        found = [
            CompletionItem(f"{before}{comma}{name}")
            for name in sorted(names_of(kind))
            if name.startswith(last) and name not in given
        ]
        if not found and kind in FILES:
            return [CompletionItem(begun, type=FILES[kind])]
        return found

    return complete


def names_of(kind: str) -> Collection[str]:
    """Return the names of this ``kind``: the project's, and those that installed packages add."""
    group = _PLUGINS.get(kind, "")
    added = (
        {point.name for point in importlib.metadata.entry_points(group=group)} if group else set()
    )
    return {*_own_names(kind), *added}


def _own_names(kind: str) -> Collection[str]:
    if kind == "method":
        from dcbench.studies.declared_methods import declared_methods

        return declared_methods()
    if kind in ("study", "preset of a study"):
        from dcbench.studies.declarations import STUDIES

        if kind == "study":
            return STUDIES
        return {name for each in STUDIES.values() for name in each.plans}
    return declared_presets() if kind == "preset" else NAMES[kind]
