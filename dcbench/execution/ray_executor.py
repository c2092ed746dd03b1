"""Ray as an executor: on a cluster, or on the processors of this machine.

Ray schedules the tasks, and executes a task again if its worker or node died. This module is
imported only when Ray is asked for.
"""

from __future__ import annotations

import logging
import math
import signal
import socket
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import ExitStack, redirect_stdout
from dataclasses import dataclass
from typing import Any, TypeVar, final

import ray

from dcbench.execution.processes import RETRIES
from dcbench.system.errors import ClusterError, OutOfRangeError
from dcbench.system.machine import Machine

Value = TypeVar("Value")


@dataclass(frozen=True)
class Needs:
    """The processors and GPUs that each task reserves: a fraction of one, which tasks share, or a
    whole number.
    """

    cpus: float
    gpus: float

    def __post_init__(self) -> None:
        for name, value in (("processors", self.cpus), ("GPUs", self.gpus)):
            if not math.isfinite(value) or value < 0 or (value > 1 and value != int(value)):
                raise OutOfRangeError(
                    f"the {name} of a task must be a fraction of one or a whole number, got "
                    f"{value:g}"
                )
        if not self.cpus and not self.gpus:
            raise OutOfRangeError(
                "a task must need some part of a processor or of a GPU, got 0 of both"
            )

    @classmethod
    def of(cls, machine: Machine, cpus: float | None, gpus: float | None) -> Needs:
        """Return the needs of a task. By default a processor for each thread, or on a GPU the GPU
        and one processor.
        """
        alone = 1 if machine.on_gpu else machine.threads
        return cls(alone if cpus is None else cpus, float(machine.on_gpu) if gpus is None else gpus)

    def slots(self) -> int:
        """Return how many tasks fit onto the cluster at once, each on one node.

        Raises:
            ClusterError: If no node has room for one.
        """
        wanted = {name: count for name, count in (("CPU", self.cpus), ("GPU", self.gpus)) if count}
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        fit = sum(
            int(min(node.get(name, 0.0) / count for name, count in wanted.items()))
            for node in nodes
        )
        if not fit:
            cpus, gpus = (max((n.get(k, 0.0) for n in nodes), default=0.0) for k in ("CPU", "GPU"))
            raise ClusterError(
                f"a task needs {self.cpus:g} processors and {self.gpus:g} GPUs, but a node of the "
                f"cluster has {cpus:g} processors and {gpus:g} GPUs at the most"
            )
        return fit


@final
class Ray(Executor):
    """Ray with the standard library's executor interface.

    Until ``shutdown``, standard output goes to standard error: Ray prints reports of dead workers
    on standard output, where ``--json`` must be alone.
    """

    def __init__(self, needs: Needs, address: str | None = None) -> None:
        """Start Ray, or connect to a cluster.

        Args:
            needs: What each task reserves.
            address: Of a cluster; ``auto`` for the one that this machine belongs to; None for this
                machine's processors alone.
        """
        with ExitStack() as ends:
            ends.enter_context(redirect_stdout(sys.stderr))  # until Ray has shut down
            if not ray.is_initialized():
                _connect(address)
                ends.callback(ray.shutdown)
            self.slots = needs.slots()
            self._ends = ends.pop_all()
        # the address at which workers on other nodes reach this process
        self.host = ray.util.get_node_ip_address() if address else None
        # if this stood in submit, Ray would start a new process for each task on a GPU
        remote = ray.remote(num_cpus=needs.cpus, num_gpus=needs.gpus, max_retries=RETRIES)
        self._call = remote(_called)

    def submit(  # type: ignore[override]  # of positional arguments alone
        self, function: Callable[..., Value], /, *arguments: Any
    ) -> Future[Value]:
        return self._call.remote(function, *arguments).future()  # type: ignore[no-any-return]

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Disconnect from Ray; stop it if it was started here."""
        self._ends.close()


def _called(function: Callable[..., Value], *arguments: Any) -> Value:
    return function(*arguments)


def _connect(address: str | None) -> None:
    local = {} if address else {"include_dashboard": False}
    before = signal.getsignal(signal.SIGTERM)
    try:
        _knock(address or "")
        ray.init(address or "local", log_to_driver=False, logging_level=logging.ERROR, **local)
    except Exception as error:  # Ray raises a bare Exception when its processes are slow to start
        here = f"Ray cannot be started here ({error}); --executor serial needs none"
        there = (
            f"no Ray cluster at {address!r} ({error}); start one with ray start --head, or leave "
            "--address out"
        )
        raise ClusterError(there if address else here) from error
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)  # Ray's own handler exits at once


def _knock(address: str) -> None:
    """Raise OSError if nothing listens at ``address``. Ray itself would retry for minutes."""
    host, colon, port = address.rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host, int(port)), timeout=10).close()
