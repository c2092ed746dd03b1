"""The record of an evaluation: the accuracies of networks trained on one synthetic set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, final

from annotated_types import MaxLen, MinLen

from dcbench.records.kinds import OfASet, RanOn
from dcbench.records.values import SILENT, Fraction, Name, Seconds, Whole


@dataclass(frozen=True)
class NetworkScore:
    """One network trained on the set. ``loss`` is the last epoch's, null where training diverged.

    ``class_accuracies`` has a fraction for each class, null for one without test images. Older
    records have neither these nor a ``calibration_error``, and traces do not keep them.
    """

    network: Whole
    accuracy: Fraction
    loss: float | None
    seconds: Seconds
    class_accuracies: Annotated[tuple[Fraction | None, ...], MaxLen(100_000)] = field(
        default=(), metadata=SILENT
    )
    calibration_error: Fraction | None = field(default=None, metadata=SILENT)


Scores = Annotated[tuple[NetworkScore, ...], MinLen(1), MaxLen(100_000)]


def by_number(scores: Scores) -> tuple[float, ...]:
    """The accuracies, ordered by the networks' numbers."""
    return tuple(score.accuracy for score in sorted(scores, key=lambda score: score.network))


def any_twice(scores: Scores) -> bool:
    """Whether a network appears more than once."""
    return len({score.network for score in scores}) < len(scores)


@dataclass(frozen=True, kw_only=True)
class Judged(OfASet):
    """A record of networks that were trained on a set."""

    network: Name
    augment: Name
    evaluation_seed: Whole

    @property
    def identity(self) -> tuple[object, ...]:
        return (*self.which_set, self.protocol_hash, self.evaluation_seed)


@dataclass(frozen=True, kw_only=True)
class Distillation(RanOn):
    """How a set was made: time, memory, machine and code."""

    distill_seconds: Seconds
    step_seconds: Seconds | None
    compile_seconds: Seconds | None
    peak_memory_bytes: Whole | None
    torch: Name
    resumed_elsewhere: bool
    # a hash, several with a slash between them; older sets do not say it
    code: Annotated[str, MaxLen(200)] = ""


@final
@dataclass(frozen=True, kw_only=True)
class EvaluationRecord(Judged):
    """The accuracies of networks trained on one synthetic set. ``distillation`` is null where
    nobody here saw the set being made.
    """

    kind: ClassVar[str] = "evaluation"
    format_version: ClassVar[int] = 2

    recipe: Mapping[str, Any]
    networks: Scores
    distillation: Distillation | None
    evaluate_seconds: Seconds
    epoch_seconds: Seconds | None
    compile_seconds: Seconds | None
    peak_memory_bytes: Whole | None
    # what the networks learned: classes, weights (of classes) or teacher; older records do not say
    # it
    labels: Annotated[str, MaxLen(20)] = field(default="", metadata=SILENT)
    # of the network whose answers were the labels, on the same test images
    teacher_accuracy: Fraction | None = field(default=None, metadata=SILENT)

    @property
    def accuracies(self) -> tuple[float, ...]:
        """One fraction per network, by the network's number."""
        return by_number(self.networks)

    @property
    def measurements(self) -> int:
        return len(self.networks)

    def refuse(self) -> str:
        return "field networks names a network twice" if any_twice(self.networks) else ""
