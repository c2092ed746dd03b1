"""Asking for help costs nothing: it answers at once and does not wait for torch."""

from __future__ import annotations

import re
import subprocess
import sys
import time

import pytest

from dcbench import __version__
from dcbench.cli import COMMANDS
from dcbench.distiller import registered
from dcbench.studies.declarations import STUDIES
from tests.commandline import ask, environment

MOST_SECONDS = 0.5
PRESETS_OF_METHODS = {
    "paper",
    *(preset for method in registered().values() for preset in method.presets),
}
PRESETS_OF_STUDIES = {preset for study in STUDIES.values() for preset in study.plans}
LOADED = """
import sys
from dcbench.cli import main
try:
    main(sys.argv[1:])
finally:
    sys.stderr.write(" ".join(sorted(name for name in ("torch", "pandas", "sklearn", "matplotlib") if name in sys.modules)))
"""


def loaded_by(*words: str) -> tuple[str, list[str]]:
    """What ``dcbench words`` says, and which heavy libraries it imports."""
    command = [sys.executable, "-c", LOADED, *words]
    ran = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    return ran.stdout, ran.stderr.split()


def test_help_answers_at_once() -> None:
    def asked() -> float:
        begun = time.monotonic()
        subprocess.run(
            [sys.executable, "-m", "dcbench", "--help"],
            env=environment(),
            capture_output=True,
            check=True,
        )
        return time.monotonic() - begun

    assert min(asked() for _ in range(3)) < MOST_SECONDS


@pytest.mark.parametrize(
    "words", [(), *((name,) for name in COMMANDS)], ids=lambda words: " ".join(words) or "dcbench"
)
def test_help_loads_nothing_heavy(words: tuple[str, ...]) -> None:
    said, heavy = loaded_by(*words, "--help")
    assert "Usage: dcbench" in said
    assert heavy == []


def test_a_report_does_not_need_torch(tmp_path_factory: pytest.TempPathFactory) -> None:
    _, heavy = loaded_by("report", "--results", str(tmp_path_factory.mktemp("empty")))
    assert "torch" not in heavy


@pytest.mark.parametrize(
    ("command", "presets"), [("run", PRESETS_OF_METHODS), ("reproduce", PRESETS_OF_STUDIES)]
)
def test_help_names_the_presets_that_there_are(command: str, presets: set[str]) -> None:
    said = re.search(r"--preset (.*?)--", " ".join(ask(command, "--help").out.split()))
    assert said is not None
    assert presets == PRESETS_OF_METHODS & {word.strip(":;,.") for word in said[1].split()}


def test_no_arguments_give_help() -> None:
    answer = ask()
    assert answer.code == 2
    for name, what in COMMANDS.items():
        assert f"  {name}" in answer.err
        assert what.split(",")[0] in " ".join(answer.err.split())


def test_version() -> None:
    assert __version__ in ask("--version").out
