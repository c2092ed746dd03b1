"""EvaluationOptions drawn digits: are they what they were drawn as, do those of a class differ, and are they
copies?
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dcbench.images import SyntheticSet, TrainSet


@dataclass(frozen=True)
class SetEvaluation:
    """What a classifier and a ruler say of drawn images."""

    # share that a classifier of real images takes for the class they were drawn as
    recognised: float
    worst_class: float  # the same of the class that comes off worst
    # mean distance of two images of a class over that of real ones, a mean over classes
    diversity: float
    nearest: Tensor  # distance of each to the nearest training image
    real_nearest: Tensor  # distance of each training image to the nearest other one

    @property
    def nearest_ratio(self) -> float:
        """How near the nearest of all comes to a training image, over what is typical (the median)
        of training images.
        """
        return float(self.nearest.min() / self.real_nearest.median())


def judge(drawn: SyntheticSet, real: TrainSet) -> SetEvaluation:
    """Judge by a support vector machine on the real images, which recognises 98 % of real digits
    that it has not seen.
    """
    from sklearn.svm import SVC

    known, images = (real.images.flatten(1).double() / 255, drawn.pixels.flatten(1).double())
    classifier = SVC(gamma="scale", C=10).fit(known.numpy(), real.labels.numpy())
    right = torch.from_numpy(classifier.predict(images.numpy())) == drawn.hard_labels
    classes = range(real.spec.classes)
    diversity = [
        _spread(images[drawn.hard_labels == label]) / _spread(known[real.labels == label])
        for label in classes
    ]
    among_known = torch.cdist(known, known).fill_diagonal_(torch.inf)
    return SetEvaluation(
        recognised=float(right.double().mean()),
        worst_class=min(
            float(right[drawn.hard_labels == label].double().mean()) for label in classes
        ),
        diversity=sum(diversity) / len(diversity),
        nearest=torch.cdist(images, known).amin(1),
        real_nearest=among_known.amin(1),
    )


def _spread(images: Tensor) -> float:
    return float(torch.nn.functional.pdist(images).mean())
