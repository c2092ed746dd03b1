"""Jobs and their units: results are kept as they come, what fails stops nothing else, and a unit is
the same wherever it is done.
"""

from __future__ import annotations

import gc
import pickle
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from dcbench.datasets.loading import Loaded, load
from dcbench.datasets.places import Places
from dcbench.evaluation.protocol import PROTOCOLS
from dcbench.execution.interface import (
    Ended,
    Executor,
    Failure,
    Here,
    Job,
    Serial,
    Site,
    Steps,
    Unit,
    UnitBatch,
)
from dcbench.experiments.context import Cell, Workspace
from dcbench.experiments.distil import prepare
from dcbench.experiments.presets import build
from dcbench.experiments.tasks import Networks
from dcbench.nas.catalogue import SPACES
from dcbench.nas.proxies import make_proxies, parse_requests
from dcbench.nas.tasks import ArchitectureTask, ProxyData
from dcbench.run import Run
from dcbench.system.errors import StorageError
from dcbench.system.machine import Machine
from tests.carried_out import distil


@dataclass(frozen=True)
class Count(Unit):
    """Counts, and fails after ``most``."""

    label: str
    machine: Machine
    numbers: tuple[int, ...]
    error: Exception | None = None

    @property
    def spec(self) -> Mapping[str, Any]:
        return {"numbers": self.numbers}

    def results(self, site: Site) -> Iterator[int]:
        yield from self.numbers
        if self.error:
            raise self.error


def counting(units: Sequence[Unit], kept: list[int]) -> Steps[int]:
    failures = yield UnitBatch(units, kept.append)
    for failure in failures:
        failure.raise_error()
    return sum(kept)


def jobs_of(*batches: Sequence[Unit]) -> tuple[list[Job[int]], list[list[int]]]:
    kept: list[list[int]] = [[] for _ in batches]
    jobs = [
        Job(str(index), Path(str(index)), partial(counting, batch, own))
        for index, (batch, own) in enumerate(zip(batches, kept, strict=True))
    ]
    return jobs, kept


def ended(
    executor: Executor, jobs: Sequence[Job[int]], site: Site | None = None
) -> list[Ended[int]]:
    return list(executor.carry_out(jobs, site or Site()))


@dataclass(frozen=True)
class Hoarding(Unit):
    """Holds much when it fails, and so does what its error came of."""

    label: str
    machine: Machine
    held: list[weakref.ref[torch.Tensor]]

    @property
    def spec(self) -> Mapping[str, Any]:
        return {}

    def results(self, site: Site) -> Iterator[int]:
        yield 1
        much = torch.zeros(3)
        self.held.append(weakref.ref(much))
        try:
            self._more()
        except ValueError as error:
            raise RuntimeError("out of memory") from error

    def _more(self) -> None:
        more = torch.zeros(3)
        self.held.append(weakref.ref(more))
        raise ValueError(len(more))


def test_what_fails_holds_nothing_while_others_work(machine: Machine) -> None:
    held: list[weakref.ref[torch.Tensor]] = []
    jobs, _ = jobs_of([Hoarding("hoarding", machine, held)])
    (failed,) = ended(Serial(), jobs)
    gc.collect()
    assert len(held) == 2
    assert [reference() for reference in held] == [None, None]
    with pytest.raises(RuntimeError, match="out of memory"):
        _ = failed.result


def test_a_unit_that_fails_stops_neither_its_neighbours_nor_other_jobs(machine: Machine) -> None:
    broken = Count("broken", machine, (1, 2), ValueError("of its own making"))
    jobs, kept = jobs_of([broken, Count("sound", machine, (3,))], [Count("other", machine, (4, 5))])
    first, second = ended(Serial(), jobs)
    assert kept == [[1, 2, 3], [4, 5]]
    with pytest.raises(ValueError, match="of its own making") as failed:
        _ = first.result
    assert failed.value.__notes__ == ["broken: numbers=(1, 2)"]
    assert second.result == 9


def test_a_disk_that_cannot_be_written_stops_everything(machine: Machine) -> None:
    jobs, kept = jobs_of(
        [Count("full", machine, (1,), StorageError("full"))], [Count("other", machine, (2,))]
    )
    with pytest.raises(StorageError, match="full"):
        ended(Serial(), jobs)
    assert kept == [[1], []]


def test_asked_to_stop_what_is_done_is_kept_and_what_is_held_given_back(machine: Machine) -> None:
    given_back: list[str] = []

    def holding() -> Steps[None]:
        try:
            yield UnitBatch([Count("unit", machine, (1, 2, 3))], kept.append)
        finally:
            given_back.append("lock")

    kept: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        list(
            Serial().carry_out(
                [Job("job", Path("place"), holding)], Site(stop=lambda: len(kept) == 2)
            )
        )
    assert (kept, given_back) == ([1, 2], ["lock"])


def test_one_job_alone_gives_its_result_or_raises(machine: Machine) -> None:
    jobs, _ = jobs_of(
        [Count("unit", machine, (1, 2))], [Count("broken", machine, (), ArithmeticError("lost"))]
    )
    assert Serial().finish(jobs[0], Site()) == 3
    with pytest.raises(ArithmeticError, match="lost"):
        Serial().finish(jobs[1], Site())


def test_a_failure_says_which_work_it_was(machine: Machine) -> None:
    failure = Failure(Count("unit", machine, (7,)), RuntimeError("why"))
    with pytest.raises(RuntimeError, match="why") as raised:
        failure.raise_error()
    assert raised.value.__notes__ == ["unit: numbers=(7,)"]


def sent(unit: Unit) -> Unit:
    """The unit as another process would have it."""
    there: Unit = pickle.loads(pickle.dumps(unit))
    return there


def test_a_distillation_sent_elsewhere_makes_the_same_set(
    digits: Loaded, machine: Machine, tmp_path: Path
) -> None:
    cell = Cell(build("dm", "paper", {"iterations": 2, "real_batch": 8}), "paper", digits, 1, 0)
    unit = prepare(cell, Workspace(tmp_path / "here", machine))
    elsewhere = replace(unit, folder=tmp_path / "there", shared=tmp_path / "shared")
    (here,), (there,) = unit.results(Site()), sent(elsewhere).results(Site())
    assert torch.equal(here.synthetic.images, there.synthetic.images)
    assert here.history == there.history
    assert unit.spec["method"] == "dm"
    assert unit.spec["iterations"] == 2


def test_networks_sent_elsewhere_have_the_same_accuracies(
    digits: Loaded, machine: Machine, tmp_path: Path
) -> None:
    distilled = distil(
        Cell(build("random", "paper"), "paper", digits, 1, 0), Workspace(tmp_path, machine)
    )
    protocol = PROTOCOLS["quick"].with_options(epochs=2)
    what = (machine, distilled.sha256, Here(distilled.synthetic), Here(digits.test), protocol, 0)
    together = [
        row["accuracy"] for rows in Networks("both", *what, (0, 1)).results(Site()) for row in rows
    ]
    apart = [
        row["accuracy"]
        for index in (0, 1)
        for rows in sent(Networks("one", *what, (index,))).results(Site())
        for row in rows
    ]
    assert together == apart


def test_architectures_sent_elsewhere_have_the_same_accuracies(
    machine: Machine, tmp_path: Path
) -> None:
    space = SPACES["convnet720"]
    held = load("digits", Places(None, tmp_path), holdout=100)
    (proxy,) = make_proxies(parse_requests(["random:1"]), {}, held, Run(0, machine))
    protocol = space.protocol.with_epochs(2, None)
    assert held.holdout is not None
    bench = Here(ProxyData(space, held.spec, proxy, protocol, held.holdout, None))
    unit = ArchitectureTask("search", machine, bench, "d1-w32-relu-none-none", (0, 1), 0)
    together = [row["accuracy"] for row in unit.results(Site())]
    apart = [
        row["accuracy"]
        for seed in (0, 1)
        for row in sent(replace(unit, seeds=(seed,))).results(Site())
    ]
    assert together == apart
    assert all(accuracy is not None for accuracy in together)
