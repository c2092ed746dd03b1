"""What compiling an architecture of a search costs, and after how many epochs of 100 images it has paid; each in its own process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch

from dcbench.augment import DSA
from dcbench.images import ImageSpec
from dcbench.machine import Machine
from dcbench.nas.catalogue import SPACES
from dcbench.networks.base import initialise
from dcbench.run import Run
from dcbench.training import Trainer

IMAGES, VALIDATION = 100, 2000
CASES = (
    ("convnet720", "d1-w32-relu-none-max"),
    ("convnet720", "d2-w64-sigmoid-layer-average"),
    ("convnet720", "d3-w128-relu-instance-average"),
    ("convnet720", "d4-w64-leaky-relu-batch-none"),
    ("convnet720", "d4-w128-relu-group-none"),
    ("nasbench201", "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|nor_conv_3x3~0|nor_conv_3x3~1|nor_conv_3x3~2|"),
    ("nasbench201", "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_3x3~0|skip_connect~1|none~2|"),
)


def bench_architectures(repeats: int) -> Iterator[dict[str, Any]]:
    """One figure for each of ``CASES``."""
    fresh = os.environ | {"TORCHINDUCTOR_FORCE_DISABLE_CACHES": "1"}  # as for an architecture that was never seen
    for place in range(len(CASES)):
        words = [sys.executable, "-m", "benchmarks", "one-architecture", "--case", str(place), "--repeats", str(repeats)]
        finished = subprocess.run(words, capture_output=True, text=True, check=True, env=fresh)
        yield json.loads(finished.stdout.splitlines()[-1])


def one_architecture(case: str, repeats: int, spec: ImageSpec, machine: Machine) -> dict[str, Any]:
    """Seconds of an epoch by both engines, in turns, and of what compiling took: the first epoch and validation less the next ones."""
    space, name = CASES[int(case)]
    images, labels = torch.randn(IMAGES, *spec.shape), torch.arange(IMAGES) % spec.classes
    shown = machine.place(torch.randn(VALIDATION, *spec.shape))
    protocol, run = SPACES[space].quick_protocol, Run(0, machine)
    schedule, augment = replace(protocol.schedule, epochs=1), DSA()
    trainers = {engine: Trainer(SPACES[space].build(name, spec), replace(machine, engine=engine)) for engine in ("eager", "compiled")}

    def seconds(engine: str, *, validated: bool = False) -> float:
        trainer, begun = trainers[engine], time.perf_counter()
        trainer.train(images.__getitem__, labels, schedule, run, augment)
        if validated:
            trainer.network.eval()
            trainer.predict(shown)
            trainer.network.train()
        return time.perf_counter() - begun

    first: dict[str, float] = {}
    for engine, trainer in trainers.items():
        initialise(trainer.network, torch.Generator().manual_seed(0))
        first[engine] = seconds(engine, validated=True)
        first[engine] -= seconds(engine, validated=True)
    epochs = {engine: sorted(seconds(engine) for _ in range(repeats))[repeats // 2] for engine in trainers}
    saved = epochs["eager"] - epochs["compiled"]
    return {
        "what": f"{space} {name}, epoch of {IMAGES} images, {machine.precision}",
        **{engine: {"median": value} for engine, value in epochs.items()},
        "compile_seconds": first["compiled"],
        "epochs_to_pay": first["compiled"] / saved if saved > 0 else None,
    }
