"""Worker processes on this machine."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any, TypeVar, final

from dcbench.system.errors import ClusterError
from dcbench.system.machine import Machine

Value = TypeVar("Value")
RETRIES = 3  # of a task whose worker died


def workers_that_fit(machine: Machine) -> int:
    """Return how many workers this machine has processors for; one on a GPU."""
    affinity = getattr(os, "sched_getaffinity", None)
    processors = len(affinity(0)) if affinity else os.cpu_count() or 1
    return 1 if machine.on_gpu else max(1, processors // machine.threads)


@final
class Processes(Executor):
    """An executor of ``count`` worker processes on this machine.

    Each worker is a process pool of one. If it dies, the others go on, and its task is executed
    again in a new worker.
    """

    def __init__(self, count: int) -> None:
        # the fork server imports torch once and forks each worker; not every system has one
        known = multiprocessing.get_all_start_methods()
        self._context = multiprocessing.get_context("forkserver" if "forkserver" in known else None)
        if "forkserver" in known:
            self._context.set_forkserver_preload(["dcbench.execution.channel"])
        self._ours, self._theirs = self._context.Pipe(duplex=False)
        self._threads = ThreadPoolExecutor(count)
        self._idle: list[ProcessPoolExecutor] = []

    def submit(  # type: ignore[override]  # of positional arguments alone
        self, function: Callable[..., Value], /, *arguments: Any
    ) -> Future[Value]:
        return self._threads.submit(self._run_in_worker, function, *arguments)

    def _run_in_worker(self, function: Callable[..., Value], *arguments: Any) -> Value:
        """Run the function in a worker and wait for it; a thread of this process does that."""
        for _ in range(RETRIES + 1):
            pool = self._worker()
            try:
                future = pool.submit(function, *arguments)
                error = future.exception()
            except BrokenProcessPool as broken:  # its worker died while it was idle
                error = broken
            if not isinstance(error, BrokenProcessPool):
                self._idle.append(pool)
                return future.result()
            pool.shutdown()
            if self._theirs.closed:
                break
        raise ClusterError(f"given up after {RETRIES + 1} attempts ({error})")

    def _worker(self) -> ProcessPoolExecutor:
        """Return an idle worker, or start a new one."""
        with suppress(IndexError):
            return self._idle.pop()
        return ProcessPoolExecutor(1, self._context, _begin, (self._ours,))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Kill all workers at once."""
        self._theirs.close()
        self._threads.shutdown(wait, cancel_futures=cancel_futures)
        for pool in self._idle:
            pool.shutdown(wait)


def _begin(end: Connection) -> None:
    """Set up a new worker: ignore signals, which the parent handles, and exit when the parent
    closes its end of the pipe or dies.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)

    def watch() -> None:
        try:
            end.recv()
        finally:
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
