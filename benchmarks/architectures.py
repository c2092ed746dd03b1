"""What compiling an architecture of a search costs, and after how many epochs of 100 images it has
paid; each in its own process.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from benchmarks.timing import alternating, apart, seconds_of
from dcbench.images import ImageSpec
from dcbench.nas.catalogue import SPACES
from dcbench.networks.base import initialise
from dcbench.run import Run
from dcbench.system.machine import Machine
from dcbench.training.augment import DSAAugmentation
from dcbench.training.trainer import Trainer

IMAGES, VALIDATION = 100, 2000
CASES = (
    ("convnet720", "d1-w32-relu-none-max"),
    ("convnet720", "d2-w64-sigmoid-layer-average"),
    ("convnet720", "d3-w128-relu-instance-average"),
    ("convnet720", "d4-w64-leaky-relu-batch-none"),
    ("convnet720", "d4-w128-relu-group-none"),
    (
        "nasbench201",
        "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|nor_conv_3x3~0|nor_conv_3x3~1|nor_conv_3x3~2|",
    ),
    (
        "nasbench201",
        "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_3x3~0|skip_connect~1|none~2|",
    ),
)


def bench_architectures(repeats: int) -> Iterator[dict[str, Any]]:
    """One figure for each of ``CASES``."""
    # as for an architecture that was never seen
    fresh = {"TORCHINDUCTOR_FORCE_DISABLE_CACHES": "1"}
    for place in range(len(CASES)):
        yield apart("one-architecture", str(place), repeats, fresh)


def one_architecture(case: str, repeats: int, spec: ImageSpec, machine: Machine) -> dict[str, Any]:
    """Seconds of an epoch by both engines, in turns, and of what compiling took: the first epoch
    and validation less the next ones.
    """
    space, name = CASES[int(case)]
    images, labels = torch.randn(IMAGES, *spec.shape), torch.arange(IMAGES) % spec.classes
    shown = machine.place(torch.randn(VALIDATION, *spec.shape))
    protocol, run = SPACES[space].quick_protocol, Run(0, machine)
    schedule, augment = replace(protocol.schedule, epochs=1), DSAAugmentation()
    trainers = {
        engine: Trainer(SPACES[space].build(name, spec), replace(machine, engine=engine))
        for engine in ("eager", "compiled")
    }

    def epoch(trainer: Trainer) -> None:
        trainer.train(images.__getitem__, labels, schedule, run, augment)

    def validated(trainer: Trainer) -> None:
        epoch(trainer)
        trainer.network.eval()
        trainer.predict(shown)
        trainer.network.train()

    compiling: dict[str, float] = {}
    for engine, trainer in trainers.items():
        initialise(trainer.network, torch.Generator().manual_seed(0))
        compiling[engine] = seconds_of(partial(validated, trainer)) - seconds_of(
            partial(validated, trainer)
        )
    epochs = alternating(
        {engine: partial(epoch, trainer) for engine, trainer in trainers.items()},
        repeats,
        warm_up=0,
    )
    saved = epochs["eager"]["median"] - epochs["compiled"]["median"]
    return {
        "what": f"{space} {name}, epoch of {IMAGES} images, {machine.precision}",
        **epochs,
        "compile_seconds": compiling["compiled"],
        "epochs_to_pay": compiling["compiled"] / saved if saved > 0 else None,
    }
