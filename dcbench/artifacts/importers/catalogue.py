"""The table of all layouts. A new layout is a file that declares it, and a line here."""

from __future__ import annotations

from collections.abc import Mapping

from dcbench.artifacts.importers import (
    datadam,
    experiments,
    folder,
    idc,
    kip,
    mtt,
    parquet,
    plain,
)
from dcbench.artifacts.importers.layout import FileLayout
from dcbench.system.errors import require_known

LAYOUTS: Mapping[str, FileLayout] = {
    layout.name: layout
    for module in (experiments, datadam, mtt, kip, idc, folder, parquet, plain)
    for layout in module.LAYOUTS
}


def find_layout(name: str) -> FileLayout:
    """Return the layout called ``name``. Raises UnknownNameError."""
    require_known("layout", name, LAYOUTS)
    return LAYOUTS[name]
