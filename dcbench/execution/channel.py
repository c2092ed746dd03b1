"""Channels between processes: every worker connects to one socket of the submitting process.

This works alike for processes on this machine, for Ray, and for any executor whose workers can
reach this process over the network. No shared disk is needed. Before either end unpickles a byte,
both ends prove that they know a secret, which travels with the tasks.
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

PATIENCE = 1.0  # seconds between two looks at whether to stop
ONE_THREAD = (
    "tasks need worker processes, each with one task at a time: torch's threads and seeds belong "
    "to a process"
)
_at_work = threading.Lock()


def pack(value: Any) -> bytes:
    """Pickle ``value``. A connection's own ``send`` would pass tensors as file descriptors, which
    mean nothing on another machine.
    """
    return pickle.dumps(value)


def unpack(packed: bytes) -> Any:
    """Unpickle what ``pack`` returned.

    Unpickling can execute any code, so ``packed`` must come from a trusted end: a connection whose
    two ends have proved that they know the secret, or this worker's own executor.
    """
    return pickle.loads(packed)  # noqa: S301


@cache
def versions() -> dict[str, str]:
    """Return the versions that must be the same in every process that executes tasks."""
    return {
        "dcbench": dcbench.__version__,
        "source": source_hash(),
        "torch": str(torch.__version__),
        "Python": platform.python_version(),
    }


@dataclass(frozen=True)
class Link:
    """The address and secret with which a worker opens the channel of one task."""

    address: Any
    secret: bytes
    task: int
    submitter: tuple[str, int]  # host name and process id
    versions: dict[str, str]

    @staticmethod
    def here() -> tuple[str, int]:
        """Return this process's host name and process id."""
        return platform.node(), os.getpid()

    def check(self) -> None:
        """Check that this worker may execute the task.

        Raises:
            ClusterError: If its versions differ, or if it is not a process of its own.
        """
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
    """The submitting process, as a worker reaches it. When the connection is lost, the task is told
    to stop.
    """

    task: int
    connection: Connection
    lost: bool = False

    def answer(self, kind: str, *words: Any) -> tuple[bool, Any]:
        """Send a request over the connection; ``Submitter.answer`` answers it at the other end."""
        try:
            self.connection.send_bytes(pack((self.task, kind, words)))
            stopping, answer = unpack(self.connection.recv_bytes())
        except (EOFError, OSError):
            self.lost = True
            return True, None
        return stopping, answer


def execute_in_worker(packed: bytes, link: Link) -> Exception | None:
    """Execute a packed task in a worker process.

    Returns:
        Why the task failed; None if it succeeded or was asked to stop.
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
            ClusterError("its worker lost the connection to the submitting process")
            if submitter.lost
            else None
        )
    except Exception as error:
        release_frames(error)
        if task is not None:
            task.machine.free()
        return _portable(error)
    finally:
        _at_work.release()


def _portable(error: Exception) -> Exception:
    """Return ``error`` if it can be pickled, else an error with the same message that can."""
    try:
        pack(error)
        copy.copy(error)  # rebuilds it from its arguments, as unpickling does
    except Exception:
        return (
            DcbenchError(str(error))
            if isinstance(error, DcbenchError)
            else RuntimeError(f"{type(error).__name__}: {error}")
        )
    return error


class ChannelServer:
    """The submitting process's end of all channels: it stores results, passes on messages and hands
    out shared values.
    """

    def __init__(self, host: str | None = None) -> None:
        """Open the socket.

        Args:
            host: A name of this machine that workers on other machines can reach; None if all
                workers are on this machine.
        """
        self.closed = False
        self._secret, self._numbers, self._lock = secrets.token_bytes(32), count(), threading.Lock()
        self._submitters: dict[int, Submitter] = {}
        # not a local socket: its path may be too long where the folder of temporary files is deep
        self._listener = Listener((host or "127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()

    def open(self, keep: Callable[[Any], None], observer: Observer) -> Link:
        """Return a link for one task; ``keep`` stores the task's results."""
        number = next(self._numbers)
        self._submitters[number] = Submitter(keep, observer)
        return Link(self._listener.address, self._secret, number, Link.here(), versions())

    def end(self, link: Link) -> Exception | None:
        """Close the channel of a finished task. Returns the error if a result could not be
        stored.
        """
        return self._submitters.pop(link.task).error

    def close(self) -> None:
        """Close all channels: tasks that are still running are told to stop."""
        if not self.closed:
            self.closed = True
            with suppress(OSError):
                Client(self._listener.address).close()  # wakes up the thread that waits in accept()
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
        """Answer a worker's request: whether its task should stop, and the value it asked for."""
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
