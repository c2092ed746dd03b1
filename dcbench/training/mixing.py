"""CutMix (Yun et al., ICCV 2019) and MixUp (Zhang et al., ICLR 2018) as in torchvision, with our
random generators.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, final

import torch
from annotated_types import Gt, Le
from jaxtyping import Float
from torch import Tensor

from dcbench.system.errors import require_known
from dcbench.system.fields import check_fields
from dcbench.training.augment import AUGMENTATIONS, lent

MixName = Literal["cutmix", "mixup"]
MIXES: tuple[MixName, ...] = ("cutmix", "mixup")


@final
@dataclass(frozen=True)
class Mix:
    """Mixes each image of a batch with its neighbour; λ ~ Beta(alpha, alpha) is drawn for each
    batch.

    ``share`` is the probability that a batch is mixed.
    """

    name: MixName
    alpha: Annotated[float, Gt(0)] = 1.0
    share: Annotated[float, Gt(0), Le(1)] = 1.0

    def __post_init__(self) -> None:
        check_fields(self, "mix")

    def __call__(
        self,
        images: Float[Tensor, "n c h w"],
        weights: Float[Tensor, "n classes"],
        generator: torch.Generator,
    ) -> tuple[Float[Tensor, "n c h w"], Float[Tensor, "n classes"]]:
        from torchvision.transforms import v2

        if float(torch.rand((), generator=generator)) >= self.share:
            return images, weights
        mix = (v2.CutMix if self.name == "cutmix" else v2.MixUp)(alpha=self.alpha)
        with lent(generator):
            mixed: tuple[Tensor, Tensor] = mix(images, weights)
        return mixed


# all names: augmentations, mixes, and both joined by +
AUGMENTATION_NAMES = (
    *AUGMENTATIONS,
    *MIXES,
    *(f"{alone}+{mix}" for alone in AUGMENTATIONS for mix in MIXES),
)


def augmentation_and_mix(name: str) -> tuple[str, MixName | None]:
    """Split a name such as ``dsa``, ``cutmix`` or ``dsa+cutmix`` into augmentation and mix.

    Raises UnknownNameError if a part is unknown.
    """
    require_known("augmentation", name, AUGMENTATION_NAMES)
    alone, _, mix = ("none", "", name) if name in MIXES else name.partition("+")
    return alone, next((known for known in MIXES if known == mix), None)
