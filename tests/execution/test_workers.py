"""Tasks: results are kept as they come, what fails stops nothing else, and a task is the same
wherever it is done.
"""

from __future__ import annotations

import gc
import pickle
import threading
import time
import weakref
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client
from pathlib import Path
from typing import Any

import pytest
import torch

from dcbench.datasets.loading import Loaded, load
from dcbench.datasets.places import Places
from dcbench.evaluation.protocol import PROTOCOLS
from dcbench.execution.channel import ChannelServer, Link, execute_in_worker, pack
from dcbench.execution.task import Channel, Shared, Submitter, Task
from dcbench.execution.workers import Workers, each, result
from dcbench.experiments.context import Cell, Workspace
from dcbench.experiments.distil import distil, prepare
from dcbench.experiments.presets import build
from dcbench.experiments.tasks import TrainNetworks
from dcbench.nas.catalogue import SPACES
from dcbench.nas.proxies import make_proxies, parse_requests
from dcbench.nas.tasks import ArchitectureTask, ProxyData
from dcbench.run import Run
from dcbench.system.errors import ClusterError, OutOfRangeError, StorageError
from dcbench.system.machine import Machine


@dataclass(frozen=True)
class Count(Task):
    """Counts, and fails at the end if it is to."""

    label: str
    machine: Machine
    numbers: tuple[int, ...]
    error: Exception | None = None

    @property
    def spec(self) -> Mapping[str, Any]:
        return {"numbers": self.numbers}

    def execute(self, channel: Channel) -> None:
        for number in self.numbers[channel.kept :]:
            channel.put(number)
        if self.error:
            raise self.error


@dataclass(frozen=True)
class Hoarding(Task):
    """Holds much when it fails, and so does what its error came of."""

    label: str
    machine: Machine
    held: list[weakref.ref[torch.Tensor]]

    @property
    def spec(self) -> Mapping[str, Any]:
        return {}

    def execute(self, channel: Channel) -> None:
        channel.put(1)
        much = torch.zeros(3)
        self.held.append(weakref.ref(much))
        try:
            self._more()
        except ValueError as error:
            raise RuntimeError("out of memory") from error

    def _more(self) -> None:
        more = torch.zeros(3)
        self.held.append(weakref.ref(more))
        raise ValueError(len(more))


@pytest.fixture
def workspace(tmp_path: Path, machine: Machine) -> Workspace:
    return Workspace(tmp_path, machine)


def test_what_fails_holds_nothing_while_others_work(workspace: Workspace) -> None:
    held: list[weakref.ref[torch.Tensor]] = []
    alive: list[Any] = []

    def look(_number: int) -> None:
        gc.collect()
        alive.append([reference() for reference in held])

    hoarding = Hoarding("hoarding", workspace.machine, held)
    with pytest.raises(RuntimeError, match="out of memory"):
        workspace.execute_tasks([hoarding, Count("next", workspace.machine, (2,))], look)
    assert alive == [[], [None, None]]


def test_a_task_that_fails_stops_neither_its_neighbours_nor_other_calls(
    workspace: Workspace,
) -> None:
    machine, kept = workspace.machine, list[int]()
    broken = Count("broken", machine, (1, 2), ValueError("of its own making"))
    batches: list[list[Task]] = [
        [broken, Count("sound", machine, (3,))],
        [Count("other", machine, (4, 5))],
    ]

    def total(tasks: list[Task]) -> int:
        workspace.execute_tasks(tasks, kept.append)
        return sum(kept)

    first, second = (outcome for _, outcome in each(total, batches))
    assert kept == [1, 2, 3, 4, 5]
    with pytest.raises(ValueError, match="of its own making") as failed:
        result(first)
    assert failed.value.__notes__ == ["broken: numbers=(1, 2)"]
    assert second == 15


def test_a_disk_that_cannot_be_written_stops_everything(workspace: Workspace) -> None:
    kept: list[int] = []
    full = Count("full", workspace.machine, (1,), StorageError("full"))
    with pytest.raises(StorageError, match="full"):
        list(
            each(
                lambda task: workspace.execute_tasks([task], kept.append),
                [full, Count("other", workspace.machine, (2,))],
            )
        )
    assert kept == [1]


def test_asked_to_stop_what_is_done_is_kept_and_what_is_held_given_back(
    workspace: Workspace,
) -> None:
    kept: list[int] = []
    stopping = replace(workspace, stop=lambda: len(kept) == 2)
    folder = workspace.out / "held"
    with pytest.raises(KeyboardInterrupt), stopping.alone(folder):
        stopping.execute_tasks([Count("task", workspace.machine, (1, 2, 3))], kept.append)
    assert kept == [1, 2]
    with workspace.alone(folder):
        pass


def test_calls_that_have_ended_make_room_for_the_next() -> None:
    """More of them than are begun at once."""
    begun: list[int] = []

    def items() -> Iterator[int]:
        for number in range(9):
            begun.append(number)
            yield number

    with Workers(Executor(), 1) as workers:
        ended = each(lambda number: number, items(), workers)
        first, _ = next(ended)
        assert len(begun) == 2  # data of later ones are not loaded yet
        assert sorted([first, *(number for number, _ in ended)]) == list(range(9))


def test_a_call_that_is_stopped_lets_those_under_way_end() -> None:
    stopped, kept = threading.Event(), list[str]()

    def call(name: str) -> None:
        if name == "stopped":
            stopped.set()
            raise KeyboardInterrupt
        stopped.wait(30)
        time.sleep(0.2)
        kept.append(name)  # as a task that finishes its step

    with Workers(Executor(), 1) as workers, pytest.raises(KeyboardInterrupt):
        list(each(call, ["under way", "stopped"], workers))
    assert kept == ["under way"]


def test_threads_are_refused(workspace: Workspace) -> None:
    with ThreadPoolExecutor(1) as threads, pytest.raises(OutOfRangeError, match="got threads"):
        Workers(threads, 1)
    # whatever it is called: a task looks where it is
    link = Link("", b"", 0, Link.here(), {})
    refused = execute_in_worker(pickle.dumps(Count("task", workspace.machine, (1,))), link)
    assert isinstance(refused, ClusterError)
    assert "got an executor of threads" in str(refused)
    assert "\n" not in str(refused)


@dataclass(frozen=True)
class Bomb:
    """Leaves a file wherever it is unpickled."""

    file: Path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.file,)


def test_nothing_of_a_peer_without_the_secret_is_unpickled(
    workspace: Workspace, tmp_path: Path
) -> None:
    server, gone_off = ChannelServer(), tmp_path / "gone off"
    link = server.open(lambda _result: None, workspace)
    bomb = pack((link.task, "say", (Bomb(gone_off),)))
    with Client(link.address) as stranger:  # proves nothing
        stranger.recv_bytes()  # the challenge
        stranger.send_bytes(bomb)
        stranger.send_bytes(bomb)
        with suppress(EOFError, OSError):  # until the other end hangs up
            while stranger.poll(30):
                stranger.recv_bytes()
    with pytest.raises(AuthenticationError):
        Client(link.address, authkey=b"guessed")
    assert not gone_off.exists()
    with Client(link.address, authkey=link.secret) as worker:
        worker.send_bytes(bomb)
        worker.recv_bytes()
    assert gone_off.exists()
    server.close()


def sent(task: Task) -> Task:
    """The task as another process would have it."""
    there: Task = pickle.loads(pickle.dumps(task))
    return there


def results(task: Task, workspace: Workspace) -> list[Any]:
    """What the task puts."""
    found: list[Any] = []
    task.execute(Channel(Submitter(found.append, workspace).answer))
    return found


def test_a_distillation_sent_elsewhere_makes_the_same_set(
    digits: Loaded, machine: Machine, tmp_path: Path
) -> None:
    cell = Cell(build("dm", "paper", {"iterations": 2, "real_batch": 8}), "paper", digits, 1, 0)
    workspace = Workspace(tmp_path / "here", machine)
    task = prepare(cell, workspace)
    elsewhere = replace(task, folder=tmp_path / "there", shared=tmp_path / "shared")
    (here,), (there,) = results(task, workspace), results(sent(elsewhere), workspace)
    assert torch.equal(here.synthetic.images, there.synthetic.images)
    assert here.history == there.history
    assert task.spec["method"] == "dm"
    assert task.spec["iterations"] == 2


def test_networks_sent_elsewhere_have_the_same_accuracies(
    digits: Loaded, machine: Machine, workspace: Workspace
) -> None:
    distilled = distil(Cell(build("random", "paper"), "paper", digits, 1, 0), workspace)
    protocol = PROTOCOLS["quick"].with_options(epochs=2)
    what = (machine, distilled.sha256, Shared.of(distilled.synthetic), Shared.of(digits.test))
    task = TrainNetworks("both", *what, protocol, 0, ((0,), (1,)))
    together = [row["accuracy"] for rows in results(task, workspace) for row in rows]
    apart = [
        row["accuracy"]
        for index in (0, 1)
        for rows in results(sent(replace(task, networks=((index,),))), workspace)
        for row in rows
    ]
    assert together == apart
    numbers: list[int] = []
    again = Channel(Submitter(lambda rows: numbers.append(rows[0]["network"]), workspace).answer)
    again.kept = 1
    task.execute(again)
    assert numbers == [1]  # what an earlier attempt put is not trained twice


def test_architectures_sent_elsewhere_have_the_same_accuracies(
    machine: Machine, tmp_path: Path
) -> None:
    space = SPACES["convnet720"]
    held = load("digits", Places(None, tmp_path), holdout=100)
    (proxy,) = make_proxies(parse_requests(["random:1"]), {}, held, Run(0, machine))
    protocol = space.protocol.with_epochs(2, None)
    assert held.holdout is not None
    bench = Shared.of(ProxyData(space, held.spec, proxy, protocol, held.holdout, None))
    task = ArchitectureTask("search", machine, bench, "d1-w32-relu-none-none", (0, 1), 0)
    workspace = Workspace(tmp_path, machine)
    together = [row["accuracy"] for row in results(task, workspace)]
    apart = [
        row["accuracy"]
        for seed in (0, 1)
        for row in results(sent(replace(task, seeds=(seed,))), workspace)
    ]
    assert together == apart
    assert all(accuracy is not None for accuracy in together)
