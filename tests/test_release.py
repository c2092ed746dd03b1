"""What is released: wheel and sdist, and an installation of its own; `make test-release`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from tests.commandline import ROOT, environment

BUILD = "import sys; from setuptools import build_meta as b; print(getattr(b, sys.argv[1])(sys.argv[2]))"


def test_another_dcbench_is_named_in_one_line(tmp_path: Path) -> None:
    """Its files lie over ours, or ours are gone with its removal."""
    package = tmp_path / "dcbench"
    shutil.copytree(ROOT / "dcbench" / "cli", package / "cli")
    shutil.copytree(ROOT / "dcbench" / "system", package / "system")
    command = [sys.executable, "-c", "from dcbench.cli import main; main(['--version'])"]
    for theirs in ("__version__ = '0.0.4'\n", None):
        if theirs is None:
            (package / "__init__.py").unlink()
        else:
            (package / "__init__.py").write_text(theirs, encoding="utf-8")
        ran = subprocess.run(
            command,
            cwd=tmp_path,
            env=environment(PYTHONPATH=str(tmp_path)),
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 1
        assert ran.stderr.count("\n") == 1
        assert f"{package} is mixed with another project's" in ran.stderr
        assert "pip uninstall dcbench" in ran.stderr
        assert ran.stdout == ""


def built(folder: Path, source: Path, what: str) -> Path:
    """The wheel or sdist of a source tree, built by the backend of this environment."""
    folder.mkdir(exist_ok=True)
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", BUILD, f"build_{what}", str(folder)],
        cwd=source,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return folder / ran.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The wheel that is built of the sdist, and the sdist."""
    folder = tmp_path_factory.mktemp("release")
    subprocess.run(["git", "clone", "-q", str(ROOT), str(folder / "clone")], check=True)
    sdist = built(folder / "sdist", folder / "clone", "sdist")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder / "unpacked", filter="data")
    (unpacked,) = (folder / "unpacked").iterdir()
    return built(folder / "wheel", unpacked, "wheel"), sdist


@pytest.mark.release
def test_the_wheel_of_the_sdist_holds_all_that_is_installed(packed: tuple[Path, Path]) -> None:
    wheel, sdist = packed
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    listed = subprocess.run(
        ["git", "ls-files", "dcbench", "methods", "baselines", "nas"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    wanted = {
        name if name.startswith("dcbench/") else f"dcbench/{name}"
        for name in listed
        if not (ROOT / name).is_symlink()
    }
    assert held == wanted
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"LICENSE", "README.md", "pyproject.toml", "nas/space.py"} <= names


@pytest.mark.release
def test_an_empty_environment_runs_what_is_installed(
    packed: tuple[Path, Path], tmp_path: Path
) -> None:
    wheel, _ = packed
    venv.create(tmp_path / "env", with_pip=True)
    folder = tmp_path / "env" / ("Scripts" if os.name == "nt" else "bin")
    clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    subprocess.run(
        [folder / "python", "-m", "pip", "install", "--quiet", wheel], check=True, env=clean
    )
    clean["DCBENCH_CACHE"] = str(tmp_path / "cache")
    command = [str(folder / "dcbench"), "run", "--method", "dm", "--dataset", "digits"]
    quickly = ["--set", "iterations=3", "--networks", "1", "--epochs", "2", "--json"]
    ran = subprocess.run(
        [*command, *quickly], cwd=tmp_path, env=clean, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    (run,) = json.loads(ran.stdout)["runs"]
    assert len(run["accuracies"]) == 1
    where = [str(folder / "python"), "-c", "import dcbench; print(dcbench.__file__)"]
    file = subprocess.run(
        where, cwd=tmp_path, env=clean, capture_output=True, text=True, check=True
    ).stdout
    assert str(tmp_path / "env") in file
