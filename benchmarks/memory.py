"""Peak memory of each learned method at IPC 10: a few steps at the paper's batch sizes, each in a
process of its own; and of MTT at IPC 1 by the number of the student's steps.

A step of a method needs the same memory whether it is the first or the last, so fewer of them (and
of what encloses them: experts, networks, inner epochs) are taken than the paper's; the fields that
were cut are printed with the figure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.timing import apart
from dcbench.experiments.presets import build
from dcbench.images import TrainSet
from dcbench.run import Run
from dcbench.system.machine import resolve

IPC = 10
SHORTENED: Mapping[str, Mapping[str, str]] = {
    "datadam": {"iterations": "2"},
    "dm": {"iterations": "2"},
    "dc": {"iterations": "2", "outer": "1", "inner": "1"},
    "dsa": {"iterations": "2", "outer": "1", "inner": "1"},
    "cafe": {"iterations": "1", "most_outer": "1", "most_inner": "1"},
    "kip": {"iterations": "1", "networks": "1"},
    "mtt": {"iterations": "2", "experts": "1", "expert_images": "1024", "max_start_epoch": "1"},
}
STUDENT_STEPS = (5, 20)


def bench_memory(repeats: int) -> Iterator[dict[str, Any]]:
    """One figure for each method, and for each student of MTT."""
    for case in SHORTENED:
        yield apart("one-peak", case, repeats)
    yield from bench_students(repeats)


def bench_students(repeats: int) -> Iterator[dict[str, Any]]:
    """MTT at IPC 1: its graph of all steps at once, and the passes that hold one step's."""
    for unroll in ("true", "false"):
        for steps in STUDENT_STEPS:
            yield apart(
                "one-peak", f"mtt,expert_images=64,unroll={unroll},student_steps={steps}", repeats
            )


def one_peak(case: str, train: TrainSet) -> dict[str, Any]:
    """The most memory that this process held, before and after a few steps of a method.

    ``case`` is its name; with fields behind it, at IPC 1.
    """
    machine = resolve(precision="fp32", engine="eager")
    before = machine.peak_memory_bytes() or 0
    method, *changed = case.split(",")
    ipc = 1 if changed else IPC
    fields = {**SHORTENED[method], **dict(pair.split("=") for pair in changed)}
    build(method, "paper", fields).distill(train, ipc, Run(0, machine))
    peak = machine.peak_memory_bytes() or 0
    cut = ", ".join(f"{key}={value}" for key, value in fields.items())
    what = f"{method}, IPC {ipc}, preset paper with {cut}"
    return {"what": what, "peak_memory_bytes": peak, "beyond_the_images_bytes": peak - before}
