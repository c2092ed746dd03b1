"""EL2N: the images that young networks are most wrong about (Paul et al., NeurIPS 2021)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from dcbench.distiller import register
from dcbench.families.difficulty import YoungNetworks


@register("el2n", title="EL2N", paper="paul2021deep")
@final
@dataclass(frozen=True)
class EL2N(YoungNetworks):
    """Chooses the real images that young networks are most wrong about.

    Of each class those of the largest E‖softmax(z) - y‖₂ over networks of few epochs;
    ``end="easy"``: of the smallest. The paper scores by ten networks and prunes the easy end of
    large sets; few images are best chosen from the easy end.
    """

    score = "el2n"
