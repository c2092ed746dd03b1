"""K-Center's greedy rule and herding on lists of points, by looking at every candidate at every
turn.
"""

from __future__ import annotations

from collections.abc import Sequence

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
