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
    """How many workers this machine has processors for; one on a GPU."""
    affinity = getattr(os, "sched_getaffinity", None)
    processors = len(affinity(0)) if affinity else os.cpu_count() or 1
    return 1 if machine.on_gpu else max(1, processors // machine.threads)


@final
class Processes(Executor):
    """So many workers, each a process pool of one: a worker that dies takes no other along, and its
    task is carried out again.
    """

    def __init__(self, count: int) -> None:
        # whoever imports torch once and forks for each worker, where the system can do that
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
        """In a thread that waits for one worker."""
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
        """One that is idle, or a new one."""
        with suppress(IndexError):
            return self._idle.pop()
        return ProcessPoolExecutor(1, self._context, _begin, (self._ours,))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End all workers at once, whatever they do."""
        self._theirs.close()
        self._threads.shutdown(wait, cancel_futures=cancel_futures)
        for pool in self._idle:
            pool.shutdown(wait)


def _begin(end: Connection) -> None:
    """In a new worker: leave when the asker closes its end, or dies; signals are the asker's
    matter.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)

    def watch() -> None:
        try:
            end.recv()
        finally:
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
