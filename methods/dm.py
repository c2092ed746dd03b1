"""DM: match mean embeddings in random networks (Zhao & Bilen, WACV 2023)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, final

from annotated_types import Ge
from torch import Tensor

from dcbench.distiller import OwnSetting, register
from dcbench.families.feature_matching import Descriptions, FeatureMatching, Means
from dcbench.images import ImageSpec
from dcbench.networks.base import Network


@register("dm", title="DM", paper="zhao2023dm")
@final
@dataclass(frozen=True)
class DM(FeatureMatching):
    """Matches mean features of real and synthetic images in random networks.

    L = Σ_classes ‖mean f(real) - mean f(synthetic)‖², where f are the flattened last features of a
    fresh network each step.
    """

    iterations: Annotated[int, Ge(1)] = 20000

    presets = {"quick": {"iterations": 250}}
    protocols = {"own": "lineage"}

    @classmethod
    def own_setting(cls, spec: ImageSpec, ipc: int) -> OwnSetting:
        """Nothing is whitened. With a hundred classes the code keeps a rate of 1 up to IPC 125."""
        kept = spec.classes == 100 and ipc <= 125
        return OwnSetting({"lr": 1.0} if kept else {}, zca="off")

    def describe(self, images: Tensor, network: Network) -> Descriptions:
        return (network.observe(images).features,)

    def discrepancy(self, real: Means, synthetic: Means) -> Tensor:
        return (real[0] - synthetic[0]).square().sum()
