"""The record of a trace: accuracy and picture of one set after some steps of its distillation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, final

from annotated_types import MaxLen, MinLen

from dcbench.records.evaluation import Judged, Scores, any_twice, by_number
from dcbench.records.values import FileName, Seconds, Whole


@dataclass(frozen=True)
class TracePoint:
    """The set after ``step`` steps. ``image`` is its picture, beside the record; ``networks`` are
    as in an evaluation.
    """

    step: Whole
    image: FileName
    networks: Scores

    @property
    def accuracies(self) -> tuple[float, ...]:
        """One fraction for each network, in the order of their numbers."""
        return by_number(self.networks)


@final
@dataclass(frozen=True, kw_only=True)
class TraceRecord(Judged):
    """Accuracies and pictures of a set along its distillation. Step 0 is the set before the first
    step.
    """

    kind: ClassVar[str] = "trace"
    format_version: ClassVar[int] = 1

    points: Annotated[tuple[TracePoint, ...], MinLen(1), MaxLen(10_000)]
    seconds: Seconds

    @property
    def identity(self) -> tuple[object, ...]:
        return (*super().identity, tuple(point.step for point in self.points))

    @property
    def measurements(self) -> int:
        return sum(len(point.networks) for point in self.points)

    def refuse(self) -> str:
        steps = [point.step for point in self.points]
        if steps != sorted(set(steps)):
            return "field points must name each step once, in order"
        for index, point in enumerate(self.points):
            if any_twice(point.networks):
                return f"field points[{index}].networks names a network twice"
        return ""
