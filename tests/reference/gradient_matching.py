"""DC's matching loss on the literature's ConvNet, node by node and class by class."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tests.reference.networks import convnet

# four of each block (see ``Block``), then weight and bias of the classifier
Parameters = Sequence[Tensor]


def logits(images: Tensor, parameters: Parameters) -> Tensor:
    *rows, weight, bias = parameters
    blocks = [
        (rows[index], rows[index + 1], rows[index + 2], rows[index + 3])
        for index in range(0, len(rows), 4)
    ]
    _, features = convnet(images, blocks, False)
    return torch.stack([weight @ vector + bias for vector in features])


def cross_entropy(images: Tensor, labels: Sequence[int], parameters: Parameters) -> Tensor:
    """The mean of -log softmax."""
    total = torch.zeros((), dtype=images.dtype)
    for row, label in zip(logits(images, parameters), labels, strict=True):
        total = total + row.exp().sum().log() - row[label]
    return total / len(labels)


def gradient(images: Tensor, labels: Sequence[int], parameters: Parameters) -> list[Tensor]:
    """In all parameters, differentiable."""
    return list(
        torch.autograd.grad(
            cross_entropy(images, labels, parameters), list(parameters), create_graph=True
        )
    )


def distance(real: Parameters, synthetic: Parameters) -> Tensor:
    """Σ over weights with output nodes, Σ over those, of one minus the cosine."""
    total = torch.zeros((), dtype=real[0].dtype)
    for ours, theirs in zip(real, synthetic, strict=True):
        if ours.ndim == 1:
            continue  # biases, and the scales and shifts of a normalisation
        for a, b in zip(ours, theirs, strict=True):
            product = (a * b).sum()
            total = total + 1 - product / (a.square().sum().sqrt() * b.square().sum().sqrt() + 1e-6)
    return total


def matching_loss(
    real: Sequence[Tensor], synthetic: Sequence[Tensor], parameters: Parameters
) -> Tensor:
    """Σ over classes of the distance of the gradients on their (augmented) images."""
    total = torch.zeros((), dtype=synthetic[0].dtype)
    for label, (ours, theirs) in enumerate(zip(real, synthetic, strict=True)):
        target = [row.detach() for row in gradient(ours, [label] * len(ours), parameters)]
        total = total + distance(target, gradient(theirs, [label] * len(theirs), parameters))
    return total


def descended(
    images: Tensor, labels: Sequence[int], parameters: Parameters, rate: float, steps: int
) -> list[Tensor]:
    """The parameters after steps of plain gradient descent on all images."""
    for _ in range(steps):
        rows = zip(parameters, gradient(images, labels, parameters), strict=True)
        parameters = [
            (parameter - rate * slope).detach().requires_grad_() for parameter, slope in rows
        ]
    return list(parameters)
