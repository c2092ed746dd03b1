"""Rows of trained networks: one JSON line each, with a checksum that reveals a damaged line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dcbench.run import fingerprint
from dcbench.system.files import append_line

Row = dict[str, Any]


def append_row(path: Path, row: Mapping[str, Any]) -> None:
    """Append ``row`` with its checksum to a file of lines. Raises StorageError."""
    append_line(path, {**row, "check": fingerprint(row)})


def intact_row(line: Mapping[str, Any], *, checked: bool = True) -> Row | None:
    """Return the row of a line; None if the line is damaged.

    ``checked`` is False for files whose oldest lines have no checksum.
    """
    row = {key: value for key, value in line.items() if key != "check"}
    if not checked and "check" not in line:
        return row
    try:
        return row if line.get("check") == fingerprint(row) else None
    except ValueError:  # NaN or infinity
        return None
