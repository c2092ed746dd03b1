"""The losses of DataDAM (its equations 1 to 4), DM and MMD for the images of all classes, class by
class and image by image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from tests.reference.networks import Block, convnet

Classes = Sequence[Tensor]  # the augmented images of each class


def attention(tap: Tensor, power: float) -> Tensor:
    """A(F) = Σ_channels |F_c|^p of one image, as a vector of length one."""
    total = torch.zeros_like(tap[0])
    for channel in tap:
        total = total + channel.abs() ** power
    vector = total.flatten()
    return vector / vector.square().sum().sqrt()


def mean(vectors: Sequence[Tensor]) -> Tensor:
    total = torch.zeros_like(vectors[0])
    for vector in vectors:
        total = total + vector
    return total / len(vectors)


def seen(
    classes: Classes, blocks: Sequence[Block], batch_norm: bool
) -> list[list[tuple[list[Tensor], Tensor]]]:
    """Taps and features of every image of every class. BatchNorm sees one batch of all; otherwise
    every image goes alone.
    """
    if not batch_norm:
        alone = [[convnet(image[None], blocks, False) for image in images] for images in classes]
        return [
            [([tap[0] for tap in taps], features[0]) for taps, features in images]
            for images in alone
        ]
    taps, features = convnet(torch.cat(list(classes)), blocks, True)
    rows = iter([([tap[index] for tap in taps], features[index]) for index in range(len(features))])
    return [[next(rows) for _ in images] for images in classes]


def datadam(
    real: Classes,
    synthetic: Classes,
    blocks: Sequence[Block],
    power: float,
    balance: float,
    batch_norm: bool = False,
) -> Tensor:
    """L = L_SAM + λ L_MMD, without the factor before it."""
    loss = torch.zeros((), dtype=synthetic[0].dtype)
    for ours, theirs in zip(
        seen(real, blocks, batch_norm), seen(synthetic, blocks, batch_norm), strict=True
    ):
        for layer in range(len(blocks) - 1):
            a, b = (
                mean([attention(taps[layer], power) for taps, _ in images])
                for images in (ours, theirs)
            )
            loss = loss + (a - b).square().sum()
        a, b = (mean([features for _, features in images]) for images in (ours, theirs))
        loss = loss + balance * (a - b).square().sum()
    return loss


def size(vector: Tensor, norm: str) -> Tensor:
    """Of a map, by which it is divided."""
    sizes = {
        "l1": vector.abs().sum(),
        "l2": vector.square().sum().sqrt(),
        "none": torch.ones((), dtype=vector.dtype),
    }
    return sizes[norm]


def error(a: Tensor, b: Tensor, loss: str) -> Tensor:
    """Between two mean maps: squares, absolute values, or one minus the cosine of the angle."""
    if loss == "cosine":
        return 1 - (a * b).sum() / (size(a, "l2") * size(b, "l2"))
    return (a - b).square().sum() if loss == "mse" else (a - b).abs().sum()


def ablated(
    real: Classes, synthetic: Classes, blocks: Sequence[Block], fields: Mapping[str, Any]
) -> Tensor:
    """DataDAM's loss with its error, its map's norm, its components and its layers changed, without
    the factor before it.
    """
    total = torch.zeros((), dtype=synthetic[0].dtype)
    components, layer = fields.get("components", "both"), fields.get("layer")
    for ours, theirs in zip(seen(real, blocks, False), seen(synthetic, blocks, False), strict=True):
        for index in range(len(blocks) - 1) if layer is None else [layer - 1]:
            means = []
            for images in (ours, theirs):
                maps = []
                for taps, _ in images:
                    flat = (
                        taps[index].flatten()
                        if components == "feature-maps"
                        else (taps[index].abs() ** 4).sum(0).flatten()
                    )
                    maps.append(flat / size(flat, fields.get("map_norm", "l2")))
                means.append(mean(maps))
            total = total + (components != "mmd") * error(
                means[0], means[1], fields.get("loss", "mse")
            )
        a, b = (mean([features for _, features in images]) for images in (ours, theirs))
        total = total + (components in ("both", "mmd")) * 0.01 * (a - b).square().sum()
    return total


def dm(
    real: Classes, synthetic: Classes, blocks: Sequence[Block], batch_norm: bool = False
) -> Tensor:
    """Σ_classes ‖mean f(real) - mean f(synthetic)‖²."""
    loss = torch.zeros((), dtype=synthetic[0].dtype)
    for ours, theirs in zip(
        seen(real, blocks, batch_norm), seen(synthetic, blocks, batch_norm), strict=True
    ):
        a, b = (mean([features for _, features in images]) for images in (ours, theirs))
        loss = loss + (a - b).square().sum()
    return loss


def mmd(real: Classes, synthetic: Classes) -> Tensor:
    """Σ_classes ‖mean real - mean synthetic‖² over pixels."""
    loss = torch.zeros((), dtype=synthetic[0].dtype)
    for ours, theirs in zip(real, synthetic, strict=True):
        loss = loss + (mean(list(ours)) - mean(list(theirs))).square().sum()
    return loss
