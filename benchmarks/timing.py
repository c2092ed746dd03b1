"""How everything here is timed: contenders in turns, and what must not share a process apart."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any


def alternating(
    contenders: Mapping[str, Callable[[], Any]], repeats: int, warm_up: int = 2, turn: int = 1
) -> dict[str, dict[str, float]]:
    """Seconds of each contender, one after the other, round after round: median, least and most,
    after a warm-up.

    ``turn``: how often each works in its turn. Short work that is done thousands of times on end is not what it is once between others,
    which have taken the caches and let the threads fall asleep.
    """
    for contender in contenders.values():
        for _ in range(warm_up):
            contender()
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(repeats):
        for name, contender in contenders.items():
            seconds[name].append(seconds_of(contender, turn))
    return {
        name: {"median": statistics.median(row), "least": min(row), "most": max(row)}
        for name, row in seconds.items()
    }


def seconds_of(work: Callable[[], Any], times: int = 1) -> float:
    """What ``work`` takes, on the average of so many times on end."""
    begun = time.perf_counter()
    for _ in range(times):
        work()
    return (time.perf_counter() - begun) / times


@contextmanager
def elsewhere(
    what: str, case: str, environment: Mapping[str, str] | None = None
) -> Iterator[Callable[[], Any]]:
    """A contender in a process of its own, where nothing that the engine does to its process helps
    or hurts it.

    ``environment`` comes on top of this process's.
    """
    words = [sys.executable, "-m", "benchmarks", what, "--case", case]
    surroundings = os.environ | dict(environment or {})
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=surroundings
    ) as process:
        asked, answers = process.stdin, process.stdout
        assert asked is not None
        assert answers is not None

        def once() -> None:
            print(file=asked, flush=True)
            if not answers.readline():
                raise RuntimeError(f"{' '.join(words)} ended with {process.wait()}")

        yield once


def serve(work: Callable[[], Any]) -> None:
    """Do ``work`` once for each line that is read: the other side of ``elsewhere``."""
    for _ in sys.stdin:
        work()
        print("done", flush=True)


def apart(
    what: str, case: str, repeats: int, environment: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """The figures of one case of ``what``, taken in a process of its own; ``environment`` on top of
    this process's.
    """
    words = [sys.executable, "-m", "benchmarks", what, "--case", case, "--repeats", str(repeats)]
    finished = subprocess.run(
        words, capture_output=True, text=True, check=True, env=os.environ | dict(environment or {})
    )
    figures: dict[str, Any] = json.loads(finished.stdout.splitlines()[-1])
    return figures
