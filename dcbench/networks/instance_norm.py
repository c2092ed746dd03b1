"""Instance normalisation with learned scale and shift, GroupNorm(C, C), faster than torch's kernel.

For images in channels-last layout torch's kernel handles one value at a time when a group is a
single channel; a training step of ConvNet then takes more than twice as long in bf16
(docs/results/speed.md).
"""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn


@final
class InstanceNorm(nn.GroupNorm):
    """(x − mean) / √(variance + ε) · weight + bias, with mean and biased variance of each image's
    channel (Ulyanov et al. 2016).

    Images N×C×H×W of any precision, which the result has too; moments are taken in fp32 or better.
    Compiled, it is torch's own, which is fused there.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels)

    def forward(self, images: Tensor) -> Tensor:
        if torch.compiler.is_compiling():
            return super().forward(images).to(images.dtype)  # CUDA's autocast makes it fp32
        values = images.to(torch.promote_types(images.dtype, torch.float32))
        pixels = images.shape[2] * images.shape[3]
        # sums and products: their gradients cost least
        centred = values - (values.sum((2, 3)) / pixels)[..., None, None]
        scale = self.weight * torch.rsqrt((centred * centred).sum((2, 3)) / pixels + self.eps)
        return torch.addcmul(self.bias[:, None, None], centred, scale[..., None, None]).to(
            images.dtype
        )
