"""RDED: real patches that a trained network is sure of, stitched together (Sun et al., CVPR
2024).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, final

import torch
import torch.nn.functional as F
from annotated_types import Ge, Gt
from jaxtyping import Float
from torch import Tensor

from dcbench.distiller import Distiller, register
from dcbench.images import ImageSpec, Space, SyntheticSet, TrainSet, stitched
from dcbench.networks.convnet import Normalisation
from dcbench.networks.costs import network_macs
from dcbench.run import Run
from dcbench.training.augment import lent
from dcbench.training.teacher import TeacherSettings, trained_teacher

LARGE = 128  # pixels per side from which the paper's code stitches four patches


@register("rded", title="RDED", paper="sun2024diversity")
@final
@dataclass(frozen=True)
class RDED(Distiller):
    """Stitches images of the real patches that a trained network is surest of.

    Of each of ``preselected`` random images of a class the surest crop is taken, and of these crops
    the surest ``factor``² · ipc, ``factor``² in one image. Sure means a small -log p(class), the
    crop in the middle of an empty image (Algorithm 1 with the code's settings). The paper's soft
    labels are the teacher's answers while networks are trained: protocol ``rded``, or
    ``--labels teacher``. The set itself has classes.
    """

    factor: Annotated[int, Ge(1)] = 1  # 2 for images of 128 pixels per side or more
    crops: Annotated[int, Ge(1)] = 5  # of each preselected image
    preselected: Annotated[int, Ge(1)] = 300  # images of each class
    teacher: str = "convnet"
    teacher_normalisation: Normalisation = "batch"
    teacher_epochs: Annotated[int, Ge(1)] = 30
    teacher_lr: Annotated[float, Gt(0)] = 0.01

    presets = {
        "quick": {"teacher_epochs": 5},
        "two-cores": {"teacher_epochs": 30},
    }
    own_zca = "off"
    protocols = {"two-cores": "quick", "own": "rded"}
    tried_with = {"teacher_epochs": 1, "preselected": 8, "crops": 2}

    @classmethod
    def suited_to(cls, spec: ImageSpec) -> Mapping[str, int]:
        return {"factor": 2} if spec.size >= LARGE else {}

    def refuses(self, train: TrainSet, ipc: int) -> str:
        if train.spec.size % self.factor:
            return (
                f"images of {train.spec.size} pixels cannot hold {self.factor}×{self.factor} "
                "patches"
            )
        return ""

    def distill(self, train: TrainSet, ipc: int, run: Run) -> SyntheticSet:
        patches = ipc * self.factor**2
        for images_of_a_class in (ipc, patches):
            train.require(images_of_a_class)
        answers = trained_teacher(self._teacher, train, run).answers(run)
        images = []
        for label in range(train.spec.classes):
            crops = self._crops(train, label, max(patches, self.preselected), run)
            costs = torch.cat([_costs(answers, run, part, label) for part in crops.split(256)])
            best = costs.view(-1, self.crops).min(1)
            chosen = best.values.argsort(stable=True)[:patches]
            rows = chosen * self.crops + best.indices[chosen]
            # the surest patches of all images lie at the upper left, as in the code
            patches_of_a_class = unframed(crops[rows], train.spec.size // self.factor)
            images.append(stitched(patches_of_a_class, self.factor))
        labels = torch.arange(train.spec.classes).repeat_interleave(ipc)
        return SyntheticSet(train.spec, torch.cat(images), labels, train.space)

    def _crops(
        self, train: TrainSet, label: int, count: int, run: Run
    ) -> Float[Tensor, "n channels size size"]:
        """``crops`` random crops of each of ``count`` random images of a class, one image's after
        the other's, each in the middle of an empty image, as values.
        """
        from torchvision.transforms import v2

        size = train.spec.size // self.factor
        crop = v2.RandomResizedCrop(size, ratio=(1, 1), antialias=True)
        members = train.draw(label, count, run.generator("preselected", label))
        pixels = train.images[members].cpu().float() / 255
        with lent(run.generator("crops", label)):
            cut = torch.stack([crop(image) for image in pixels for _ in range(self.crops)])
        return framed(cut, train.spec.size, train.space)

    def cost_macs(self, train: TrainSet, ipc: int) -> float:
        looked_at = self.crops * train.spec.classes * self.preselected
        per_image = network_macs(self.teacher, train.spec, self.teacher_normalisation)
        return self._teacher.macs(train) + looked_at * per_image

    def shared_macs(self, train: TrainSet, ipc: int) -> Mapping[str, float]:
        return {str(self._teacher): self._teacher.macs(train)}

    @property
    def _teacher(self) -> TeacherSettings:
        return TeacherSettings(
            self.teacher, self.teacher_normalisation, self.teacher_epochs, self.teacher_lr
        )


def framed(
    patches: Float[Tensor, "n channels side side"], size: int, space: Space
) -> Float[Tensor, "n channels size size"]:
    """Patches of pixels in the middle of images whose values are zero, all as values of
    ``space``.
    """
    before = (size - patches.shape[-1]) // 2
    frame = space.leave(torch.zeros(1, patches.shape[1], size, size)).repeat(len(patches), 1, 1, 1)
    inside = slice(before, before + patches.shape[-1])
    frame[:, :, inside, inside] = patches
    return space.enter(frame)


def unframed(
    images: Float[Tensor, "n channels size size"], side: int
) -> Float[Tensor, "n channels side side"]:
    """The patches in the middle of ``framed`` images."""
    before = (images.shape[-1] - side) // 2
    return images[:, :, before : before + side, before : before + side]


def _costs(
    answers: Callable[[Tensor], Tensor], run: Run, images: Tensor, label: int
) -> Float[Tensor, " n"]:
    """-log p(class) of each image."""
    logits = answers(run.place(images)).cpu()
    return F.cross_entropy(logits, torch.full((len(logits),), label), reduction="none")
