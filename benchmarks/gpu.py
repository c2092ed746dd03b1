"""``python -m benchmarks.gpu [PIECE ...] --out OUT``: what is to be done where a GPU is lent for
minutes at a time.

The pieces, in this order: ``equality`` (the same sets and accuracies on CPU and GPU, and the checks
of the contract), ``speed`` (a step and an ensemble against the plain transcription, and as a share of
the peak that a matrix product reaches), ``sets`` (DataDAM and DM at full steps, IPC 10, then 1 and
50), ``costly`` (DSA and MTT as far as the minutes go). A piece is a list of commands. Each that is
done is a line of ``OUT/done.jsonl`` as soon as it ends; after ``--seconds`` (nine minutes less what
saving takes) the running one is interrupted as by Ctrl-C, which leaves its checkpoint, and the same
call goes on there. Exit code 0: all is done; 75: the time was over, call again.

    python -m benchmarks.gpu --out gpu --data-root DATA          # again and again until it exits with 0
    python -m benchmarks.gpu --out tried --device cpu --tiny     # all of it in small, without a GPU
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from benchmarks import plain
from benchmarks.__main__ import SPACE, engine_step, images_of, stand_in
from benchmarks.timing import seconds_of
from dcbench.distiller import find
from dcbench.evaluation.evaluate import passes
from dcbench.evaluation.protocol import PROTOCOLS, Protocol
from dcbench.experiments.presets import build
from dcbench.images import SyntheticSet, TestSet, TrainSet
from dcbench.networks.costs import FIRST_ORDER, network_macs
from dcbench.run import Run
from dcbench.system.files import append_line, read_lines
from dcbench.system.machine import Machine, resolve

TIME_OVER = 75  # the exit code: call again
SAVING = 40.0  # seconds that an interrupted command has to save what it did
STEPS = ("datadam", "dm")
BUDGETS = (1, 10, 50)
ENSEMBLES = (1, 10, 100)


@dataclass(frozen=True)
class Asked:
    """Where, on what, and how much."""

    out: Path
    device: str
    tiny: bool
    more: tuple[str, ...] = ()  # for dcbench run, such as --data-root

    @property
    def budgets(self) -> tuple[int, ...]:
        return (1,) if self.tiny else (10, 1, 50)  # the middle one first


@dataclass(frozen=True)
class Task:
    """One command of a piece; its standard output is one JSON object."""

    name: str
    words: tuple[str, ...]  # after ``python -m``


def dcbench(name: str, asked: Asked, *words: str, device: str = "") -> Task:
    """A ``dcbench run`` of some methods, whose records lie below ``OUT``."""
    where = ("--out", str(asked.out / "results" / (device or asked.device)))
    on = ("--device", device or asked.device, "--json")
    return Task(name, ("dcbench", "run", *words, *where, *on))


def equality(asked: Asked) -> Iterator[Task]:
    """The same work in fp32 on the CPU and on the device, and the checks of the contract there."""
    exact = ("--precision", "fp32", "--engine", "eager", "--threads", "1", "--networks", "2")
    short = [word for value in ("iterations=4", "outer=2", "inner=1") for word in ("--set", value)]
    methods = ("--method", "datadam,dm,dc,dsa", "--dataset", "digits", "--ipc", "2")
    for device in dict.fromkeys(("cpu", asked.device)):
        words = (*methods, "--preset", "quick", "--epochs", "5", *short, *exact)
        yield dcbench(f"equality on {device}", asked, *words, device=device)
    compared = ("benchmarks.gpu", "compare", "--out", str(asked.out), "--device", asked.device)
    yield Task("equality", compared)
    for method in ("dm",) if asked.tiny else ("datadam", "dm", "dsa", "mtt"):
        words = ("dcbench", "check", method, "--device", asked.device, "--json")
        yield Task(f"check {method}", words)


def speed(asked: Asked) -> Iterator[Task]:
    """Steps and ensembles."""
    cases = [f"step {method} {ipc}" for method in STEPS for ipc in BUDGETS]
    cases += [f"ensemble {count}" for count in ENSEMBLES]
    for case in ("step dm 1", "ensemble 1") if asked.tiny else cases:
        words = ("case", case, "--out", str(asked.out), "--device", asked.device)
        yield Task(case, ("benchmarks.gpu", *words, *(("--tiny",) if asked.tiny else ())))


def sets(asked: Asked) -> Iterator[Task]:
    """DataDAM by each of its recipes and DM by its own, at full steps."""
    recipes = [("datadam", "released"), ("datadam", "tuned"), ("datadam", "paper"), ("dm", "own")]
    known = [each for each in recipes if each[1] != "tuned" or "tuned" in find("datadam").presets]
    for ipc in asked.budgets:
        for method, preset in known:
            judge = "own" if (method, preset) == ("datadam", "released") else "lineage"
            yield _set(asked, method, preset, ipc, judge)


def costly(asked: Asked) -> Iterator[Task]:
    """DSA and MTT by their own papers."""
    for ipc in asked.budgets[:2]:
        for method in ("dsa", "mtt"):
            yield _set(asked, method, "own", ipc, "own")


def _set(asked: Asked, method: str, preset: str, ipc: int, judge: str) -> Task:
    words = ["--method", method, "--preset", preset, "--protocol", judge, "--ipc", str(ipc)]
    if asked.tiny:
        words += ["--dataset", "digits", "--networks", "1", "--epochs", "2", "--threads", "1"]
        small = {"iterations": 3, "real_batch": 16, "outer": 1, "inner": 1}
        if method == "mtt":
            small = {"iterations": 2, "experts": 1, "expert_images": 64} | dict(
                find(method).tried_with
            )
        known = build(method, "paper").__dataclass_fields__  # type: ignore[attr-defined]
        words += [w for key in small if key in known for w in ("--set", f"{key}={small[key]}")]
    else:
        words += ["--dataset", "cifar10", "--networks", "20"]
    return dcbench(f"{method} {preset} IPC {ipc}", asked, *words, *asked.more)


PIECES: Mapping[str, Callable[[Asked], Iterator[Task]]] = {
    "equality": equality,
    "speed": speed,
    "sets": sets,
    "costly": costly,
}


def run_tasks(tasks: Sequence[Task], file: Path, seconds: float) -> bool:
    """Do what is not done; whether all is done then. Nothing begins or goes on after ``seconds``."""
    done, end = {row["task"] for row in read_lines(file)}, time.monotonic() + seconds
    for task in tasks:
        if task.name in done:
            continue
        left = end - time.monotonic()
        row = in_time(task, left) if left > 0 else None
        if row is None:
            print(f"the time is over before {task.name}: call again", flush=True)
            return False
        append_line(file, row)
        shown = row["failed"] if "failed" in row else f"{row['seconds']:.0f} s"
        print(f"{task.name}: {shown}", flush=True)
    return True


def in_time(task: Task, seconds: float) -> dict[str, Any] | None:
    """The row of a task that ended; None if it was interrupted, which it gets ``SAVING`` for."""
    begun = time.monotonic()
    with subprocess.Popen(
        [sys.executable, "-m", *task.words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            said, messages = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
            try:
                process.communicate(timeout=SAVING)
            except subprocess.TimeoutExpired:
                process.kill()
            return None
    row = {"task": task.name, "words": list(task.words), "seconds": time.monotonic() - begun}
    if process.returncode:
        last = (messages.strip().splitlines() or [f"exit code {process.returncode}"])[-1]
        return {**row, "failed": last}
    return {**row, "result": json.loads(said)}


def compare(asked: Asked) -> dict[str, Any]:
    """How far the device's sets and accuracies are from the CPU's; of each method the largest
    difference of a pixel's value and of a network's accuracy.
    """
    rows = {row["task"]: row for row in read_lines(asked.out / "done.jsonl")}
    sides = [rows[f"equality on {device}"]["result"]["runs"] for device in ("cpu", asked.device)]
    found = {}
    for ours, theirs in zip(*sides, strict=True):
        images = [
            torch.load(run["synthetic"], weights_only=True)["images"] for run in (ours, theirs)
        ]
        pairs = zip(ours["accuracies"], theirs["accuracies"], strict=True)
        found[ours["method"]] = {
            "images": float((images[0] - images[1]).abs().max()),
            "accuracy": max(abs(one - other) for one, other in pairs),
        }
    return found


def measured(case: str, asked: Asked) -> dict[str, Any]:
    """Seconds of one case of ``speed``: plain, by the engine, and what share of the peak that is."""
    kind, *what = case.split()
    machine = machine_of(asked)
    measure = {"step": _step, "ensemble": _ensemble}[kind]
    seconds, plainly, macs = measure(what, machine, asked.tiny)
    peak = peak_flops(machine, 128 if asked.tiny else 8192)
    share = 2 * macs / seconds / peak
    return {
        "plain_seconds": plainly,
        "seconds": seconds,
        "peak_flops": peak,
        "share_of_peak": share,
    }


def machine_of(asked: Asked) -> Machine:
    """The device with its best precision and the compiled engine; in small, whatever is quick."""
    engine, precision = ("eager", "fp32") if asked.tiny else ("compiled", "auto")
    return resolve(asked.device, engine=engine, precision=precision)


def finished(work: Callable[[], Any], machine: Machine) -> Callable[[], None]:
    """``work``, waited for: a GPU works on when the call is over."""

    def whole() -> None:
        work()
        machine.synchronise()

    return whole


def _step(what: Sequence[str], machine: Machine, tiny: bool) -> tuple[float, float, float]:
    """A step at a budget, with the paper's 256 real images of each class."""
    method, ipc, real, repeats = what[0], int(what[1]), 4 if tiny else 256, 1 if tiny else 20
    train = stand_in()
    chosen: plain.Method = "datadam" if method == "datadam" else "dm"
    engine = finished(engine_step(method, train, ipc, machine, real), machine)
    transcribed = finished(plain_step(chosen, train, ipc, machine.device, real), machine)
    for _ in range(1 if tiny else 3):
        engine()
    transcribed()
    fields = {"iterations": "1", "real_batch": str(real)}
    macs = build(method, "paper", fields).cost_macs(train, ipc)
    return seconds_of(engine, repeats), seconds_of(transcribed, max(1, repeats // 4)), macs


def plain_step(
    method: plain.Method, train: TrainSet, ipc: int, device: torch.device, real: int
) -> Callable[[], float]:
    """A step of the plain transcription on the device."""
    with torch.device(device):
        values = train.values(slice(0, len(train))).to(device)
        images = torch.randn(ipc * train.spec.classes, *train.spec.shape).requires_grad_()
    optimizer = torch.optim.SGD([images], lr=1.0, momentum=0.5)

    def draw(label: int) -> torch.Tensor:
        members = train.by_class[label].to(device)
        return values[members[torch.randperm(len(members), device=device)[:real]]]

    def step() -> float:
        with torch.device(device):
            return plain.distillation_step(method, images, optimizer, draw, train.spec.classes)

    return step


def _ensemble(what: Sequence[str], machine: Machine, tiny: bool) -> tuple[float, float, float]:
    """So many networks on a hundred images: seconds of one for some epochs, almost without a test."""
    count, train, epochs = int(what[0]), stand_in(), 1 if tiny else 20
    images, labels = images_of(10 if tiny else 100)
    synthetic = SyntheticSet(train.spec, images, labels, SPACE)
    test = TestSet(train.spec, train.images[:10], train.labels[:10], SPACE)
    protocol = _short(PROTOCOLS["quick"], epochs)
    judge = finished(
        lambda: list(passes(synthetic, test, protocol, range(count), Run(0, machine))), machine
    )
    judge()
    network, on = plain.PlainConvNet(3, 10).to(machine.device), machine.device
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    loader = plain.loader_of(images.to(on), labels.to(on), shuffle=True)

    def transcribed() -> None:
        with torch.device(on):
            for epoch in range(epochs):
                plain.training_epoch(network, optimizer, loader, 10 * epoch)

    macs = FIRST_ORDER * epochs * len(images) * network_macs("convnet", train.spec)
    seconds = seconds_of(judge) / count
    return seconds, seconds_of(finished(transcribed, machine)), macs


def _short(protocol: Protocol, epochs: int) -> Protocol:
    return replace(protocol, schedule=replace(protocol.schedule, epochs=epochs))


def peak_flops(machine: Machine, size: int) -> float:
    """Floating-point operations a second of a large matrix product in the machine's precision."""
    kind = torch.bfloat16 if machine.precision == "bf16" else torch.float32
    a = torch.randn(size, size, device=machine.device, dtype=kind)
    product = finished(lambda: a @ a, machine)
    product()
    return 2 * size**3 / seconds_of(product, 5)


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="What is to be done on a GPU, in pieces.")
    parser.add_argument("pieces", nargs="*", metavar="PIECE", help=f"of {', '.join(PIECES)}; all")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=540 - SAVING - 10)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="all of it in small, to try it")
    options, more = parser.parse_known_args(words)
    asked = Asked(options.out, options.device, options.tiny, tuple(more))
    if options.pieces[:1] == ["compare"]:
        print(json.dumps(compare(asked)))
        return 0
    if options.pieces[:1] == ["case"]:
        print(json.dumps(measured(options.pieces[1], asked)))
        return 0
    unknown = set(options.pieces) - set(PIECES)
    if unknown:
        parser.error(f"unknown piece {sorted(unknown)[0]}; known: {', '.join(PIECES)}")
    chosen = [name for name in PIECES if name in (options.pieces or PIECES)]
    tasks = [task for name in chosen for task in PIECES[name](asked)]
    whole = run_tasks(tasks, asked.out / "done.jsonl", options.seconds)
    return 0 if whole else TIME_OVER


if __name__ == "__main__":
    sys.exit(main())
