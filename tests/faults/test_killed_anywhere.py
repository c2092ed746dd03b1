"""kill -9 at moments drawn by seed in the middle of distilling, evaluating and searching: each time
the same bits in the end.

By default one moment of each; the count of twenty is run with ``pytest -m long --log-cli-level=INFO
tests/faults/test_killed_anywhere.py``.
"""

from __future__ import annotations

import json
import logging
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.faults.victims import finish, left_over, start, wait_until

LOG = logging.getLogger(__name__)

OFTEN = "tests.faults.driver"  # a checkpoint after every step
COMMON = ("--threads", "1", "--device", "cpu", "--engine", "eager")


@dataclass(frozen=True)
class Job:
    """A command, what must be the same in the end, and by what it is known that its own work has
    begun.
    """

    words: tuple[str, ...]
    result: Callable[[Path], Any]
    begun: str  # a file that appears then
    driver: str = "dcbench"


def artifact(out: Path) -> bytes:
    (path,) = out.rglob("synthetic.pt")
    return path.read_bytes()


def networks(out: Path) -> Any:
    (path,) = out.rglob("record.json")
    return [
        (row["network"], row["accuracy"], row["loss"])
        for row in json.loads(path.read_text(encoding="utf-8"))["networks"]
    ]


def architectures(out: Path) -> Any:
    (path,) = out.rglob("record.json")
    return [
        (row["architecture"], row["truth"], [(run["seed"], run["accuracy"]) for run in row["runs"]])
        for row in json.loads(path.read_text(encoding="utf-8"))["architectures"]
    ]


SEARCH = (
    "--sample",
    "5",
    "--seed",
    "97",
    "--preset",
    "quick",
    "--epochs",
    "20",
    "--truth-epochs",
    "2",
    "--validation",
    "100",
)
JOBS = {
    "distil": Job(
        (
            "run",
            "--method",
            "mmd",
            "--set",
            "iterations=150",
            "--networks",
            "1",
            "--epochs",
            "1",
            *COMMON,
        ),
        artifact,
        "checkpoint.pt",
        OFTEN,
    ),
    "evaluate": Job(
        ("run", "--method", "random", "--networks", "8", "--epochs", "60", *COMMON),
        networks,
        "networks.jsonl",
    ),
    "nas": Job(
        ("nas", "--proxy", "random:1", "--dataset", "digits", *SEARCH, *COMMON),
        architectures,
        "architectures.jsonl",
    ),
}


@dataclass(frozen=True)
class Undisturbed:
    """What a job leaves that nobody stops, and how long its own work takes."""

    result: Any
    seconds: float


def undisturbed(job: Job, out: Path) -> Undisturbed:
    process = start(*job.words, "--out", out, driver=job.driver)
    wait_until(lambda: any(out.rglob(job.begun)), process)
    begun = time.monotonic()
    finish(process)
    return Undisturbed(job.result(out), time.monotonic() - begun)


def killed(job: Job, out: Path, seconds: float) -> bool:
    """Whether the job was killed so many seconds into its work; False if it was faster."""
    process = start(*job.words, "--out", out, driver=job.driver)
    wait_until(lambda: any(out.rglob(job.begun)), process)
    time.sleep(seconds)
    process.kill()
    process.communicate()
    return process.returncode == -signal.SIGKILL


def strike(job: Job, whole: Undisturbed, moments: random.Random, out: Path) -> int:
    """Kill the job in the middle and let it finish; returns how many tries it took to hit it alive."""
    for attempt in range(1, 10):
        place = out / str(attempt)
        if killed(job, place, moments.uniform(0, whole.seconds)):
            finish(start(*job.words, "--out", place, driver=job.driver))
            assert job.result(place) == whole.result
            assert left_over(place) == []
            return attempt
    raise AssertionError("it was never alive when it was to be killed")


@pytest.mark.slow
@pytest.mark.parametrize("name", JOBS)
def test_killed_once_anywhere(name: str, tmp_path: Path) -> None:
    whole = undisturbed(JOBS[name], tmp_path / "undisturbed")
    assert strike(JOBS[name], whole, random.Random(name), tmp_path / "struck")


@pytest.mark.long
@pytest.mark.parametrize(("name", "count"), [("distil", 8), ("evaluate", 6), ("nas", 6)])
def test_killed_at_twenty_moments(name: str, count: int, tmp_path: Path) -> None:
    whole = undisturbed(JOBS[name], tmp_path / "undisturbed")
    moments = random.Random(f"twenty, {name}")
    tries = [strike(JOBS[name], whole, moments, tmp_path / str(index)) for index in range(count)]
    assert len(tries) == count
    LOG.info(
        "%s: %d of %d killed in the middle ended in the same bits (%d came too late to count)",
        name,
        count,
        count,
        sum(tries) - count,
    )
