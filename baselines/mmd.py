"""MMD: match mean images, maximum mean discrepancy with a linear kernel in pixel space (Gretton et
al., JMLR 2012).

The same loop, augmentation and real batches as the methods that look through a network. Without
augmentation the solution has a closed form: all images of a class shift alike, by the difference
between the class's mean and their own.

An image is 1/IPC of its class's mean, so a rate of IPC/10 moves the mean alike at every budget; it
is never more than the others' rate, which is 1 up to IPC 50 and 10 above. (At IPC 1 a rate of 1
diverges under the colour operations, whose factors square in the curvature: seen at step 444.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

from torch import Tensor

from dcbench.distiller import register
from dcbench.families.feature_matching import Descriptions, FeatureMatching, Means
from dcbench.networks.base import Network


@register("mmd", title="MMD", paper="gretton2012kernel")
@final
@dataclass(frozen=True)
class MMD(FeatureMatching):
    """Matches mean images of each class, pixel by pixel.

    L = Σ_classes ‖mean real - mean synthetic‖² over pixels.
    """

    observes: ClassVar[bool] = False

    presets = {"quick": {"iterations": 500}}

    def describe(self, images: Tensor, network: Network) -> Descriptions:
        return (images.flatten(1),)

    def discrepancy(self, real: Means, synthetic: Means) -> Tensor:
        return (real[0] - synthetic[0]).square().sum()

    def image_lr(self, ipc: int) -> float:
        return self.lr if self.lr is not None else min(super().image_lr(ipc), ipc / 10)
