"""Units of work, and who carries them out: here one after another, or whoever implements
``Executor``.

A unit is a pure function of its picklable spec, the number of threads included: whoever carries it
out, and however often, gets the same results. A job says which units it needs, keeps their results
as they come, and goes on when all have ended.
"""

from __future__ import annotations

import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar, final

from dcbench.system.errors import StorageError
from dcbench.system.machine import Machine
from dcbench.system.progress import Progress, silent

Value = TypeVar("Value")
Shared_co = TypeVar("Shared_co", covariant=True)
PATIENCE = 1.0  # seconds between two questions of whoever waits


@dataclass(frozen=True)
class Site:
    """What a unit hears and says while it is carried out; none of it changes a result."""

    progress: Progress = silent
    say: Callable[[str], None] = lambda _message: None
    stop: Callable[[], bool] = lambda: False


class Handle(ABC, Generic[Shared_co]):
    """What several units need, data sets above all: sent at most once to each process, and not part
    of any spec in words.
    """

    @abstractmethod
    def get(self) -> Shared_co:
        """The value, in this process."""


@final
@dataclass(frozen=True, eq=False)
class Here(Handle[Value]):
    """A value of this process."""

    value: Value

    def get(self) -> Value:
        return self.value


class Unit(ABC):
    """A frozen dataclass: one piece of work that can be carried out anywhere."""

    label: str  # in a few words, for people
    machine: Machine  # with its engine decided

    @property
    @abstractmethod
    def spec(self) -> Mapping[str, Any]:
        """What the results follow from, in plain values: enough to find the work again from a
        report of its failure.
        """

    @abstractmethod
    def results(self, site: Site) -> Iterator[Any]:
        """Do the work; each result as it is ready. Raises KeyboardInterrupt when asked to stop,
        with a resumable state left behind.
        """


@dataclass(frozen=True)
class Failure:
    """A unit that failed for its own reasons: to try it again would end in the same way."""

    unit: Unit
    error: Exception

    def raise_error(self) -> None:
        """Raise what the unit raised, with its spec in a note."""
        words = ", ".join(f"{name}={value}" for name, value in self.unit.spec.items())
        self.error.add_note(f"{self.unit.label}: {words}")
        raise self.error


@dataclass(frozen=True)
class UnitBatch:
    """Units that may be carried out in any order, and what is done with each result as it comes, in
    this process.

    One without units says that the job has to wait for something else; it is asked again soon.
    """

    units: Sequence[Unit]
    keep: Callable[[Any], None]


# a job on its way: yields batches, is sent what failed of them, returns its result
Steps = Generator[UnitBatch, Sequence[Failure], Value]


@dataclass(frozen=True)
class Job(Generic[Value]):
    """Something to be made in one folder, which no other job may work in meanwhile."""

    label: str
    place: Path
    begin: Callable[[], Steps[Value]]


@dataclass(frozen=True)
class Ended(Generic[Value]):
    """A job that is done, or could not be done."""

    job: Job[Value]
    outcome: Value | Exception

    @property
    def result(self) -> Value:
        """What the job was for; raises what it failed of."""
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


class Executor(ABC):
    """Carries out units. Whatever can be stored is stored before KeyboardInterrupt is raised."""

    @abstractmethod
    def share(self, value: Value) -> Handle[Value]:
        """A handle by which units reach ``value`` wherever they are carried out."""

    @abstractmethod
    def pieces(self, items: Sequence[Value], machine: Machine) -> list[Sequence[Value]]:
        """``items`` in as many pieces as are worth a unit each."""

    @abstractmethod
    def carry_out(self, jobs: Iterable[Job[Value]], site: Site) -> Iterator[Ended[Value]]:
        """Carry out ``jobs``, each as it ends. One that fails does not stop the others; a disk that
        cannot be written does.
        """

    def finish(self, job: Job[Value], site: Site) -> Value:
        """The result of one job; raises what it raises."""
        (ended,) = self.carry_out([job], site)
        return ended.result


@final
class Serial(Executor):
    """One unit after another in this process."""

    def share(self, value: Value) -> Handle[Value]:
        return Here(value)

    def pieces(self, items: Sequence[Value], machine: Machine) -> list[Sequence[Value]]:
        return [items] if items else []

    def carry_out(self, jobs: Iterable[Job[Value]], site: Site) -> Iterator[Ended[Value]]:
        for job in jobs:
            try:
                ended = Ended(job, _through(job.begin(), site))
            except StorageError:
                raise
            except Exception as error:
                ended = Ended(job, error)
            yield ended


def _through(steps: Steps[Value], site: Site) -> Value:
    """Carry out a job's batches here, one unit after another."""
    failures: list[Failure] | None = None
    while True:
        try:
            batch = steps.send(failures)  # type: ignore[arg-type]  # a generator is begun by None
        except StopIteration as ended:
            return ended.value  # type: ignore[no-any-return]
        failures = []
        try:
            if not batch.units:
                _wait(site)
            for unit in batch.units:
                failures += _carried_out(unit, batch.keep, site)
        except BaseException:
            steps.close()  # gives back what the job holds
            raise


def _wait(site: Site) -> None:
    if site.stop():
        raise KeyboardInterrupt
    time.sleep(PATIENCE)


def _let_go(error: BaseException) -> None:
    """Give up what the functions held that ``error`` came through: it is kept until others have
    ended, who need the memory.
    """
    chain: list[BaseException | None] = [error]
    known: set[int] = set()
    while chain:
        link = chain.pop()
        if link is not None and id(link) not in known:
            known.add(id(link))
            traceback.clear_frames(link.__traceback__)
            chain += [link.__cause__, link.__context__]


def _carried_out(unit: Unit, keep: Callable[[Any], None], site: Site) -> list[Failure]:
    results = unit.results(site)
    while True:
        try:
            result = next(results)
        except StopIteration:
            return []
        except StorageError:
            raise
        except Exception as error:
            _let_go(error)
            unit.machine.free()
            return [Failure(unit, error)]
        keep(result)
        if site.stop():
            raise KeyboardInterrupt
