"""A cell's identity says what changes the images and nothing else; a workspace's folder has one
process at work in it.
"""

from __future__ import annotations

import json
import shutil
import threading
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

import dcbench
from dcbench.artifacts.artifact import write_artifact
from dcbench.datasets.loading import Loaded
from dcbench.datasets.places import Places
from dcbench.distiller import Distiller
from dcbench.evaluation.protocol import PROTOCOLS
from dcbench.execution.workers import Workers, each
from dcbench.experiments.context import Cell, Workspace, set_label
from dcbench.experiments.distil import distil, publish, reopen
from dcbench.experiments.evaluate import record_path
from dcbench.experiments.grid import Grid
from dcbench.experiments.presets import build
from dcbench.experiments.rows import append_row, intact_row
from dcbench.images import SyntheticSet, TrainSet
from dcbench.records import EvaluationRecord, find_records
from dcbench.run import Run
from dcbench.system.errors import MismatchError, OutOfRangeError
from dcbench.system.files import read_lines
from dcbench.system.layout import file_name
from dcbench.system.machine import Machine
from dcbench.system.source import source_hash
from dcbench.system.wording import in_words
from tests.evaluated import evaluate_set


@pytest.fixture
def workspace(tmp_path: Path, machine: Machine) -> Workspace:
    return Workspace(tmp_path, machine)


@pytest.fixture
def cell(digits: Loaded) -> Cell:
    return Cell(build("random", "paper"), "paper", digits, ipc=1, seed=0)


def test_the_folder_follows_what_changes_the_images(
    workspace: Workspace, cell: Cell, digits: Loaded
) -> None:
    apart = Loaded(
        digits.spec, replace(digits.train, holdout="100 of 1438"), digits.test, None, digits.source
    )
    herding = build("herding", "paper")
    others = [
        replace(cell, ipc=2),
        replace(cell, seed=1),
        replace(cell, preset="quick"),
        replace(cell, loaded=apart),
        replace(cell, distiller=herding),
        replace(cell, distiller=replace(herding, feature_epochs=3)),  # type: ignore[type-var]
    ]
    folders = {each.folder(workspace) for each in (cell, *others)}
    folders.add(
        cell.folder(replace(workspace, machine=replace(workspace.machine, precision="bf16")))
    )
    assert len(folders) == len(others) + 2
    same = replace(workspace.machine, threads=workspace.machine.threads + 1, engine="compiled")
    assert cell.folder(replace(workspace, machine=same)) == cell.folder(workspace)
    assert cell.folder(workspace).relative_to(workspace.out).parts[:3] == (
        "digits",
        "ipc1",
        "random",
    )


def test_a_cell_has_a_budget(cell: Cell) -> None:
    with pytest.raises(OutOfRangeError, match="ipc must be at least 1, got 0"):
        replace(cell, ipc=0)


@dataclass(frozen=True)
class Picky(Distiller):
    name = "picky/../one"
    paper = None

    def refuses(self, train: TrainSet, ipc: int) -> str:
        return "it likes other data"

    def distill(self, train: TrainSet, ipc: int, run: Run) -> SyntheticSet:
        raise AssertionError("it was not asked")


def test_a_method_that_refuses_is_not_asked(workspace: Workspace, cell: Cell) -> None:
    with pytest.raises(MismatchError, match="cannot run on digits at IPC 1: it likes other data"):
        distil(replace(cell, distiller=Picky()), workspace)
    assert list(workspace.out.iterdir()) == []


def test_sets_are_made_once_and_found_again(workspace: Workspace, cell: Cell) -> None:
    first = distil(cell, workspace)
    assert first.path is not None
    assert first.cost is not None
    again, opened = distil(cell, workspace), reopen(first.path, workspace)
    assert first.sha256 == again.sha256 == opened.sha256
    assert first.folder == again.folder == opened.folder
    assert again.cost == opened.cost == first.cost
    assert reopen(workspace.out / "random.pt", workspace).folder == first.folder


def test_a_copy_is_written_only_where_it_differs(tmp_path: Path) -> None:
    said: list[str] = []
    (tmp_path / "a").write_bytes(b"one")
    publish(tmp_path / "a", tmp_path / "b", said.append)
    written = (tmp_path / "b").stat().st_mtime_ns
    publish(tmp_path / "a", tmp_path / "b", said.append)
    assert (tmp_path / "b").stat().st_mtime_ns == written
    (tmp_path / "a").write_bytes(b"two")
    publish(tmp_path / "a", tmp_path / "b", said.append)
    assert (tmp_path / "b").read_bytes() == b"two"
    (tmp_path / "a").unlink()  # by another process, which starts again
    publish(tmp_path / "a", tmp_path / "b", said.append)
    assert (tmp_path / "b").read_bytes() == b"two"
    assert not said


def test_a_run_writes_over_no_imported_set(workspace: Workspace, cell: Cell) -> None:
    said: list[str] = []
    telling = replace(workspace, say=said.append)
    copy = workspace.out / "random.pt"
    write_artifact(copy, distil(cell, workspace).synthetic, {"method": "random", "layout": "plain"})
    before = copy.read_bytes()
    distilled = distil(cell, telling)
    assert copy.read_bytes() == before
    assert said == [
        f"{copy} holds an imported set and is kept; the set made here is {distilled.path}"
    ]


def test_a_network_is_the_same_whichever_others_there_are(
    workspace: Workspace, cell: Cell, digits: Loaded
) -> None:
    distilled, protocol = distil(cell, workspace), PROTOCOLS["quick"].with_options(epochs=2)
    three = evaluate_set(distilled, digits.test, protocol, 0, 3, workspace)
    path = record_path(distilled, three)
    lines = (path.parent / "networks.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (path.parent / "networks.jsonl").write_text(lines[0] + lines[2], encoding="utf-8")
    mended = evaluate_set(distilled, digits.test, protocol, 0, 3, workspace)
    assert mended.accuracies == three.accuracies
    with pytest.raises(OutOfRangeError, match="networks must be at least 1"):
        evaluate_set(distilled, digits.test, protocol, 0, 0, workspace)


def test_asked_to_stop_an_evaluation_keeps_what_it_has(
    workspace: Workspace, cell: Cell, digits: Loaded
) -> None:
    distilled, protocol = distil(cell, workspace), PROTOCOLS["quick"].with_options(epochs=2)
    with pytest.raises(KeyboardInterrupt):
        evaluate_set(distilled, digits.test, protocol, 0, 2, replace(workspace, stop=lambda: True))
    (lines,) = workspace.out.rglob("networks.jsonl")
    assert lines.read_text(encoding="utf-8").count("\n") == 1
    assert not list(workspace.out.rglob("record.json"))


def test_who_waits_says_so_and_can_be_stopped(workspace: Workspace, tmp_path: Path) -> None:
    said: list[str] = []
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        with workspace.alone(tmp_path / "folder"):
            held.set()
            release.wait(30)

    holder = threading.Thread(target=hold)
    holder.start()
    assert held.wait(30)
    impatient = replace(workspace, say=said.append, stop=lambda: True)
    with pytest.raises(KeyboardInterrupt), impatient.alone(tmp_path / "folder"):
        raise AssertionError("two at once")
    release.set()
    holder.join()
    assert said == [f"waiting for another process that is at work in {tmp_path / 'folder'}"]
    with workspace.alone(tmp_path / "folder"):
        pass


def test_a_cell_that_waits_lets_others_go_on_and_takes_its_turn(
    workspace: Workspace, tmp_path: Path
) -> None:
    said: list[str] = []
    telling = replace(workspace, say=said.append)

    def hold(name: str) -> str:
        with (
            telling.alone(tmp_path / name),
            pytest.raises(KeyboardInterrupt),
            replace(workspace, stop=lambda: True).alone(tmp_path / name),
        ):
            raise AssertionError("two at once")
        return name

    with Workers(Executor(), 1) as workers:
        with workspace.alone(tmp_path / "taken"):
            ended = each(hold, ["taken", "free"], workers)
            assert next(ended) == ("free", "free")
        assert list(ended) == [("taken", "taken")]
    assert said == [f"waiting for another process that is at work in {tmp_path / 'taken'}"]


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("dm", "dm"),
        ("k-center", "k-center"),
        ("../up", "___up"),
        ("", "unnamed"),
        ("x" * 99, "x" * 60),
    ],
)
def test_names_as_files(name: str, file: str) -> None:
    assert file_name(name) == file


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.0, "0 s"), (0.4, "0.4 s"), (89, "89 s"), (600, "10 min"), (7200, "2.0 h"), (3e5, "3.5 d")],
)
def test_times_in_words(seconds: float, words: str) -> None:
    assert in_words(seconds) == words


@pytest.mark.parametrize(
    ("parts", "label"),
    [
        (("dm", 1, 0), "dm IPC 1 seed 0"),
        (("whole", None, 2), "whole seed 2"),
        ((None, None, None), "set"),
    ],
)
def test_sets_in_words(parts: tuple[Any, Any, Any], label: str) -> None:
    assert set_label(*parts) == label


def test_long_work_is_announced_when_it_begins(
    workspace: Workspace, digits: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(Machine, "estimate_seconds", lambda _machine, _macs: 5400.0)
    mmd = build("mmd", "paper", {"iterations": 2})
    distil(Cell(mmd, "paper", digits, 1, 0), replace(workspace, say=said.append))
    assert said == ["mmd IPC 1 seed 0: distilling takes about 1.5 h here (fp32, eager)"]


def test_few_networks_asked_first_leave_a_faster_engine_unused_but_named(
    workspace: Workspace, cell: Cell, digits: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    free = replace(workspace, machine=replace(workspace.machine, engine="auto"), say=said.append)
    distilled, protocol = distil(cell, free), PROTOCOLS["quick"].with_options(epochs=2)
    assert evaluate_set(distilled, digits.test, protocol, 0, 1, free).engine == "eager"
    monkeypatch.setattr(
        Machine, "decide", lambda machine, _macs: replace(machine, engine="compiled")
    )
    monkeypatch.setattr(
        Machine,
        "estimate_seconds",
        lambda machine, _macs: 5400.0 if machine.engine == "eager" else 1800.0,
    )
    assert evaluate_set(distilled, digits.test, protocol, 0, 2, free).engine == "eager"
    assert said == [
        "random IPC 1 seed 0: training 1 network takes about 1.5 h here (fp32, eager like those there are; with --engine compiled"
        " about 30 min)"
    ]


def test_what_the_user_names_stands_against_a_set_s_own_recipe(
    workspace: Workspace, cell: Cell, digits: Loaded
) -> None:
    plain = distil(cell, workspace)
    distilled = replace(
        plain, synthetic=replace(plain.synthetic, recipe={"augment": "none"}), sha256="f" * 64
    )
    options: list[str | None] = [None, "none", "dsa"]
    protocols = [PROTOCOLS["quick"].with_options(epochs=2, augment=augment) for augment in options]
    records = [
        evaluate_set(distilled, digits.test, protocol, 0, 1, workspace) for protocol in protocols
    ]
    assert [record.augment for record in records] == ["none", "none", "dsa"]
    assert len({record.protocol_hash for record in records}) == 3
    usual = evaluate_set(plain, digits.test, protocols[2], 0, 1, workspace)
    assert usual.accuracies == records[2].accuracies
    assert (
        usual.protocol_hash
        == evaluate_set(plain, digits.test, protocols[0], 0, 1, workspace).protocol_hash
        == records[0].protocol_hash
    )


def test_networks_of_several_numbers_of_threads_are_told(
    workspace: Workspace, cell: Cell, digits: Loaded
) -> None:
    distilled, protocol = distil(cell, workspace), PROTOCOLS["quick"].with_options(epochs=2)
    one, more = (
        replace(workspace, machine=replace(workspace.machine, threads=threads))
        for threads in (1, 2)
    )
    assert not evaluate_set(distilled, digits.test, protocol, 0, 1, one).warnings
    (warning,) = evaluate_set(distilled, digits.test, protocol, 0, 2, more).warnings
    assert warning.startswith("networks were trained with 1 and 2 threads")


def test_a_record_says_which_fields_are_not_the_preset_s(
    workspace: Workspace, cell: Cell, digits: Loaded
) -> None:
    protocol = PROTOCOLS["quick"].with_options(epochs=2)

    def recorded(settings: dict[str, str], seed: int = 0) -> EvaluationRecord:
        distiller = build("mmd", "quick", {"iterations": "2", "real_batch": "4"} | settings)
        made = distil(replace(cell, distiller=distiller, preset="quick", seed=seed), workspace)
        return evaluate_set(made, digits.test, protocol, seed, 1, workspace)

    plain, other = recorded({}), recorded({}, seed=1)
    assert plain.changed == {"iterations": 2, "real_batch": 4}
    assert recorded({"momentum": "0.5"}).changed == plain.changed  # the default, said aloud
    assert recorded({"momentum": "0.4"}).changed == {**plain.changed, "momentum": 0.4}
    assert plain.content != other.content
    usual = evaluate_set(distil(cell, workspace), digits.test, protocol, 0, 1, workspace)
    assert (usual.changed, usual.content) == ({}, distil(cell, workspace).synthetic.content_hash)
    assert usual.dataset_note == ""
    noted = replace(digits.test, note="classes by position")
    again = evaluate_set(distil(cell, workspace), noted, protocol, 0, 1, workspace)
    assert again.dataset_note == "classes by position"


def test_a_snapshot_does_not_pass_for_the_finished_set(
    workspace: Workspace, cell: Cell, digits: Loaded
) -> None:
    distilled, protocol = distil(cell, workspace), PROTOCOLS["quick"].with_options(epochs=2)
    snapshot = replace(
        distilled,
        provenance={**distilled.provenance, "step": 0},
        folder=workspace.out / "evaluated",
        sha256="0" * 64,
    )
    finished, early = (
        evaluate_set(each, digits.test, protocol, 0, 1, workspace) for each in (distilled, snapshot)
    )
    assert early.artifact_hash == f"{finished.artifact_hash}-step0"
    assert early.identity != finished.identity
    assert len(find_records(workspace.out).records) == 2


def test_a_record_names_the_code_of_every_network(
    workspace: Workspace, cell: Cell, digits: Loaded
) -> None:
    distilled, protocol = distil(cell, workspace), PROTOCOLS["quick"].with_options(epochs=2)
    first = evaluate_set(distilled, digits.test, protocol, 0, 1, workspace)
    assert (first.code, first.versions.torch) == (source_hash(), torch.__version__)
    lines = record_path(distilled, first).parent / "networks.jsonl"
    row = json.loads(lines.read_text(encoding="utf-8"))
    assert row["code"] == source_hash()
    for later in ("code", "torch", "check"):
        del row[later]
    lines.write_text(json.dumps(row) + "\n", encoding="utf-8")  # as older versions wrote it
    both = evaluate_set(distilled, digits.test, protocol, 0, 2, workspace)
    assert both.accuracies[0] == first.accuracies[0]
    assert (both.code, both.versions.torch) == (
        f"{source_hash()}/unknown",
        f"{torch.__version__}/unknown",
    )


def test_data_of_a_grid_are_looked_for_first(workspace: Workspace, tmp_path: Path) -> None:
    missing = Grid(["random"], ["digits", "cifar10"], [1], [0]).cells(
        Places(tmp_path / "nowhere", tmp_path / "cache"), workspace
    )
    with pytest.raises(Exception, match="cifar10 was not found"):
        next(missing)


def test_the_source_has_one_hash_however_it_is_laid_out(tmp_path: Path) -> None:
    package = Path(dcbench.__file__).parent
    copy = tmp_path / "dcbench"
    # folders in place of links, as in a wheel
    shutil.copytree(package, copy, ignore=shutil.ignore_patterns("__pycache__"))
    assert source_hash.__wrapped__(copy) == source_hash.__wrapped__(package)
    for part in ("nas", "methods", "baselines", "records"):
        (copy / part / "__init__.py").write_text("# changed", encoding="utf-8")
        assert source_hash.__wrapped__(copy) != source_hash.__wrapped__(package)
        shutil.copyfile(package / part / "__init__.py", copy / part / "__init__.py")


@pytest.mark.parametrize("text", ['{"accuracy": NaN, "check": "0"}', '{"accuracy": 1.0}', "{}"])
def test_a_damaged_row_is_not_taken(text: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    append_row(path, {"accuracy": 0.5})
    with path.open("a", encoding="utf-8") as stream:
        stream.write(f"{text}\n")
    whole, damaged = read_lines(path)
    assert intact_row(whole) == {"accuracy": 0.5}
    assert intact_row(damaged) is None
    assert intact_row({"accuracy": 0.5}, checked=False) == {"accuracy": 0.5}
