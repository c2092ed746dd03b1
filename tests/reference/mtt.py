"""The loss of matching trajectories: a student's steps written out, on the literature's ConvNet."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tests.reference.gradient_matching import gradient


def cut(theta: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """A row of weights as tensors of the shapes of ``like``."""
    parts, offset = [], 0
    for parameter in like:
        count = 1
        for length in parameter.shape:
            count *= length
        parts.append(theta[offset : offset + count].reshape(parameter.shape))
        offset += count
    assert offset == len(theta)
    return parts


def arrival(
    start: Sequence[Tensor], batches: Sequence[tuple[Tensor, Sequence[int]]], rate: Tensor
) -> list[Tensor]:
    """The parameters after one step of gradient descent per batch of (augmented) images."""
    parameters = [parameter.clone().requires_grad_() for parameter in start]
    for images, labels in batches:
        slopes = gradient(images, labels, parameters)
        parameters = [
            parameter - rate * slope for parameter, slope in zip(parameters, slopes, strict=True)
        ]
    return parameters


def loss(arrived: Sequence[Tensor], start: Sequence[Tensor], target: Sequence[Tensor]) -> Tensor:
    """‖arrived - target‖² / ‖start - target‖², summed over all weights."""
    missed = torch.stack(
        [(a - t).square().sum() for a, t in zip(arrived, target, strict=True)]
    ).sum()
    moved = torch.stack([(s - t).square().sum() for s, t in zip(start, target, strict=True)]).sum()
    return missed / moved
