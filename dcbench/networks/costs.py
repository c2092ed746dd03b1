"""Costs of networks: multiply-accumulates of a forward pass and of training, and the largest
activation.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from dcbench.images import ImageSpec
from dcbench.networks.base import Network
from dcbench.networks.catalogue import build_network
from dcbench.networks.convnet import Normalisation

# The cost of an image, in forward passes.
FIRST_ORDER = 3.0  # forward and backward
SECOND_ORDER = 9.0  # forward, backward and backward through both


def macs(network: nn.Module, shape: tuple[int, int, int]) -> float:
    """Return the multiply-accumulates of one forward pass of one image of ``shape``."""
    counter = FlopCounterMode(display=False)
    # two images: BatchNorm refuses one image at 1×1
    example = torch.zeros(2, *shape, device=next(network.parameters()).device)
    with counter, torch.no_grad():
        network(example)
    return counter.get_total_flops() / 2 / 2


@cache
def network_macs(name: str, spec: ImageSpec, normalisation: Normalisation = "instance") -> float:
    """Return the multiply-accumulates of one forward pass of one image of ``spec`` through the
    network ``name``.
    """
    return macs(network_without_values(name, spec, normalisation), spec.shape)


def training_macs(per_image: float, images: int, epochs: int, tested: int = 0) -> float:
    """Return the multiply-accumulates of training on ``images`` images for ``epochs`` epochs and
    testing.

    ``per_image`` is the cost of one forward pass; ``tested`` images are passed forward once.
    """
    return per_image * (FIRST_ORDER * images * epochs + tested)


def network_without_values(
    name: str, spec: ImageSpec, normalisation: Normalisation = "instance"
) -> Network:
    """Build the network ``name`` on torch's meta device: shapes without values."""
    with torch.device("meta"):
        return build_network(name, spec, normalisation)


@torch.no_grad()
def widest_activation(network: Network, shape: tuple[int, ...]) -> int:
    """Return the number of values in the largest activation of one image of ``shape``."""
    example = torch.zeros(2, *shape, device=next(network.parameters()).device)  # two, as above
    return max(tap[0].numel() for tap in network.observe(example).taps)
