"""Strip plots: every network's accuracy as a dot, a lane for each set, the mean and its interval
below.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dcbench.report.formatting import percent
from dcbench.report.page.markup import Markup, element, join
from dcbench.report.statistics.accuracies import Interval
from dcbench.system.wording import counted

WIDTH, MARGIN = 260.0, 12.0
_LANE, _TOP, _BELOW, _FOOT = 8.0, 7.0, 11.0, 7.0
_MOST_LANES = 6  # more sets than lanes: they share them in turn
_AXIS = 12.0
_MOST_TICKS = 6
_STEPS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)


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
        return round(MARGIN + min(1.0, max(0.0, share)) * (WIDTH - 2 * MARGIN), 2)

    def holds(self, accuracy: float) -> bool:
        """Whether it stands between the ends."""
        return self.low <= accuracy <= self.high


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


def axis(scale: Scale) -> Markup:
    """The scale's figures, in percent, to stand above the strips."""
    return _drawing(14.0, "strip-axis", element("g", *_figures(scale, 10.0), aria_hidden="true"))


def strip(
    sets: Sequence[Sequence[float]], mean: float, interval: Interval | None, scale: Scale
) -> Markup:
    """The drawing, with a text alternative."""
    lanes = max(1, min(len(sets), _MOST_LANES))
    foot = _TOP + (lanes - 1) * _LANE + _BELOW
    height = foot + _FOOT
    dots = [
        element("circle", cx=scale.place(accuracy), cy=_TOP + number % lanes * _LANE, r=2.6)
        for number, networks in enumerate(sets)
        for accuracy in networks
    ]
    lines = [
        element("line", x1=place, x2=place, y1=0, y2=height, class_="tick")
        for place in map(scale.place, scale.ticks)
    ]
    label = _label(sets, mean, interval)
    return _drawing(
        height,
        "strip",
        element("title", label),
        element("g", *lines),
        element("g", *dots, class_="dots"),
        _mean(mean, interval, scale, foot),
        element("g", *_figures(scale, height + _AXIS - 3), class_="own-axis"),
        label=label,
    )


def _label(sets: Sequence[Sequence[float]], mean: float, interval: Interval | None) -> str:
    """What a strip shows, in words."""
    networks = [accuracy for own in sets for accuracy in own]
    counts = f"{counted(len(networks), 'network')} of {counted(len(sets), 'set')}"
    said = f"{counts}, {percent(min(networks))} to {percent(max(networks))} %"
    over = "sets" if len(sets) > 1 else "networks"
    if interval is None:
        return f"{said}; mean {percent(mean)}"
    low, high = map(percent, interval)
    return f"{said}; mean {percent(mean)}, 95 % interval over {over} {low} to {high}"


def _mean(mean: float, interval: Interval | None, scale: Scale, y: float) -> Markup:
    """A diamond at the mean; bars at the ends of the interval where the scale reaches them."""
    x = scale.place(mean)
    diamond = element("path", d=f"M{x} {y - 4}l4 4l-4 4l-4 -4z")
    if interval is None:
        return element("g", diamond, class_="mean")
    ends = [
        element("line", x1=scale.place(bound), x2=scale.place(bound), y1=y - 3.5, y2=y + 3.5)
        for bound in interval
        if scale.holds(bound)
    ]
    low, high = map(scale.place, interval)
    return element("g", element("line", x1=low, x2=high, y1=y, y2=y), *ends, diamond, class_="mean")


def _figures(scale: Scale, y: float) -> list[Markup]:
    decimals = 0 if scale.step >= 0.01 else 1
    return [
        element("text", f"{100 * tick:.{decimals}f}", x=scale.place(tick), y=y)
        for tick in scale.ticks
    ]


def _drawing(height: float, kind: str, *children: Markup, label: str | None = None) -> Markup:
    role = {"role": "img", "aria_label": label} if label is not None else {"aria_hidden": "true"}
    return element("svg", join(*children), class_=kind, viewBox=f"0 0 {WIDTH:g} {height:g}", **role)
