"""What a run promises: randomness by name, work that goes on where it stopped, shared work done
once, a history that is true.
"""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from dcbench.run import Cost, Resumption, Run, fingerprint
from dcbench.system.errors import DivergedError, MismatchError
from dcbench.system.files import disk_time, read_tensors, write_tensors
from dcbench.system.machine import Machine

TOTAL = 6


def numbers(run: Run, *names: str | int) -> list[float]:
    values: list[float] = torch.rand(4, generator=run.generator(*names)).tolist()
    return values


class Work:
    """A piece of work whose result depends on every step and on its own randomness."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.value = torch.zeros(3, requires_grad=True)
        self.optimizer = torch.optim.Adam([self.value], lr=0.1)
        self.did: list[int] = []

    def __call__(self, total: int = TOTAL) -> Tensor:
        for step in self.run.steps(total, {"value": self.value, "optimizer": self.optimizer}):
            self.optimizer.zero_grad()
            loss = (
                (self.value - torch.rand(3, generator=self.run.generator("noise", step)))
                .square()
                .sum()
            )
            self.run.log(step, loss=float(loss.detach()))
            loss.backward()
            self.optimizer.step()
            self.did.append(step)
        return self.value.detach().clone()


def stopping_after(run: Run, steps: int) -> Run:
    """A run that is asked to stop when it has done so many steps."""
    asked = iter(range(steps - 1))
    return replace(run, stop=lambda: next(asked, None) is None, history=[], cost=Cost())


@pytest.fixture
def kept(run: Run, tmp_path: Path) -> Run:
    """A run with a folder."""
    return replace(run, folder=tmp_path / "work", shared=tmp_path / "shared")


def again(run: Run, **changes: Any) -> Run:
    """What the same command makes in a new process."""
    return replace(run, history=[], cost=Cost(), **changes)


# -------------------------------------------------------------------------------------------------------------
# randomness


def test_randomness_depends_on_the_seed_and_the_names_alone(run: Run, kept: Run) -> None:
    torch.manual_seed(1)
    first = numbers(run, "network", 3)
    torch.manual_seed(2)
    numbers(run, "other")
    assert numbers(kept, "network", 3) == first
    assert numbers(replace(run, seed=1), "network", 3) != first


names = st.lists(st.one_of(st.integers(0, 99), st.text(max_size=4)), max_size=3).map(tuple)


@given(names, names)
def test_different_names_give_different_numbers(
    first: tuple[str | int, ...], second: tuple[str | int, ...]
) -> None:
    """Also where they look alike when run together: ("a", 12) and ("a1", 2), or 1 and "1"."""
    run = Run(0, Machine(torch.device("cpu"), 1, "fp32"))
    assert (numbers(run, *first) == numbers(run, *second)) == (
        tuple(map(repr, first)) == tuple(map(repr, second))
    )


def test_a_part_has_randomness_history_and_cost_of_its_own(run: Run) -> None:
    part = run.part("features")
    assert numbers(part, "x") == numbers(run.part("features"), "x")
    assert numbers(part, "x") not in (numbers(run, "x"), numbers(run.part("other"), "x"))
    part.log(0, loss=1.0)
    assert run.history == []


# -------------------------------------------------------------------------------------------------------
# stopping, going on


def test_a_second_loop_is_refused_with_what_to_do(kept: Run) -> None:
    """It would be passed over through the first's checkpoint, or the first would be done again
    through the second's.
    """
    Work(kept)()
    with pytest.raises(
        MismatchError,
        match=r"a second loop of run.steps \('train' after 'distill'\).*put the first into run.once",
    ):
        next(kept.steps(TOTAL, {}, "train"))


@pytest.mark.parametrize("steps", range(1, TOTAL + 1))
def test_stopped_work_goes_on_to_the_same_bits(steps: int, run: Run, kept: Run) -> None:
    whole = Work(run)()
    stopped = Work(stopping_after(kept, steps))
    with pytest.raises(KeyboardInterrupt):
        stopped()
    rest = Work(again(kept))
    assert torch.equal(rest(), whole)
    assert (stopped.did, rest.did) == (list(range(steps)), list(range(steps, TOTAL)))
    assert rest.run.history == run.history


def test_killed_work_goes_on_from_its_latest_checkpoint(run: Run, kept: Run) -> None:
    whole = Work(run)()
    killed = Work(again(kept, resumption=Resumption(checkpoint_seconds=0.0)))

    def kill(_name: str, done: int, _total: int) -> None:
        if done == 4:
            raise MemoryError

    killed.run = replace(killed.run, progress=kill)
    with pytest.raises(MemoryError):
        killed()
    rest = Work(again(kept))
    assert torch.equal(rest(), whole)
    assert rest.did == [3, 4, 5]  # the fourth step had not been kept
    assert [row["step"] for row in rest.run.history] == [1, 2, 3, 4, 5, 6]


def test_a_watch_sees_each_state_once_before_any_checkpoint_is_past_it(run: Run, kept: Run) -> None:
    """What it keeps of a state is there when a later process goes on from behind it."""

    def watching(run: Run, seen: dict[int, Tensor]) -> Run:
        return replace(
            run,
            watch=lambda _name, done, state: seen.update({done: state["value"].detach().clone()}),  # type: ignore[union-attr]
        )

    whole: dict[int, Tensor] = {}
    last = Work(watching(run, whole))()
    assert list(whole) == list(range(TOTAL + 1))
    assert torch.equal(whole[0], torch.zeros(3))
    assert torch.equal(whole[TOTAL], last)
    halves: dict[int, Tensor] = {}
    with pytest.raises(KeyboardInterrupt):
        Work(watching(stopping_after(kept, 4), halves))()
    assert list(halves) == [0, 1, 2, 3, 4]
    Work(watching(again(kept), halves))()
    assert all(torch.equal(halves[done], whole[done]) for done in range(TOTAL + 1))
    assert run.part("features").watch is run.watch  # which sees nothing
    assert watching(run, whole).part("features").watch is run.watch


def test_progress_tells_of_work_that_was_already_done(kept: Run) -> None:
    with pytest.raises(KeyboardInterrupt):
        Work(stopping_after(kept, 4))()
    told: list[tuple[int, int]] = []
    Work(again(kept, progress=lambda _name, done, total: told.append((done, total))))()
    assert told == [(4, 6), (5, 6), (6, 6)]


def test_cost_is_that_of_both_halves(kept: Run) -> None:
    stopped = stopping_after(kept, 4)
    with pytest.raises(KeyboardInterrupt):
        Work(stopped)()
    rest = again(kept)
    Work(rest)()
    assert len(rest.cost.steps) == TOTAL
    assert rest.cost.steps[:4] == stopped.cost.steps
    assert rest.cost.seconds == pytest.approx(sum(rest.cost.steps))
    assert not rest.cost.resumed_elsewhere


@pytest.mark.parametrize("change", [{"seed": 1}, {"resumption": Resumption(resume=False)}])
def test_a_checkpoint_of_other_work_is_not_gone_on_with(
    change: dict[str, Any], run: Run, kept: Run
) -> None:
    with pytest.raises(KeyboardInterrupt):
        Work(stopping_after(kept, 4))()
    fresh = Work(again(kept, **change))
    assert torch.equal(fresh(), Work(again(run, **change))())
    assert fresh.did == list(range(TOTAL))


def test_another_number_of_steps_is_other_work(kept: Run) -> None:
    with pytest.raises(KeyboardInterrupt):
        Work(stopping_after(kept, 4))()
    longer = Work(again(kept))
    longer(TOTAL + 1)
    assert longer.did[0] == 0


@pytest.mark.parametrize("damage", ["truncated", "garbage", "empty"])
def test_a_damaged_checkpoint_costs_time_and_no_truth(damage: str, run: Run, kept: Run) -> None:
    with pytest.raises(KeyboardInterrupt):
        Work(stopping_after(kept, 4))()
    assert kept.folder is not None
    checkpoint = kept.folder / "checkpoint.pt"
    content = checkpoint.read_bytes()
    checkpoint.write_bytes(
        {"truncated": content[: len(content) // 2], "garbage": b"\x80\x02garbage", "empty": b""}[
            damage
        ]
    )
    fresh = Work(again(kept))
    assert torch.equal(fresh(), Work(run)())
    assert fresh.did == list(range(TOTAL))


@pytest.mark.parametrize("change", [{"precision": "bf16"}, {"threads": 77}, {"engine": "compiled"}])
def test_a_checkpoint_of_another_machine_is_refused_unless_allowed(
    change: dict[str, Any], kept: Run
) -> None:
    """Going on would not give the same bits; the message names what is different and both ways out."""
    with pytest.raises(KeyboardInterrupt):
        Work(stopping_after(kept, 4))()
    other = again(kept, machine=replace(kept.machine, **change))
    ((name, value),) = change.items()
    with pytest.raises(
        MismatchError, match=rf"{name} .* is now {value!r}.*delete that file.*--resume-elsewhere"
    ):
        Work(other)()
    allowed = Work(again(other, resumption=Resumption(other_machine=True)))
    allowed()
    assert allowed.did == [4, 5]
    assert allowed.run.cost.resumed_elsewhere


def test_all_code_that_did_any_of_it_is_named(
    kept: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def of(code: str) -> Run:
        monkeypatch.setattr("dcbench.run.source_hash", lambda: code)
        return again(kept)

    of("a").once("features", {}, Builds())
    with pytest.raises(KeyboardInterrupt):
        Work(stopping_after(of("b"), 2))()
    rest = of("c")
    rest.once("features", {}, Builds())
    Work(rest)()
    assert rest.cost.codes == {"a", "b", "c"}
    (path,) = results(tmp_path / "shared")
    kept_before = {key: value for key, value in read_tensors(path).items() if key != "codes"}
    write_tensors(path, kept_before)  # as it was kept before code was named
    later = of("d")
    later.once("features", {}, Builds())
    assert later.cost.codes == {"d", "unknown"}


def test_having_gone_on_elsewhere_is_remembered_through_later_interruptions(kept: Run) -> None:
    with pytest.raises(KeyboardInterrupt):
        Work(stopping_after(kept, 2))()
    other = replace(kept, machine=replace(kept.machine, threads=77))
    with pytest.raises(KeyboardInterrupt):
        Work(stopping_after(replace(other, resumption=Resumption(other_machine=True)), 2))()
    rest = again(other)
    Work(rest)()
    assert rest.cost.resumed_elsewhere


def test_without_a_folder_nothing_is_written(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Work(replace(run, resumption=Resumption(checkpoint_seconds=0.0)))()
    run.finish()
    assert list(tmp_path.iterdir()) == []


# ----------------------------------------------------------------------------------------------------------
# history, finish


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_figure_that_is_not_finite_stops_the_work_and_names_the_step(
    value: float, run: Run
) -> None:
    with pytest.raises(DivergedError, match=f"loss became {value} at step 8"):
        run.log(7, accuracy=0.5, loss=value)


def test_finished_work_leaves_its_history_and_no_checkpoint(kept: Run) -> None:
    with pytest.raises(KeyboardInterrupt):
        Work(stopping_after(kept, 3))()
    work = Work(again(kept))
    work()
    work.run.log(TOTAL, other=0.1)
    work.run.finish()
    assert kept.folder is not None
    assert [path.name for path in kept.folder.iterdir()] == ["history.csv"]
    with (kept.folder / "history.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [int(row["step"]) for row in rows] == [1, 2, 3, 4, 5, 6, 7]
    assert [float(row["loss"]) for row in rows[:-1]] == [
        entry["loss"] for entry in work.run.history[:-1]
    ]
    assert (rows[-1]["loss"], rows[-1]["other"]) == ("", "0.1")


def test_steady_steps_and_what_compiling_cost_are_told_apart() -> None:
    cost = Cost(steps=[9.0, 2.0, 1.0, 1.0, 1.2, 0.8])
    assert cost.step_seconds == 1.0
    assert cost.first_steps_more_seconds == pytest.approx(8.0 + 1.0)
    assert (Cost().step_seconds, Cost().first_steps_more_seconds) == (None, None)


def test_only_what_was_compiled_took_time_to_compile(run: Run) -> None:
    compiled, steps = replace(run.machine, engine="compiled"), [9.0, 2.0, 1.0, 1.0, 1.2, 0.8]
    assert replace(run, machine=compiled, cost=Cost(steps=steps)).compile_seconds == pytest.approx(
        9.0
    )
    assert replace(run, machine=compiled, cost=Cost()).compile_seconds is None
    assert replace(run, cost=Cost(steps=steps)).compile_seconds is None


# --------------------------------------------------------------------------------------------------------------
# shared work


class Builds:
    """A builder that counts, of work in three steps."""

    def __init__(self) -> None:
        self.steps: list[int] = []

    def __call__(self, part: Run) -> dict[str, Any]:
        total = torch.zeros(2)
        for step in part.steps(3, {"total": total}, "build"):
            total += torch.rand(2, generator=part.generator(step))
            self.steps.append(step)
        return {"total": total, "note": "kept"}


def results(shared: Path) -> Iterator[Path]:
    return shared.glob("*/result.pt")


def test_shared_work_is_done_once(kept: Run) -> None:
    builds = Builds()
    first = kept.once("features", {"epochs": 3}, builds)
    second = replace(kept, folder=None).once("features", {"epochs": 3}, builds)
    assert builds.steps == [0, 1, 2]
    assert torch.equal(first["total"], second["total"])
    assert second["note"] == "kept"


def test_shared_work_counts_once_for_each_who_needs_it(run: Run, kept: Run) -> None:
    """Whoever did it, however often it is read again, and after an interruption too."""
    for first in (again(run), again(kept)):
        first.once("features", {}, Builds())
        took = first.cost.seconds
        assert took > 0
        first.once("features", {}, Builds())
        assert first.cost.seconds == took
    later, state = again(kept), {"total": torch.zeros(1)}
    later.once("features", {}, Builds())
    assert later.cost.seconds == took
    with pytest.raises(KeyboardInterrupt):
        list(replace(later, stop=lambda: True).steps(3, state))
    resumed = again(kept)
    list(resumed.steps(3, state))
    before = resumed.cost.seconds
    resumed.once("features", {}, Builds())
    assert resumed.cost.seconds == before > took


def test_shared_work_of_another_machine_is_taken_and_said(kept: Run, tmp_path: Path) -> None:
    builds = Builds()
    kept.once("features", {}, builds)
    there = replace(again(kept), machine=replace(kept.machine, threads=77))
    made = there.once("features", {}, builds)
    assert builds.steps == [0, 1, 2]
    assert set(made) == {"total", "note"}
    same = again(kept)
    same.once("features", {}, builds)
    assert (
        kept.cost.resumed_elsewhere,
        same.cost.resumed_elsewhere,
        there.cost.resumed_elsewhere,
    ) == (False, False, True)
    (path,) = results(tmp_path / "shared")
    older = {key: value for key, value in read_tensors(path).items() if key != "machine"}
    write_tensors(path, older)
    unsaid = replace(again(kept), machine=replace(kept.machine, threads=77))
    unsaid.once("features", {}, builds)
    assert not unsaid.cost.resumed_elsewhere


def test_shared_work_is_the_same_where_nothing_is_kept(run: Run, kept: Run) -> None:
    kept_result, fresh = kept.once("features", {}, Builds()), run.once("features", {}, Builds())
    assert torch.equal(kept_result["total"], fresh["total"])


@pytest.mark.parametrize(
    "change",
    [
        lambda run: (run, "other", {"epochs": 3}),
        lambda run: (run, "features", {"epochs": 4}),
        lambda run: (replace(run, seed=1), "features", {"epochs": 3}),
        lambda run: (replace(run, context={"revision": "b"}), "features", {"epochs": 3}),
        lambda run: (
            replace(run, machine=replace(run.machine, precision="bf16")),
            "features",
            {"epochs": 3},
        ),
    ],
    ids=["name", "spec", "seed", "data", "precision"],
)
def test_whatever_changes_shared_work_makes_it_other_work(change: Any, kept: Run) -> None:
    builds = Builds()
    kept = replace(kept, context={"revision": "a"})
    kept.once("features", {"epochs": 3}, builds)
    run, name, spec = change(kept)
    run.once(name, spec, builds)
    assert len(builds.steps) == 6


def test_interrupted_shared_work_goes_on(run: Run, kept: Run) -> None:
    builds = Builds()
    with pytest.raises(KeyboardInterrupt):
        stopping_after(kept, 2).once("features", {}, builds)
    result = kept.once("features", {}, builds)
    assert builds.steps == [0, 1, 2]
    assert torch.equal(result["total"], run.once("features", {}, Builds())["total"])


def test_shared_work_from_before_is_done_anew_and_then_once(kept: Run, tmp_path: Path) -> None:
    builds = Builds()
    first = kept.once("features", {}, builds)
    since = disk_time(tmp_path)
    anew = replace(kept, resumption=Resumption(resume=False, since=since))
    (path,) = results(tmp_path / "shared")
    os.utime(path, (since - 1, since - 1))
    found = [anew.once("features", {}, builds) for _ in range(3)]
    assert builds.steps == [0, 1, 2] * 2
    assert all(torch.equal(each["total"], first["total"]) for each in found)


def test_damaged_shared_work_is_done_again(kept: Run, tmp_path: Path) -> None:
    first = kept.once("features", {}, Builds())
    (path,) = results(tmp_path / "shared")
    path.write_bytes(path.read_bytes()[:100])
    builds = Builds()
    assert torch.equal(kept.once("features", {}, builds)["total"], first["total"])
    assert builds.steps == [0, 1, 2]
    assert torch.equal(read_tensors(path)["total"], first["total"])


def test_fingerprints_do_not_depend_on_the_order_of_keys() -> None:
    assert fingerprint({"a": 1, "b": [1, 2]}) == fingerprint({"b": [1, 2], "a": 1})
    assert len({fingerprint({"a": value}) for value in (1, 1.5, "1", None, True, [1])}) == 6


@pytest.mark.parametrize(("saving", "most"), [(0.1, 0.005), (3.0, 0.02), (20.0, 0.02)])
def test_checkpoints_take_a_small_share_of_the_time_however_long_one_takes(
    saving: float, most: float, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    saves: list[int] = []

    def save(_run: Run, _name: str, done: int, *_: object) -> None:
        now[0] += saving
        saves.append(done)

    monkeypatch.setattr("dcbench.run.time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(Run, "_save", save)
    for _ in replace(run, folder=tmp_path).steps(20_000, {}):
        now[0] += 1.0
    assert len(saves) >= 10
    assert len(saves) * saving / now[0] < most
