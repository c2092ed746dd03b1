"""The record of an evaluation: the accuracies of networks trained on one synthetic set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, final

from annotated_types import MaxLen, MinLen

from dcbench.records.kinds import OfASet, RanOn
from dcbench.records.values import SILENT, Fraction, Name, Seconds, Text, Whole


@dataclass(frozen=True)
class NetworkScore:
    """The scores of one network trained on the set. ``loss`` is the last epoch's, null if training
    diverged.

    ``class_accuracies`` has a fraction for each class, null for a class without test images. Older
    records and all traces lack ``class_accuracies`` and ``calibration_error``.
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
    """Return the accuracies in the order of the networks' numbers."""
    return tuple(score.accuracy for score in sorted(scores, key=lambda score: score.network))


def any_twice(scores: Scores) -> bool:
    """Return whether a network's number occurs twice."""
    return len({score.network for score in scores}) < len(scores)


@dataclass(frozen=True, kw_only=True)
class Judged(OfASet):
    """Fields common to records of networks that were trained on a set."""

    network: Name
    augment: Name
    evaluation_seed: Whole

    @property
    def identity(self) -> tuple[object, ...]:
        return (*self.which_set, self.protocol_hash, self.evaluation_seed)


@dataclass(frozen=True, kw_only=True)
class Distillation(RanOn):
    """What making a set took: time, memory, machine and code."""

    distill_seconds: Seconds
    step_seconds: Seconds | None
    compile_seconds: Seconds | None
    peak_memory_bytes: Whole | None
    torch: Name
    resumed_elsewhere: bool
    # a hash, or several with slashes between them; older sets lack it
    code: Annotated[str, MaxLen(200)] = ""


@final
@dataclass(frozen=True, kw_only=True)
class EvaluationRecord(Judged):
    """The accuracies of networks trained on one synthetic set. ``distillation`` is null if the set
    was not made by this harness.
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
    # what the networks learned: classes, weights (of classes) or teacher; older records lack it
    labels: Annotated[str, MaxLen(20)] = field(default="", metadata=SILENT)
    # folder of data of one's own, as the command named it
    data_folder: Text = field(default="", metadata=SILENT)
    # accuracy of the teacher, whose answers were the labels, on the same test images
    teacher_accuracy: Fraction | None = field(default=None, metadata=SILENT)

    @property
    def accuracies(self) -> tuple[float, ...]:
        """One fraction for each network, in the order of their numbers."""
        return by_number(self.networks)

    @property
    def measurements(self) -> int:
        return len(self.networks)

    def refuse(self) -> str:
        return "field networks names a network twice" if any_twice(self.networks) else ""
