"""Compiled functions, and what is left in torch's cache when a compiler is killed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
COMPILED = """
import torch
from dcbench.system.machine import Machine
machine = Machine(torch.device("cpu"), 1, "fp32", "compiled")
assert torch.equal(machine.accelerate(lambda x: x.square().sum(0) + 1)(torch.arange(6.0).view(2, 3)), torch.tensor([10.0, 18.0, 30.0]))
"""


ABREAST = """
import sys
import torch
from dcbench.training.ensemble import Ensemble
from dcbench.images import ImageSpec
from dcbench.system.machine import Machine
from dcbench.networks.base import initialise
from dcbench.networks.catalogue import build_network
from dcbench.run import Run
from dcbench.training.trainer import Schedule, Trainer
spec = ImageSpec("toy", "0" * 12, 1, 8, ("a", "b", "c"))
images = torch.randn(12, *spec.shape, generator=torch.Generator().manual_seed(0))
labels, schedule = torch.arange(3).repeat(4), Schedule(epochs=3, batch=6, lr=0.02)
gpu_like, reference = (Machine(torch.device("cpu"), 1, *how) for how in (("bf16", "compiled"), ("fp32", "eager")))
runs = [[Run(0, machine).part(f"network {index}") for index in range(2)] for machine in (gpu_like, reference)]
together = Ensemble(build_network("convnet", spec, sys.argv[1]), gpu_like, 2).train(images.__getitem__, labels, schedule, runs[0])
trainer = Trainer(build_network("convnet", spec, sys.argv[1]), reference)
for loss, run in zip(together, runs[1]):
    initialise(trainer.network, run.generator("network"))
    alone = trainer.train(images.__getitem__, labels, schedule, run)
    assert abs(loss - alone) < 0.02, (loss, alone)
"""


def compute(cache: Path) -> None:
    place = {**os.environ, "TORCHINDUCTOR_CACHE_DIR": str(cache)}
    ended = subprocess.run(
        [sys.executable, "-c", COMPILED], env=place, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize(
    "damaged",
    [b"", pytest.param(bytes(5000), marks=pytest.mark.long)],
    ids=["empty", "of zeros"],
)
def test_a_library_that_a_killed_compiler_left_is_compiled_again(
    damaged: bytes, tmp_path: Path
) -> None:
    compute(tmp_path)
    libraries = list(tmp_path.rglob("*.main.so"))
    assert libraries
    for library in libraries:
        library.write_bytes(damaged)
    compute(tmp_path)
    assert all(library.stat().st_size > 1000 for library in libraries)


@pytest.mark.long  # the compiled engine, and networks side by side, are each tested by default
@pytest.mark.parametrize("normalisation", ["instance", "batch"])
def test_what_a_gpu_takes_by_default_is_what_the_processor_computes(
    normalisation: str, tmp_path: Path
) -> None:
    """Networks side by side, compiled, in bf16: on the processor, beside one after the other in
    eager fp32.
    """
    place = {**os.environ, "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    ended = subprocess.run(
        [sys.executable, "-c", ABREAST, normalisation],
        env=place,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
