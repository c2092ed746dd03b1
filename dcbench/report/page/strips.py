"""Drawings of the page as numbers: strip plots of networks' accuracies, and learning curves."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from dcbench.report.formatting import percent
from dcbench.report.selection.sidecar_files import Point
from dcbench.report.statistics.accuracies import Interval
from dcbench.system.wording import counted

WIDTH, MARGIN = 260, 12.0
_LANE, _TOP, _BELOW, _FOOT = 8.0, 7.0, 11.0, 7.0
_MOST_LANES = 6  # more sets than lanes: they share them in turn
_MOST_TICKS = 6
_STEPS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
_LEFT, _RIGHT, _HIGHEST, _LOWEST = 46.0, 312.0, 10.0, 128.0  # of a curve's frame
_MOST_POINTS = 100
_WIDE = 20.0  # a loss that falls by more than this factor is drawn on a logarithmic axis


@dataclass(frozen=True)
class Scale:
    """An axis for accuracies from ``low`` to ``high`` (fractions), with a tick at each ``step``."""

    low: float
    high: float
    step: float

    @property
    def ticks(self) -> list[float]:
        """Round accuracies from the lowest to the highest."""
        count = round((self.high - self.low) / self.step) + 1
        return [self.low + number * self.step for number in range(count)]

    def place(self, accuracy: float) -> float:
        """Where an accuracy stands; beyond the ends, at the end."""
        share = (accuracy - self.low) / (self.high - self.low)
        return round(MARGIN + min(1.0, max(0.0, share)) * (WIDTH - 2 * MARGIN), 1)

    def figure(self, tick: float) -> str:
        """A tick in percent."""
        return f"{100 * tick:.{0 if self.step >= 0.01 else 1}f}"


def strip_scale(accuracies: Iterable[float]) -> Scale:
    """The narrowest scale with round ends that holds all ``accuracies`` and has few ticks."""
    found = list(accuracies)
    for step in _STEPS:  # the widest fits whatever lies between 0 and 1
        low = math.floor(min(found) / step + 1e-9) * step
        high = math.ceil(max(found) / step - 1e-9) * step
        scale = Scale(low, high if high > low else low + step, step)
        if len(scale.ticks) <= _MOST_TICKS:
            break
    return scale


class Dot(NamedTuple):
    """One network."""

    x: float
    y: float
    title: str


@dataclass(frozen=True)
class Strip:
    """Every network's accuracy as a dot, a lane for each set, the mean and its interval below."""

    sets: Mapping[Hashable, Sequence[float]]
    average: float
    interval: Interval | None
    scale: Scale

    @property
    def foot(self) -> float:
        """Where the mean stands."""
        return _TOP + (max(1, min(len(self.sets), _MOST_LANES)) - 1) * _LANE + _BELOW

    @property
    def height(self) -> float:
        return self.foot + _FOOT

    @property
    def dots(self) -> Iterator[Dot]:
        for number, (name, networks) in enumerate(self.sets.items()):
            called = f"seed {name}" if isinstance(name, int) else f"set {str(name)[:8]}"
            for accuracy in networks:
                y = _TOP + number % _MOST_LANES * _LANE
                yield Dot(self.scale.place(accuracy), y, f"{called}: {percent(accuracy)}")

    @property
    def mean(self) -> float:
        return self.scale.place(self.average)

    @property
    def low(self) -> float | None:
        return None if self.interval is None else self.scale.place(self.interval[0])

    @property
    def high(self) -> float | None:
        return None if self.interval is None else self.scale.place(self.interval[1])

    @property
    def ends(self) -> list[float]:
        """Where the interval ends on the scale."""
        scale, ends = self.scale, self.interval or ()
        return [scale.place(end) for end in ends if scale.low <= end <= scale.high]

    @property
    def label(self) -> str:
        """What the strip shows, in words."""
        networks = [accuracy for own in self.sets.values() for accuracy in own]
        counts = f"{counted(len(networks), 'network')} of {counted(len(self.sets), 'set')}"
        said = f"{counts}, {percent(min(networks))} to {percent(max(networks))} %"
        over = "sets" if len(self.sets) > 1 else "networks"
        if self.interval is None:
            return f"{said}; mean {percent(self.average)}"
        low, high = map(percent, self.interval)
        return f"{said}; mean {percent(self.average)}, 95 % interval over {over} {low} to {high}"


@dataclass(frozen=True)
class Curve:
    """A learning curve: the loss of a distillation by its step, as an SVG path with its words."""

    path: str
    label: str
    first: str
    last: str
    low: str
    high: str
    axis: str


def curve(points: Sequence[Point], label: str) -> Curve | None:
    """The curve of at least two points, or None. A long one is thinned: the lowest and highest
    point of each stretch remain.
    """
    if len(points) < 2 or points[0][0] == points[-1][0]:
        return None
    losses = [loss for _, loss in points]
    low, high = min(losses), max(losses)
    logarithmic = low > 0 and high / low > _WIDE
    (first, first_loss), (last, last_loss) = points[0], points[-1]

    def down(loss: float) -> float:
        values = (loss, low, high)
        value, least, most = map(math.log, values) if logarithmic else values
        share = (value - least) / (most - least) if most > least else 0.5
        return _LOWEST - share * (_LOWEST - _HIGHEST)

    places = (
        f"{_LEFT + (step - first) / (last - first) * (_RIGHT - _LEFT):.0f} {down(loss):.0f}"
        for step, loss in thinned(points)
    )
    said = (
        f"{label}: loss from {_short(first_loss)} at step {first:g}"
        f" to {_short(last_loss)} at step {last:g}"
    )
    axis = "step, logarithmic loss" if logarithmic else "step"
    ends = f"{first:g}", f"{last:g}", _short(low), _short(high)
    return Curve("M" + "L".join(places), said, *ends, axis)


def thinned(points: Sequence[Point]) -> list[Point]:
    """At most about a hundred points in order: the first, the last, and of each stretch between the
    lowest and the highest loss.
    """
    if len(points) <= _MOST_POINTS:
        return list(points)
    size = math.ceil(2 * len(points) / (_MOST_POINTS - 2))
    kept = {0, len(points) - 1}
    for start in range(0, len(points), size):
        stretch = range(start, min(start + size, len(points)))
        kept |= {pick(stretch, key=lambda place: points[place][1]) for pick in (min, max)}
    return [points[place] for place in sorted(kept)]


def _short(value: float) -> str:
    if value == 0 or 0.001 <= abs(value) < 1000:
        return f"{value:.3g}"
    return f"{value:.1e}".replace("e+0", "e").replace("e-0", "e-")
