"""Measures of a trained network on labelled images: accuracy, accuracy per class, calibration."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor

CALIBRATION_BINS = 15  # as in Guo et al., 2017


def accuracy(logits: Float[Tensor, "n classes"], labels: Int64[Tensor, " n"]) -> float:
    """Return the share of images whose largest logit is their label's."""
    return float((logits.argmax(1) == labels).double().mean())


def class_accuracies(
    logits: Float[Tensor, "n classes"], labels: Int64[Tensor, " n"]
) -> list[float | None]:
    """Return the accuracy on each class's images; None for a class without images."""
    right, classes = logits.argmax(1) == labels, logits.shape[1]
    hits = torch.bincount(labels[right], minlength=classes).tolist()
    counts = torch.bincount(labels, minlength=classes).tolist()
    return [hit / count if count else None for hit, count in zip(hits, counts, strict=True)]


def calibration_error(
    logits: Float[Tensor, "n classes"], labels: Int64[Tensor, " n"]
) -> float | None:
    """The expected calibration error: Σ_b |B_b|/n · |accuracy(B_b) - confidence(B_b)|.

    Images fall into 15 bins of equal width by their confidence, the largest softmax probability
    (Guo et al., ICML 2017, equation 3). None where a logit is not finite.
    """
    if not bool(logits.isfinite().all()):
        return None
    confidence, predicted = logits.double().softmax(1).max(1)
    right = (predicted == labels).double()
    # a bin holds its upper bound, not its lower one
    own = ((confidence * CALIBRATION_BINS).ceil().long() - 1).clamp(0, CALIBRATION_BINS - 1)
    gaps = torch.zeros(CALIBRATION_BINS, dtype=torch.float64).index_add_(0, own, right - confidence)
    return float(gaps.abs().sum() / len(labels))
