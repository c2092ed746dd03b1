"""The README keeps its word: its example is complete, and its commands are ones that there are."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from dcbench.cli import COMMANDS, cli

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
SHELL = "".join(re.findall(r"```sh\n(.*?)```", README, re.DOTALL))
WORDS = [line.split("#")[0].split() for line in re.findall(r"^dcbench .*$", SHELL, re.MULTILINE)]


def test_the_example_method_is_complete(tmp_path: Path) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    (tmp_path / "blends.py").write_text(example, encoding="utf-8")
    (asked,) = [words for words in WORDS if words[1] == "run" and "./blends.py:Blends" in words]
    quickly = ["--networks", "1", "--epochs", "5", "--out", "out", "--json"]
    ran = subprocess.run([sys.executable, "-m", *asked, *quickly], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    (run,) = json.loads(ran.stdout)["runs"]
    assert (run["method"], run["ipc"]) == ("blends", 1)
    assert run["mean"] > 0.3  # ten classes: far above chance


@pytest.mark.parametrize("words", WORDS, ids=" ".join)
def test_documented_commands_exist(words: list[str]) -> None:
    name, options = words[1], {word for word in words if word.startswith("--")}
    assert name in COMMANDS
    command = cli.get_command(cli.make_context("dcbench", ["list"], resilient_parsing=True), name)
    assert command is not None
    known = {option for parameter in command.params for option in parameter.opts}
    assert options <= known
