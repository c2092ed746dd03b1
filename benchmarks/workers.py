"""Two workers against one: ``python -m benchmarks.workers [--executor processes,ray] [--seeds 4]``.

Times a whole ``dcbench run`` of MMD on digits, IPC 10, six networks a set, preset ``quick``, one
thread each, with one worker and with two, and compares their accuracies. Starting the workers and
importing torch are timed too. The figures mean something on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

CORES = os.cpu_count() or 1
WORDS = ("--method", "mmd", "--ipc", "10", "--networks", "6", "--preset", "quick", "--threads", "1")


def chosen(executor: str, workers: int) -> tuple[str, ...]:
    """The options of so many workers."""
    if executor == "ray":
        return ("--executor", "ray", "--cpus-per-unit", str(CORES // workers))
    return ("--executor", executor, "--workers", str(workers))


def timed(seeds: int, more: tuple[str, ...]) -> tuple[float, Any]:
    """Seconds and accuracies of one command."""
    with tempfile.TemporaryDirectory() as out:
        asked = ("--seed", ",".join(map(str, range(seeds))), "--out", str(Path(out)), "--json")
        begun = time.monotonic()
        ran = subprocess.run(
            [sys.executable, "-m", "dcbench", "run", *WORDS, *asked, *more],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "RAY_worker_niceness": "0"},
        )
        seconds = time.monotonic() - begun
    return seconds, [run["accuracies"] for run in json.loads(ran.stdout)["runs"]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--executor", default="processes,ray")
    parser.add_argument("--seeds", type=int, default=4)
    asked = parser.parse_args()
    for executor in asked.executor.split(","):
        load = os.getloadavg()[0]
        (one, before), (two, after) = (
            timed(asked.seeds, chosen(executor, count)) for count in (1, 2)
        )
        same = "the same accuracies" if before == after else "OTHER ACCURACIES"
        print(
            f"{executor}: {one:.0f} s with one worker, {two:.0f} s with two, {one / two:.2f} times "
            f"as fast, {same} (load before: {load:.1f})"
        )


if __name__ == "__main__":
    main()
