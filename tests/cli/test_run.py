"""``dcbench run`` as a user meets it: its files, its JSON, its table, and that no work is done twice."""

from __future__ import annotations

import csv
import fcntl
import gc
import json
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import termios
import weakref
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from dcbench.artifacts.artifact import read_artifact
from dcbench.datasets.loading import Loaded, load
from dcbench.datasets.places import Places
from dcbench.experiments import grid, run_grid
from dcbench.images import TestSet
from dcbench.records import EvaluationRecord, TraceRecord, read_distillation, read_record
from dcbench.system.errors import MismatchError
from dcbench.training.trainer import train_network
from tests.commandline import (
    MMD,
    QUICKLY,
    RANDOM,
    RUN_FIELDS,
    Answer,
    ask,
    dcbench,
    done,
    environment,
    rows,
)

SUMMARY_FIELDS = [
    "method",
    "dataset",
    "ipc",
    "sets",
    "mean",
    "std_sets",
    "std_networks",
    "ci95_sets",
]
MINE = '''
from dataclasses import dataclass
from typing import Annotated
import torch
from annotated_types import Ge
from dcbench.distiller import Distiller, register
from dcbench.images import SyntheticSet

@register("mine")
@dataclass(frozen=True)
class Mine(Distiller):
    """One grey."""

    shade: Annotated[float, Ge(0)] = 0.25

    def distill(self, train, ipc, run):
        images = torch.full((ipc * train.spec.classes, *train.spec.shape), self.shade)
        return SyntheticSet(train.spec, images, torch.arange(train.spec.classes).repeat_interleave(ipc), train.space)
'''


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of one run; copied by those who change them."""
    out = tmp_path_factory.mktemp("kept") / "out"
    done(*MMD, "--out", out)
    return out


@pytest.fixture
def out(kept: Path, tmp_path: Path) -> Path:
    shutil.copytree(kept, tmp_path / "out")
    return tmp_path / "out"


def only_run(*words: str | Path) -> dict[str, Any]:
    (run,) = done(*words, "--json").json["runs"]
    assert isinstance(run, dict)
    return run


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Answer]:
    """The main job, as a user does it: a process of its own in an empty folder."""
    home = tmp_path_factory.mktemp("home")
    words = (
        "run",
        "--method",
        "datadam",
        "--dataset",
        "digits",
        "--ipc",
        "1",
        "--set",
        "iterations=3",
        *QUICKLY,
    )
    answer = dcbench(*words, "--json", cwd=home)
    assert answer.code == 0, answer.err
    return home, answer


def test_the_json_of_a_run(whole_run: tuple[Path, Answer]) -> None:
    home, answer = whole_run
    assert answer.out.count("\n") == 1
    assert list(answer.json) == ["runs", "summary"]
    (run,), (summary,) = answer.json["runs"], answer.json["summary"]
    assert sorted(run) == sorted(RUN_FIELDS)
    assert list(summary) == SUMMARY_FIELDS
    assert (run["method"], run["dataset"], run["ipc"], run["seed"], run["preset"]) == (
        "datadam",
        "digits",
        1,
        0,
        "paper",
    )
    assert (run["protocol"]["name"], run["protocol"]["epochs"]) == ("paper", 3)
    assert run["mean"] == pytest.approx(sum(run["accuracies"]) / 2)
    assert run["ci95"][0] < run["mean"] < run["ci95"][1]
    assert (summary["sets"], summary["std_sets"], summary["ci95_sets"]) == (1, None, None)
    record = read_record(home / run["record"])
    assert isinstance(record, EvaluationRecord)
    assert record.distillation is not None
    # eager
    assert (
        run["compile_seconds"],
        record.compile_seconds,
        record.distillation.compile_seconds,
    ) == (None, None, None)
    for cost in (
        "distill_seconds",
        "evaluate_seconds",
        "step_seconds",
        "epoch_seconds",
        "peak_memory_bytes",
    ):
        assert run[cost] > 0, cost


def test_the_files_of_a_run(whole_run: tuple[Path, Answer]) -> None:
    home, answer = whole_run
    (run,) = answer.json["runs"]
    synthetic, record = home / run["synthetic"], home / run["record"]
    folder = synthetic.parent
    assert folder.relative_to(home).parts[:4] == ("results", "digits", "ipc1", "datadam")
    assert folder.name == "seed0"
    assert record.parent.parent == folder / "evaluations"
    expected = {"synthetic.pt", "history.csv", "images.png", "distillation.json", "evaluations"}
    assert {path.name for path in folder.iterdir() if not path.name.startswith(".")} == expected
    assert (home / "results" / "datadam.pt").read_bytes() == synthetic.read_bytes()
    assert read_artifact(synthetic).provenance["fields"]["iterations"] == 3
    steps = csv.DictReader((folder / "history.csv").read_text(encoding="utf-8").splitlines())
    assert [row["step"] for row in steps] == ["1", "2", "3"]
    with Image.open(folder / "images.png") as picture:
        assert picture.size[0] > 0
    assert read_distillation(folder / "distillation.json").distill_seconds == run["distill_seconds"]
    scores = read_record(record).to_json()["networks"]
    assert scores == [
        {key: row[key] for key in score} for score, row in zip(scores, rows(folder), strict=True)
    ]
    assert {"network", "accuracy", "loss", "seconds", "class_accuracies"} <= set(scores[0])
    assert [score["accuracy"] for score in scores] == run["accuracies"]


def test_finished_work_is_not_done_twice(out: Path) -> None:
    def state() -> list[tuple[int, bytes]]:
        names = ("synthetic.pt", "networks.jsonl", "record.json")
        return [
            (path.stat().st_mtime_ns, path.read_bytes())
            for name in names
            for path in out.rglob(name)
        ]

    before = state()
    (out / "mmd.pt").unlink()
    first = only_run(*MMD, "--out", out)
    assert only_run(*MMD, "--out", out) == first
    assert state() == before
    assert (out / "mmd.pt").read_bytes() == Path(first["synthetic"]).read_bytes()


def test_more_networks_train_only_those_that_are_missing(out: Path) -> None:
    before = rows(out)
    run = only_run(*MMD, "--networks", "4", "--out", out)
    assert rows(out)[:2] == before
    assert [row["network"] for row in rows(out)] == [0, 1, 2, 3]
    assert run["accuracies"] == [row["accuracy"] for row in rows(out)]
    # what is said does not depend on what was done before
    again = only_run(*MMD, "--networks", "1", "--out", out)
    assert again["accuracies"] == [before[0]["accuracy"]]
    assert again["std"] is None
    assert again["ci95"] is None
    assert len(read_record(Path(run["record"])).to_json()["networks"]) == 4


def test_no_resume_starts_again_and_ends_in_the_same_bits(out: Path) -> None:
    (synthetic,) = out.glob("digits/*/*/*/*/synthetic.pt")
    content, written, before = synthetic.read_bytes(), synthetic.stat().st_mtime_ns, rows(out)
    only_run(*MMD, "--no-resume", "--out", out)
    assert synthetic.read_bytes() == content
    assert synthetic.stat().st_mtime_ns > written
    assert [row["accuracy"] for row in rows(out)] == [row["accuracy"] for row in before]
    assert [row["seconds"] for row in rows(out)] != [row["seconds"] for row in before]


def test_no_resume_makes_what_several_sets_share_anew_but_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[object] = []

    def train(*words: Any) -> None:
        trained.append(words)
        train_network(*words)

    monkeypatch.setattr("dcbench.families.selection.train_network", train)
    words = (
        "run",
        "--method",
        "k-center,herding",
        "--set",
        "feature_epochs=1",
        "--ipc",
        "1,2",
        *QUICKLY,
        "--out",
        tmp_path,
        "--json",
    )
    made = done(*words).json["runs"]
    assert len(trained) == 1
    again = done(*words, "--no-resume").json["runs"]
    assert len(trained) == 2
    assert [run["accuracies"] for run in again] == [run["accuracies"] for run in made]
    assert all(run["distill_seconds"] > 0 for run in again)


def test_a_traced_run_judges_the_set_at_steps_and_keeps_the_very_set_of_a_plain_run(
    kept: Path, tmp_path: Path
) -> None:
    (plain,) = kept.glob("digits/*/*/*/*/synthetic.pt")
    answer = done(*MMD, "--trace", "3,0", "--out", tmp_path)
    assert re.search(
        r"Accuracy over the steps of mmd .*?\n +0 .*step-000000.png.*\n +3 .*step-000003.png",
        answer.out,
        re.DOTALL,
    ), answer.out
    run = only_run(*MMD, "--trace", "3,0", "--out", tmp_path)
    assert sorted(run) == sorted([*RUN_FIELDS, "trace"])
    assert (Path(run["synthetic"]).read_bytes(), plain.parent.name) == (
        plain.read_bytes(),
        Path(run["synthetic"]).parent.name,
    )
    assert [point["step"] for point in run["trace"]["points"]] == [0, 3]
    assert (
        run["trace"]["points"][1]["accuracies"]
        == run["accuracies"]
        == [row["accuracy"] for row in rows(kept)]
    )
    assert isinstance(read_record(Path(run["trace"]["record"])), TraceRecord)
    assert {path.name for path in Path(run["synthetic"]).parent.iterdir()} == {
        path.name for path in plain.parent.iterdir()
    } | {"trace"}


def test_a_traced_set_is_made_once_and_again_only_where_steps_of_it_are_wanted(
    out: Path, made: list[str]
) -> None:
    (synthetic,) = out.glob("digits/*/*/*/*/synthetic.pt")
    content, written = synthetic.read_bytes(), synthetic.stat().st_mtime_ns
    # of the set that is there no steps are known
    for more, times in (((), 1), ((), 1), (("--no-resume",), 2)):
        only_run(*MMD, "--trace", "1", *more, "--out", out)
        assert len(made) == times
        assert (synthetic.stat().st_mtime_ns > written) == bool(more)
    assert synthetic.read_bytes() == content


def test_settings_can_be_chosen_without_the_test_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judges: list[int] = []
    taken = TestSet.values

    def seen(test: TestSet, indices: Any) -> Any:
        judges.append(len(test))
        return taken(test, indices)

    monkeypatch.setattr(TestSet, "values", seen)
    words = (*MMD, "--holdout", "100", "--trace", "1", "--out", tmp_path)
    apart = only_run(*words, "--judge-on", "holdout")
    assert set(judges) == {100}
    record = read_record(Path(apart["record"]))
    assert (apart["protocol"]["judged_on"], record.protocol["judged_on"]) == ("holdout", "holdout")
    judges.clear()
    tested = only_run(*words)
    assert set(judges) == {359}
    assert "judged_on" not in tested["protocol"]
    assert tested["synthetic"] == apart["synthetic"]
    assert tested["record"] != apart["record"]
    tables = done("report", "--results", tmp_path, "--format", "markdown").out
    assert tables.count("| MMD |") == 2  # in tables of their own
    assert "Accuracy on training images kept from distillation (%) on digits" in tables


def test_comma_lists_make_a_grid(tmp_path: Path) -> None:
    words = (
        "run",
        "--method",
        "mmd,random",
        "--ipc",
        "1,2",
        "--seed",
        "0,1",
        "--set",
        "iterations=2",
        *QUICKLY,
    )
    answer = done(*words, "--out", tmp_path, "--json")
    runs, summary = answer.json["runs"], answer.json["summary"]
    asked = [
        (method, ipc, seed) for method in ("mmd", "random") for ipc in (1, 2) for seed in (0, 1)
    ]
    assert [(run["method"], run["ipc"], run["seed"]) for run in runs] == asked
    assert [(row["method"], row["ipc"], row["sets"]) for row in summary] == [
        (method, ipc, 2) for method, ipc, seed in asked if seed == 0
    ]
    for row in summary:
        means = [
            run["mean"]
            for run in runs
            if (run["method"], run["ipc"]) == (row["method"], row["ipc"])
        ]
        assert row["mean"] == pytest.approx(sum(means) / 2)
        assert row["std_sets"] == pytest.approx(abs(means[0] - means[1]) / 2**0.5)
        assert row["ci95_sets"][0] < row["mean"] < row["ci95_sets"][1]
    assert (tmp_path / "random.pt").read_bytes() == Path(runs[-1]["synthetic"]).read_bytes()


def test_settings_reach_the_methods_that_have_the_field(tmp_path: Path) -> None:
    settings = ("--set", "iterations=1", "--set", "mmd.iterations=2", "--set", "lr=none")
    runs = done(
        "run", "--method", "mmd,dm,random", *settings, *QUICKLY, "--out", tmp_path, "--json"
    ).json["runs"]
    fields = {
        run["method"]: read_artifact(Path(run["synthetic"])).provenance["fields"] for run in runs
    }
    assert fields["mmd"]["iterations"] == 2
    assert fields["dm"]["iterations"] == 1
    assert fields["dm"]["lr"] is None
    assert fields["random"] == {}


def test_the_whole_data_has_no_budget_and_a_protocol_of_its_own(tmp_path: Path) -> None:
    words = (
        "run",
        "--method",
        "whole",
        "--preset",
        "quick",
        "--ipc",
        "1,2",
        "--networks",
        "1",
        "--epochs",
        "1",
        "--threads",
        "1",
    )
    run = only_run(*words, "--out", tmp_path)
    assert (run["ipc"], run["synthetic"], run["distill_seconds"], run["step_seconds"]) == (
        None,
        None,
        None,
        None,
    )
    assert run["protocol"]["name"] == "whole-quick"
    assert run["mean"] > 0.3
    assert not list(tmp_path.glob("*.pt"))
    (before,) = rows(tmp_path)
    assert only_run(*words, "--out", tmp_path)["evaluate_seconds"] == before["seconds"]
    assert f"Kept in {tmp_path} (evaluations):" in done(*words, "--out", tmp_path).err
    assert (
        only_run(*words, "--out", tmp_path, "--no-resume")["evaluate_seconds"] != before["seconds"]
    )


def test_presets_and_protocols(tmp_path: Path) -> None:
    words = (*MMD, "--preset", "quick", "--out", tmp_path)
    quick = only_run(*words)
    assert (quick["preset"], quick["protocol"]["name"]) == ("quick", "quick")
    lineage = only_run(*words, "--protocol", "lineage", "--epochs", "11", "--networks", "1")
    assert lineage["synthetic"] == quick["synthetic"]  # judged in another way, the set is the same
    assert (lineage["preset"], lineage["protocol"]["name"]) == ("quick", "lineage")
    # half way, as in 1,001
    assert (lineage["protocol"]["epochs"], lineage["protocol"]["decay_after"]) == (11, 6)


@pytest.mark.parametrize("augment", ["none", "autoaugment", "randaugment"])
def test_augmentations_and_networks_of_the_evaluation(out: Path, augment: str) -> None:
    dsa = only_run(*MMD, "--out", out)
    other = only_run(
        *MMD, "--out", out, "--augment", augment, "--network", "convnet", "--networks", "1"
    )
    assert other["protocol"]["augment"] == augment
    assert other["synthetic"] == dsa["synthetic"]
    assert other["record"] != dsa["record"]
    assert other["accuracies"] != dsa["accuracies"][:1]


def test_a_part_kept_apart_and_whitening_make_other_sets(out: Path) -> None:
    plain = only_run(*MMD, "--out", out)
    apart = only_run(*MMD, "--out", out, "--holdout", "100", "--networks", "1")
    assert "100 of 1438" in str(read_record(Path(apart["record"])).to_json()["holdout"])
    white = only_run(*MMD, "--out", out, "--zca", "on", "--networks", "1")
    assert read_record(Path(white["record"])).to_json()["space"] == "zca"
    pixels = only_run(*MMD, "--out", out, "--zca", "pixels", "--networks", "1")
    assert read_record(Path(pixels["record"])).to_json()["space"] == "zca-pixels"
    assert len({run["synthetic"] for run in (plain, apart, white, pixels)}) == 4


def test_a_method_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(MINE, encoding="utf-8")
    words = ("run", "--method", "./mine.py:Mine", "--ipc", "2", *QUICKLY)
    run = only_run(*words, "--set", "mine.shade=0.5")
    images = read_artifact(Path(run["synthetic"])).synthetic.images
    assert (tuple(images.shape), images.unique().tolist()) == ((20, 1, 8, 8), [0.5])
    assert Path("results/mine.pt").exists()
    Path("mine.py").write_text(MINE.replace("self.shade)", "self.shade + 1)"), encoding="utf-8")
    changed = only_run(*words, "--set", "shade=0.5")  # nobody raises a version for an edit
    assert read_artifact(Path(changed["synthetic"])).synthetic.images.unique().tolist() == [1.5]


def test_a_cell_that_cannot_be_done_does_not_stop_the_others(tmp_path: Path) -> None:
    answer = ask(*RANDOM, "--ipc", "200,1", "--out", tmp_path, "--json")
    assert answer.code == 1
    assert [run["ipc"] for run in answer.json["runs"]] == [1]
    assert (
        "random IPC 200 seed 0 skipped: ipc 200 asked, but class '8' of digits has 139 images"
        in answer.err
    )
    nothing = ask(*RANDOM, "--ipc", "200,201", "--out", tmp_path, "--json")
    assert (nothing.code, nothing.json) == (1, {"runs": [], "summary": []})


def test_a_data_set_is_let_go_when_its_cells_are_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[weakref.ref[Loaded]] = []
    alive: list[int] = []

    def counted(_name: str, where: Places, **_options: Any) -> Loaded:
        value = load("digits", where)
        loaded.append(weakref.ref(value))
        return value

    def refused(*_asked: Any) -> None:
        gc.collect()
        alive.append(sum(each() is not None for each in loaded))
        raise MismatchError("not today")

    monkeypatch.setattr(grid, "load", counted)
    monkeypatch.setattr(run_grid, "run_cell", refused)
    ask(*RANDOM, "--dataset", "digits,mnist", "--ipc", "1,2", "--out", tmp_path)
    assert alive == [1, 1, 1, 1]


def test_json_keeps_standard_output_to_itself(out: Path) -> None:
    quiet, loud = done(*MMD, "--out", out, "--json"), done(*MMD, "--out", out)
    assert json.dumps(quiet.json) == quiet.out.rstrip("\n")
    assert "accuracy %" in quiet.err
    assert "accuracy %" in loud.out
    assert "mmd" in loud.out
    assert "accuracy %" not in loud.err


def on_terminal(columns: int, *words: str | Path) -> str:
    """What ``dcbench words`` leaves on a terminal of so many columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    command = [sys.executable, "-m", "dcbench", *map(str, words)]
    process = subprocess.Popen(
        command, stdout=theirs, stderr=subprocess.DEVNULL, env=environment(TERM="dumb")
    )
    os.close(theirs)
    said = b""
    while chunk := _read(ours):
        said += chunk
    os.close(ours)
    assert process.wait() == 0
    return said.decode().replace("\r\n", "\n")


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 1 << 16)
    except OSError:  # how Linux says that the other end is closed
        return b""


def test_the_table_reads_well_on_a_narrow_terminal(tmp_path: Path) -> None:
    grid = ("--method", "k-center,random", "--ipc", "1,2", "--seed", "0,1")
    words = ("run", *grid, "--set", "feature_epochs=1", *QUICKLY, "--out", tmp_path)
    done(*words)
    narrow, wide = on_terminal(80, *words), done(*words).out
    for text in (narrow, wide):
        assert "2 networks each" in text  # what all rows share stands above them
        head = next(line for line in text.splitlines() if "accuracy %" in line)
        assert head.split() == head.replace("…", "").split()
        assert [
            line.split()[:3] for line in text.splitlines() if line.strip().startswith("k-center")
        ][:2] == [
            ["k-center", "1", "0"],
            ["k-center", "1", "1"],
        ]
    assert max(map(len, narrow.splitlines())) <= 80
    assert "…" not in narrow
    assert "evaluated in" in wide
    assert "evaluated in" not in narrow  # the least important column makes room


def test_places_are_named_once_and_briefly(out: Path) -> None:
    said = done(*MMD, "--seed", "0,1", "--out", out).err.splitlines()
    assert said[-3].startswith(f"Kept in {out} ")
    assert said[-2].startswith("  digits/ipc1/mmd/paper-")
    assert said[-2].endswith("/seed{0,1}")
    assert said[-1] == f"table: dcbench report --results {out}"
