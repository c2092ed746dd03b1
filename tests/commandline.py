"""How the tests speak to dcbench: in this process, where many cases are asked, or in one of its
own, as a user does.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from dcbench.cli import main
from tests.forked import Forked

ROOT = Path(__file__).parents[1]
CACHE = os.environ["DCBENCH_TESTS_CACHE"]  # one for the whole run of the tests: see conftest.py

QUICKLY = ("--networks", "2", "--epochs", "3", "--threads", "1")
# of the learned methods the quickest
MMD = ("run", "--method", "mmd", "--set", "iterations=3", *QUICKLY)
RANDOM = ("run", "--method", "random", *QUICKLY)
RUN_FIELDS = [
    *(
        "method",
        "dataset",
        "dataset_revision",
        "ipc",
        "seed",
        "preset",
        "protocol",
        "synthetic",
        "record",
        "accuracies",
        "mean",
        "std",
    ),
    *(
        "ci95",
        "distill_seconds",
        "evaluate_seconds",
        "step_seconds",
        "epoch_seconds",
        "compile_seconds",
        "peak_memory_bytes",
        "engine",
    ),
    "precision",
]


@dataclass(frozen=True)
class Answer:
    """What a command said, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON object on standard output, and nothing else there; NaN is no JSON."""
        return json.loads(self.out, parse_constant=_refuse)

    @property
    def line(self) -> str:
        """The one line on standard error."""
        assert self.err.endswith("\n"), self.err
        assert self.err.count("\n") == 1, self.err
        return self.err.rstrip("\n")


def _refuse(name: str) -> None:
    raise AssertionError(f"{name} is no JSON")


def ask(*words: str | Path) -> Answer:
    """Run ``dcbench words`` in this process."""
    out, err = io.StringIO(), io.StringIO()
    with _settled(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main([str(word) for word in words])
        except SystemExit as finished:
            return Answer(int(finished.code or 0), out.getvalue(), err.getvalue())
    raise AssertionError("a command ends by leaving")


@contextlib.contextmanager
def _settled() -> Iterator[None]:
    """The tests' own cache; afterwards as many threads as before."""
    before, threads = os.environ.get("DCBENCH_CACHE"), torch.get_num_threads()
    os.environ["DCBENCH_CACHE"] = CACHE
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        os.environ.pop("DCBENCH_CACHE")
        if before is not None:
            os.environ["DCBENCH_CACHE"] = before


def done(*words: str | Path) -> Answer:
    """The same for a command that must succeed."""
    answer = ask(*words)
    assert answer.code == 0, answer.err
    return answer


def environment(**more: str) -> dict[str, str]:
    """The environment of a process of its own."""
    return {**os.environ, "DCBENCH_CACHE": CACHE, "PYTHONPATH": str(ROOT), "COLUMNS": "", **more}


def dcbench(*words: str | Path, cwd: Path | None = None) -> Answer:
    """Run ``dcbench words`` in a process of its own."""
    command = [sys.executable, "-W", "error", "-m", "dcbench", *map(str, words)]
    ran = subprocess.run(
        command, cwd=cwd, env=environment(), capture_output=True, text=True, check=False
    )
    return Answer(ran.returncode, ran.stdout, ran.stderr)


def forked(*words: str | Path, cwd: Path = ROOT) -> Answer:
    """The same, sooner: without importing torch anew, and without the interpreter's own options."""
    process = Forked("dcbench", [*map(str, words)], environment(), cwd)
    out, err = process.communicate()
    assert process.returncode is not None
    return Answer(process.returncode, out, err)


def rows(folder: Path) -> list[dict[str, Any]]:
    """The lines of the one networks.jsonl below ``folder``."""
    (path,) = folder.rglob("networks.jsonl")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
