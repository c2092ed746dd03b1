"""ConvNet: blocks of convolution, normalisation, activation and pooling, then one linear layer
(Gidaris & Komodakis, CVPR 2018).

The default is the network of the distillation literature; the options span the 720 architectures of
the search space.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dcbench.networks.base import Network, Observation
from dcbench.networks.instance_norm import InstanceNorm
from dcbench.system.errors import OutOfRangeError

Activation = Literal["sigmoid", "relu", "leaky-relu"]
# own: that of a network which takes no other
Normalisation = Literal["none", "batch", "layer", "instance", "group", "own"]
Pooling = Literal["none", "max", "average"]

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "sigmoid": nn.Sigmoid,
    "relu": nn.ReLU,
    "leaky-relu": lambda: nn.LeakyReLU(0.01),
}
# "Instance" is GroupNorm with one channel a group, with learned scale and shift: the form that this
# literature's code uses.
NORMALISATIONS: dict[str, Callable[[int, int], nn.Module]] = {
    "none": lambda _channels, _size: nn.Identity(),
    "batch": lambda channels, _size: nn.BatchNorm2d(channels),
    "layer": lambda channels, size: nn.LayerNorm([channels, size, size]),
    "instance": lambda channels, _size: InstanceNorm(channels),
    "group": lambda channels, _size: nn.GroupNorm(4, channels),
}


@final
class AveragePool(nn.Module):
    """Average each 2×2 square of a channel; an odd last row or column is left out.

    Compiled, it is a mean over axes of length two, whose gradient is faster than that of torch's
    pooling (docs/results/speed.md).
    """

    def forward(self, values: Tensor) -> Tensor:
        if not torch.compiler.is_compiling():
            return F.avg_pool2d(values, 2)
        height, width = values.shape[2] // 2, values.shape[3] // 2
        even = values[:, :, : 2 * height, : 2 * width]
        squares: Tensor = even.unflatten(2, (height, 2)).unflatten(4, (width, 2))
        return squares.mean((3, 5))


POOLINGS: dict[str, Callable[[], nn.Module]] = {
    "none": nn.Identity,
    "max": lambda: nn.MaxPool2d(2),
    "average": AveragePool,
}


def usual_depth(size: int) -> int:
    """The literature's number of blocks: 3 at 32 pixels (and 28), 4 at 64, 5 at 128; 2 at 8."""
    return max(2, (size - 1).bit_length() - 2)


@final
class ConvNet(Network):
    """The ConvNet of the distillation literature: ``depth`` equal blocks, then a linear classifier.

    A block is conv3×3(``width``) – ``normalisation`` – ``activation`` – 2×2 ``pooling``.
    """

    def __init__(  # noqa: PLR0913 - the five axes of the search space
        self,
        shape: tuple[int, int, int],
        classes: int,
        *,
        depth: int | None = None,
        width: int = 128,
        activation: Activation = "relu",
        normalisation: Normalisation = "instance",
        pooling: Pooling = "average",
    ) -> None:
        super().__init__()
        channels, size, _ = shape
        depth = usual_depth(size) if depth is None else depth
        self.blocks = nn.ModuleList()
        for index in range(depth):
            padding = 3 if index == 0 and size == 28 else 1  # 28 pixels become 32
            size += 2 * padding - 2
            if pooling != "none" and size < 2:
                raise OutOfRangeError(
                    f"{depth} blocks with pooling need at least {2**depth} pixels per side, got "
                    f"{shape[1]}"
                )
            convolution = nn.Conv2d(channels, width, 3, padding=padding)
            self.blocks.append(
                nn.ModuleList(
                    [
                        convolution,
                        NORMALISATIONS[normalisation](width, size),
                        ACTIVATIONS[activation](),
                        POOLINGS[pooling](),
                    ]
                )
            )
            channels, size = width, size // 2 if pooling != "none" else size
        self.classifier = nn.Linear(width * size * size, classes)

    def observe(self, images: Tensor) -> Observation:
        taps, values = [], images
        for block in self.blocks:
            convolution, normalisation, activation, pooling = block  # type: ignore[misc]
            values = activation(normalisation(convolution(values)))  # type: ignore[has-type]
            taps.append(values)
            values = pooling(values)  # type: ignore[has-type]
        features = values.flatten(1)
        return Observation(self.classifier(features), features, tuple(taps))
