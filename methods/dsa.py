"""DSA: gradient matching with differentiable siamese augmentation (Zhao & Bilen, ICML 2021)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

from dcbench.distiller import register
from dcbench.families.gradient_matching import GradientMatching


@register("dsa", title="DSA", paper="zhao2021dsa")
@final
@dataclass(frozen=True)
class DSA(GradientMatching):
    """Matches gradients of real and synthetic images that are augmented alike.

    L = Σ_classes D(∇_θ ℓ(A_ω(real)), ∇_θ ℓ(A_ω(synthetic))), one operation A with one draw ω for
    all images of a class.
    """

    augments: ClassVar[bool] = True

    # One matching step per network is what the paper does at IPC 1; it keeps larger budgets within
    # minutes.
    presets = {"quick": {"iterations": 350, "real_batch": 64, "outer": 1, "inner": 1}}
    own_zca = "off"
    protocols = {"own": "lineage"}
