"""What holds of the project as a whole: its packages, its links, what may know of devices, and how
fast it answers.
"""

from __future__ import annotations

import configparser
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LINKED = ("methods", "baselines", "nas")
SOURCES = sorted(
    path
    for folder in ("dcbench", *LINKED)
    for path in (ROOT / folder).rglob("*.py")
    if not path.is_symlink()
)
PARTS = {
    path.stem
    for path in (ROOT / "dcbench").iterdir()
    if (path.suffix == ".py" and path.stem[0] != "_") or (path / "__init__.py").exists()
}
MAY_IMPORT = {  # besides each of their sources
    "methods": "adversarial augment distiller errors generative gradient_matching images matching networks progress run selection training "
    "trajectories wording",
    "report": "datasets errors files wording",
}


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_the_packages_listed_are_the_packages_that_exist() -> None:
    """One that is forgotten is missing from the wheel, in silence."""
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"][
        "setuptools"
    ]
    found = {
        path.parent
        for path in SOURCES
        if path.name == "__init__.py" and not any(part.is_symlink() for part in path.parents)
    }
    names = {named(path).replace("/", ".") for path in found}
    assert sorted(setuptools["packages"]) == sorted(
        name if name.startswith("dcbench") else f"dcbench.{name}" for name in names
    )
    assert setuptools["package-dir"] == {
        "dcbench": "dcbench",
        **{f"dcbench.{name}": name for name in LINKED},
    }
    assert {path.parent for path in SOURCES} == found  # no folder of modules lacks its __init__.py


@pytest.mark.parametrize("name", LINKED)
def test_top_level_folders_are_linked_into_the_package(name: str) -> None:
    link = ROOT / "dcbench" / name
    assert link.is_symlink()
    assert link.readlink() == Path("..") / name


def contract(name: str, key: str) -> set[str]:
    """The parts of the package that a contract lists."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / ".importlinter", encoding="utf-8")
    listed = parser[f"importlinter:contract:{name}"][key].split()
    return {entry.removeprefix("dcbench.") for entry in listed if entry.startswith("dcbench.")}


def test_all_but_the_command_line_is_kept_from_the_terminal() -> None:
    assert contract("terminal", "source_modules") == PARTS - {"cli"}


@pytest.mark.parametrize("name", MAY_IMPORT)
def test_what_is_not_allowed_is_forbidden(name: str) -> None:
    """A new module too: a contract that lists only what is forbidden would let it through."""
    allowed = contract(name, "source_modules") | set(MAY_IMPORT[name].split())
    assert contract(name, "forbidden_modules") == PARTS - allowed


def test_help_imports_nothing_heavy() -> None:
    """``dcbench --help`` must answer at once."""
    script = (
        "import sys, click\n"
        "from dcbench.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit as ended: assert not ended.code\n"
        "heavy = {'torch', 'torchvision', 'numpy', 'pandas', 'scipy', 'sklearn', 'matplotlib', 'PIL', 'pyarrow', 'kornia', 'jaxtyping'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert ended.returncode == 0, ended.stderr
    assert "Usage" in ended.stdout


@pytest.mark.parametrize("path", SOURCES, ids=named)
def test_only_the_machine_names_a_device(path: Path) -> None:
    # the second tells users what --device may be
    if named(path) in ("dcbench/machine.py", "dcbench/cli/options.py"):
        return
    found = re.findall(
        r""".*(?:["']cuda|torch\.device\((?!"meta")|torch\.cuda|\.cuda\(|device=["']).*""",
        path.read_text(encoding="utf-8"),
    )
    assert not found


@pytest.mark.parametrize("path", SOURCES, ids=named)
def test_below_the_command_line_nothing_prints_or_asks_the_environment(path: Path) -> None:
    if path.parent.name != "cli":
        assert not re.findall(
            r"(?m)^.*(?:\bprint\(|os\.environ|os\.getenv|sys\.exit|\bexit\().*$",
            path.read_text(encoding="utf-8"),
        )


def test_modules_of_the_standard_library_are_not_shadowed() -> None:
    shadowing = [
        named(path)
        for path in SOURCES
        if path.parent.name in LINKED and path.stem in sys.stdlib_module_names
    ]
    assert not shadowing
