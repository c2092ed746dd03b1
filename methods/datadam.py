"""DataDAM: match spatial attention maps and last features (Sajedi et al., ICCV 2023).

The paper and its released code differ in normalisation (instance / batch), power (4 / 1), iterations (8,000 / 20,000), real
images per class and step (256 / 64), whitening (ZCA / none) and in the factor 100 before the loss, which only the code has and
without which an image rate of 1 hardly moves the images: it stands in every preset. Both are presets: ``paper``, ``released``.

λ is 0.01, and in the paper 0.02 at "high resolution" (Table 2), which is not defined there: we read it as 128×128, the resolution
that the supplement calls high. The released code has 0.01 everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, final

import torch
import torch.nn.functional as F
from annotated_types import Ge, Gt
from torch import Tensor

from dcbench.distiller import register
from dcbench.images import ImageSpec
from dcbench.matching import Descriptions, FeatureMatching, Means
from dcbench.networks.base import Network

HIGH_RESOLUTION = 128  # pixels per side


def attention(tap: Tensor, power: float) -> Tensor:
    """A(F) = Σ_channels |F|^p, flattened and L2-normalised per image (the paper's spatial attention map)."""
    maps = tap.float().abs().pow(power).sum(1).flatten(1)
    return F.normalize(maps, dim=1)


@register("datadam", paper="sajedi2023datadam")
@final
@dataclass(frozen=True)
class DataDAM(FeatureMatching):
    """L = scale · (L_SAM + λ L_MMD), errors as sums of squares, summed over classes.

    L_SAM = Σ_{blocks but the last} ‖mean A(real) - mean A(synthetic)‖²; L_MMD = ‖mean f(real) - mean f(synthetic)‖².
    """

    scale: Annotated[float, Gt(0)] = 100.0  # the released code's; the paper prints none
    power: Annotated[float, Ge(1)] = 4.0  # p of the attention map
    balance: Annotated[float, Ge(0)] = 0.01  # λ, the weight of the last features

    presets = {
        "released": {"normalisation": "batch", "power": 1.0, "iterations": 20000, "real_batch": 64, "balance": 0.01},
        "quick": {"iterations": 250},
    }

    @classmethod
    def suited_to(cls, spec: ImageSpec) -> Mapping[str, Any]:
        return {"balance": 0.02} if spec.size >= HIGH_RESOLUTION else {}

    def describe(self, images: Tensor, network: Network) -> Descriptions:
        seen = network.observe(images)
        return (*(attention(tap, self.power) for tap in seen.taps[:-1]), seen.features)

    def discrepancy(self, real: Means, synthetic: Means) -> Tensor:
        errors = [(r - s).square().sum() for r, s in zip(real, synthetic, strict=True)]
        *sam, mmd = errors
        return torch.stack(sam).sum() + self.balance * mmd
