"""Traces: what they hold, what they share with the set and with each other, and which sets they
cannot follow.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import pytest
import torch

from dcbench.artifacts.artifact import read_artifact
from dcbench.datasets.loading import Loaded
from dcbench.distiller import Distiller
from dcbench.experiments.context import Cell, Workspace
from dcbench.experiments.distil import distil, reopen
from dcbench.experiments.presets import build
from dcbench.experiments.tasks import Distil
from dcbench.experiments.trace import Trace
from dcbench.images import SyntheticSet, TrainSet
from dcbench.records import read_record
from dcbench.run import Resumption, Run
from dcbench.system.errors import DcbenchError, MismatchError
from dcbench.system.machine import Machine
from tests.evaluated import evaluate_set, traced
from tests.small_studies import FIELDS, SHORT


def mmd(digits: Loaded, **fields: str) -> Cell:
    return Cell(
        build("mmd", "quick", {**FIELDS, "iterations": "4", **fields}), "quick", digits, 1, 0
    )


def test_the_last_step_is_the_set_itself_and_is_judged_once(
    tmp_path: Path, machine: Machine, digits: Loaded, made: list[str]
) -> None:
    cell, workspace = mmd(digits), Workspace(tmp_path, machine)
    record, path = traced(Trace(cell, (1, 4), SHORT, workspace), 2)
    distilled = distil(cell, workspace)
    assert len(made) == 1
    assert record.artifact_sha256 == distilled.sha256
    assert (
        record.points[1].accuracies
        == evaluate_set(distilled, digits.test, SHORT, 0, 2, workspace).accuracies
    )
    assert [file.parents[2].name for file in sorted(tmp_path.rglob("networks.jsonl"))] == [
        cell.folder(workspace).name,
        "step-000001",
    ]
    assert not (path.parent / "checkpoint.pt").exists()


def test_other_protocols_and_fewer_steps_take_the_snapshots_that_are_there(
    tmp_path: Path, machine: Machine, digits: Loaded, made: list[str]
) -> None:
    cell, workspace = mmd(digits), Workspace(tmp_path, machine)
    first, path = traced(Trace(cell, (1, 2, 4), SHORT, workspace), 1)
    longer = SHORT.with_options(epochs=5)
    other, beside = traced(Trace(cell, (1, 2, 4), longer, workspace), 1)
    fewer, _ = traced(Trace(cell, (2,), SHORT, workspace), 1)
    assert (len(made), beside.parent == path.parent) == (1, False)
    assert [point.accuracies for point in fewer.points] == [first.points[1].accuracies]
    assert [point.accuracies for point in other.points] != [
        point.accuracies for point in first.points
    ]
    assert (beside.parent / "step-000002.pt").read_bytes() == (
        path.parent / "step-000002.pt"
    ).read_bytes()
    (path.parent / "step-000002.pt").write_bytes(b"nothing")
    (beside.parent / "step-000002.png").unlink()
    traced(Trace(cell, (2, 4), SHORT, workspace), 1)
    assert len(made) == 1  # the third trace has step 2 still
    traced(Trace(cell, (1, 3), SHORT, workspace), 1)
    assert len(made) == 2  # nobody has step 3


def test_begun_anew_and_interrupted_nothing_old_is_left(
    tmp_path: Path, machine: Machine, digits: Loaded
) -> None:
    cell, workspace, asked = mmd(digits), Workspace(tmp_path, machine), count()
    old = distil(cell, workspace)
    evaluate_set(old, digits.test, SHORT, 0, 1, workspace)
    anew = replace(workspace, resumption=Resumption(resume=False), stop=lambda: next(asked) == 2)
    with pytest.raises(KeyboardInterrupt):
        traced(Trace(cell, (1, 4), SHORT, anew), 1)
    assert not list(tmp_path.rglob("synthetic.pt"))
    record, _ = traced(Trace(cell, (1, 4), SHORT, workspace), 1)
    again = distil(cell, workspace)
    assert (again.sha256, record.artifact_sha256) == (old.sha256, old.sha256)


def test_a_set_of_other_bits_stays(
    tmp_path: Path, machine: Machine, digits: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    cell, workspace = mmd(digits), Workspace(tmp_path, machine, say=said.append)
    old = distil(cell, workspace)
    distill = Distil.distill

    def otherwise(task: Distil, train: TrainSet, run: Run) -> SyntheticSet:
        synthetic = distill(task, train, run)
        return replace(synthetic, images=synthetic.images + 1e-6)

    monkeypatch.setattr(Distil, "distill", otherwise)
    traced(Trace(cell, (1,), SHORT, workspace), 1)
    assert distil(cell, workspace).sha256 == old.sha256
    assert [line for line in said if "already exists and is kept, although its bits differ" in line]


def test_what_it_took_may_be_lost_and_where_it_went_on_is_told(
    tmp_path: Path, machine: Machine, digits: Loaded, made: list[str]
) -> None:
    trace = Trace(mmd(digits), (1, 4), SHORT, Workspace(tmp_path, machine))
    _, path = traced(trace, 1)
    cost = path.parent / "distillation.json"
    cost.write_text('{"distill_seconds": 1.0, "resumed_elsewhere": true}', encoding="utf-8")
    record, _ = traced(trace, 1)
    assert record.warnings == ("its distillation resumed from a checkpoint of another machine",)
    cost.write_text("{", encoding="utf-8")
    record, _ = traced(trace, 1)
    assert (record.warnings, len(made)) == ((), 1)


@dataclass(frozen=True)
class Odd(Distiller):
    """Counts steps by ``run.steps``, and is odd otherwise."""

    name = title = "odd"
    paper = None
    how: str = ""
    iterations: int = 3

    def distill(self, train: TrainSet, ipc: int, run: Run) -> SyntheticSet:
        images, labels = (
            torch.zeros(train.spec.classes * ipc, *train.spec.shape),
            torch.arange(train.spec.classes),
        )
        for _ in run.steps(
            self.iterations, {"images": images}, "other" if self.how == "other loop" else "distill"
        ):
            assert self.how != "other loop", "it was told before the first step"
            images += 0.01
        if self.how == "other order":
            labels = labels.flip(0)
        recipe = {"lr": 0.1} if self.how == "recipe" else {}
        return SyntheticSet(
            train.spec,
            images + 1 if self.how == "other images" else images,
            labels,
            train.space,
            recipe,
        )


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("", ""),
        ("other loop", "it does not hold its images while it distils"),
        ("other order", "the set itself is kept"),
        ("recipe", "the set itself is kept"),
        ("other images", "the set itself is kept"),
    ],
)
def test_a_set_that_becomes_another_at_the_end_is_not_traced_but_kept(
    tmp_path: Path, machine: Machine, digits: Loaded, how: str, said: str
) -> None:
    cell, workspace = Cell(Odd(how), "quick", digits, 1, 0), Workspace(tmp_path, machine)
    trace = Trace(cell, (1, 3), SHORT, workspace)
    if not said:
        traced(trace, 1)
        return
    with pytest.raises(MismatchError, match=f"odd cannot be traced: .*{said}"):
        traced(trace, 1)
    assert not list(tmp_path.rglob("step-*"))
    assert bool(list(tmp_path.rglob("synthetic.pt"))) == said.endswith("kept")


def test_a_snapshot_that_is_judged_alone_says_at_which_step_it_is(
    tmp_path: Path, machine: Machine, digits: Loaded
) -> None:
    workspace = Workspace(tmp_path, machine)
    _, path = traced(Trace(mmd(digits), (1, 4), SHORT, workspace), 1)
    record = evaluate_set(
        reopen(path.parent / "step-000001.pt", workspace), digits.test, SHORT, 0, 1, workspace
    )
    assert record.changed["stopped_after"] == 1
    assert record.artifact_hash.endswith("-step1")


def test_a_finished_trace_is_not_made_again_but_gets_more_networks(
    tmp_path: Path, machine: Machine, digits: Loaded
) -> None:
    cell = Cell(build("mmd", "quick", {**FIELDS, "iterations": "4"}), "quick", digits, 1, 0)
    trace = Trace(cell, (0, 4), SHORT, Workspace(tmp_path, machine))
    first, path = traced(trace, 1)
    snapshot = (path.parent / "step-000004.pt").stat().st_mtime_ns
    more, _ = traced(Trace(cell, (0, 4), SHORT, Workspace(tmp_path, machine)), 2)
    fewer, _ = traced(Trace(cell, (0, 4), SHORT, Workspace(tmp_path, machine)), 1)
    # what is said does not depend on what was done before
    assert [len(point.networks) for point in fewer.points] == [1, 1]
    assert read_record(path) == more  # and what was done is kept
    assert (path.parent / "step-000004.pt").stat().st_mtime_ns == snapshot
    # seconds and all
    assert [point.networks[0] for point in more.points] == [
        point.networks[0] for point in first.points
    ]
    assert [len(point.networks) for point in more.points] == [2, 2]


def test_a_damaged_snapshot_is_made_again(tmp_path: Path, machine: Machine, digits: Loaded) -> None:
    cell = Cell(build("mmd", "quick", {**FIELDS, "iterations": "4"}), "quick", digits, 1, 0)
    trace = Trace(cell, (0, 2, 4), SHORT, Workspace(tmp_path, machine))
    before, path = traced(trace, 1)
    (path.parent / "step-000002.pt").write_bytes(b"nothing")
    after, _ = traced(trace, 1)
    assert [point.accuracies for point in after.points] == [
        point.accuracies for point in before.points
    ]
    assert read_artifact(path.parent / "step-000002.pt").provenance["step"] == 2


@pytest.mark.parametrize(
    ("method", "steps", "said"),
    [
        ("mmd", (3, 1), r"the steps of a trace must rise, from 0 or later, got \(3, 1\)"),
        ("mmd", (-1, 1), "must rise, from 0 or later"),
        ("mmd", (), "must rise, from 0 or later"),
        ("mmd", (0, 501), "mmd takes 500 steps at IPC 1; a trace may look at 0 to 500, got 501"),
        ("dc", (0, 351), "dc takes 350 steps at IPC 1"),
        ("random", (0, 1), "random cannot be traced: it takes no steps on its images"),
        ("random", (0,), "random cannot be traced: it takes no steps on its images"),
        ("gmmn", (0, 1), "gmmn cannot be traced: it takes no steps on its images"),
    ],
)
def test_steps_that_a_method_does_not_take_are_refused(
    machine: Machine, tmp_path: Path, digits: Loaded, method: str, steps: tuple[int, ...], said: str
) -> None:
    with pytest.raises(DcbenchError, match=said):
        Trace(
            Cell(build(method, "quick"), "quick", digits, 1, 0),
            steps,
            SHORT,
            Workspace(tmp_path, machine),
        )


@pytest.mark.parametrize(
    ("method", "settings", "said"),
    [
        (
            "kip",
            {"learn_labels": "true", "real_batch": "20"},
            "kip cannot be traced: besides its images it learns labels",
        ),
        (
            "mtt",
            {"experts": "1", "expert_images": "50", "expert_epochs": "1"},
            "mtt cannot be traced: besides its images it learns rate",
        ),
    ],
)
def test_a_set_that_is_more_than_its_images_is_not_traced(
    machine: Machine,
    tmp_path: Path,
    digits: Loaded,
    method: str,
    settings: dict[str, str],
    said: str,
) -> None:
    cell = Cell(build(method, "quick", {**settings, "iterations": "2"}), "quick", digits, 1, 0)
    with pytest.raises(MismatchError, match=said):
        traced(Trace(cell, (0, 2), SHORT, Workspace(tmp_path, machine)), 1)
    assert not list(tmp_path.rglob("step-*"))


def test_a_traced_kip_holds_the_set_that_it_makes(
    machine: Machine, tmp_path: Path, digits: Loaded
) -> None:
    workspace = Workspace(tmp_path, machine)
    cell = Cell(
        build("kip", "quick", {"real_batch": "20", "iterations": "2"}), "quick", digits, 1, 0
    )
    _, path = traced(Trace(cell, (1, 2), SHORT, workspace), 1)
    assert (
        read_artifact(path.parent / "step-000002.pt").synthetic.content_hash
        == distil(cell, workspace).synthetic.content_hash
    )


@pytest.mark.usefixtures("unchecked")
def test_a_trace_that_sees_no_steps_ends(
    machine: Machine, tmp_path: Path, digits: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A method that takes its steps without ``run.steps`` is not made again and again."""
    monkeypatch.setattr(
        Run, "steps", lambda _run, total, _state, _name="distill": iter(range(total))
    )
    cell = Cell(build("mmd", "quick", {**FIELDS, "iterations": "2"}), "quick", digits, 1, 0)
    with pytest.raises(
        MismatchError, match=r"mmd cannot be traced: it does not count its steps by run\.steps"
    ):
        traced(Trace(cell, (0, 2), SHORT, Workspace(tmp_path, machine)), 1)
