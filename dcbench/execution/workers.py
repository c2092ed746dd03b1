"""Execute tasks one after another in this process, or in parallel in the workers of an executor."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from typing import Any, TypeVar

from dcbench.execution.channel import (
    ONE_THREAD,
    PATIENCE,
    ChannelServer,
    Link,
    execute_in_worker,
    pack,
)
from dcbench.execution.task import Channel, Observer, Submitter, Task, release_frames
from dcbench.system.errors import ClusterError, OutOfRangeError, StorageError
from dcbench.system.machine import Machine

Item = TypeVar("Item")
Value = TypeVar("Value")
Failures = list[tuple[Task, Exception]]
# for work that can be split anywhere at no cost: small pieces end at about the same time
PIECES_PER_WORKER = 4


class Workers:
    """The worker processes of an executor (``concurrent.futures``), with ``count`` tasks at a time.

    ``host`` is a name of this machine that workers on other machines can reach. The caller shuts
    the executor down.
    """

    def __init__(self, executor: Executor, count: int, host: str | None = None) -> None:
        if isinstance(executor, ThreadPoolExecutor):
            raise OutOfRangeError(f"{ONE_THREAD}; wanted a ProcessPoolExecutor, got threads")
        self.executor, self.count, self.server = executor, count, ChannelServer(host)

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_error: object) -> None:
        self.server.close()

    def submit_all(
        self, tasks: Iterable[Task], keep: Callable[[Any], None], observer: Observer
    ) -> Failures:
        """Submit all tasks and wait for them. Returns the tasks that failed, with their errors."""
        links = [(task, self.server.open(keep, observer)) for task in tasks]
        pending = {self._submit(*each): each for each in links}
        failures: Failures = []
        try:
            while pending:
                done, _ = wait(pending, PATIENCE, FIRST_COMPLETED)
                if self.server.closed:
                    raise KeyboardInterrupt
                for task, error in [self._ended(future, *pending.pop(future)) for future in done]:
                    if isinstance(error, StorageError):
                        raise error
                    failures += [(task, error)] if error else []
        finally:
            for _, link in pending.values():
                self.server.end(link)  # what they still put is not stored
        return failures

    def _submit(self, task: Task, link: Link) -> Future[Exception | None]:
        try:
            return self.executor.submit(execute_in_worker, pack(task), link)
        except RuntimeError as error:  # the executor is broken or shut down
            refused: Future[Exception | None] = Future()
            refused.set_exception(error)
            return refused

    def _ended(
        self, future: Future[Exception | None], task: Task, link: Link
    ) -> tuple[Task, Exception | None]:
        """Return a finished task and its error, or None."""
        unstored = self.server.end(link)
        try:
            return task, unstored or future.result()
        except ClusterError as error:
            return task, error
        except Exception as error:
            return task, ClusterError(f"given up ({' '.join(str(error).split())[:200]})")


def execute_tasks(
    tasks: Iterable[Task],
    keep: Callable[[Any], None],
    observer: Observer,
    workers: Workers | None = None,
) -> None:
    """Execute tasks and ``keep`` each result as it comes: in this process one after another, or in
    ``workers``.

    A failed task does not stop the others. When all have ended, the first error is raised with the
    task's spec in a note.

    Raises:
        StorageError: As soon as a result cannot be stored.
        KeyboardInterrupt: When asked to stop, after all finished results are stored.
    """
    failures = (
        workers.submit_all(tasks, keep, observer) if workers else _here(tasks, keep, observer)
    )
    if observer.stop():
        raise KeyboardInterrupt
    for task, error in failures:
        error.add_note(f"{task.label}: " + ", ".join(f"{k}={v}" for k, v in task.spec.items()))
        raise error


def _here(tasks: Iterable[Task], keep: Callable[[Any], None], observer: Observer) -> Failures:
    failures: Failures = []
    for task in tasks:
        try:
            task.execute(Channel(Submitter(keep, observer).answer))
        except StorageError:
            raise
        except Exception as error:
            release_frames(error)
            task.machine.free()
            failures.append((task, error))
    return failures


def pieces(
    items: Sequence[Value], machine: Machine, workers: Workers | None
) -> list[Sequence[Value]]:
    """Split ``items`` into the lists that are worth a task each."""
    if workers is None:
        return [items] if items else []
    per_worker = 1 if machine.engine == "compiled" else PIECES_PER_WORKER
    size = max(1, -(-len(items) // (per_worker * workers.count)))
    return [items[start : start + size] for start in range(0, len(items), size)]


def each(
    function: Callable[[Item], Value], items: Iterable[Item], workers: Workers | None = None
) -> Iterator[tuple[Item, Value | Exception]]:
    """Call ``function`` on each item; yield each item with its result or exception, as they end.

    ``function`` calls ``execute_tasks``. With ``workers`` it is called in threads, on as many items
    at a time as keep all workers busy; the threads mostly wait for tasks.

    Raises:
        StorageError, KeyboardInterrupt: As soon as one call raises it.
    """
    if workers is None:
        for item in items:
            yield item, _attempt(function, item)
            del item  # frees its memory before the next one is made
        return
    pending: dict[Future[Value | Exception], Item] = {}
    with ThreadPoolExecutor(2 * workers.count) as threads:
        try:
            for item in items:
                pending[threads.submit(_attempt, function, item)] = item
                if len(pending) == 2 * workers.count:
                    yield from _ended(pending)
            while pending:
                yield from _ended(pending)
        except BaseException:
            workers.server.close()  # ends the threads that wait for tasks
            raise


def result(outcome: Value | Exception) -> Value:
    """Return the result of a call that ``each`` made, or raise its exception."""
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def _attempt(function: Callable[[Item], Value], item: Item) -> Value | Exception:
    try:
        return function(item)
    except StorageError:
        raise
    except Exception as error:
        return error


def _ended(
    pending: dict[Future[Value | Exception], Item],
) -> Iterator[tuple[Item, Value | Exception]]:
    """Yield the next calls that have ended. If one was interrupted, all were: wait for them.

    Every wait has a time limit: a signal that another thread received does not end a wait.
    """
    while not (done := wait(pending, PATIENCE, FIRST_COMPLETED).done):
        pass
    for future in done:
        if isinstance(future.exception(), KeyboardInterrupt):
            while wait(pending, PATIENCE).not_done:
                pass
        yield pending.pop(future), future.result()
