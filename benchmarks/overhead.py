"""What records and checkpoints cost: their share of a run's time. ``python -m
benchmarks.overhead``; the figures of docs/reference/reliability.md.

Everything that goes to the disk passes ``dcbench.system.files``; its writers are timed while a whole run
is done in this process. A checkpoint is written every 30 seconds, or more rarely where writing
takes long, so its share is the time of one over the pause between two.
"""

from __future__ import annotations

import argparse
import functools
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from dcbench.cli import main as dcbench_command
from dcbench.run import CHECKPOINT_SHARE, Run
from dcbench.system.machine import resolve

WRITERS = ("write_bytes", "write_json", "append_line", "write_tensors")
RUN = (
    "run",
    "--method",
    "datadam",
    "--dataset",
    "digits",
    "--ipc",
    "10",
    "--preset",
    "quick",
    "--threads",
    "1",
    "--engine",
    "eager",
)


@dataclass
class Clock:
    """Seconds spent in writers, each counted once though one calls another."""

    seconds: float = 0.0
    calls: int = 0
    depth: int = 0

    def timed(self, writer: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(writer)
        def write(*arguments: Any, **named: Any) -> Any:
            begun, self.depth = time.perf_counter(), self.depth + 1
            try:
                return writer(*arguments, **named)
            finally:
                self.depth -= 1
                if not self.depth:
                    self.seconds, self.calls = (
                        self.seconds + time.perf_counter() - begun,
                        self.calls + 1,
                    )

        return write


def watch(clock: Clock) -> None:
    """Put the clock into every module that has taken a writer by name."""
    import dcbench.experiments.distil
    import dcbench.experiments.evaluate

    for name in WRITERS:
        writer = getattr(dcbench.system.files, name)
        for module in [
            module
            for key, module in sys.modules.items()
            if key.startswith("dcbench") and getattr(module, name, None) is writer
        ]:
            setattr(module, name, clock.timed(writer))


def share_of_a_run() -> dict[str, Any]:
    """A quick DataDAM on the digits and its five networks, start to end: about the shortest run
    that is one.
    """
    clock = Clock()
    watch(clock)
    with tempfile.TemporaryDirectory() as out:
        begun = time.perf_counter()
        try:
            dcbench_command([*RUN, "--out", out])
        except SystemExit as ended:
            if ended.code:
                raise
        whole = time.perf_counter() - begun
    return {
        "what": " ".join(RUN),
        "seconds": whole,
        "writing_seconds": clock.seconds,
        "writes": clock.calls,
        "share": clock.seconds / whole,
    }


def share_of_a_checkpoint(ipc: int, classes: int, size: int) -> dict[str, Any]:
    """One checkpoint of images and their momentum, over the pause between two."""
    images = torch.randn(ipc * classes, 3, size, size).requires_grad_()
    optimizer = torch.optim.SGD([images], lr=1.0, momentum=0.5)
    images.square().sum().backward()
    optimizer.step()
    with tempfile.TemporaryDirectory() as folder:
        run = Run(
            0,
            resolve("cpu", 1, "fp32"),
            folder=Path(folder),
            history=[{"step": float(step), "loss": 1.0} for step in range(8000)],
        )
        run.cost.steps.extend([0.1] * 1000)
        seconds = []
        for done in range(5):
            begun = time.perf_counter()
            run._save("distill", done, 8000, {"images": images, "optimizer": optimizer})
            seconds.append(time.perf_counter() - begun)
    typical = sorted(seconds)[2]
    what = f"checkpoint of {classes} classes, {size} pixels, IPC {ipc}, 8,000 steps of history"
    return {
        "what": what,
        "seconds": typical,
        "share": typical / max(run.resumption.checkpoint_seconds, typical / CHECKPOINT_SHARE),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.overhead", description=__doc__)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    rows = [
        share_of_a_checkpoint(*case)
        for case in ((1, 10, 32), (50, 10, 32), (50, 100, 32), (1, 1000, 64), (10, 10, 128))
    ]
    rows.append(share_of_a_run())
    for row in rows:
        print(f"{row['what']}: {row['seconds']:.2f} s, share of writing {row['share']:.2%}")
    if asked.out:
        asked.out.write_text(json.dumps({"rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
