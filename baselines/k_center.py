"""K-Center: cover each class with its chosen images (Sener & Savarese, ICLR 2018)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from dcbench.distiller import register
from dcbench.families.selection import FeatureSelection, farthest_first


@register("k-center", title="K-Center", paper="sener2018active")
@final
@dataclass(frozen=True)
class KCenter(FeatureSelection):
    """Chooses real images that cover their class: no image is far from a chosen one.

    min over chosen sets of max over images of the distance to the nearest chosen one, greedily, per
    class. Distances are between last features of a network trained on the training set.
    """

    rule = staticmethod(farthest_first)
