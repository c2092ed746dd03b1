"""What holds of the project as a whole: its packages, its links, what may know of devices, and how
fast it answers.
"""

from __future__ import annotations

import ast
import configparser
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[1]
LINKED = ("methods", "baselines", "nas")
SOURCES = sorted(
    path
    for folder in ("dcbench", *LINKED)
    for path in (ROOT / folder).rglob("*.py")
    if not path.is_symlink()
)


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


UNIX_ALONE = {"curses", "fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios"}


@pytest.mark.parametrize("path", SOURCES, ids=named)
def test_no_module_needs_what_windows_lacks(path: Path) -> None:
    """Such an import stands in a function that can do without it."""
    imported = {
        name
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in [getattr(node, "module", None), *(alias.name for alias in node.names)]
    }
    assert not imported & UNIX_ALONE


@pytest.mark.parametrize("name", LINKED)
def test_top_level_folders_are_linked_into_the_package(name: str) -> None:
    link = ROOT / "dcbench" / name
    assert link.is_symlink()
    assert link.readlink() == Path("..") / name


def layers_drawn() -> list[set[str]]:
    """The rooms of each layer in the picture of ``docs/architecture.md``, from the top."""
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    picture = page.split("```mermaid")[1].split("```")[0]
    boxes = {
        name: set(re.findall(r"(\w+)\[\"", inside))
        for name, inside in re.findall(r"subgraph (\w+).*?\n(.*?)\bend\b", picture, re.DOTALL)
    }
    lines = re.findall(r"(?m)^ *\w+ --> .*$", picture)
    order = list(dict.fromkeys(name for line in lines for name in line.split() if name != "-->"))
    return [boxes.get(name, {name}) for name in order]


def test_the_picture_shows_the_rooms_that_there_are() -> None:
    entries = (ROOT / "dcbench").iterdir()
    rooms = {
        path.stem for path in entries if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert set().union(*layers_drawn()) == {room for room in rooms if not room.startswith("__")}


def test_the_picture_is_that_of_the_contract() -> None:
    parser = configparser.ConfigParser()
    parser.read(ROOT / ".importlinter", encoding="utf-8")
    rows = parser["importlinter:contract:layers"]["layers"].split("\n")
    contract = [set(row.split(" | ")) for row in rows if row]
    assert [layer for layer in contract if layer != {"__main__"}] == layers_drawn()


def test_rooms_import_only_rooms_below_them_in_the_picture() -> None:
    depth = {room: number for number, layer in enumerate(layers_drawn()) for room in layer}
    graph = grimp.build_graph("dcbench", exclude_type_checking_imports=True)
    wrong = []
    for module in graph.modules:
        room = module.partition(".")[2].partition(".")[0]
        for imported in graph.find_modules_directly_imported_by(module):
            other = imported.partition(".")[2].partition(".")[0]
            if room in depth and other in depth and room != other and depth[room] >= depth[other]:
                wrong.append(f"{module} -> {imported}")
    assert len(graph.modules) > 100  # the links into the repository's top were followed
    assert not wrong


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
    # the command line tells users what --device may be
    told = ("dcbench/cli/options.py", "dcbench/cli/words.py")
    if named(path) in ("dcbench/system/machine.py", *told):
        return
    found = re.findall(
        r""".*(?:["']cuda|torch\.device\((?!"meta")|torch\.cuda|\.cuda\(|device=["']).*""",
        path.read_text(encoding="utf-8"),
    )
    assert not found


@pytest.mark.parametrize("path", SOURCES, ids=named)
def test_below_the_faces_nothing_prints_or_asks_the_environment(path: Path) -> None:
    if path.parent.name not in ("cli", "interface"):
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
