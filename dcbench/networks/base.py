"""The base class of networks, which gives access to inner activations, and their initialisation in
place.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Observation(NamedTuple):
    """What a network computed for n images: features, taps and logits."""

    logits: Tensor  # n × classes
    features: Tensor  # n × d: the flattened input of the classifier
    # the output of each activation before pooling, n × channels × height × width
    taps: tuple[Tensor, ...]


class Network(nn.Module, ABC):
    """A classifier whose inner activations can be read."""

    @abstractmethod
    def observe(self, images: Tensor) -> Observation:
        """Return logits, last features and taps for ``images`` (n × channels × size × size)."""

    def forward(self, images: Tensor) -> Tensor:
        return self.observe(images).logits

    @property
    def mixes_images(self) -> bool:
        """Whether an image's activations depend on its batch (BatchNorm): then batches may not be
        split.
        """
        return any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in self.modules())


@torch.no_grad()
def initialise(network: nn.Module, generator: torch.Generator) -> None:
    """Give every layer torch's default initial values, in place, drawn from ``generator`` on the
    CPU.

    Convolutions and linear layers: U(-1/√fan_in, 1/√fan_in) for weights and biases (DataDAM's Table
    2: "Uniform Distribution").
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            bound = 1 / math.sqrt(module.weight[0].numel())
            for parameter in (module.weight, module.bias):
                if parameter is not None:
                    drawn = torch.empty(parameter.shape).uniform_(
                        -bound, bound, generator=generator
                    )
                    parameter.copy_(drawn)
        elif isinstance(module, nn.modules.batchnorm._BatchNorm | nn.GroupNorm | nn.LayerNorm):
            module.reset_parameters()


def weights_of(network: nn.Module) -> dict[str, Tensor]:
    """Return copies of all weights and buffers of ``network`` by name, on the CPU."""
    return {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}
