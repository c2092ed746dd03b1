"""Losses of soft labels, CutMix, MixUp and resized crops, number by number."""

from __future__ import annotations

import math
from collections.abc import Sequence

Row = Sequence[float]
Image = Sequence[Sequence[Sequence[float]]]  # channels, rows, columns


def softmax(values: Row, temperature: float = 1.0) -> list[float]:
    powers = [math.exp(value / temperature) for value in values]
    return [power / sum(powers) for power in powers]


def cross_entropy(logits: Sequence[Row], weights: Sequence[Row], temperature: float) -> float:
    """-Σ p log q over classes, averaged over images."""
    total = 0.0
    for z, p in zip(logits, weights, strict=True):
        q = softmax(z, temperature)
        total -= sum(p[k] * math.log(q[k]) for k in range(len(z)))
    return total / len(logits)


def kl(logits: Sequence[Row], taught: Sequence[Row], temperature: float) -> float:
    """Σ p log(p/q), where p and q are both softened, averaged over images."""
    total = 0.0
    for z, t in zip(logits, taught, strict=True):
        q, p = softmax(z, temperature), softmax(t, temperature)
        total += sum(p[k] * math.log(p[k] / q[k]) for k in range(len(z)))
    return total / len(logits)


def mse(logits: Sequence[Row], taught: Sequence[Row]) -> float:
    """Mean of (z - t)² over images and classes."""
    squares = [
        (a - b) ** 2 for z, t in zip(logits, taught, strict=True) for a, b in zip(z, t, strict=True)
    ]
    return sum(squares) / len(squares)


def mixup(first: Row, second: Row, lam: float) -> list[float]:
    """λ·a + (1 - λ)·b."""
    return [lam * a + (1 - lam) * b for a, b in zip(first, second, strict=True)]


def cutmix(first: Image, second: Image, box: tuple[int, int, int, int]) -> list[list[list[float]]]:
    """The first image with the box (left, top, right, bottom) of the second."""
    left, top, right, bottom = box
    return [
        [
            [
                second[c][y][x] if left <= x < right and top <= y < bottom else first[c][y][x]
                for x in range(len(first[c][y]))
            ]
            for y in range(len(first[c]))
        ]
        for c in range(len(first))
    ]


def enlarged(image: Image, box: tuple[int, int, int, int], size: int) -> list[list[list[float]]]:
    """The box (top, left, height, width) of an image, stretched bilinearly to size × size."""
    top, left, height, width = box

    def value(plane: Sequence[Sequence[float]], y: int, x: int) -> float:
        v = min(max((y + 0.5) * height / size - 0.5, 0), height - 1)
        u = min(max((x + 0.5) * width / size - 0.5, 0), width - 1)
        y0, x0 = int(v), int(u)
        y1, x1 = min(y0 + 1, height - 1), min(x0 + 1, width - 1)
        dy, dx = v - y0, u - x0
        upper = plane[top + y0][left + x0] * (1 - dx) + plane[top + y0][left + x1] * dx
        lower = plane[top + y1][left + x0] * (1 - dx) + plane[top + y1][left + x1] * dx
        return upper * (1 - dy) + lower * dy

    return [[[value(plane, y, x) for x in range(size)] for y in range(size)] for plane in image]


def calibration_error(probabilities: Sequence[Row], labels: Sequence[int], bins: int = 15) -> float:
    """Σ over bins of their share times the gap between accuracy and mean confidence."""
    error = 0.0
    for number in range(bins):
        inside = [
            (max(row), row.index(max(row)) == label)
            for row, label in zip(map(list, probabilities), labels, strict=True)
            if number / bins < max(row) <= (number + 1) / bins
        ]
        if inside:
            confidence = sum(sure for sure, _ in inside) / len(inside)
            right = sum(hit for _, hit in inside) / len(inside)
            error += len(inside) / len(labels) * abs(right - confidence)
    return error
