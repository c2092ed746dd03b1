"""The record of a trace: what one set was worth, and how it looked, at some steps of its distillation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, final

from annotated_types import MaxLen, MinLen

from dcbench.records.evaluation import NetworkScore
from dcbench.records.kinds import OfASet
from dcbench.records.values import FileName, Name, Positive, Seconds, Text, Timestamp, Versions, Whole


@dataclass(frozen=True)
class TracePoint:
    """The set after ``step`` steps. ``image`` is its picture, beside the record; the networks are those of an evaluation."""

    step: Whole
    image: FileName
    networks: Annotated[tuple[NetworkScore, ...], MinLen(1), MaxLen(100_000)]

    @property
    def accuracies(self) -> tuple[float, ...]:
        """One fraction per network, by the network's number."""
        return tuple(result.accuracy for result in sorted(self.networks, key=lambda result: result.network))


@final
@dataclass(frozen=True, kw_only=True)
class TraceRecord(OfASet):
    """Accuracies and pictures of a set over the steps of its distillation; step 0 is the set that it began with."""

    kind: ClassVar[str] = "trace"
    format_version: ClassVar[int] = 1

    network: Name
    augment: Name
    protocol: Mapping[str, Any]
    protocol_hash: Name
    evaluation_seed: Whole
    points: Annotated[tuple[TracePoint, ...], MinLen(1), MaxLen(10_000)]
    seconds: Seconds
    engine: Name
    precision: Name
    threads: Positive
    device: Name
    device_name: Text
    versions: Versions
    code: Annotated[str, MaxLen(200)]
    created: Timestamp
    warnings: Annotated[tuple[Text, ...], MaxLen(1000)]

    @property
    def identity(self) -> tuple[object, ...]:
        return (*self.which_set, self.protocol_hash, self.evaluation_seed)

    @property
    def worth(self) -> int:
        return sum(len(point.networks) for point in self.points)

    def refuse(self) -> str:
        steps = [point.step for point in self.points]
        if steps != sorted(set(steps)):
            return "field points must name each step once, in order"
        for index, point in enumerate(self.points):
            if len({result.network for result in point.networks}) < len(point.networks):
                return f"field points[{index}].networks names a network twice"
        return ""
