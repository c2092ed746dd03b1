"""Learning curves: the loss of a distillation by its step."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dcbench.report.page.markup import Markup, element
from dcbench.report.selection.sidecar_files import Point

_WIDTH, _HEIGHT = 320.0, 150.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 46.0, 8.0, 10.0, 22.0
_MOST_POINTS = 400
_WIDE = 20.0  # a loss that falls by more than this factor is drawn on a logarithmic axis


def curve(points: Sequence[Point], label: str) -> Markup | None:
    """The curve of at least two points, or None. A long one is thinned: the lowest and highest
    point of each stretch remain.
    """
    if len(points) < 2 or points[0][0] == points[-1][0]:
        return None
    losses = [loss for _, loss in points]
    low, high = min(losses), max(losses)
    logarithmic = low > 0 and high / low > _WIDE
    (first, first_loss), (last, last_loss) = points[0], points[-1]
    places = (
        f"{_across(step, first, last)} {_down(loss, low, high, logarithmic)}"
        for step, loss in thinned(points)
    )
    said = (
        f"{label}: loss from {_short(first_loss)} at step {first:g}"
        f" to {_short(last_loss)} at step {last:g}"
    )
    step = "step, logarithmic loss" if logarithmic else "step"
    bottom, right, below = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT, _HEIGHT - 7
    return element(
        "svg",
        element("title", said),
        element("path", d=f"M{_LEFT} {_TOP}V{bottom}H{right}", class_="frame"),
        element("path", d="M" + "L".join(places), class_="line"),
        element("text", _short(high), x=_LEFT - 5, y=_TOP + 4, class_="end"),
        element("text", _short(low), x=_LEFT - 5, y=bottom + 1, class_="end"),
        element("text", f"{first:g}", x=_LEFT, y=below),
        element("text", step, x=(_LEFT + right) / 2, y=below, class_="middle"),
        element("text", f"{last:g}", x=right, y=below, class_="end"),
        class_="curve",
        viewBox=f"0 0 {_WIDTH:g} {_HEIGHT:g}",
        role="img",
        aria_label=said,
    )


def thinned(points: Sequence[Point]) -> list[Point]:
    """At most a few hundred points in order: the first, the last, and of each stretch between the
    lowest and the highest loss.
    """
    if len(points) <= _MOST_POINTS:
        return list(points)
    size = math.ceil(2 * len(points) / (_MOST_POINTS - 2))
    kept = {0, len(points) - 1}
    for start in range(0, len(points), size):
        stretch = range(start, min(start + size, len(points)))
        kept |= {
            min(stretch, key=lambda place: points[place][1]),
            max(stretch, key=lambda place: points[place][1]),
        }
    return [points[place] for place in sorted(kept)]


def _across(step: float, first: float, last: float) -> float:
    return round(_LEFT + (step - first) / (last - first) * (_WIDTH - _LEFT - _RIGHT), 1)


def _down(loss: float, low: float, high: float, logarithmic: bool) -> float:
    if logarithmic:
        loss, low, high = math.log(loss), math.log(low), math.log(high)
    share = (loss - low) / (high - low) if high > low else 0.5
    return round(_HEIGHT - _BOTTOM - share * (_HEIGHT - _BOTTOM - _TOP), 1)


def _short(value: float) -> str:
    if value == 0 or 0.001 <= abs(value) < 1000:
        return f"{value:.3g}"
    return f"{value:.1e}".replace("e+0", "e").replace("e-0", "e-")
