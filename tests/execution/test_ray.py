"""Ray carries out the same work: the same sets, rows and records, also when a worker dies; what
fails is said and nothing else fails.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import json
import os
import signal
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from dcbench import distiller as registry
from dcbench.execution.interface import Job, Site, Steps
from dcbench.system.errors import ClusterError, OutOfRangeError
from dcbench.system.machine import Machine
from tests.commandline import CACHE, ROOT, ask, done
from tests.faults.victims import PATIENCE, finish, lines, start, steps_of_each, wait_until

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
WORK = ("--networks", "6", "--epochs", "40", "--threads", "1", "--device", "cpu")
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
            os.kill(os.getpid(), signal.SIGKILL)
        return chosen_set(train, random_members(train, ipc, run))
'''


def at_work(top: int) -> list[int]:
    """The workers below the process ``top`` that are at work on a unit."""
    parents: dict[int, int] = {}
    busy: list[int] = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(place.name)] = int(
                (place / "stat").read_text().rpartition(")")[2].split()[1]
            )
            if (place / "cmdline").read_bytes().startswith(b"ray::work"):
                busy.append(int(place.name))
        except OSError:  # gone meanwhile
            continue

    def below(number: int) -> bool:
        return number == top or (number in parents and below(parents[number]))

    return [number for number in busy if below(number)]


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """Ray in this process, where commands that are asked in it find it begun: one for all of
    them, and workers that have imported torch already.
    """
    from dcbench.execution import ray_executor, ray_worker

    with pytest.MonkeyPatch.context() as patch:
        # whose annotations are checked in these tests: then it is no generator function to Ray
        plain = inspect.unwrap(ray_worker.work)
        patch.setattr(ray_worker, "work", plain)
        patch.setattr(ray_executor, "work", plain)
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


GRID = (
    "run",
    "--method",
    "random,mmd",
    "--set",
    "iterations=40",
    "--ipc",
    "1",
    "--seed",
    "0,1",
    *WORK,
)


@ray
@pytest.mark.usefixtures("cluster")
def test_a_worker_is_killed_and_the_table_is_the_serial_one(tmp_path: Path) -> None:
    serial = ask(*GRID, "--out", tmp_path / "serial", "--json")
    assert serial.code == 0, serial.err
    process = start(*GRID, *RAY, "--out", tmp_path / "ray", "--json")
    busy: list[int] = []

    def in_the_middle() -> bool:
        busy[:] = at_work(process.pid) if lines(tmp_path / "ray") else []
        return len(busy) > 1

    wait_until(in_the_middle, process)
    os.kill(busy[0], signal.SIGKILL)
    printed, said = finish(process)
    assert "ray: room for" in said
    ours, theirs = (timeless(json.loads(text)) for text in (serial.out, printed))
    assert ours["summary"] == theirs["summary"]
    assert [run["accuracies"] for run in ours["runs"]] == [
        run["accuracies"] for run in theirs["runs"]
    ]
    assert len(results(tmp_path / "ray")) == 4 + 2 + 4 + 4  # sets, histories, records, rows
    assert results(tmp_path / "ray") == results(tmp_path / "serial")

    again = ask(
        "evaluate",
        tmp_path / "ray" / "mmd.pt",
        *WORK,
        "--augment",
        "none",
        "--epochs",
        "20",
        *RAY,
        "--out",
        tmp_path / "ray",
        "--json",
    )
    once = ask(
        "evaluate",
        tmp_path / "serial" / "mmd.pt",
        *WORK,
        "--augment",
        "none",
        "--epochs",
        "20",
        "--out",
        tmp_path / "serial",
        "--json",
    )
    assert again.code == once.code == 0, again.err + once.err
    assert again.json["evaluations"][0]["accuracies"] == once.json["evaluations"][0]["accuracies"]


@ray
@pytest.mark.usefixtures("cluster")
def test_what_fails_is_said_with_its_spec_and_the_rest_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.registered()  # all of them, before what is registered here is forgotten again
    monkeypatch.setattr(registry, "_registry", dict(registry._registry))
    (tmp_path / "odd.py").write_text(ODD, encoding="utf-8")
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
    answer = ask(*words, *RAY, "--out", tmp_path / "out", "--json")
    assert answer.code == 1
    assert [run["seed"] for run in answer.json["runs"]] == [0, 3]
    said = answer.err.splitlines()
    (riddle,) = [line for line in said if line.startswith("odd IPC 1 seed 1 skipped: ")]
    assert "Riddle: this and that" in riddle
    assert "method=odd, ipc=1, seed=1" in riddle
    (lost,) = [line for line in said if line.startswith("odd IPC 1 seed 2 skipped: ")]
    assert "given up after 4 attempts" in lost
    assert "method=odd, ipc=1, seed=2" in lost
    assert "2 skipped, for the reasons given above" in said


@ray
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
    serial = ask(*words, "--out", tmp_path / "serial")
    spread = ask(*words, *RAY, "--out", tmp_path / "ray")
    assert serial.code == spread.code == 0, serial.err + spread.err
    assert [study["spearman"] for study in spread.json["studies"]] == [
        study["spearman"] for study in serial.json["studies"]
    ]
    assert results(tmp_path / "ray") == results(tmp_path / "serial")
    # rows of two proxies and of the truth, the truth's table, records
    assert len(results(tmp_path / "ray")) == 3 + 1 + 2


@ray
@pytest.mark.usefixtures("cluster")
def test_with_room_for_one_unit_no_second_one_is_begun(tmp_path: Path) -> None:
    """Ray gives a worker's processor to another unit as soon as it waits for Ray, as one does that
    asks whether to stop.
    """
    seen: list[int] = []
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.05):
            seen.append(len(at_work(os.getpid())))

    watching = threading.Thread(target=watch)
    watching.start()
    alone = ("--executor", "ray", "--cpus-per-unit", str(CORES))
    try:
        said = done("run", "--method", "random", *WORK, *alone, "--out", tmp_path, "--json").err
    finally:
        ended.set()
        watching.join()
    assert "ray: room for 1 units of work at a time" in said
    assert len(lines(tmp_path)) == 6
    assert max(seen) == 1


@ray
def test_interrupted_it_keeps_what_is_done_and_goes_on(tmp_path: Path) -> None:
    grid = ("run", "--method", "mmd", "--set", "iterations=600000", "--seed", "0,1", *WORK)
    words: tuple[str | Path, ...] = (*grid, *RAY, "--out", tmp_path)
    done = [0, 0]

    def both_are_further() -> bool:
        now = steps_of_each(tmp_path)
        return len(now) == 2 and now[0] > done[0] and now[1] > done[1]

    for _ in range(2):
        process = start(*words, driver="tests.faults.driver")  # which keeps each step
        wait_until(both_are_further, process)
        process.send_signal(signal.SIGTERM)  # as a scheduler does
        _, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 130, err
        assert err.splitlines()[-1].startswith(
            "dcbench: stopped; what is done is kept. The same command goes on from there:"
        )
        assert both_are_further()
        done = steps_of_each(tmp_path)
    assert not list(tmp_path.rglob("synthetic.pt"))


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
        "a unit needs 9999 processors and 0 GPUs, but a node of the cluster has"
        in more.err.splitlines()[-1]
    )
    assert list(tmp_path.iterdir()) == []


@ray
@pytest.mark.usefixtures("unchecked")
def test_jobs_that_have_nothing_left_to_do_make_room_for_the_next() -> None:
    """More of them than are begun at once, two of them in one place."""
    from dcbench.execution.ray_executor import _Floor

    def finished(number: int) -> Steps[int]:
        yield from ()
        return number

    jobs = [
        Job(str(number), Path(str(number % 4)), partial(finished, number)) for number in range(5)
    ]
    floor: Any = _Floor(SimpleNamespace(slots=1), iter(jobs), Site())  # type: ignore[arg-type]
    assert sorted(ended.result for ended in floor.work()) == [0, 1, 2, 3, 4]


@ray
@pytest.mark.usefixtures("unchecked")
def test_a_job_that_computes_itself_is_stopped_without_those_under_way() -> None:
    """A trace distils in its own steps; the other jobs' units are still to end."""
    from dcbench.execution.ray_executor import _Floor

    asked: list[str] = []

    def computing() -> Steps[int]:
        asked.append("to stop")
        raise KeyboardInterrupt
        yield

    floor: Any = _Floor(
        SimpleNamespace(slots=1),  # type: ignore[arg-type]
        iter([Job("trace", Path("a"), computing)]),
        Site(stop=lambda: bool(asked)),
    )
    floor._fill()
    assert list(floor._move()) == []
    assert floor.active == []
    with pytest.raises(KeyboardInterrupt):
        list(floor.work())


@ray
@pytest.mark.parametrize(
    ("cpus", "gpus", "slots"), [(1, 0, 4), (2, 0, 1), (3, 0, 1), (0.5, 0.5, 2), (0, 1, 1)]
)
def test_a_unit_has_to_fit_onto_one_node(
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
        match="needs 4 processors and 0 GPUs, but a node of the cluster has 3 processors and 1 GPUs at the most",
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
        match="the processors of a unit must be a fraction of one or a whole number",
    ):
        Needs(count, 0)


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
