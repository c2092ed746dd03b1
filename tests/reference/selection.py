"""K-Center's greedy rule, herding and facility location on lists of points, by looking at every
candidate at every turn; EL2N, GraNd and forgetting image by image.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

Point = Sequence[float]


def squared_distance(a: Point, b: Point) -> float:
    return sum((x - y) ** 2 for x, y in zip(a, b, strict=True))


def mean(points: Sequence[Point]) -> list[float]:
    return [sum(column) / len(points) for column in zip(*points, strict=True)]


def k_center(points: Sequence[Point], count: int) -> list[int]:
    """The point nearest the mean; then, again and again, the one whose nearest chosen point is
    farthest.
    """
    centre = mean(points)
    chosen = [min(range(len(points)), key=lambda index: squared_distance(points[index], centre))]
    while len(chosen) < count:
        left = [index for index in range(len(points)) if index not in chosen]
        chosen.append(
            max(
                left,
                key=lambda index: min(
                    squared_distance(points[index], points[other]) for other in chosen
                ),
            )
        )
    return chosen


def herding(points: Sequence[Point], count: int) -> list[int]:
    """At each turn the point with which the mean of the chosen ones comes nearest the mean of all."""
    centre = mean(points)
    chosen: list[int] = []
    while len(chosen) < count:
        left = [index for index in range(len(points)) if index not in chosen]
        chosen.append(
            min(
                left,
                key=lambda index: squared_distance(
                    mean([points[other] for other in [*chosen, index]]), centre
                ),
            )
        )
    return chosen


def covered(points: Sequence[Point], chosen: Sequence[int]) -> float:
    """Σ_i max_j s(i, j) over the chosen j, where s is the largest distance minus the distance."""
    distances = [[math.sqrt(squared_distance(a, b)) for b in points] for a in points]
    largest = max(max(row) for row in distances)
    return sum(max(largest - row[j] for j in chosen) for row in distances)


def el2n(logits: Sequence[float], label: int) -> float:
    """‖softmax(z) - y‖₂ of one image."""
    powers = [math.exp(value) for value in logits]
    errors = [
        power / sum(powers) - (1.0 if index == label else 0.0) for index, power in enumerate(powers)
    ]
    return math.sqrt(sum(error**2 for error in errors))


def forgotten(right: Sequence[bool]) -> int:
    """How often an image goes from right to wrong; the number of epochs if it is never right."""
    if not any(right):
        return len(right)
    return sum(before and not after for before, after in pairwise(right))
