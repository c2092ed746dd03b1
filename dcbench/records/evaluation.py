"""The record of an evaluation: the accuracies of networks trained on one synthetic set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, final

from annotated_types import MaxLen, MinLen

from dcbench.records.kinds import OfASet
from dcbench.records.values import Fraction, Name, Positive, Seconds, Text, Timestamp, Versions, Whole


@dataclass(frozen=True)
class NetworkScore:
    """One network trained on the set. ``loss`` is the last epoch's, null where training diverged."""

    network: Whole
    accuracy: Fraction
    loss: float | None
    seconds: Seconds


@dataclass(frozen=True, kw_only=True)
class Distillation:
    """What making the set took, and on what."""

    distill_seconds: Seconds
    step_seconds: Seconds | None
    compile_seconds: Seconds | None
    peak_memory_bytes: Whole | None
    engine: Name
    precision: Name
    threads: Positive
    device: Name
    device_name: Text
    torch: Name
    resumed_elsewhere: bool


@final
@dataclass(frozen=True, kw_only=True)
class EvaluationRecord(OfASet):
    """The accuracies of networks trained on one synthetic set. ``distillation`` is null where nobody here saw the set being made."""

    kind: ClassVar[str] = "evaluation"
    format_version: ClassVar[int] = 1

    network: Name
    augment: Name
    protocol: Mapping[str, Any]
    protocol_hash: Name
    evaluation_seed: Whole
    recipe: Mapping[str, Any]
    networks: Annotated[tuple[NetworkScore, ...], MinLen(1), MaxLen(100_000)]
    distillation: Distillation | None
    evaluate_seconds: Seconds
    epoch_seconds: Seconds | None
    compile_seconds: Seconds | None
    peak_memory_bytes: Whole | None
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
    def accuracies(self) -> tuple[float, ...]:
        """One fraction per network, by the network's number."""
        return tuple(result.accuracy for result in sorted(self.networks, key=lambda result: result.network))

    @property
    def identity(self) -> tuple[object, ...]:
        return (*self.which_set, self.protocol_hash, self.evaluation_seed)

    @property
    def worth(self) -> int:
        return len(self.networks)

    def refuse(self) -> str:
        twice = len({result.network for result in self.networks}) < len(self.networks)
        return "field networks names a network twice" if twice else ""
