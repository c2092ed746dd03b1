"""Targets and losses: what a network should answer for each image, and how its answer is compared.

A target is a class, class weights, or a teacher's answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, final

import torch
import torch.nn.functional as F
from annotated_types import Ge, Gt
from jaxtyping import Float, Int64
from torch import Tensor

from dcbench.system.errors import MismatchError
from dcbench.system.fields import check_fields
from dcbench.training.mixing import Mix

LossName = Literal["cross-entropy", "kl", "mse", "mse-gt"]
Labels = Int64[Tensor, " n"] | Float[Tensor, "n classes"]
Target = Int64[Tensor, " n"] | Float[Tensor, "n values"]


@final
@dataclass(frozen=True)
class Loss:
    """The loss between logits z and a target, averaged over the images of a batch.

    * ``cross-entropy``: -Σ_k p_k log softmax(z/T)_k, where p are weights or the one class.
    * ``kl``: KL(p ‖ softmax(z/T)), without the factor T² (as SRe2L's and RDED's code has it).
    * ``mse``: the mean of (z - t)² over all entries, where t are the teacher's logits.
    * ``mse-gt``: ``mse`` plus ``ground_truth`` times the cross-entropy to the true classes.

    T is ``temperature``. A teacher's logits t become weights softmax(t/T); stored weights w become
    softmax(log(w)/T), which is the same if they were softmax(t).
    """

    name: LossName = "cross-entropy"
    temperature: Annotated[float, Gt(0)] = 1.0
    ground_truth: Annotated[float, Ge(0)] = 0.1

    def __post_init__(self) -> None:
        check_fields(self, "loss")

    def __call__(self, logits: Float[Tensor, "n classes"], target: Target) -> Float[Tensor, ""]:
        if self.name == "mse":
            return F.mse_loss(logits, target)
        if self.name == "mse-gt":
            taught, weights = torch.split(target, logits.shape[1], 1)
            squares: Tensor = F.mse_loss(logits, taught)
            return squares.add(F.cross_entropy(logits, weights), alpha=self.ground_truth)
        cooled = logits if self.temperature == 1 else logits / self.temperature
        loss: Tensor = F.cross_entropy(cooled, target)
        if self.name == "kl":  # not F.kl_div, which vmap cannot batch
            loss += torch.special.xlogy(target, target).sum(1).mean()
        return loss

    def to_json(self) -> dict[str, Any]:
        """The loss as a protocol says it; ``ground_truth`` only where it counts."""
        plain = {"loss": self.name, "temperature": self.temperature}
        return plain | ({"ground_truth": self.ground_truth} if self.name == "mse-gt" else {})

    def of_weights(self, weights: Float[Tensor, "n classes"]) -> Target:
        """Turn class weights into the loss's target."""
        if self.temperature == 1 or self.name == "mse":
            return weights
        return (weights.log() / self.temperature).softmax(1)

    def of_logits(self, taught: Float[Tensor, "n classes"], weights: Tensor) -> Target:
        """Turn a teacher's logits into the loss's target; ``weights`` are those of the true
        classes.
        """
        if self.name == "mse":
            return taught
        if self.name == "mse-gt":
            return torch.cat([taught, weights.to(taught)], 1)
        return (taught / self.temperature).softmax(1)


CROSS_ENTROPY = Loss()


@final
@dataclass(frozen=True, eq=False)
class Supervision:
    """A loss and the source of its targets.

    ``mix`` makes images out of pairs; their labels are mixed alike, but a ``teacher`` answers for
    the mixed images. Without mix and teacher the labels are the targets.
    """

    loss: Loss = CROSS_ENTROPY
    classes: int = 0  # wanted where classes must become weights
    mix: Mix | None = None
    teacher: Callable[[Tensor], Tensor] | None = None  # images to logits, without a graph

    def __call__(
        self, images: Float[Tensor, "n c h w"], labels: Labels, generator: torch.Generator
    ) -> tuple[Float[Tensor, "n c h w"], Target]:
        """Return the images to train on and their targets."""
        if self.mix is None and self.teacher is None and labels.ndim == 1:
            return images, labels
        weights = labels if labels.ndim == 2 else F.one_hot(labels, self.classes).float()
        if self.mix is not None:
            images, weights = self.mix(images, weights, generator)
        if self.teacher is None:
            return images, self.loss.of_weights(weights)
        return images, self.loss.of_logits(self.teacher(images), weights)


PLAIN = Supervision()


def loss_for(loss: Loss, labels: Labels, taught: bool) -> Loss:
    """Return ``loss``, or plain cross-entropy if there is no teacher and labels are classes.

    Raises MismatchError if the set lacks what the loss needs.
    """
    if loss.name == "mse-gt" and labels.ndim == 2:
        raise MismatchError(
            "loss mse-gt needs the class of each image, and this set has soft labels; "
            "judge it with --labels hard, or by a protocol with another loss"
        )
    return loss if taught or labels.ndim == 2 else CROSS_ENTROPY
