"""``make bench``: times, ratios, peaks and growth, a line for each case; with ``--out`` also in a JSON file that names the machine.

``python -m benchmarks [WHAT ...] [--out FILE] [--repeats N]``: of step, epoch, test, baseline, limit, growth, memory, students,
architectures, normalisation and generative, all if none is named.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from benchmarks import plain
from benchmarks.architectures import bench_architectures, one_architecture
from benchmarks.generative import bench_generative
from benchmarks.memory import bench_memory, bench_students, one_peak
from benchmarks.normalisation import bench_normalisation
from benchmarks.timing import alternating, apart, elsewhere, serve
from dcbench.evaluation.protocol import PROTOCOLS
from dcbench.experiments.presets import build
from dcbench.families.feature_matching import FeatureMatching, MatchingStep
from dcbench.images import ImageSpec, Space, TrainSet
from dcbench.networks.base import initialise
from dcbench.networks.catalogue import build_network
from dcbench.run import Run
from dcbench.system.machine import Machine, multiplies_bf16_natively, resolve
from dcbench.system.memory import KEPT
from dcbench.training.augment import DSAAugmentation
from dcbench.training.trainer import Trainer

SPACE = Space("normalised", (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))


def stand_in(classes: int = 10, size: int = 32, per_class: int = 300) -> TrainSet:
    """Random pixels in the shape of a data set: what is timed does not depend on what the images
    show.
    """
    spec = ImageSpec("stand-in", "0" * 12, 3, size, tuple(map(str, range(classes))))
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(
        0, 256, (classes * per_class, 3, size, size), dtype=torch.uint8, generator=generator
    )
    return TrainSet(spec, images, torch.arange(classes).repeat_interleave(per_class), SPACE)


def images_of(size: int) -> tuple[Tensor, Tensor]:
    """So many images of noise, and labels."""
    return torch.randn(size, 3, 32, 32, generator=torch.Generator().manual_seed(0)), torch.arange(
        size
    ) % 10


def machines() -> dict[str, Machine]:
    """The engines that are compared on this machine."""
    compiled = resolve(precision="fp32", engine="compiled")
    chosen = {"fp32": compiled}
    if multiplies_bf16_natively(compiled.device):
        chosen["bf16"] = replace(compiled, precision="bf16")
    return chosen


def engine_step(
    method: str, train: TrainSet, ipc: int, machine: Machine, real_batch: int = 256
) -> Callable[[], float]:
    """A function that takes one step of the engine."""
    distiller = build(method, "paper", {"real_batch": str(real_batch)})
    assert isinstance(distiller, FeatureMatching)
    run = Run(0, machine)
    images = run.place(torch.randn(ipc * train.spec.classes, *train.spec.shape)).requires_grad_()
    optimizer = torch.optim.SGD([images], lr=1.0, momentum=0.5)
    matching, count = MatchingStep(distiller, train, ipc, run), iter(range(1_000_000))

    def step() -> float:
        optimizer.zero_grad()
        loss = float(matching.accumulate_gradient(images, next(count)))
        optimizer.step()
        return loss

    return step


def plain_step(method: plain.Method, train: TrainSet, ipc: int) -> Callable[[], float]:
    """A function that takes one step of the plain transcription."""
    values = train.values(slice(0, len(train)))
    images = torch.randn(ipc * train.spec.classes, *train.spec.shape).requires_grad_()
    optimizer = torch.optim.SGD([images], lr=1.0, momentum=0.5)

    def draw(label: int) -> Tensor:
        members = train.by_class[label]
        return values[members[torch.randperm(len(members))[:256]]]

    return lambda: plain.distillation_step(method, images, optimizer, draw, train.spec.classes)


def bench_step(repeats: int) -> Iterator[dict[str, Any]]:
    """Distillation steps of DataDAM and DM."""
    train = stand_in()
    for method in ("datadam", "dm"):
        for ipc in (1, 10, 50):
            with elsewhere("plain-step", f"{method},{ipc}") as plain_one:
                contenders: dict[str, Callable[[], Any]] = {"plain": plain_one}
                contenders |= {
                    name: engine_step(method, train, ipc, machine)
                    for name, machine in machines().items()
                }
                yield {"what": f"step {method} IPC {ipc}", **alternating(contenders, repeats)}


def engine_epoch(images: Tensor, labels: Tensor, machine: Machine) -> Callable[[], Any]:
    """A function that goes on with the training of one network for an epoch of the engine."""
    train = stand_in()
    network = build_network("convnet", train.spec)
    initialise(network, torch.Generator().manual_seed(0))
    trainer = Trainer(network, machine)
    training = trainer.epochs(
        images.__getitem__,
        labels,
        replace(PROTOCOLS["paper"].schedule, epochs=1_000_000),
        Run(0, machine),
        DSAAugmentation(),
    )
    return lambda: next(training)


def plain_epoch(size: int) -> Callable[[], float]:
    """The same of the plain transcription."""
    images, labels = images_of(size)
    network = plain.PlainConvNet(3, 10)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    loader, seeds = plain.loader_of(images, labels, shuffle=True), count(0, 10)
    return lambda: plain.training_epoch(network, optimizer, loader, next(seeds))


def bench_epoch(repeats: int) -> Iterator[dict[str, Any]]:
    """Training epochs."""
    for size in (10, 100, 500):
        with elsewhere("plain-epoch", str(size)) as plain_one:
            contenders: dict[str, Callable[[], Any]] = {"plain": plain_one}
            contenders |= {
                name: engine_epoch(*images_of(size), machine)
                for name, machine in machines().items()
            }
            contenders |= {
                f"{name} convolutions alone": convolutions(size, machine)
                for name, machine in machines().items()
            }
            yield {
                "what": f"epoch of {size} images",
                **alternating(contenders, max(repeats, 15), warm_up=5, turn=max(1, 200 // size)),
            }


def plain_test(size: int) -> Callable[[], float]:
    """A function that tests a network as the plain transcription does."""
    return partial(
        plain.test_pass, plain.PlainConvNet(3, 10), plain.loader_of(*images_of(size), shuffle=False)
    )


def bench_test(repeats: int) -> Iterator[dict[str, Any]]:
    """Test passes over 10,000 images."""
    size = 10_000
    with elsewhere("plain-test", str(size)) as plain_one:
        contenders: dict[str, Callable[[], Any]] = {"plain": plain_one}
        for name, machine in machines().items():
            trainer = Trainer(build_network("convnet", stand_in().spec), machine)
            trainer.network.eval()
            contenders[name] = partial(trainer.predict, images_of(size)[0])
        yield {"what": f"test pass of {size:,} images", **alternating(contenders, repeats)}


def bench_baseline(repeats: int) -> Iterator[dict[str, Any]]:
    """The plain transcription as it is run, and where GNU's C library is told to keep what is
    freed, as the engine tells it.
    """
    kept = {f"MALLOC_{name}_THRESHOLD_": str(KEPT) for name in ("MMAP", "TRIM")}
    for what, case in (
        ("plain-step", "datadam,10"),
        ("plain-step", "dm,10"),
        ("plain-epoch", "100"),
    ):
        with elsewhere(what, case) as as_it_is, elsewhere(what, case, kept) as keeping:
            yield {
                "what": f"{what} {case}",
                **alternating({"plain": as_it_is, "memory kept": keeping}, repeats),
            }


def convolutions(count: int, machine: Machine, backward: bool = True) -> Callable[[], None]:
    """A function that does the convolutions of ConvNet-3 for so many images, and nothing else:
    forward, and backward if asked.
    """
    dtype = torch.bfloat16 if machine.precision == "bf16" else torch.float32
    layers = [
        torch.nn.Conv2d(c, 128, 3, padding=1, device=machine.device).to(dtype)
        for c in (3, 128, 128)
    ]
    layers = [layer.to(memory_format=torch.channels_last) for layer in layers]
    values = [
        machine.place(torch.randn(count, c, size, size)).to(dtype)
        for c, size in ((3, 32), (128, 16), (128, 8))
    ]
    for value in values[1:]:
        value.requires_grad_(backward)

    def work() -> None:
        for layer, value in zip(layers, values, strict=True):
            with torch.set_grad_enabled(backward):
                seen = layer(value)
            if backward:
                seen.backward(torch.ones_like(seen))

    return work


def bench_limit(repeats: int) -> Iterator[dict[str, Any]]:
    """What the convolutions of ConvNet-3 alone take: forward of a chunk of images; forward and
    backward of 10 and 100.
    """
    for name, machine in machines().items():
        chunk = machine.chunk(128 * 32 * 32)
        cases: dict[str, Callable[[], Any]] = {
            f"forward of {chunk}": convolutions(chunk, machine, backward=False)
        }
        cases |= {
            f"forward and backward of {count}": convolutions(count, machine) for count in (10, 100)
        }
        yield {
            "what": f"convolutions alone, {name}",
            **alternating(cases, max(repeats, 15), warm_up=5, turn=10),
        }


def bench_growth(repeats: int) -> Iterator[dict[str, Any]]:
    """Step time and peak memory by classes, by size, by IPC; each in a process of its own, so that
    its peak is its own.
    """
    cases = [(classes, 32, 1) for classes in (10, 20, 50, 100)]
    cases += [(10, size, 1) for size in (64, 128)] + [(10, 32, ipc) for ipc in (10, 50, 200)]
    for classes, size, ipc in cases:
        yield apart("one-step", f"{classes},{size},{ipc}", repeats)


def one_step(case: str, repeats: int) -> dict[str, Any]:
    """The step of one case with the memory it took beyond the images and the imports."""
    classes, size, ipc = map(int, case.split(","))
    train = stand_in(classes, size, 256)
    name, machine = list(machines().items())[-1]
    before = machine.peak_memory_bytes() or 0
    figures = alternating({name: engine_step("datadam", train, ipc, machine)}, repeats)
    peak = machine.peak_memory_bytes() or 0
    what = f"step datadam, {classes} classes, {size} pixels, IPC {ipc}"
    return {
        "what": what,
        **figures,
        "peak_memory_bytes": peak,
        "beyond_the_images_bytes": peak - before,
    }


BENCHES: dict[str, Callable[[int], Iterator[dict[str, Any]]]] = {
    "step": bench_step,
    "epoch": bench_epoch,
    "test": bench_test,
    "baseline": bench_baseline,
    "limit": bench_limit,
    "growth": bench_growth,
    "memory": bench_memory,
    "students": bench_students,
    "architectures": bench_architectures,
    "normalisation": lambda repeats: bench_normalisation(
        repeats, [replace(each, engine="eager") for each in machines().values()]
    ),
    "generative": lambda repeats: bench_generative(
        repeats, stand_in(), list(machines().values())[-1]
    ),
}


def plain_work(what: str, case: str) -> Callable[[], float]:
    """What a process of the plain transcription does over and over."""
    if what == "plain-step":
        method, ipc = case.split(",")
        return plain_step(cast("plain.Method", method), stand_in(), int(ipc))
    return {"plain-epoch": plain_epoch, "plain-test": plain_test}[what](int(case))


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("what", nargs="*", default=list(BENCHES))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--case", default="10,32,1")
    asked = parser.parse_args()
    if asked.what == ["one-step"]:
        print(json.dumps(one_step(asked.case, asked.repeats)))
        return
    if asked.what == ["one-peak"]:
        print(json.dumps(one_peak(asked.case, stand_in(per_class=600))))
        return
    if asked.what == ["one-architecture"]:
        print(
            json.dumps(
                one_architecture(
                    asked.case, asked.repeats, stand_in().spec, list(machines().values())[-1]
                )
            )
        )
        return
    if asked.what[0].startswith("plain-"):
        serve(plain_work(asked.what[0], asked.case))
        return
    machine = resolve(engine="compiled")
    rows = []
    for name in asked.what:
        for row in BENCHES[name](asked.repeats):
            rows.append(row)
            print(_line(row), flush=True)
            if asked.out:
                described = {
                    "machine": machine.fingerprint() | {"precision": "named in each row"},
                    "seconds": rows,
                }
                asked.out.write_text(json.dumps(described, indent=1) + "\n")


def _line(row: dict[str, Any]) -> str:
    figures = {name: value for name, value in row.items() if isinstance(value, dict)}
    base = figures.get("plain", {}).get("median")
    parts = [
        f"{name} {value['median'] * 1e3:.1f} ms"
        + (f" ({base / value['median']:.1f}x)" if base and name != "plain" else "")
        for name, value in figures.items()
    ]
    if "compile_seconds" in row:
        paid = (
            "never paid"
            if row["epochs_to_pay"] is None
            else f"paid after {row['epochs_to_pay']:.0f} epochs"
        )
        parts.append(f"compiling {row['compile_seconds']:.0f} s, {paid}")
    if "training_seconds" in row:
        parts.append(f"{row['steps']} steps take {row['training_seconds'] / 60:.0f} min")
    if "peak_memory_bytes" in row:
        parts.append(
            f"peak {row['peak_memory_bytes'] / 2**30:.2f} GiB, {row['beyond_the_images_bytes'] / 2**30:.2f} beyond the images"
        )
    return f"{row['what']}: " + ", ".join(parts)


if __name__ == "__main__":
    main()
