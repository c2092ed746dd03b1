"""The guide for notebooks: its code is that of the example notebook, which runs from start to end."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

from tests.commandline import CACHE, ROOT

nbformat: Any = pytest.importorskip("nbformat")
nbclient: Any = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")
GUIDE, NOTEBOOK = ROOT / "docs" / "guides" / "notebook.md", ROOT / "examples" / "notebook.ipynb"


def test_the_notebook_is_the_guide_and_has_no_output() -> None:
    blocks = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    cells = [cell for cell in nbformat.read(NOTEBOOK, 4).cells if cell.cell_type == "code"]
    assert [cell.source.strip() for cell in cells] == [block.strip() for block in blocks]
    assert not any(cell.outputs or cell.execution_count for cell in cells)


def spent() -> float:
    """The processor's seconds of the processes that have ended."""
    times = os.times()
    return times.children_user + times.children_system


def shown(cell: Any) -> dict[str, str]:
    """What a cell shows, by its kind."""
    kinds: dict[str, str] = {}
    for output in cell.outputs:
        assert output.output_type != "error", output
        kinds |= dict(output.get("data", {}))
    return kinds


def test_the_notebook_runs_in_under_a_minute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DCBENCH_CACHE", CACHE)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = nbformat.read(NOTEBOOK, 4)
    client = nbclient.NotebookClient(
        notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}
    )
    before = spent()
    client.execute()
    assert 1 < spent() - before < 60  # the processor's seconds: a busy machine is no failure
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert "accuracy %" in shown(cells[0])["text/html"]
    checks = shown(cells[2])["text/html"]
    assert "passed" in checks
    assert "failed" not in checks
    assert "data:image/png;base64," in shown(cells[3])["text/html"]
    table = shown(cells[4])["text/html"]
    assert all(method in table for method in ("random", "blends", "dm"))
    assert (tmp_path / "report" / "index.html").is_file()
