"""A task is a picklable function call; a channel connects it with the process that asked for it.

The results of a task follow from its fields alone, the number of threads included: whoever carries
it out, and however often, gets the same results.
"""

from __future__ import annotations

import threading
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


class Channel(ABC):
    """What a task says and hears while it is carried out; none of it changes a result."""

    kept = 0  # results that an earlier attempt at the task put, and that need not be put again

    @abstractmethod
    def put(self, result: Any) -> None:
        """Hand over a result: it is stored when this returns. Raises KeyboardInterrupt when the
        task should stop.
        """

    @abstractmethod
    def progress(self, text: str, done: int, total: int) -> None:
        """Say how far a piece of the work is."""

    @abstractmethod
    def say(self, message: str) -> None:
        """Say a line to people."""

    @abstractmethod
    def stopped(self) -> bool:
        """Whether the task should stop, with a resumable state left behind."""

    @abstractmethod
    def fetch(self, shared: Shared[Value]) -> Value:
        """A shared value, in this process."""


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
    def carry_out(self, channel: Channel) -> None:
        """Do the work and put each result as it is ready, except those that are ``kept``.

        Raises KeyboardInterrupt when asked to stop, with a resumable state left behind.
        """


@final
class LocalChannel(Channel):
    """A channel within one process: ``keep`` stores each result."""

    def __init__(self, keep: Callable[[Any], None], observer: Observer) -> None:
        self._keep, self._observer = keep, observer

    def put(self, result: Any) -> None:
        self._keep(result)
        self.kept += 1
        if self.stopped():
            raise KeyboardInterrupt

    def progress(self, text: str, done: int, total: int) -> None:
        self._observer.progress(text, done, total)

    def say(self, message: str) -> None:
        self._observer.say(message)

    def stopped(self) -> bool:
        return self._observer.stop()

    def fetch(self, shared: Shared[Value]) -> Value:
        return _SHARED[shared.key]  # type: ignore[no-any-return]


def let_go(error: BaseException) -> None:
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
