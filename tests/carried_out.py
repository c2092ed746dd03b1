"""Single jobs, carried out in this process."""

from __future__ import annotations

from pathlib import Path

from dcbench.evaluation.protocol import Protocol
from dcbench.execution.interface import Job
from dcbench.experiments.context import Cell, StoredSet, Workspace
from dcbench.experiments.distil import distilling
from dcbench.experiments.evaluate import SetEvaluation, scoring
from dcbench.experiments.trace import Trace
from dcbench.images import TestSet
from dcbench.nas.proxies import Proxy
from dcbench.nas.study import ArchitectureStudy, Rows, job
from dcbench.records import EvaluationRecord, TraceRecord


def distil(cell: Cell, workspace: Workspace) -> StoredSet:
    """The cell's synthetic set."""
    return workspace.executor.finish(
        Job(cell.label, cell.folder(workspace), lambda: distilling(cell, workspace)), workspace.site
    )


def score(
    distilled: StoredSet,
    test: TestSet,
    protocol: Protocol,
    seed: int,
    networks: int,
    workspace: Workspace,
) -> EvaluationRecord:
    """The record of the set's first ``networks``."""
    set_evaluation = SetEvaluation(distilled, test, protocol, seed, networks, workspace)
    return workspace.executor.finish(
        Job(distilled.label, set_evaluation.folder, lambda: scoring(set_evaluation)), workspace.site
    )


def traced(trace: Trace, networks: int) -> tuple[TraceRecord, Path]:
    """The trace's record and its path."""
    job = Job(trace.cell.label, trace.folder, lambda: trace.tracing(networks))
    return trace.workspace.executor.finish(job, trace.workspace.site)


def train_on(study: ArchitectureStudy, proxy: Proxy, workspace: Workspace) -> Rows:
    """What the study trains on ``proxy``."""
    return workspace.executor.finish(job(study, proxy, workspace), workspace.site)
