"""A task is a picklable function call; a channel connects it with the process that asked for it.

The results of a task follow from its fields alone, the number of threads included: whoever carries
it out, and however often, gets the same results.
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
MOST_HELD = 8  # shared values that a worker process holds
_held: dict[str, Any] = {}
_SHARED: WeakValueDictionary[str, Any] = WeakValueDictionary()
_SHARING = threading.Lock()


@runtime_checkable
class Observer(Protocol):
    """The command that asks for tasks: it sees their progress and messages and may stop them."""

    @property
    def progress(self) -> Progress: ...
    @property
    def say(self) -> Callable[[str], None]: ...
    @property
    def stop(self) -> Callable[[], bool]: ...


@final
@dataclass(frozen=True, eq=False)
class Shared(Generic[Value]):
    """A value that several tasks need, a data set above all.

    A task takes only its key along; each worker process fetches the value once.
    """

    value: Value | None
    key: str

    @classmethod
    def of(cls, value: Value) -> Shared[Value]:
        """``value`` to be shared; the same key for as long as it exists."""
        with _SHARING:
            known = (key for key, other in list(_SHARED.items()) if other is value)
            key = next(known, uuid4().hex)
            _SHARED[key] = value
        return cls(value, key)

    def __getstate__(self) -> dict[str, Any]:
        return {"value": None, "key": self.key}


@final
class Channel:
    """What a task says and hears while it is carried out; none of it changes a result.

    ``ask(kind, *words)`` reaches whoever asked for the task, in this process or another: it returns
    whether the task should stop, and what was asked for. ``patience``: progress and whether to stop
    are passed on once in so many seconds.
    """

    def __init__(self, ask: Ask, patience: float = 0.0) -> None:
        self._ask, self._patience, self._asked = ask, patience, 0.0
        self.stopping = False
        # results that an earlier attempt at the task put, and that need not be put again
        self.kept: int = self._answer("kept")

    def put(self, result: Any) -> None:
        """Hand over a result: it is stored when this returns. Raises KeyboardInterrupt when the
        task should stop.
        """
        self._answer("put", result)
        if self.stopping:
            raise KeyboardInterrupt

    def progress(self, text: str, done: int, total: int) -> None:
        """Say how far a piece of the work is."""
        if done >= total or self._due():
            self._answer("progress", text, done, total)

    def say(self, message: str) -> None:
        """Say a line to people."""
        self._answer("say", message)

    def stopped(self) -> bool:
        """Whether the task should stop, with a resumable state left behind."""
        if not self.stopping and self._due():
            self._answer("kept")
        return self.stopping

    def fetch(self, shared: Shared[Value]) -> Value:
        """A shared value, in this process. Raises KeyboardInterrupt when the task should stop."""
        value = _SHARED.get(shared.key)
        if value is None:
            value = self._answer("fetch", shared.key)
        if value is None:
            raise KeyboardInterrupt
        if shared.value is None:  # it is another process's
            _SHARED[shared.key] = value
            _held.pop(shared.key, None)
            _held[shared.key] = value  # the last to be given up
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
    """Whoever asked for a task, as its channel reaches it: ``keep`` stores each result."""

    error: Exception | None = None  # why a result of a task in another process was not stored

    def __init__(self, keep: Callable[[Any], None], observer: Observer) -> None:
        self._keep, self._observer, self.kept = keep, observer, 0

    def answer(self, kind: str, *words: Any) -> tuple[bool, Any]:
        """Whether the task should stop; and a shared value, or how many results are kept."""
        if kind == "put":
            self._keep(*words)
            self.kept += 1
        elif kind in ("progress", "say"):
            getattr(self._observer, kind)(*words)
        return self._observer.stop(), _SHARED.get(*words) if kind == "fetch" else self.kept


class Task(ABC):
    """A frozen dataclass: one piece of work that any process can carry out."""

    label: str  # in a few words, for people
    machine: Machine  # with its engine decided

    @property
    @abstractmethod
    def spec(self) -> Mapping[str, Any]:
        """What the results follow from, in plain values: enough to find the work again from a
        report of its failure.
        """

    @abstractmethod
    def execute(self, channel: Channel) -> None:
        """Do the work and put each result as it is ready, except those that are ``kept``.

        Raises KeyboardInterrupt when asked to stop, with a resumable state left behind.
        """


def release_frames(error: BaseException) -> None:
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
