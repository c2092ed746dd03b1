"""A task is a picklable function call; a channel connects it with the process that submitted it.

The results of a task depend on its fields alone, which include the number of threads: any worker
that executes it, however often, gets the same results.
"""

from __future__ import annotations

import threading
import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar, final, runtime_checkable
from uuid import uuid4
from weakref import WeakValueDictionary

from dcbench.system.machine import Machine
from dcbench.system.progress import Progress

Value = TypeVar("Value")
Ask = Callable[..., tuple[bool, Any]]
MOST_HELD = 8  # shared values that a worker process keeps in memory
_held: dict[str, Any] = {}
_SHARED: WeakValueDictionary[str, Any] = WeakValueDictionary()
_SHARING = threading.Lock()


@runtime_checkable
class Observer(Protocol):
    """The command that submits tasks: it shows their progress and messages, and may stop them."""

    @property
    def progress(self) -> Progress: ...
    @property
    def say(self) -> Callable[[str], None]: ...
    @property
    def stop(self) -> Callable[[], bool]: ...


@final
@dataclass(frozen=True, eq=False)
class Shared(Generic[Value]):
    """A value that several tasks need, such as a data set.

    When a task is pickled, only the value's key travels with it. Each worker process fetches the
    value once.
    """

    value: Value | None
    key: str

    @classmethod
    def of(cls, value: Value) -> Shared[Value]:
        """Wrap ``value``. The key stays the same as long as the value exists."""
        with _SHARING:
            known = (key for key, other in list(_SHARED.items()) if other is value)
            key = next(known, uuid4().hex)
            _SHARED[key] = value
        return cls(value, key)

    def __getstate__(self) -> dict[str, Any]:
        return {"value": None, "key": self.key}


@final
class Channel:
    """The connection of a running task to the process that submitted it. None of it changes a
    result.

    ``ask(kind, *words)`` sends a request to the submitting process; it returns whether the task
    should stop, and the answer. ``patience`` is the least number of seconds between two progress
    reports or checks for a stop.
    """

    def __init__(self, ask: Ask, patience: float = 0.0) -> None:
        self._ask, self._patience, self._asked = ask, patience, 0.0
        self.stopping = False
        # how many results an earlier attempt at this task has stored: they need not be made again
        self.kept: int = self._answer("kept")

    def put(self, result: Any) -> None:
        """Store a result; returns when it is stored.

        Raises:
            KeyboardInterrupt: If the task should stop.
        """
        self._answer("put", result)
        if self.stopping:
            raise KeyboardInterrupt

    def progress(self, text: str, done: int, total: int) -> None:
        """Report that ``done`` of ``total`` steps of the work named ``text`` are done."""
        if done >= total or self._due():
            self._answer("progress", text, done, total)

    def say(self, message: str) -> None:
        """Show a message to the user."""
        self._answer("say", message)

    def stopped(self) -> bool:
        """Return whether the task should stop and leave a state from which it can resume."""
        if not self.stopping and self._due():
            self._answer("kept")
        return self.stopping

    def fetch(self, shared: Shared[Value]) -> Value:
        """Return a shared value, loaded once in this process.

        Raises:
            KeyboardInterrupt: If the task should stop.
        """
        value = _SHARED.get(shared.key)
        if value is None:
            value = self._answer("fetch", shared.key)
        if value is None:
            raise KeyboardInterrupt
        if shared.value is None:  # it belongs to another process
            _SHARED[shared.key] = value
            _held.pop(shared.key, None)
            _held[shared.key] = value  # at the end: the first is dropped
            if len(_held) > MOST_HELD:
                del _held[next(iter(_held))]
        return value  # type: ignore[no-any-return]

    def _due(self) -> bool:
        return time.monotonic() - self._asked >= self._patience

    def _answer(self, kind: str, *words: Any) -> Any:
        self._asked = time.monotonic()
        stopping, answer = self._ask(kind, *words)
        self.stopping |= stopping
        return answer


@final
class Submitter:
    """The submitting process's end of one task's channel: ``keep`` stores each result, the observer
    gets messages.
    """

    error: Exception | None = None  # why a result of a task in another process was not stored

    def __init__(self, keep: Callable[[Any], None], observer: Observer) -> None:
        self._keep, self._observer, self.kept = keep, observer, 0

    def answer(self, kind: str, *words: Any) -> tuple[bool, Any]:
        """Answer one request of the task.

        Returns:
            Whether the task should stop; and the shared value it asked for, or else how many
            results are stored.
        """
        if kind == "put":
            self._keep(*words)
            self.kept += 1
        elif kind in ("progress", "say"):
            getattr(self._observer, kind)(*words)
        return self._observer.stop(), _SHARED.get(*words) if kind == "fetch" else self.kept


class Task(ABC):
    """A piece of work that any process can execute: a frozen dataclass that can be pickled."""

    label: str  # a short description to show
    machine: Machine  # its engine is decided, not ``auto``

    @property
    @abstractmethod
    def spec(self) -> Mapping[str, Any]:
        """The task in plain values: what its results depend on. Error messages show it, so that a
        failed task can be found.
        """

    @abstractmethod
    def execute(self, channel: Channel) -> None:
        """Do the work and put each result when it is ready. Skip the first ``channel.kept``
        results.

        Raises:
            KeyboardInterrupt: When asked to stop; a state to resume from is left behind.
        """


def release_frames(error: BaseException) -> None:
    """Free the local variables in the traceback of ``error``.

    The error is kept until other tasks have ended, and they need the memory.
    """
    chain: list[BaseException | None] = [error]
    known: set[int] = set()
    while chain:
        link = chain.pop()
        if link is not None and id(link) not in known:
            known.add(id(link))
            traceback.clear_frames(link.__traceback__)
            chain += [link.__cause__, link.__context__]
