"""DataDAM: match spatial attention maps and last features (Sajedi et al., ICCV 2023).

The paper and its released code differ in normalisation (instance / batch), power (4 / 1),
iterations (8,000 / 20,000), real images per class and step (256 / 64), whitening (ZCA / none) and
in the factor 100 before the loss, which only the code has and without which an image rate of 1
hardly moves the images: it stands in every preset. Both are presets: ``paper``, ``released``.

λ is 0.01, and in the paper 0.02 at "high resolution" (Table 2), which is not defined there: we read
it as 128×128, the resolution that the supplement calls high. The released code has 0.01 everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, final

import torch
import torch.nn.functional as F
from annotated_types import Ge, Gt
from torch import Tensor

from dcbench.distiller import register
from dcbench.families.feature_matching import Descriptions, FeatureMatching, Means
from dcbench.images import ImageSpec, TrainSet
from dcbench.networks.base import Network
from dcbench.networks.catalogue import build_network

MapNorm = Literal["l2", "l1", "none"]

HIGH_RESOLUTION = 128  # pixels per side


def normalised(maps: Tensor, norm: MapNorm) -> Tensor:
    """Return each image's flattened map, normalised or as it is."""
    return maps if norm == "none" else F.normalize(maps, p={"l2": 2.0, "l1": 1.0}[norm], dim=1)


def attention(tap: Tensor, power: float, norm: MapNorm = "l2") -> Tensor:
    """A(F) = Σ_channels |F|^p, flattened and normalised per image (the paper's spatial attention
    map).
    """
    return normalised(tap.float().abs().pow(power).sum(1).flatten(1), norm)


# sums over classes, each row a class's mean
ERRORS: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mse": lambda real, synthetic: (real - synthetic).square().sum(),
    "mae": lambda real, synthetic: (real - synthetic).abs().sum(),
    "cosine": lambda real, synthetic: (1 - F.cosine_similarity(real, synthetic, dim=1)).sum(),
}


@register("datadam", title="DataDAM", paper="sajedi2023datadam")
@final
@dataclass(frozen=True)
class DataDAM(FeatureMatching):
    """Matches spatial attention maps and last features of real and synthetic images.

    L = scale · (L_SAM + λ L_MMD), errors as sums of squares, summed over classes. L_SAM = Σ_{blocks
    but the last} ‖mean A(real) - mean A(synthetic)‖²; L_MMD = ‖mean f(real) - mean f(synthetic)‖².
    The last four fields are the paper's ablations. ``feature-maps`` stands for its feature map
    transfer: L_SAM of the feature maps themselves, flattened and normalised like A. Each of
    ``components`` keeps its weight in the sum.
    """

    scale: Annotated[float, Gt(0)] = 100.0  # the released code's; the paper prints none
    power: Annotated[float, Ge(1)] = 4.0  # p of the attention map
    balance: Annotated[float, Ge(0)] = 0.01  # λ, the weight of the last features
    loss: Literal["mse", "mae", "cosine"] = "mse"  # the error of L_SAM
    map_norm: MapNorm = "l2"
    components: Literal["both", "mmd", "attention", "feature-maps"] = "both"
    # the one ReLU whose map is matched, from 1; none: all but the last
    layer: Annotated[int | None, Ge(1)] = None

    presets = {
        "released": {
            "normalisation": "batch",
            "power": 1.0,
            "iterations": 20000,
            "real_batch": 64,
            "balance": 0.01,
        },
        "quick": {"iterations": 250},
    }
    # the protocol of their code: the paper does not say epochs and batch
    protocols = {"own": "released"}
    letters = {"power": "p", "balance": "λ"}
    later = frozenset({"loss", "map_norm", "components", "layer"})

    def refuses(self, train: TrainSet, ipc: int) -> str:
        if self.layer is None:
            return ""
        network = build_network(self.network, train.spec, self.normalisation)
        taps = len(network.observe(torch.zeros(2, *train.spec.shape)).taps)
        if self.layer <= taps:
            return ""
        return f"layer must be at most {taps}, the ReLUs of {self.network} there, got {self.layer}"

    @classmethod
    def suited_to(cls, spec: ImageSpec) -> Mapping[str, Any]:
        return {"balance": 0.02} if spec.size >= HIGH_RESOLUTION else {}

    def describe(self, images: Tensor, network: Network) -> Descriptions:
        seen = network.observe(images)
        taps = seen.taps[:-1] if self.layer is None else seen.taps[self.layer - 1 : self.layer]
        if self.components == "mmd":
            return (seen.features,)
        if self.components == "feature-maps":
            return tuple(normalised(tap.float().flatten(1), self.map_norm) for tap in taps)
        maps = tuple(attention(tap, self.power, self.map_norm) for tap in taps)
        return maps if self.components == "attention" else (*maps, seen.features)

    def discrepancy(self, real: Means, synthetic: Means) -> Tensor:
        pairs = list(zip(real, synthetic, strict=True))
        mmd = real[0].new_zeros(())
        if self.components in ("both", "mmd"):
            mmd = self.balance * ERRORS["mse"](*pairs.pop())
        if not pairs:
            return mmd
        return torch.stack([ERRORS[self.loss](*pair) for pair in pairs]).sum() + mmd
