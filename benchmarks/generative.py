"""How long the generative baselines train with the preset that fits two cores: a step in the steady
state, times their number.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from dcbench.experiments.presets import build
from dcbench.families.generative import Generative
from dcbench.images import TrainSet
from dcbench.run import Run
from dcbench.system.machine import Machine

MODELS = ("dcvae", "cgan", "biggan", "gmmn")
PRESET = "two-cores"


def bench_generative(repeats: int, train: TrainSet, machine: Machine) -> Iterator[dict[str, Any]]:
    """One figure for each of ``MODELS``, from four steps for each repeat."""
    for name in MODELS:
        model = build(name, PRESET)
        assert isinstance(model, Generative)
        run, iterations = Run(0, machine), model.iterations  # type: ignore[attr-defined]
        replace(model, iterations=3 + 4 * repeats).fit(train, run)  # type: ignore[call-arg]
        seconds = run.cost.steps[3:]  # the first ones compile
        median = statistics.median(seconds)
        step = {"median": median, "least": min(seconds), "most": max(seconds)}
        yield {
            "what": f"step of {name}, {PRESET}",
            machine.precision: step,
            "steps": iterations,
            "training_seconds": median * iterations,
        }
