"""Processes and Ray carry out the same work: the same sets, rows and records, also when a worker
dies; what fails is said and nothing else fails.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import multiprocessing
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch

from dcbench import distiller as registry
from dcbench.datasets.loading import Loaded
from dcbench.evaluation.protocol import PROTOCOLS
from dcbench.execution.workers import Workers
from dcbench.experiments.context import Cell, Workspace
from dcbench.experiments.distil import distil
from dcbench.experiments.evaluate import SetEvaluation, evaluate_set
from dcbench.experiments.presets import build
from dcbench.system.errors import ClusterError, OutOfRangeError
from dcbench.system.files import locked
from dcbench.system.machine import Machine
from tests.commandline import CACHE, ROOT, ask, done
from tests.faults.test_disk_full import fill_up
from tests.faults.victims import (
    COMMAND,
    PATIENCE,
    accuracies,
    finish,
    left_over,
    lines,
    start,
    steps_of_each,
    wait_until,
)

INSTALLED = importlib.util.find_spec("ray") is not None
ray = pytest.mark.skipif(not INSTALLED, reason="Ray is not installed: pip install -e '.[ray]'")
pytestmark = pytest.mark.slow
CORES = 1
if INSTALLED:
    from ray._private.utils import get_num_cpus

    # in a container, those that it may use
    CORES = int(get_num_cpus(override_docker_cpu_warning=True))
# at least two units at a time, on whatever machine
RAY = ("--executor", "ray", "--cpus-per-unit", str(CORES // 2 or 0.5))
WORK = ("--networks", "6", "--epochs", "30", "--threads", "1", "--device", "cpu")
ODD = '''
from dataclasses import dataclass
from pathlib import Path
import os, signal
from dcbench.distiller import Distiller, register
from dcbench.families.selection import chosen_set, random_members


class Riddle(Exception):
    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")


@register("odd")
@dataclass(frozen=True)
class Odd(Distiller):
    """Random, but of one seed it fails, and of another its process dies, each time."""

    def distill(self, train, ipc, run):
        if run.seed == 1:
            raise Riddle("this", "that")
        if run.seed == 2:
            with Path("TRIED").open("a") as tried:
                tried.write("again ")
            os.kill(os.getpid(), signal.SIGKILL)
        return chosen_set(train, random_members(train, ipc, run))
'''


def at_work(top: int, executor: str) -> list[int]:
    """The workers below the process ``top``; of Ray only those that are at work on a task."""
    parents: dict[int, int] = {}
    named: dict[int, bytes] = {}
    for place in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(place.name)] = int(
                (place / "stat").read_text().rpartition(")")[2].split()[1]
            )
            named[int(place.name)] = (place / "cmdline").read_bytes()
        except OSError:  # gone meanwhile
            continue

    def below(number: int) -> bool:
        return number == top or (number in parents and below(parents[number]))

    if executor == "ray":
        return [n for n, name in named.items() if name.startswith(b"ray::_called") and below(n)]
    # the grandchildren: their parent forks for each of them
    servers = [n for n, name in named.items() if parents[n] == top and b"forkserver" in name]
    return [n for n in named if parents[n] in servers]


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """Ray in this process, where commands that are asked in it find it begun: one for all of
    them, and workers that have imported torch already.
    """
    from dcbench.execution import ray_executor

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_worker_niceness", "0")
        patch.setenv("DCBENCH_CACHE", CACHE)
        patch.setenv("PYTHONPATH", str(ROOT))
        ray_executor._connect(None)
        yield
        importlib.import_module("ray").shutdown()


@pytest.fixture(autouse=True)
def as_fast_as_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray's workers give way to all else, unless they are told not to."""
    monkeypatch.setenv("RAY_worker_niceness", "0")


TIMES = (
    "seconds",
    "created",
    "distill_seconds",
    "evaluate_seconds",
    "step_seconds",
    "epoch_seconds",
    "compile_seconds",
    "peak_memory_bytes",
)


def timeless(value: Any) -> Any:
    """What a record says of results, without what no two runs have in common."""
    if isinstance(value, dict):
        return {key: timeless(entry) for key, entry in value.items() if key not in TIMES}
    return [timeless(entry) for entry in value] if isinstance(value, list) else value


def results(out: Path) -> dict[str, Any]:
    """Sets as bytes, records without times, rows in no order; by their place below ``out``."""
    found: dict[str, Any] = {}
    for path in sorted(out.rglob("*")):
        place = str(path.relative_to(out))
        if path.name in ("synthetic.pt", "history.csv", "truth.csv"):
            found[place] = path.read_bytes()
        elif path.name == "record.json":
            found[place] = timeless(json.loads(path.read_text(encoding="utf-8")))
        elif path.suffix == ".jsonl":
            rows = [
                timeless(json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()
            ]
            found[place] = sorted(
                json.dumps({**row, "check": None}, sort_keys=True) for row in rows
            )
    return found


STEPS = 150
GRID = ("run", "--method", "mmd", "--set", f"iterations={STEPS}", "--seed", "0,1", *WORK)
EXECUTORS = {"processes": ("--executor", "processes", "--workers", "2"), "ray": RAY}
executors = pytest.mark.parametrize("executor", ["processes", pytest.param("ray", marks=ray)])


@pytest.fixture(scope="module")
def serial(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """Where the grid's results lie that no executor made, and what was said of them."""
    out = tmp_path_factory.mktemp("serial")
    return out, timeless(done(*GRID, "--out", out, "--json").json)


@executors
def test_workers_are_killed_and_the_results_are_the_serial_ones(
    tmp_path: Path, serial: tuple[Path, Any], executor: str
) -> None:
    """In the middle of distilling, and again in the middle of evaluating."""
    words = (*GRID, *EXECUTORS[executor], "--out", tmp_path, "--json")
    process = start(*words, driver="tests.faults.driver")  # which keeps each step
    busy: list[int] = []

    def working(fewest: int) -> bool:
        busy[:] = at_work(process.pid, executor)
        return len(busy) >= fewest

    wait_until(lambda: min([*steps_of_each(tmp_path), 0, 0][:2]) > 5 and working(2), process)
    before = steps_of_each(tmp_path)
    os.kill(busy[0], signal.SIGKILL)
    while both := [step for step in steps_of_each(tmp_path) if step]:
        assert process.poll() is None
        assert min(both) >= min(before)  # taken up at its checkpoint, and not begun again
    wait_until(lambda: len(lines(tmp_path)) > 1 and working(1), process)
    kept = [row["seconds"] for row in lines(tmp_path)]
    os.kill(busy[-1], signal.SIGKILL)
    printed, said = finish(process)
    assert {"processes": "processes: 2 workers", "ray": "ray: room for"}[executor] in said
    assert timeless(json.loads(printed))["summary"] == serial[1]["summary"]
    assert results(tmp_path) == results(serial[0])
    assert len(results(tmp_path)) == 2 + 2 + 2 + 2  # sets, histories, records, rows
    found = lines(tmp_path)
    assert len(found) == 2 * 6  # none was trained twice
    assert set(kept) <= {row["seconds"] for row in found}
    assert left_over(tmp_path) == []


@executors
@pytest.mark.usefixtures("cluster")
def test_what_fails_is_said_with_its_spec_and_the_rest_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, executor: str
) -> None:
    registry.registered()  # all of them, before what is registered here is forgotten again
    monkeypatch.setattr(registry, "_registry", dict(registry._registry))
    tried = tmp_path / "tried"
    (tmp_path / "odd.py").write_text(ODD.replace("TRIED", str(tried)), encoding="utf-8")
    words = (
        "run",
        "--method",
        f"{tmp_path / 'odd.py'}:Odd",
        "--seed",
        "0,1,2,3",
        "--networks",
        "1",
        "--epochs",
        "2",
        "--threads",
        "1",
    )
    answer = ask(*words, *EXECUTORS[executor], "--out", tmp_path / "out", "--json")
    assert answer.code == 1, answer.err
    assert [run["seed"] for run in answer.json["runs"]] == [0, 3]
    said = answer.err.splitlines()
    (riddle,) = [line for line in said if line.startswith("odd IPC 1 seed 1 skipped: ")]
    assert "Riddle: this and that" in riddle
    assert "method=odd, ipc=1, seed=1" in riddle
    (lost,) = [line for line in said if line.startswith("odd IPC 1 seed 2 skipped: ")]
    assert "given up" in lost
    assert tried.read_text(encoding="utf-8").split() == ["again"] * 4
    assert "method=odd, ipc=1, seed=2" in lost
    assert "2 skipped, for the reasons given above" in said


@pytest.mark.usefixtures("cluster")
def test_a_search_ranks_as_the_serial_one(tmp_path: Path) -> None:
    asked = ("--sample", "4", "--seed", "97", "--seeds", "2", "--validation", "100")
    quickly = ("--preset", "quick", "--epochs", "3", "--truth-epochs", "1", "--threads", "1")
    words = (
        "nas",
        "--proxy",
        "random:1,random:2",
        "--dataset",
        "digits",
        *asked,
        *quickly,
        "--json",
    )
    alone = done(*words, "--out", tmp_path / "serial").json["studies"]
    for executor in EXECUTORS if INSTALLED else ("processes",):
        spread = done(*words, *EXECUTORS[executor], "--out", tmp_path / executor).json["studies"]
        assert [study["spearman"] for study in spread] == [study["spearman"] for study in alone]
        assert results(tmp_path / executor) == results(tmp_path / "serial")
    # rows of two proxies and of the truth, the truth's table, records
    assert len(results(tmp_path / "serial")) == 3 + 1 + 2


def test_a_trace_is_the_serial_one(tmp_path: Path) -> None:
    words = ("run", "--method", "mmd", "--set", "iterations=9", "--trace", "0,4", *WORK)
    for executor, chosen in (("serial", ()), ("processes", EXECUTORS["processes"])):
        done(*words, "--networks", "2", "--epochs", "3", *chosen, "--out", tmp_path / executor)
    assert results(tmp_path / "processes") == results(tmp_path / "serial")
    assert len(list(tmp_path.rglob("step-*.pt"))) == 2 * 2


@pytest.mark.parametrize("name", ["synthetic.pt", "networks.jsonl", "record.json"])
def test_a_full_disk_is_one_line_and_with_room_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    words = ("run", "--method", "random", "--seed", "0,1", "--networks", "2", "--epochs", "2")
    asked = (*words, "--threads", "1", *EXECUTORS["processes"], "--out", tmp_path)
    with monkeypatch.context() as full:
        fill_up(full, name)
        answer = ask(*asked)
    assert answer.code == 1
    last = answer.err.splitlines()[-1]
    assert last.startswith("dcbench: cannot ")
    assert name in last
    assert "unchanged" in last
    done(*asked)
    assert sorted(row["network"] for row in lines(tmp_path)) == [0, 0, 1, 1]


def test_any_process_pool_serves_and_one_that_breaks_is_told(
    tmp_path: Path, digits: Loaded, machine: Machine
) -> None:
    """An executor of the standard library, from Python; it cannot replace a worker that dies."""
    cell = Cell(build("random", "paper"), "paper", digits, 1, 0)
    protocol = PROTOCOLS["quick"].with_options(epochs=2)

    def judged(workspace: Workspace) -> Any:
        asked = (distil(cell, workspace), digits.test, protocol, 0, 3, workspace)
        return timeless(evaluate_set(SetEvaluation(*asked)).to_json())

    context = multiprocessing.get_context("forkserver")
    with ProcessPoolExecutor(2, context) as pool, Workers(pool, 2) as workers:
        spread = Workspace(tmp_path / "pool", machine, workers=workers)
        assert judged(spread) == judged(Workspace(tmp_path / "here", machine))
        pool.submit(os._exit, 1).exception()
        with pytest.raises(ClusterError, match=r"given up .*terminated abruptly"):
            judged(Workspace(tmp_path / "again", machine, workers=workers))


@ray
@pytest.mark.usefixtures("cluster")
def test_with_room_for_one_task_no_second_one_is_begun(tmp_path: Path) -> None:
    """Ray gives a worker's processor to another task as soon as it waits for Ray; ours wait for the
    channel alone.
    """
    seen: list[int] = []
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.05):
            seen.append(len(at_work(os.getpid(), "ray")))

    watching = threading.Thread(target=watch)
    watching.start()
    alone = ("--executor", "ray", "--cpus-per-unit", str(CORES))
    try:
        said = done("run", "--method", "random", *WORK, *alone, "--out", tmp_path, "--json").err
    finally:
        ended.set()
        watching.join()
    assert "ray: room for 1 tasks at a time" in said
    assert len(lines(tmp_path)) == 6
    assert max(seen) == 1


@executors
def test_interrupted_it_keeps_what_is_done_and_goes_on(tmp_path: Path, executor: str) -> None:
    grid = ("run", "--method", "mmd", "--set", "iterations=600000", "--seed", "0,1", *WORK)
    words: tuple[str | Path, ...] = (*grid, *EXECUTORS[executor], "--out", tmp_path)
    done = [0, 0]

    def both_are_further() -> bool:
        now = steps_of_each(tmp_path)
        return len(now) == 2 and now[0] > done[0] and now[1] > done[1]

    for _ in range(2):
        process = start(*words, driver="tests.faults.driver")  # which keeps each step
        wait_until(both_are_further, process)
        at_once = at_work(process.pid, executor) if executor == "processes" else []
        for number in (process.pid, *at_once):  # as a scheduler does, or Ctrl-C, to all of a job
            os.kill(number, signal.SIGTERM)
        _, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 130, err
        assert err.splitlines()[-1].startswith(
            "dcbench: stopped; what is done is kept. The same command goes on from there:"
        )
        assert both_are_further()
        done = steps_of_each(tmp_path)
    assert not list(tmp_path.rglob("synthetic.pt"))


@pytest.mark.parametrize("how", ["the second interruption", "kill -9"])
def test_no_worker_outlives_who_asked(tmp_path: Path, how: str) -> None:
    endless = ("--networks", "2", "--epochs", "1000000", "--threads", "1", "--engine", "eager")
    process = start(
        "run", "--method", "random", *endless, *EXECUTORS["processes"], "--out", tmp_path
    )
    wait_until(lambda: "training 2 networks takes about" in process.said, process)
    workers = at_work(process.pid, "processes")
    assert len(workers) > 0
    if how == "kill -9":
        process.kill()
    else:
        process.send_signal(signal.SIGINT)
        wait_until(lambda: "once more to stop at once" in process.said, process)
        process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == (-signal.SIGKILL if how == "kill -9" else 130)
    assert "Traceback" not in err
    gone = time.monotonic() + 10
    while any(Path(f"/proc/{number}").exists() for number in workers):
        assert time.monotonic() < gone


def test_two_processes_on_one_folder_with_different_executors(tmp_path: Path) -> None:
    ask(*COMMAND, "--networks", "1", "--epochs", "1", "--out", tmp_path)
    (made,) = tmp_path.rglob("synthetic.pt")
    shutil.rmtree(made.parent)
    asked = (*COMMAND, "--out", tmp_path, "--json")
    with locked(made.parent):  # both come while another is at work
        both = [start(*asked), start(*asked, *EXECUTORS["processes"])]
        for process in both:
            wait_until(lambda: "waiting for another process that is at" in process.said, process)  # noqa: B023
    (first, _), (second, _) = [finish(process) for process in both]
    assert accuracies(first) == accuracies(second)
    assert sorted(row["network"] for row in lines(tmp_path)) == [0, 1, 2, 3, 4, 5]
    assert left_over(tmp_path) == []


@ray
@pytest.mark.usefixtures("cluster")
def test_a_cluster_that_is_not_there_is_said_in_one_line(tmp_path: Path) -> None:
    words = ("run", "--method", "random", "--executor", "ray", "--out", tmp_path)
    process = start(*words, "--address", "127.0.0.1:1")
    _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert said.splitlines()[-1].startswith("dcbench: no Ray cluster at '127.0.0.1:1'")
    more = ask(*words, "--cpus-per-unit", "9999")
    assert more.code == 1
    assert (
        "a task needs 9999 processors and 0 GPUs, but a node of the cluster has"
        in more.err.splitlines()[-1]
    )
    assert list(tmp_path.iterdir()) == []


@ray
@pytest.mark.parametrize(
    ("cpus", "gpus", "slots"), [(1, 0, 4), (2, 0, 1), (3, 0, 1), (0.5, 0.5, 2), (0, 1, 1)]
)
def test_a_task_has_to_fit_onto_one_node(
    monkeypatch: pytest.MonkeyPatch, cpus: float, gpus: float, slots: int
) -> None:
    from dcbench.execution.ray_executor import Needs

    nodes = [{"CPU": 1.0}, {"CPU": 3.0, "GPU": 1.0}, {"memory": 9.0}]
    gone = {"Alive": False, "Resources": {"CPU": 64.0, "GPU": 8.0}}
    monkeypatch.setattr(
        "ray.nodes", lambda: [gone, *({"Alive": True, "Resources": each} for each in nodes)]
    )
    assert Needs(cpus, gpus).slots() == slots
    with pytest.raises(
        ClusterError,
        match="a task needs 4 processors and 0 GPUs, but a node of the cluster has 3 processors and 1 GPUs at the most",
    ):
        Needs(4, 0).slots()


@ray
def test_a_gpu_takes_one_processor_and_not_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a node of eight GPUs had room for one unit."""
    from dcbench.execution.ray_executor import Needs

    monkeypatch.setattr(
        "ray.nodes", lambda: [{"Alive": True, "Resources": {"CPU": 64.0, "GPU": 8.0}}]
    )
    gpu, cpu = Machine(torch.device("cuda"), 64, "fp32"), Machine(torch.device("cpu"), 16, "fp32")
    assert (Needs.of(gpu, None, None), Needs.of(gpu, None, None).slots()) == (Needs(1, 1), 8)
    assert (Needs.of(cpu, None, None), Needs.of(cpu, None, None).slots()) == (Needs(16, 0), 4)
    assert Needs.of(gpu, 4, 0.5) == Needs(4, 0.5)


@ray
@pytest.mark.parametrize("count", [-1.0, 1.5, float("inf"), float("nan")])
def test_no_part_of_a_processor_is_none(count: float) -> None:
    from dcbench.execution.ray_executor import Needs

    with pytest.raises(
        OutOfRangeError,
        match="the processors of a task must be a fraction of one or a whole number",
    ):
        Needs(count, 0)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--workers", "2"), "--workers 2 means nothing without --executor processes"),
        (("--executor", "processes", "--workers", "0"), "--workers must be at least 1, got 0"),
        (("--executor", "processes", "--address", "auto"), "means nothing without --executor ray"),
        (("--executor", "threads"), "unknown executor 'threads'"),
    ],
)
def test_words_that_do_not_go_together(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    answer = ask("run", "--method", "random", *words, "--out", tmp_path)
    assert answer.code == 2
    assert said in answer.line


def test_without_ray_one_is_told_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    answer = ask("run", "--method", "random", "--executor", "ray", "--out", tmp_path)
    assert answer.code == 1
    assert (
        answer.line
        == "dcbench: --executor ray needs Ray, which is not installed: pip install ray, or in a clone pip install -e '.[ray]'"
    )
