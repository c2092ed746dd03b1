"""Axes of the page's drawings: from figures to places."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

_MOST_TICKS = 6
_STEPS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)


@dataclass(frozen=True)
class Scale:
    """Accuracies between ``low`` and ``high`` (fractions) on a line of ``width``, with ``margin``
    at both ends.
    """

    low: float
    high: float
    step: float
    width: float
    margin: float

    @property
    def ticks(self) -> list[float]:
        """Round accuracies from the lowest to the highest."""
        return [
            self.low + number * self.step
            for number in range(round((self.high - self.low) / self.step) + 1)
        ]

    def place(self, accuracy: float) -> float:
        """Where an accuracy stands; beyond the ends, at the end."""
        share = (accuracy - self.low) / (self.high - self.low)
        return round(self.margin + min(1.0, max(0.0, share)) * (self.width - 2 * self.margin), 2)

    def holds(self, accuracy: float) -> bool:
        """Whether it stands between the ends."""
        return self.low <= accuracy <= self.high


def scale_for(accuracies: Iterable[float], width: float, margin: float) -> Scale:
    """The narrowest scale with round ends that holds all ``accuracies`` and has few ticks."""
    found = list(accuracies)
    least, most = min(found), max(found)
    scales = (_with_step(step, least, most, width, margin) for step in _STEPS)
    # the widest step fits whatever lies between 0 and 1
    return next(scale for scale in scales if len(scale.ticks) <= _MOST_TICKS)


def _with_step(step: float, least: float, most: float, width: float, margin: float) -> Scale:
    low, high = math.floor(least / step + 1e-9) * step, math.ceil(most / step - 1e-9) * step
    return Scale(low, high if high > low else low + step, step, width, margin)
