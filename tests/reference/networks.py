"""The distillation literature's ConvNet as a function of its weights: conv3×3 – normalisation –
ReLU – 2×2 average pooling.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

# weight and bias of the convolution, scale and shift of the normalisation
Block = tuple[Tensor, Tensor, Tensor, Tensor]


def normalised(values: Tensor, over: tuple[int, ...]) -> Tensor:
    """Zero mean and unit variance over these dimensions; 1e-5 is torch's epsilon."""
    mean = values.mean(over, keepdim=True)
    variance = (values - mean).square().mean(over, keepdim=True)
    return (values - mean) / (variance + 1e-5).sqrt()


def convnet(
    images: Tensor, blocks: Sequence[Block], batch_norm: bool
) -> tuple[list[Tensor], Tensor]:
    """The output of each ReLU, and the flattened features that the classifier gets."""
    taps = []
    for weight, bias, scale, shift in blocks:
        convolved = F.conv2d(images, weight, bias, padding=1)
        images = normalised(convolved, (0, 2, 3) if batch_norm else (2, 3)) * scale.view(
            -1, 1, 1
        ) + shift.view(-1, 1, 1)
        images = images.clamp(min=0)
        taps.append(images)
        n, channels, size, _ = images.shape
        images = images.view(n, channels, size // 2, 2, size // 2, 2).mean((3, 5))
    return taps, torch.flatten(images, 1)
