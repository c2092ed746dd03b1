"""DC: dataset condensation with gradient matching (Zhao, Mopuri & Bilen, ICLR 2021)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from dcbench.distiller import JudgedBy, register
from dcbench.families.gradient_matching import GradientMatching
from dcbench.families.selection import Initialisation


@register("dc", title="DC", paper="zhao2021dc")
@final
@dataclass(frozen=True)
class DC(GradientMatching):
    """Matches gradients of real and synthetic images, without augmentation.

    L = Σ_classes D(∇_θ ℓ(real), ∇_θ ℓ(synthetic)), where D is the layer-wise cosine distance over
    output nodes.
    """

    init: Initialisation = "noise"

    # One matching step per network is what the paper does at IPC 1; it keeps larger budgets within
    # minutes.
    presets = {"quick": {"iterations": 350, "real_batch": 64, "outer": 1, "inner": 1}}
    own_zca = "off"
    protocols = {"own": JudgedBy("lineage", augment="none")}  # 300 epochs (range(301))
