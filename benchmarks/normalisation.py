"""What writing instance normalisation out saves in eager code: training steps of ConvNet with
torch's GroupNorm(C, C) and with ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from benchmarks.timing import alternating
from dcbench.networks.convnet import NORMALISATIONS, ConvNet
from dcbench.system.machine import Machine

CASES = ((100, (3, 32, 32)), (64, (1, 8, 8)))  # a batch of CIFAR-10's images, one of digits
NORMS: dict[str, Callable[[int], nn.Module]] = {
    "plain": lambda channels: nn.GroupNorm(channels, channels),
    "ours": lambda channels: NORMALISATIONS["instance"](channels, 0),
}


def bench_normalisation(repeats: int, machines: Iterable[Machine]) -> Iterator[dict[str, Any]]:
    """Each of ``CASES`` on each of ``machines``, whose engine should be eager."""
    for size, shape in CASES:
        for machine in machines:
            steps = {name: _step(norm, size, shape, machine) for name, norm in NORMS.items()}
            what = f"eager training step, {size} images of {shape[-1]} pixels, {machine.precision}"
            yield {"what": what, **alternating(steps, max(repeats, 15), warm_up=3)}


def _step(
    norm: Callable[[int], nn.Module], size: int, shape: tuple[int, int, int], machine: Machine
) -> Callable[[], None]:
    network = ConvNet(shape, 10)
    for block in network.blocks:
        block[1] = norm(block[0].out_channels)  # type: ignore[index,operator]
    machine.place_network(network)
    images, labels = (
        machine.place(torch.randn(size, *shape)),
        machine.place(torch.arange(size) % 10),
    )
    forward = machine.accelerate(network)

    def step() -> None:
        cross_entropy(forward(images), labels).backward()
        network.zero_grad()

    return step
