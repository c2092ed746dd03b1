"""Units of work on a Ray cluster, or on the processors of this machine: the results are those of
``Serial``, sooner.

Ray carries units to workers and repeats one whose worker or node died. Every result is stored here,
by the job that asked for it, as soon as it comes; a unit that fails for its own reasons is not
repeated. Imported only where Ray is asked for.
"""

from __future__ import annotations

import logging
import math
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar, final

import ray
from ray.exceptions import RayError, RayTaskError

from dcbench.execution.interface import (
    PATIENCE,
    Ended,
    Executor,
    Failure,
    Handle,
    Job,
    Site,
    Steps,
    Unit,
)
from dcbench.execution.ray_worker import End, MessageBoard, ObjectStoreHandle, versions, work
from dcbench.system.errors import ClusterError, OutOfRangeError, StorageError
from dcbench.system.machine import Machine

Value = TypeVar("Value")
RETRIES = 3  # of a unit whose worker died
# of work that can be cut anywhere at no cost, so that the last pieces end at about the same time
PIECES_PER_SLOT = 4
SHARED_AT_ONCE = 32  # values kept in the object store


@dataclass(frozen=True)
class Needs:
    """What a unit is declared to need. Fractions of one processor or GPU are shared, above that
    whole ones are counted.
    """

    cpus: float
    gpus: float

    def __post_init__(self) -> None:
        for name, value in (("processors", self.cpus), ("GPUs", self.gpus)):
            if not math.isfinite(value) or value < 0 or (value > 1 and value != int(value)):
                raise OutOfRangeError(
                    f"the {name} of a unit must be a fraction of one or a whole number, got {value:g}"
                )
        if not self.cpus and not self.gpus:
            raise OutOfRangeError(
                "a unit must need some part of a processor or of a GPU, got 0 of both"
            )

    @classmethod
    def of(cls, machine: Machine, cpus: float | None, gpus: float | None) -> Needs:
        """A processor for each thread, or a GPU and one processor where the device is one, if
        nothing else is said.
        """
        alone = 1 if machine.on_gpu else machine.threads
        return cls(alone if cpus is None else cpus, float(machine.on_gpu) if gpus is None else gpus)

    def slots(self) -> int:
        """How many units fit onto the cluster's nodes at once, each onto one; raises ClusterError
        if not even one does.
        """
        wanted = {name: count for name, count in (("CPU", self.cpus), ("GPU", self.gpus)) if count}
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        fit = sum(
            int(min(node.get(name, 0.0) / count for name, count in wanted.items()))
            for node in nodes
        )
        if not fit:
            most = [
                max((node.get(name, 0.0) for node in nodes), default=0.0) for name in ("CPU", "GPU")
            ]
            has = f"{most[0]:g} processors and {most[1]:g} GPUs at the most"
            raise ClusterError(
                f"a unit needs {self.cpus:g} processors and {self.gpus:g} GPUs, but a node of the cluster has {has}"
            )
        return fit


@final
class Ray(Executor):
    """Carries out as many units at a time as the cluster has room for."""

    def __init__(self, needs: Needs, address: str | None = None) -> None:
        """``address``: of a cluster, ``auto`` for the one that this machine belongs to, None for this machine's processors alone."""
        _connect(address)
        self.slots = needs.slots()
        self.board = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(
            MessageBoard
        ).remote()
        resources = {"num_cpus": needs.cpus, "num_gpus": needs.gpus}
        # said here, and not below, a GPU gets a fresh process for each unit
        remote = ray.remote(**resources)(work)
        self._work = remote.options(num_returns="streaming", max_retries=RETRIES)
        self._versions = versions()
        self._shared: dict[int, tuple[Any, Handle[Any]]] = {}

    def share(self, value: Value) -> Handle[Value]:
        if id(value) not in self._shared:
            while len(self._shared) >= SHARED_AT_ONCE:
                self._shared.pop(next(iter(self._shared)))  # its units keep what they need
            # the value is kept, so that its id stays its own
            self._shared[id(value)] = (value, ObjectStoreHandle(ray.put(value)))
        self._shared[id(value)] = self._shared.pop(id(value))  # the last to be given up
        return self._shared[id(value)][1]

    def pieces(self, items: Sequence[Value], machine: Machine) -> list[Sequence[Value]]:
        size = -(
            -len(items)
            // (self.slots if machine.engine == "compiled" else PIECES_PER_SLOT * self.slots)
        )
        return [items[start : start + size] for start in range(0, len(items), max(1, size))]

    def carry_out(self, jobs: Iterable[Job[Value]], site: Site) -> Iterator[Ended[Value]]:
        floor = _Floor(self, iter(jobs), site)
        try:
            yield from floor.work()
        finally:
            floor.clear()

    def begin(self, unit: Unit) -> Any:
        """The stream of a unit's results, which begins when there is room."""
        return self._work.remote(unit, self.board, self._versions)


def _connect(address: str | None) -> None:
    if ray.is_initialized():
        return
    local = {} if address else {"include_dashboard": False}
    before = signal.getsignal(signal.SIGTERM)
    try:
        _knock(address or "")
        _speak_aside()
        ray.init(address or "local", log_to_driver=False, logging_level=logging.ERROR, **local)
    except (OSError, RuntimeError, ValueError) as error:
        here = f"Ray cannot be started here ({error}); --executor serial needs none"
        there = f"no Ray cluster at {address!r} ({error}); start one with ray start --head, or leave --address out"
        raise ClusterError(there if address else here) from error
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)  # Ray's own handler leaves at once


def _speak_aside() -> None:
    """Make Ray report dead workers on standard error: standard output is for results alone."""
    from ray._private import worker

    said = worker.print_to_stdstream
    worker.print_to_stdstream = lambda data, *rest, **more: said(
        {**data, "is_err": True}, *rest, **more
    )


def _knock(address: str) -> None:
    """Raises OSError if nobody answers at ``address``: Ray itself would ask for minutes."""
    host, colon, port = address.rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host, int(port)), timeout=10).close()


@dataclass(eq=False)
class _Active(Generic[Value]):
    """A job on its way, with what it does with results, how many of its units are under way, and
    which have failed.
    """

    job: Job[Value]
    steps: Steps[Value]
    keep: Callable[[Any], None] | None = None
    pending: int = 0
    failures: list[Failure] = field(default_factory=list)


class _Floor(Generic[Value]):
    """Where jobs are under way: enough of them to keep all slots busy, never two in one place."""

    def __init__(self, executor: Ray, jobs: Iterator[Job[Value]], site: Site) -> None:
        self.executor, self.jobs, self.site = executor, jobs, site
        self.put_off: list[Job[Value]] = []  # their place was taken
        self.active: list[_Active[Value]] = []
        self.streams: dict[Any, tuple[_Active[Value], Unit]] = {}
        self.looked = time.monotonic()

    def work(self) -> Iterator[Ended[Value]]:
        """Each job as it ends; raises KeyboardInterrupt when all that was under way has stopped on
        demand.
        """
        while True:
            if not self.site.stop():
                self._fill()
                if not self.active:
                    return
                yield from self._move()
            elif not self.streams:
                raise KeyboardInterrupt
            if self.streams:
                ready, _ = ray.wait(
                    list(self.streams), num_returns=1, timeout=PATIENCE, fetch_local=False
                )
                for stream in ready:
                    self._hear(stream)
            elif self.active:
                time.sleep(PATIENCE)  # each of them waits for another process
            self._look()

    def clear(self) -> None:
        """Give up what is under way and give back what jobs hold."""
        for stream in self.streams:
            ray.cancel(stream, force=True)
        for active in self.active:
            active.steps.close()

    def _fill(self) -> None:
        """Begin jobs, as long as there is room."""
        while len(self.active) < 2 * self.executor.slots and (job := self._next_job()) is not None:
            self.active.append(_Active(job, job.begin()))

    def _move(self) -> Iterator[Ended[Value]]:
        """Go on with the jobs whose units have all ended; those that have ended themselves."""
        for active in [active for active in self.active if not active.pending]:
            if self.site.stop():
                return
            outcome = self._advance(active)
            if outcome is not None:
                self.active.remove(active)
                yield outcome

    def _next_job(self) -> Job[Value] | None:
        taken = {active.job.place for active in self.active}
        for index, job in enumerate(self.put_off):
            if job.place not in taken:
                return self.put_off.pop(index)
        for job in self.jobs:
            if job.place not in taken:
                return job
            self.put_off.append(job)
        return None

    def _advance(self, active: _Active[Value]) -> Ended[Value] | None:
        """Let a job take its next step, which begins the units that it asks for; its end if that
        was the last.
        """
        begun = active.keep is not None
        try:
            batch = active.steps.send(active.failures if begun else None)  # type: ignore[arg-type]  # a generator is begun by None
        except StopIteration as ended:
            return Ended(active.job, ended.value)
        except StorageError:
            raise
        except KeyboardInterrupt:
            if not self.site.stop():
                raise
            # computing of its own was stopped; units under way end as they do
            self.active.remove(active)
            return None
        except Exception as error:
            return Ended(active.job, error)
        active.keep, active.pending, active.failures = batch.keep, len(batch.units), []
        for unit in batch.units:
            self.streams[self.executor.begin(unit)] = (active, unit)
        return None

    def _hear(self, stream: Any) -> None:
        active, unit = self.streams[stream]
        try:
            result = ray.get(next(stream))
        except StopIteration:
            del self.streams[stream]
            active.pending -= 1
        except RayTaskError as error:  # not of the unit itself, whose own errors come in an ``End``
            failed = " ".join(str(error.cause).split())[:200]
            active.failures.append(
                Failure(unit, ClusterError(f"a worker could not carry it out ({failed})"))
            )
        except RayError as error:
            lost = f"given up after {RETRIES + 1} attempts ({' '.join(str(error).split())[:200]})"
            active.failures.append(Failure(unit, ClusterError(lost)))
        else:
            self._take(active, unit, result)

    def _take(self, active: _Active[Value], unit: Unit, result: Any) -> None:
        if not isinstance(result, End):
            assert active.keep is not None  # noqa: S101 - whose units are under way has asked for them
            active.keep(result)
        elif isinstance(result.error, StorageError):
            raise result.error
        elif result.error is not None:
            active.failures.append(Failure(unit, result.error))

    def _look(self) -> None:
        """Pass on what workers say, and whether they are asked to stop."""
        if time.monotonic() - self.looked < PATIENCE and not self.site.stop():
            return
        self.looked = time.monotonic()
        for kind, words in ray.get(self.executor.board.read.remote(self.site.stop())):
            (self.site.progress if kind == "progress" else self.site.say)(*words)
