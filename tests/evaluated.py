"""Evaluate and trace sets in this process."""

from __future__ import annotations

from pathlib import Path

from dcbench.evaluation.protocol import Protocol
from dcbench.experiments.context import StoredSet, Workspace
from dcbench.experiments.evaluate import SetEvaluation
from dcbench.experiments.evaluate import evaluate_set as evaluate
from dcbench.experiments.trace import Trace
from dcbench.images import TestSet
from dcbench.records import EvaluationRecord, TraceRecord


def evaluate_set(
    distilled: StoredSet,
    test: TestSet,
    protocol: Protocol,
    seed: int,
    networks: int,
    workspace: Workspace,
) -> EvaluationRecord:
    """The record of the set's first ``networks``."""
    return evaluate(SetEvaluation(distilled, test, protocol, seed, networks, workspace))


def traced(trace: Trace, networks: int) -> tuple[TraceRecord, Path]:
    """The trace's record and its path."""
    return trace.make_record(networks)
