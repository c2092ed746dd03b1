"""GraNd: the images whose loss has the largest gradient in young networks (Paul et al., NeurIPS
2021).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from dcbench.distiller import register
from dcbench.families.difficulty import YoungNetworks


@register("grand", title="GraNd", paper="paul2021deep")
@final
@dataclass(frozen=True)
class GraNd(YoungNetworks):
    """Chooses the real images whose loss has the largest gradient in young networks.

    Of each class those of the largest E‖∇ℓ‖₂ over networks of few epochs; ``end="easy"``: of the
    smallest. The gradient is that in the classifier's weights and biases. The paper takes all
    weights, and networks that were not trained at all.
    """

    score = "grand"
