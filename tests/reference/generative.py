"""The losses and layers of the generative baselines, number by number."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def kernel(x: Tensor, y: Tensor, bandwidths: Sequence[float]) -> float:
    squared = sum((float(a) - float(b)) ** 2 for a, b in zip(x, y, strict=True))
    return sum(math.exp(-squared / (2 * sigma**2)) for sigma in bandwidths)


def squared_mmd(x: Tensor, y: Tensor, bandwidths: Sequence[float]) -> float:
    """Li et al. 2015, Eq. 3: all pairs, an image with itself among them."""
    n, m = len(x), len(y)
    among_x = sum(kernel(x[i], x[j], bandwidths) for i in range(n) for j in range(n)) / n**2
    between = sum(kernel(x[i], y[j], bandwidths) for i in range(n) for j in range(m)) / (n * m)
    among_y = sum(kernel(y[i], y[j], bandwidths) for i in range(m) for j in range(m)) / m**2
    return among_x - 2 * between + among_y


def hinge_discriminator(real: Sequence[float], fake: Sequence[float]) -> float:
    return sum(max(0.0, 1 - value) for value in real) / len(real) + sum(
        max(0.0, 1 + value) for value in fake
    ) / len(fake)


def cross_entropy_discriminator(real: Sequence[float], fake: Sequence[float]) -> float:
    """Mirza & Osindero 2014, Eq. 2, as a loss: -E log D(x|y) - E log(1 - D(G(z|y)|y)), D the
    sigmoid of the logits given.
    """
    judged_real = [1 / (1 + math.exp(-logit)) for logit in real]
    judged_fake = [1 / (1 + math.exp(-logit)) for logit in fake]
    return -sum(map(math.log, judged_real)) / len(real) - sum(
        math.log(1 - value) for value in judged_fake
    ) / len(fake)


def projection(
    features: Tensor, labels: Sequence[int], weight: Tensor, bias: float, embedding: Tensor
) -> list[float]:
    """Miyato & Koyama 2018: ψ(h) + ⟨e(y), h⟩, an image at a time."""
    return [
        sum(float(w) * float(h) for w, h in zip(weight, row, strict=True))
        + bias
        + sum(float(e) * float(h) for e, h in zip(embedding[label], row, strict=True))
        for row, label in zip(features, labels, strict=True)
    ]


def conditional_norm(maps: Tensor, gains: Tensor, biases: Tensor, epsilon: float = 1e-5) -> Tensor:
    """(1 + γ) (x - mean) / √(variance + ε) + β; mean and variance of a channel over the batch, γ
    and β of an image and channel.
    """
    result = torch.empty_like(maps)
    for channel in range(maps.shape[1]):
        values = maps[:, channel].flatten().tolist()
        mean = sum(values) / len(values)
        variance = sum((value - mean) ** 2 for value in values) / len(values)
        for image in range(len(maps)):
            normalised = (maps[image, channel] - mean) / math.sqrt(variance + epsilon)
            result[image, channel] = (1 + gains[image, channel]) * normalised + biases[
                image, channel
            ]
    return result


def attention(
    maps: Tensor, query: Tensor, key: Tensor, value: Tensor, back: Tensor, weight: float
) -> Tensor:
    """Zhang et al. 2019 with BigGAN's pooling of keys and values; matrices are 1×1 convolutions,
    one image (channels × side × side).
    """
    side = maps.shape[1]
    places = [(row, column) for row in range(side) for column in range(side)]
    pooled = [(row, column) for row in range(0, side, 2) for column in range(0, side, 2)]

    def largest(matrix: Tensor, row: int, column: int) -> Tensor:
        around = [
            matrix @ maps[:, row + down, column + right] for down in (0, 1) for right in (0, 1)
        ]
        return torch.stack(around).amax(0)

    keys, values = (
        [largest(key, *place) for place in pooled],
        [largest(value, *place) for place in pooled],
    )
    result = maps.clone()
    for row, column in places:
        scores = [math.exp(float((query @ maps[:, row, column]) @ k)) for k in keys]
        attended = sum((score / sum(scores)) * v for score, v in zip(scores, values, strict=True))
        result[:, row, column] += weight * (back @ attended)
    return result


def instance_loss(anchor: Tensor, positive: Tensor, negatives: Tensor, temperature: float) -> float:
    """Parmar et al. 2021: a reconstruction is told for its own input among others; features of any
    length.
    """

    def similarity(a: Tensor, b: Tensor) -> float:
        return float(a @ b / (a.norm() * b.norm())) / temperature

    losses = []
    for reconstruction, own in zip(anchor, positive, strict=True):
        right = math.exp(similarity(own, reconstruction))
        wrong = sum(math.exp(similarity(other, reconstruction)) for other in negatives)
        losses.append(-math.log(right / (right + wrong)))
    return sum(losses) / len(losses)


def divergence(mean: Tensor, log_variance: Tensor) -> float:
    """KL(N(μ, σ²) ‖ N(0, 1)), summed over dimensions, a mean over images."""
    per_image = [
        sum(
            0.5 * (math.exp(v) + m * m - 1 - v)
            for m, v in zip(means.tolist(), logs.tolist(), strict=True)
        )
        for means, logs in zip(mean, log_variance, strict=True)
    ]
    return sum(per_image) / len(per_image)


def moving_average(values: Sequence[float], decay: float, start: int) -> float:
    """The value itself for the first ``start`` steps, and at the first at all; then decay · average
    + (1 - decay) · value.
    """
    average = 0.0
    for step, value in enumerate(values):
        average = value if step < max(1, start) else decay * average + (1 - decay) * value
    return average
