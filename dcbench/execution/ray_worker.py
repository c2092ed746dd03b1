"""What happens to a unit of work in a Ray worker: the worker is made like the machine asked for,
and talks with who asked.
"""

from __future__ import annotations

import copy
import pickle
import platform
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar, final

import ray
import torch

import dcbench
from dcbench.execution.interface import PATIENCE, Handle, Site, Unit
from dcbench.system.errors import ClusterError, DcbenchError
from dcbench.system.source import source_hash

Value = TypeVar("Value")
News = list[tuple[str, tuple[Any, ...]]]


@final
@dataclass(frozen=True, eq=False)
class ObjectStoreHandle(Handle[Value]):
    """A value in Ray's object store, read once by each process that works with it."""

    reference: ray.ObjectRef[Value]

    def get(self) -> Value:
        return _fetched(self.reference)  # type: ignore[no-any-return]


@lru_cache(maxsize=8)
def _fetched(reference: Any) -> Any:
    return ray.get(reference)


@dataclass(frozen=True)
class End:
    """The last word of a unit that did not end well: stopped on demand if there is no error."""

    error: Exception | None = None


class MessageBoard:
    """An actor: what workers say, and whether they are asked to stop."""

    def __init__(self) -> None:
        self.news: News = []
        self.stopping = False

    def tell(self, kind: str, words: tuple[Any, ...]) -> bool:
        """Take a worker's words, if it has any; returns whether it should stop."""
        if kind:
            self.news.append((kind, words))
        return self.stopping

    def read(self, stopping: bool) -> News:
        """What was said since the last time."""
        self.stopping |= stopping
        news, self.news = self.news, []
        return news


@dataclass
class _Line:
    """A worker's line to the board, used at most once in ``PATIENCE`` but for messages."""

    board: Any
    stopping: bool = False
    spoke: float = 0.0

    def progress(self, text: str, done: int, total: int) -> None:
        if done >= total or self._due():
            self._tell("progress", (text, done, total))

    def say(self, message: str) -> None:
        self._tell("say", (message,))

    def stop(self) -> bool:
        if not self.stopping and self._due():
            self._tell("", ())
        return self.stopping

    def _due(self) -> bool:
        return time.monotonic() - self.spoke >= PATIENCE

    def _tell(self, kind: str, words: tuple[Any, ...]) -> None:
        answer = self.board.tell.remote(kind, words)
        # in ray.get, Ray would take this worker's processor away and begin another unit
        self.stopping = answer.future().result()
        self.spoke = time.monotonic()


def versions() -> dict[str, str]:
    """What must be the same here and there, or the results are not."""
    return {
        "dcbench": dcbench.__version__,
        "code": source_hash(),
        "torch": str(torch.__version__),
        "python": platform.python_version(),
    }


def work(unit: Unit, board: Any, wanted: dict[str, str]) -> Iterator[Any]:
    """Carry out a unit: its results, then an ``End`` if it did not end well."""
    line = _Line(board)
    try:
        _check(wanted)
        unit.machine.take()
        if not line.stop():
            for result in unit.results(Site(line.progress, line.say, line.stop)):
                yield result
                if line.stop():
                    break
    except KeyboardInterrupt:
        pass
    except Exception as error:
        yield End(_portable(error))
    if line.stopping:
        yield End()


@lru_cache(maxsize=1)
def _versions_of_this_process() -> dict[str, str]:
    return versions()


def _check(wanted: dict[str, str]) -> None:
    other = {
        name: value for name, value in _versions_of_this_process().items() if wanted[name] != value
    }
    if other:
        there = ", ".join(f"{name} {value} (here {wanted[name]})" for name, value in other.items())
        raise ClusterError(
            f"the node {platform.node()} has {there}; install the same on every node"
        )


def _portable(error: Exception) -> Exception:
    """``error`` if it survives the way back, else another that says the same."""
    try:
        pickle.dumps(error)
        copy.copy(error)  # put together anew from its arguments, as it will be at the other end
    except Exception:
        return (
            DcbenchError(str(error))
            if isinstance(error, DcbenchError)
            else RuntimeError(f"{type(error).__name__}: {error}")
        )
    return error
