"""Processes that are stopped in the middle, and what must be true of them afterwards."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dcbench.system.errors import FileFormatError
from dcbench.system.files import read_tensors
from tests.commandline import ROOT, environment
from tests.forked import Forked

PATIENCE = 300.0  # seconds until something that should happen counts as not happening
STEPS = 200
COMMAND = (
    "run",
    "--method",
    "mmd",
    "--set",
    f"iterations={STEPS}",
    "--networks",
    "6",
    "--epochs",
    "40",
    "--threads",
    "1",
)


def start(*words: str | Path, driver: str = "dcbench") -> Forked:
    """``dcbench words`` in a process of its own; the driver of these tests leaves a checkpoint after every step."""
    return Forked(driver, [*map(str, words)], environment(), ROOT)


def finish(process: Forked) -> tuple[str, str]:
    """What a process said that must succeed."""
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    return out, err


def wait_until(happened: Callable[[], bool], process: Forked) -> None:
    """Wait until something happens; it must do so before the process ends."""
    begun = time.monotonic()
    while not happened():
        if process.poll() is not None or time.monotonic() - begun > PATIENCE:
            process.kill()
            out, err = process.communicate()
            raise AssertionError(
                f"it never happened; the process left with {process.returncode}, saying {out}{err}"
            )
        time.sleep(0.005)


def steps_done(out: Path) -> int:
    """Steps in the one checkpoint below ``out``, 0 where there is none."""
    return next(iter(steps_of_each(out)), 0)


def steps_of_each(out: Path) -> list[int]:
    """Steps in each checkpoint below ``out``, by its place."""
    found: list[int] = []
    for path in sorted(out.rglob("checkpoint.pt")):
        try:
            found.append(int(read_tensors(path)["done"]))
        except FileFormatError:  # gone meanwhile
            found.append(0)
    return found


def lines(out: Path) -> list[dict[str, Any]]:
    """The whole lines of the one networks.jsonl below ``out``."""
    found: list[dict[str, Any]] = []
    for path in out.rglob("networks.jsonl"):
        for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
            if line.endswith("}\n"):
                found.append(json.loads(line))
    return found


def left_over(out: Path) -> list[Path]:
    """Unfinished files and checkpoints that nobody needs any more."""
    return [
        path
        for path in out.rglob("*")
        if path.name == "checkpoint.pt" or (path.name.startswith(".") and path.name != ".lock")
    ]


def artifact_of(out: Path) -> bytes:
    (path,) = out.glob("digits/*/*/*/*/synthetic.pt")
    return path.read_bytes()


def accuracies(said: str) -> list[float]:
    """Of the one run in what ``run --json`` said."""
    (run,) = json.loads(said)["runs"]
    found: list[float] = run["accuracies"]
    return found
