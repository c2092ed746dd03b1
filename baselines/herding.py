"""Herding: chosen images whose mean follows their class's mean (Welling, ICML 2009; as a coreset,
Rebuffi et al., CVPR 2017).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from dcbench.distiller import register
from dcbench.families.selection import FeatureSelection, herd


@register("herding", title="Herding", paper="welling2009herding")
@final
@dataclass(frozen=True)
class Herding(FeatureSelection):
    """Chooses real images whose mean features follow the mean of their class.

    Each choice minimises ‖mean of the class - mean of the chosen‖ in last features of a network
    trained on the training set.
    """

    rule = staticmethod(herd)
