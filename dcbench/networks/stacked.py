"""AlexNet and VGG-11 as in the distillation literature, for 32×32 images: one stack of
convolutions, one linear layer.

The widths and kernels are those of DC's public code (Zhao et al., ICLR 2021): AlexNet (Krizhevsky
et al., 2012) with stride 1, VGG-11 after Simonyan & Zisserman (2015), each with a single linear
classifier. There AlexNet has no normalisation (``none`` here) or BatchNorm.
"""

from __future__ import annotations

from typing import NamedTuple, final

import torch.nn.functional as F
from torch import Tensor, nn

from dcbench.networks.base import Network, Observation
from dcbench.networks.convnet import NORMALISATIONS, Normalisation
from dcbench.system.errors import MismatchError


class Layer(NamedTuple):
    """A convolution of stride 1 with normalisation and ReLU, optionally followed by 2×2 max
    pooling.
    """

    width: int
    kernel: int
    pools: bool


ALEXNET = (
    Layer(128, 5, True),
    Layer(192, 5, True),
    Layer(256, 3, False),
    Layer(192, 3, False),
    Layer(192, 3, True),
)
VGG11 = (
    Layer(64, 3, True),
    Layer(128, 3, True),
    *(Layer(256, 3, pools) for pools in (False, True)),
    *(Layer(512, 3, pools) for pools in (False, True, False, True)),
)


@final
class Stacked(Network):
    """The layers one after another, then a linear classifier. Raises MismatchError if a layer would
    get a single pixel.
    """

    def __init__(
        self,
        layers: tuple[Layer, ...],
        shape: tuple[int, int, int],
        classes: int,
        normalisation: Normalisation,
    ) -> None:
        super().__init__()
        channels, size, _ = shape
        # instance normalisation of a single pixel is always zero
        least = 2 ** (1 + sum(layer.pools for layer in layers[:-1]))
        if size < least and size != 28:
            raise MismatchError(
                f"pools too often for {size}×{size} images; it needs at least {least}×{least}: "
                "choose another"
            )
        self.pools = tuple(layer.pools for layer in layers)
        self.blocks = nn.ModuleList()
        for index, layer in enumerate(layers):
            # 28 pixels become 32
            padding = layer.kernel // 2 + (2 if index == 0 and size == 28 else 0)
            size += 2 * (padding - layer.kernel // 2)
            convolution = nn.Conv2d(channels, layer.width, layer.kernel, padding=padding)
            self.blocks.append(
                nn.Sequential(
                    convolution, NORMALISATIONS[normalisation](layer.width, size), nn.ReLU()
                )
            )
            channels, size = layer.width, size // 2 if layer.pools else size
        self.classifier = nn.Linear(channels * size * size, classes)

    def observe(self, images: Tensor) -> Observation:
        taps, values = [], images
        for block, pools in zip(self.blocks, self.pools, strict=True):
            values = block(values)
            taps.append(values)
            values = F.max_pool2d(values, 2) if pools else values
        features = values.flatten(1)
        return Observation(self.classifier(features), features, tuple(taps))
