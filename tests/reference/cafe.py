"""CAFE's two losses, image by image."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tests.reference.networks import Block, convnet


def layers(image: Tensor, blocks: Sequence[Block]) -> list[Tensor]:
    """What each layer sees in one image: every block's activation, and the last features."""
    taps, features = convnet(image[None], blocks, False)
    return [*(tap[0] for tap in taps), features[0]]


def mean(images: Tensor, blocks: Sequence[Block], layer: int) -> Tensor:
    rows = [layers(image, blocks)[layer] for image in images]
    total = torch.zeros_like(rows[0])
    for row in rows:
        total = total + row
    return total / len(rows)


def alignment(
    real: Sequence[Tensor], synthetic: Sequence[Tensor], blocks: Sequence[Block], early: float
) -> Tensor:
    """L_f, layers before the last block weighing ``early``."""
    total = torch.zeros((), dtype=synthetic[0].dtype)
    for ours, theirs in zip(real, synthetic, strict=True):
        for layer in range(len(blocks) + 1):
            weight = early if layer < len(blocks) - 1 else 1.0
            total = (
                total
                + weight * (mean(ours, blocks, layer) - mean(theirs, blocks, layer)).square().sum()
            )
    return total


def discrimination(
    real: Sequence[Tensor], synthetic: Sequence[Tensor], blocks: Sequence[Block]
) -> Tensor:
    """L_d: every real image is classified by its inner products with the synthetic centres of the
    last features.
    """
    centres = [mean(images, blocks, len(blocks)) for images in synthetic]
    total = torch.zeros((), dtype=synthetic[0].dtype)
    for label, images in enumerate(real):
        for image in images:
            features = layers(image, blocks)[-1]
            scores = torch.stack([(features * centre).sum() for centre in centres])
            total = total + scores.exp().sum().log() - scores[label]
    return total
