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
    """The curve of at least two finite points, or nothing. A long one is thinned: of each stretch
    its lowest and highest stay.
    """
    if len(points) < 2 or points[0][0] == points[-1][0]:
        return None
    losses = [loss for _, loss in points]
    low, high = min(losses), max(losses)
    logarithmic = low > 0 and high / low > _WIDE
    drawn = thinned(points)
    path = "M" + "L".join(
        f"{_across(step, points)} {_down(loss, low, high, logarithmic)}" for step, loss in drawn
    )
    said = f"{label}: loss from {_short(losses[0])} at step {points[0][0]:g} to {_short(losses[-1])} at step {points[-1][0]:g}"
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    return element(
        "svg",
        element("title", said),
        element("path", d=f"M{_LEFT} {_TOP}V{bottom}H{right}", class_="frame"),
        element("path", d=path, class_="line"),
        element("text", _short(high), x=_LEFT - 5, y=_TOP + 4, class_="end"),
        element("text", _short(low), x=_LEFT - 5, y=bottom + 1, class_="end"),
        element("text", f"{points[0][0]:g}", x=_LEFT, y=_HEIGHT - 7),
        element(
            "text",
            f"step{', logarithmic loss' if logarithmic else ''}",
            x=(_LEFT + right) / 2,
            y=_HEIGHT - 7,
            class_="middle",
        ),
        element("text", f"{points[-1][0]:g}", x=right, y=_HEIGHT - 7, class_="end"),
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


def _across(step: float, points: Sequence[Point]) -> float:
    first, last = points[0][0], points[-1][0]
    return round(_LEFT + (step - first) / (last - first) * (_WIDTH - _LEFT - _RIGHT), 1)


def _down(loss: float, low: float, high: float, logarithmic: bool) -> float:
    value, least, most = (
        (math.log(each) for each in (loss, low, high)) if logarithmic else (loss, low, high)
    )
    share = (value - least) / (most - least) if most > least else 0.5
    return round(_HEIGHT - _BOTTOM - share * (_HEIGHT - _BOTTOM - _TOP), 1)


def _short(value: float) -> str:
    return (
        f"{value:.3g}"
        if 0.001 <= abs(value) < 1000 or value == 0
        else f"{value:.1e}".replace("e+0", "e").replace("e-0", "e-")
    )
