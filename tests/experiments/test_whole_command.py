"""The progress of a whole command: pieces count by their work, and what was done before does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from dcbench.experiments import whole_command
from dcbench.experiments.context import Workspace
from dcbench.experiments.whole_command import CommandProgress
from dcbench.system.machine import Machine
from tests.commandline import ask


class Clock:
    """The time, as the test says."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(whole_command, "time", clock)
    return clock


def test_pieces_count_by_their_work(tmp_path: Path, machine: Machine, clock: Clock) -> None:
    """Three sets: one is there, one is large; each second does what was estimated to take two."""
    said: list[str] = []
    told: list[tuple[str, int, int]] = []
    workspace = Workspace(
        tmp_path, machine, say=said.append, overall=lambda *words: told.append(words)
    )
    progress = CommandProgress("set", workspace)
    for name, making, judging in (("there", 0, 0), ("small", 100, 100), ("large", 1000, 200)):
        progress.add(name, making, judging)
    progress.announce()
    assert said == ["3 sets: about 23 min here (fp32, 1 thread)"]
    progress.end("there")
    assert told[-1] == ("set 2 of 3, about 23 min left", 1, 3)  # nothing but the estimate is known
    small, large = (progress.workspace_of(name) for name in ("small", "large"))
    small.progress("small: distill", 0, 2)
    clock.now = 25.0
    small.progress("small: distill", 1, 2)
    assert told[-1][0] == "set 2 of 3, about 11 min left"
    clock.now = 50.0
    small.progress("small: networks", 0, 10)
    clock.now = 100.0
    small.progress("small: networks", 10, 10)
    progress.end("small")
    assert told[-1] == ("set 3 of 3, about 10 min left", 2, 3)
    large.progress("large: distill", 0, 1000)
    clock.now = 400.0
    large.progress("large: distill", 600, 1000)
    assert told[-1][0] == "set 3 of 3, about 5 min left"
    progress.end("large")
    assert told[-1] == ("set 3 of 3", 3, 3)


def test_one_set_is_announced_with_its_networks(
    tmp_path: Path, machine: Machine, clock: Clock
) -> None:
    """Its networks may take longer than the distillation that comes first."""
    said: list[str] = []
    workspace = Workspace(
        tmp_path, machine, say=said.append, overall=lambda text, *_: said.append(text)
    )
    progress = CommandProgress("set", workspace)
    progress.add("one", 100, 1100)
    progress.announce()
    own = progress.workspace_of("one")
    own.progress("one: distill", 0, 10)
    clock.now = 100.0
    own.progress("one: distill", 10, 10)
    assert said == ["1 set: about 20 min here (fp32, 1 thread)", "set 1 of 1, about 18 min left"]


@pytest.mark.parametrize("pieces", [(), ((0, 1000),), ((1000, 0),), ((1, 1),)])
def test_what_one_task_reports_is_not_said_twice(
    tmp_path: Path, machine: Machine, clock: Clock, pieces: tuple[tuple[float, float], ...]
) -> None:
    said: list[str] = []
    workspace = Workspace(
        tmp_path, machine, say=said.append, overall=lambda text, *_: said.append(text)
    )
    progress = CommandProgress("set", workspace)
    for number, (making, judging) in enumerate(pieces):
        progress.add(number, making, judging)
    progress.announce()
    for number in range(len(pieces)):
        clock.now += 10.0
        progress.workspace_of(number).progress("0: networks", 1, 10)
        progress.end(number)
    assert not said


def test_what_was_done_before_is_no_work(tmp_path: Path, machine: Machine, clock: Clock) -> None:
    told: list[str] = []
    workspace = Workspace(tmp_path, machine, overall=lambda text, *_: told.append(text))
    progress = CommandProgress("set", workspace)
    for number in range(4):
        progress.add(number, 100, 100)
    progress.end(0)  # it was there, though nobody had known
    clock.now = 10.0
    # made before; of its ten networks eight are there
    for done in (8, 9):
        progress.workspace_of(1).progress("1: networks", done, 10)
        clock.now += 40.0
    assert told[-1] == "set 2 of 4, about 8 min left"


def test_a_grid_says_before_it_starts_how_long_it_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = ("run", "--method", "random,mmd", "--set", "iterations=2", "--ipc", "1,2")
    words = (*grid, "--networks", "1", "--epochs", "1", "--threads", "1", "--out", tmp_path)
    monkeypatch.setattr("dcbench.cli.console.QUIET_SECONDS", 0.0)
    monkeypatch.setattr(Machine, "estimate_seconds", lambda _machine, macs: 600.0 if macs else 0.0)
    said = ask(*words, "--json").err.splitlines()
    begun = [line.partition(":")[0] for line in said if line.startswith(("4 sets", "random"))]
    assert begun[0] == "4 sets"
    assert any(line.startswith("set 2 of 4, about ") for line in said)
    assert any(line.startswith("set 4 of 4, about ") for line in said)
