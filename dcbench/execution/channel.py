"""Channels between processes: one socket to which every worker connects, wherever it runs.

Works alike for the processes of this machine, Ray, and any executor whose workers can reach this
process; nothing needs a shared disk. Both ends prove that they know a secret that travels with the
tasks before a byte of either is unpickled.
"""

from __future__ import annotations

import copy
import os
import pickle
import platform
import secrets
import threading
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
from typing import Any

import torch

import dcbench
from dcbench.execution.task import Channel, Observer, Submitter, Task, release_frames
from dcbench.system.errors import ClusterError, DcbenchError
from dcbench.system.source import source_hash

PATIENCE = 1.0  # seconds between two questions of whoever waits
ONE_THREAD = (
    "tasks are carried out by processes, one at a time in each: torch's threads and seeds belong "
    "to a process"
)
_at_work = threading.Lock()


def pack(value: Any) -> bytes:
    """``value`` as a plain pickle: a connection's own ``send`` would hand over tensors as file
    descriptors, which mean nothing on another machine.
    """
    return pickle.dumps(value)


def unpack(packed: bytes) -> Any:
    """The value that ``pack`` packed. A pickle can execute anything, so ``packed`` is one of two:
    bytes of a connection whose two ends have proved to each other that they know the secret, or the
    task that this worker's own executor handed to ``work``.
    """
    return pickle.loads(packed)  # noqa: S301


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
    submitter: tuple[str, int]  # host and process
    versions: dict[str, str]

    @staticmethod
    def here() -> tuple[str, int]:
        """This host and process."""
        return platform.node(), os.getpid()

    def check(self) -> None:
        """Raises ClusterError where the worker has other versions or is no process of its own."""
        if self.submitter == self.here():
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


@dataclass
class RemoteSubmitter:
    """Whoever asked for a task, as its worker reaches it. If it is gone, the task is to stop."""

    task: int
    connection: Connection
    lost: bool = False

    def answer(self, kind: str, *words: Any) -> tuple[bool, Any]:
        """As ``Submitter.answer``, which answers at the other end."""
        try:
            self.connection.send_bytes(pack((self.task, kind, words)))
            stopping, answer = unpack(self.connection.recv_bytes())
        except (EOFError, OSError):
            self.lost = True
            return True, None
        return stopping, answer


def execute_in_worker(packed: bytes, link: Link) -> Exception | None:
    """Carry out a task in a worker; returns why it failed, None if it ended well or was asked to
    stop.
    """
    if not _at_work.acquire(blocking=False):
        return ClusterError(f"{ONE_THREAD}; got two at once")
    task: Task | None = None
    try:
        link.check()
        task = unpack(packed)
        with Client(link.address, authkey=link.secret) as connection:
            submitter = RemoteSubmitter(link.task, connection)
            channel = Channel(submitter.answer, PATIENCE)
            try:
                task.machine.take()
                if not channel.stopped():
                    task.execute(channel)
            except KeyboardInterrupt:
                if not channel.stopping:
                    return ClusterError("its worker was interrupted")
        return (
            ClusterError("its worker lost the connection to who asked") if submitter.lost else None
        )
    except Exception as error:
        release_frames(error)
        if task is not None:
            task.machine.free()
        return _portable(error)
    finally:
        _at_work.release()


def _portable(error: Exception) -> Exception:
    """``error`` if it survives the way back, else another that says the same."""
    try:
        pack(error)
        copy.copy(error)  # put together anew from its arguments, as it will be at the other end
    except Exception:
        return (
            DcbenchError(str(error))
            if isinstance(error, DcbenchError)
            else RuntimeError(f"{type(error).__name__}: {error}")
        )
    return error


class ChannelServer:
    """The submitter's end of all channels: stores results, passes on messages, hands out shared
    values.
    """

    def __init__(self, host: str | None = None) -> None:
        """``host``: a name of this machine that workers on others can reach; None for local
        ones.
        """
        self.closed = False
        self._secret, self._numbers, self._lock = secrets.token_bytes(32), count(), threading.Lock()
        self._submitters: dict[int, Submitter] = {}
        # a path for a local socket may be too long for the system, where temporary files lie deep
        self._listener = Listener((host or "127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()

    def open(self, keep: Callable[[Any], None], observer: Observer) -> Link:
        """A link for one task, whose results ``keep`` stores."""
        number = next(self._numbers)
        self._submitters[number] = Submitter(keep, observer)
        return Link(self._listener.address, self._secret, number, Link.here(), versions())

    def end(self, link: Link) -> Exception | None:
        """Forget a task that has ended; returns why a result of it could not be stored."""
        return self._submitters.pop(link.task).error

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
                number, kind, words = unpack(connection.recv_bytes())
                connection.send_bytes(pack(self._answer(number, kind, words)))

    def _answer(self, number: int, kind: str, words: tuple[Any, ...]) -> tuple[bool, Any]:
        """Whether the task should stop, and what it asked for."""
        submitter = self._submitters.get(number)
        if submitter is None or submitter.error or self.closed:
            return True, None
        try:
            with self._lock:
                return submitter.answer(kind, *words)
        except KeyboardInterrupt:
            pass
        except Exception as error:
            submitter.error = error
        return True, None
