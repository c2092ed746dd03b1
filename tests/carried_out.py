"""Single jobs, carried out in this process."""

from __future__ import annotations

from pathlib import Path

from dcbench.evaluation.protocol import Protocol
from dcbench.execution.interface import Job
from dcbench.experiments.context import Cell, Distilled, Workshop
from dcbench.experiments.distil import distilling
from dcbench.experiments.evaluate import Judgement, scoring
from dcbench.experiments.trace import Trace
from dcbench.images import TestSet
from dcbench.nas.proxies import Proxy
from dcbench.nas.study import Rows, Study, job
from dcbench.records import EvaluationRecord, TraceRecord


def distil(cell: Cell, workshop: Workshop) -> Distilled:
    """The cell's synthetic set."""
    return workshop.executor.finish(
        Job(cell.label, cell.folder(workshop), lambda: distilling(cell, workshop)), workshop.site
    )


def score(
    distilled: Distilled,
    test: TestSet,
    protocol: Protocol,
    seed: int,
    networks: int,
    workshop: Workshop,
) -> EvaluationRecord:
    """The record of the set's first ``networks``."""
    judgement = Judgement(distilled, test, protocol, seed, networks, workshop)
    return workshop.executor.finish(
        Job(distilled.label, judgement.folder, lambda: scoring(judgement)), workshop.site
    )


def traced(trace: Trace, networks: int) -> tuple[TraceRecord, Path]:
    """The trace's record and its path."""
    job = Job(trace.cell.label, trace.folder, lambda: trace.tracing(networks))
    return trace.workshop.executor.finish(job, trace.workshop.site)


def train_on(study: Study, proxy: Proxy, workshop: Workshop) -> Rows:
    """What the study trains on ``proxy``."""
    return workshop.executor.finish(job(study, proxy, workshop), workshop.site)
