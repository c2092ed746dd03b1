"""Channels between processes: one socket to which every worker connects, wherever it runs.

Works alike for the processes of this machine, Ray, and any executor whose workers can reach this
process; nothing needs a shared disk. Peers prove that they know a secret that travels with the
tasks before a byte of theirs is unpickled.
"""

from __future__ import annotations

import copy
import os
import pickle
import platform
import secrets
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from itertools import count
from multiprocessing import AuthenticationError
from multiprocessing.connection import (
    Client,
    Connection,
    Listener,
    answer_challenge,
    deliver_challenge,
)
from typing import Any, TypeVar, final

import torch

import dcbench
from dcbench.execution.task import Channel, LocalChannel, Observer, Shared, Task, let_go
from dcbench.system.errors import ClusterError, DcbenchError
from dcbench.system.source import source_hash

Value = TypeVar("Value")
PATIENCE = 1.0  # seconds between two questions of whoever waits
MOST_FETCHED = 8  # shared values that a worker process holds
ONE_THREAD = (
    "tasks are carried out by processes, one at a time in each: torch's threads and seeds belong "
    "to a process"
)
_fetched: dict[str, Any] = {}
_at_work = threading.Lock()


@cache
def versions() -> dict[str, str]:
    """What must be the same wherever a task is carried out, as it is in this process."""
    return {
        "dcbench": dcbench.__version__,
        "source": source_hash(),
        "torch": str(torch.__version__),
        "Python": platform.python_version(),
    }


@dataclass(frozen=True)
class Link:
    """What a worker needs to know in order to open the channel of one task."""

    address: Any
    secret: bytes
    task: int
    asker: tuple[str, int]  # host and process
    versions: dict[str, str]

    @staticmethod
    def here() -> tuple[str, int]:
        """This host and process."""
        return platform.node(), os.getpid()

    def check(self) -> None:
        """Raises ClusterError where the worker has other versions or is no process of its own."""
        if self.asker == self.here():
            raise ClusterError(f"{ONE_THREAD}; got an executor of threads")
        other = [
            f"{name} {here} (there {self.versions[name]})"
            for name, here in versions().items()
            if self.versions[name] != here
        ]
        if other:
            raise ClusterError(
                f"the node {platform.node()} has {', '.join(other)}; install the same on every node"
            )


@final
class RemoteChannel(Channel):
    """The worker's end. Asks at most once in ``PATIENCE`` seconds, but for results and messages."""

    def __init__(self, link: Link) -> None:
        self._task, self._asked = link.task, 0.0
        self.stopping = self.lost = False
        self._connection = Client(link.address, authkey=link.secret)
        self.kept = self._ask("begin")

    def put(self, result: Any) -> None:
        self._ask("put", result)
        if self.stopping:
            raise KeyboardInterrupt

    def progress(self, text: str, done: int, total: int) -> None:
        if done >= total or self._due():
            self._ask("progress", text, done, total)

    def say(self, message: str) -> None:
        self._ask("say", message)

    def stopped(self) -> bool:
        if not self.stopping and self._due():
            self._ask("begin")
        return self.stopping

    def fetch(self, shared: Shared[Value]) -> Value:
        value = _fetched.pop(shared.key, None)
        if value is None:
            value = self._ask("fetch", shared)
        if value is None:
            raise KeyboardInterrupt
        while len(_fetched) >= MOST_FETCHED:
            _fetched.pop(next(iter(_fetched)))
        _fetched[shared.key] = value  # the last to be given up
        return value  # type: ignore[no-any-return]

    def close(self) -> None:
        """Say that the task has ended."""
        self._connection.close()

    def _due(self) -> bool:
        return time.monotonic() - self._asked >= PATIENCE

    def _ask(self, kind: str, *words: Any) -> Any:
        """What the other end answers. If it is gone, the task is to stop."""
        self._asked = time.monotonic()
        try:
            self._connection.send_bytes(pickle.dumps((self._task, kind, words)))
            stopping, answer = pickle.loads(self._connection.recv_bytes())  # noqa: S301 - of who asked
        except (EOFError, OSError):
            self.stopping = self.lost = True
            return None
        self.stopping |= stopping
        return answer


def work(pickled: bytes, link: Link) -> Exception | None:
    """Carry out a task in a worker; returns why it failed, None if it ended well or was asked to
    stop.
    """
    if not _at_work.acquire(blocking=False):
        return ClusterError(f"{ONE_THREAD}; got two at once")
    task: Task | None = None
    try:
        link.check()
        task = pickle.loads(pickled)  # noqa: S301 - of who asked
        channel = RemoteChannel(link)
        try:
            task.machine.take()
            if not channel.stopped():
                task.carry_out(channel)
        except KeyboardInterrupt:
            if not channel.stopping:
                return ClusterError("its worker was interrupted")
        finally:
            channel.close()
        return ClusterError("its worker lost the connection to who asked") if channel.lost else None
    except Exception as error:
        let_go(error)
        if task is not None:
            task.machine.free()
        return _portable(error)
    finally:
        _at_work.release()


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


class ChannelServer:
    """The asker's end of all channels: stores results, passes on messages, hands out shared
    values.
    """

    def __init__(self, host: str | None = None) -> None:
        """``host``: a name of this machine that workers on others can reach; None for local
        ones.
        """
        self.closed = False
        self._secret, self._numbers, self._lock = secrets.token_bytes(32), count(), threading.Lock()
        self._channels: dict[int, LocalChannel] = {}
        self._errors: dict[int, Exception] = {}  # of results that could not be stored
        # a path for a local socket may be too long for the system, where temporary files lie deep
        self._listener = Listener((host or "127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()

    def open(self, keep: Callable[[Any], None], observer: Observer) -> Link:
        """A link for one task, whose results ``keep`` stores."""
        number = next(self._numbers)
        self._channels[number] = LocalChannel(keep, observer)
        return Link(self._listener.address, self._secret, number, Link.here(), versions())

    def end(self, link: Link) -> Exception | None:
        """Forget a task that has ended; returns why a result of it could not be stored."""
        self._channels.pop(link.task)
        return self._errors.pop(link.task, None)

    def close(self) -> None:
        """Take no more results: tasks that are still under way are told to stop."""
        if not self.closed:
            self.closed = True
            with suppress(OSError):
                Client(self._listener.address).close()  # wakes up who waits for a connection
            self._listener.close()

    def _accept(self) -> None:
        while not self.closed:
            with suppress(OSError):
                connection = self._listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: Connection) -> None:
        with connection, suppress(EOFError, OSError, AuthenticationError):
            deliver_challenge(connection, self._secret)
            answer_challenge(connection, self._secret)
            while True:
                # of a peer that knows the secret
                number, kind, words = pickle.loads(connection.recv_bytes())  # noqa: S301
                connection.send_bytes(pickle.dumps(self._answer(number, kind, words)))

    def _answer(self, number: int, kind: str, words: tuple[Any, ...]) -> tuple[bool, Any]:
        """Whether the task should stop, and what it asked for."""
        channel, answer = self._channels.get(number), None
        if channel is None or self.closed or number in self._errors:
            return True, None
        try:
            with self._lock:
                answer = channel.kept if kind == "begin" else getattr(channel, kind)(*words)
        except KeyboardInterrupt:
            return True, None
        except Exception as error:
            self._errors[number] = error
            return True, None
        return channel.stopped(), answer
