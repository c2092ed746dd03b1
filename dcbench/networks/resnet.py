"""ResNet-18 for 32×32 images (He et al., CVPR 2016): a 3×3 stem without pooling, four stages of two
blocks, global average pooling.
"""

from __future__ import annotations

from typing import final

import torch.nn.functional as F
from torch import Tensor, nn

from dcbench.networks.base import Network, Observation
from dcbench.networks.convnet import NORMALISATIONS, Normalisation
from dcbench.system.errors import MismatchError

STAGES = ((64, 1), (128, 2), (256, 2), (512, 2))  # width, stride of the first block
# pixels per side: with fewer, the last stage sees a single pixel, whose instance normalisation is
# zero
LEAST = 16


@final
class BasicBlock(nn.Module):
    """Two 3×3 convolutions beside a shortcut, which is a 1×1 convolution where the shape changes; a
    ReLU within and one behind.
    """

    def __init__(
        self, channels: int, width: int, stride: int, size: int, normalisation: Normalisation
    ) -> None:
        super().__init__()
        norm = NORMALISATIONS[normalisation]
        self.first = nn.Sequential(
            nn.Conv2d(channels, width, 3, stride, 1, bias=False), norm(width, size)
        )
        self.second = nn.Sequential(nn.Conv2d(width, width, 3, 1, 1, bias=False), norm(width, size))
        changes = stride != 1 or channels != width
        self.beside = (
            nn.Sequential(nn.Conv2d(channels, width, 1, stride, bias=False), norm(width, size))
            if changes
            else nn.Identity()
        )

    def forward(self, values: Tensor) -> tuple[Tensor, Tensor]:
        inner = F.relu(self.first(values))
        return inner, F.relu(self.second(inner) + self.beside(values))


@final
class ResNet18(Network):
    """ResNet-18 with 17 taps, one for each ReLU: the stem's, then each block's inner and outer one.
    28×28 images are padded to 32.
    """

    def __init__(
        self, shape: tuple[int, int, int], classes: int, normalisation: Normalisation
    ) -> None:
        super().__init__()
        channels, size, _ = shape
        if size < LEAST:
            raise MismatchError(
                f"needs images of at least {LEAST}×{LEAST}, got {size}×{size}: choose another"
            )
        padding = 3 if size == 28 else 1
        size += 2 * padding - 2
        self.stem = nn.Sequential(
            nn.Conv2d(channels, 64, 3, padding=padding, bias=False),
            NORMALISATIONS[normalisation](64, size),
        )
        self.blocks = nn.ModuleList()
        channels = 64
        for width, stride in STAGES:
            size = -(-size // stride)
            self.blocks.append(BasicBlock(channels, width, stride, size, normalisation))
            self.blocks.append(BasicBlock(width, width, 1, size, normalisation))
            channels = width
        self.classifier = nn.Linear(channels, classes)

    def observe(self, images: Tensor) -> Observation:
        values = F.relu(self.stem(images))
        taps = [values]
        for block in self.blocks:
            inner, values = block(values)
            taps += [inner, values]
        features = values.mean((2, 3))
        return Observation(self.classifier(features), features, tuple(taps))
