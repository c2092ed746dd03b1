"""Facility location: images that are near to all others of their class (the greedy rule of CRAIG,
Mirzasoleiman et al., ICML 2020).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from dcbench.distiller import register
from dcbench.families.selection import FeatureSelection, most_representative


@register("facility-location", title="Facility location", paper="mirzasoleiman2020coresets")
@final
@dataclass(frozen=True)
class FacilityLocation(FeatureSelection):
    """Chooses real images that are near to all others of their class.

    max over chosen sets S of Σ_i max_{j in S} s(i, j), greedily, per class. The similarity s is the
    largest distance in the class minus the distance, in last features of a network trained on the
    training set. CRAIG itself measures it between gradients and gives the chosen images weights;
    ours have none.
    """

    rule = staticmethod(most_representative)
    presets = {"quick": {"feature_epochs": 2}, "two-cores": {"feature_epochs": 20}}
    protocols = {**FeatureSelection.protocols, "two-cores": "quick"}
