"""The example of a method in a package of its own: installed into a fresh environment, checked,
run, and found in the report.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from tests.commandline import ROOT, environment

pytestmark = pytest.mark.slow
EXAMPLE = ROOT / "examples" / "dcbench-blends"
BROKEN = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "dcbench-broken"
version = "1.0"

[project.entry-points."dcbench.distillers"]
broken = "dcbench_broken:Broken"

[tool.setuptools]
packages = ["dcbench_broken"]
"""


class Fresh:
    """An environment that has what this one has, and what is installed into it."""

    def __init__(self, folder: Path) -> None:
        venv.create(folder, with_pip=False, symlinks=True)
        self.python = folder / "bin" / "python"
        here = sysconfig.get_path("purelib")
        there = Path(sysconfig.get_path("purelib", "venv", {"base": str(folder)}))
        (there / "parent.pth").write_text(
            f"import site; site.addsitedir({here!r})\n", encoding="utf-8"
        )

    def install(self, package: Path) -> None:
        """Without network: what it needs is there."""
        words = (
            "install",
            "--quiet",
            "--no-index",
            "--no-deps",
            "--no-build-isolation",
            "--disable-pip-version-check",
        )
        self._run([sys.executable, "-m", "pip", "--python", str(self.python), *words, str(package)])

    def dcbench(self, *words: str | Path) -> str:
        return self._run([str(self.python), "-m", "dcbench", *map(str, words)])

    def _run(self, command: list[str]) -> str:
        ran = subprocess.run(
            command, env=environment(), capture_output=True, text=True, check=False
        )
        assert ran.returncode == 0, ran.stderr
        return ran.stdout


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Fresh:
    for module in ("pip", "setuptools"):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is needed to install a package, and is not here")
    folder = tmp_path_factory.mktemp("fresh")
    made = Fresh(folder / "environment")
    sources = folder / "sources"
    shutil.copytree(EXAMPLE, sources / "blends")
    made.install(sources / "blends")
    package = sources / "broken" / "dcbench_broken"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(
        "raise SystemExit('of its own making')\n", encoding="utf-8"
    )
    (sources / "broken" / "pyproject.toml").write_text(BROKEN, encoding="utf-8")
    made.install(sources / "broken")
    return made


def test_it_is_found_and_a_broken_one_hides_nothing(fresh: Fresh) -> None:
    found = json.loads(fresh.dcbench("list", "--json"))
    assert found["methods"]["blends"]["fields"] == {"members": 100}
    assert {"datadam", "random"} <= set(found["methods"])
    assert found["failed_to_import"] == {
        "broken (dcbench_broken:Broken)": "SystemExit: of its own making"
    }


def test_it_keeps_the_contract(fresh: Fresh) -> None:
    checks = json.loads(fresh.dcbench("check", "blends", "--json"))["checks"]
    outcomes = {entry["check"]: entry["outcome"] for entry in checks}
    assert outcomes.pop("resumes") == "skipped"  # it is done in one step
    assert set(outcomes.values()) == {"passed"}


@pytest.mark.long  # that a stranger's method runs, test_guides.py says of the same text
def test_it_runs_and_stands_in_the_report(fresh: Fresh, tmp_path: Path) -> None:
    words = (
        "--ipc",
        "1",
        "--preset",
        "quick",
        "--networks",
        "2",
        "--epochs",
        "30",
        "--threads",
        "1",
        "--out",
        tmp_path,
        "--json",
    )
    blends, _ = json.loads(
        fresh.dcbench("run", "--method", "blends,random", "--dataset", "digits", *words)
    )["runs"]
    assert blends["method"] == "blends"
    (row,) = [
        line
        for line in fresh.dcbench(
            "report", "--results", tmp_path, "--format", "markdown"
        ).splitlines()
        if "lends" in line
    ]
    assert f"{100 * blends['mean']:.1f}" in row


def test_the_guide_s_method_is_the_example_s() -> None:
    """One text in two places, so that the guide's stays complete."""
    inside = (EXAMPLE / "dcbench_blends" / "__init__.py").read_text(encoding="utf-8")
    outside = (ROOT / "docs" / "guides" / "add-a-method.md").read_text(encoding="utf-8")
    shown = inside.replace('    presets = {"quick": {"members": 20}}\n\n', "").strip()
    assert shown in outside
