"""``dcbench report`` on the project's own records and on bad ones: all formats, quickly, without torch; what is bad is said."""

from __future__ import annotations

import csv
import json
import os
import re
import shlex
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from dcbench.records import EvaluationRecord, find_records, write_record
from dcbench.report.selection.sidecar_files import find_sidecar_file
from tests.cli.test_run import MINE
from tests.commandline import ask, done, environment
from tests.datasets.test_own import folder
from tests.fixed_records import EXAMPLE, SETS, fixed, sets
from tests.report.test_figures import embedding, trace

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "results" / "measured"  # the project's own: what users have beside it is theirs
# of a processor that ``_pace`` takes USUAL_PACE: a shared one counts up to half more for the same
# work
MOST_SECONDS = 30
USUAL_PACE = 0.28
WITHOUT_TORCH = """
import sys
from dcbench.cli import main
try:
    main(sys.argv[1:])
finally:
    assert "torch" not in sys.modules
"""


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, float]]:
    """The folder that each format left of the committed results, and the processor's seconds, as if
    at its usual pace.
    """
    found = {}
    for fmt in ("latex", "html"):
        out = tmp_path_factory.mktemp(fmt)
        paces = [_pace()]
        begun = _children_seconds()
        asked = ["report", "--results", str(RESULTS), "--format", fmt, "--out", str(out)]
        command = [sys.executable, "-W", "error", "-c", WITHOUT_TORCH, *asked]
        ran = subprocess.run(
            command, env=environment(), capture_output=True, text=True, check=False
        )
        assert ran.returncode == 0, ran.stderr
        spent = _children_seconds() - begun
        paces.append(_pace())
        found[fmt] = out, spent / max(1.0, statistics.fmean(paces) / USUAL_PACE)
    return found


def _children_seconds() -> float:
    times = os.times()
    return times.children_user + times.children_system


def _pace() -> float:
    """The processor's seconds for a fixed piece of plain Python, the median of three."""

    def once() -> float:
        begun, filled = time.process_time(), {}
        for number in range(2_000_000):
            filled[number % 1000] = f"{number}x"
        return time.process_time() - begun

    return statistics.median(once() for _ in range(3))


@pytest.mark.slow
def test_the_committed_results_are_reported_in_time_and_without_torch(
    reported: dict[str, tuple[Path, float]],
) -> None:
    for fmt, (out, seconds) in reported.items():
        assert any(out.iterdir())
        assert seconds < MOST_SECONDS, fmt


@pytest.mark.slow
def test_every_measured_set_is_on_the_page_and_has_its_figures(
    reported: dict[str, tuple[Path, float]],
) -> None:
    page = (reported["html"][0] / "index.html").read_text(encoding="utf-8")
    records = find_records(RESULTS).records
    assert page.count('<article class="set">') == len(records)
    pictures = {
        path
        for stored in records
        if (path := find_sidecar_file(stored.path, "images.png", RESULTS)) is not None
    }
    assert page.count('a class in each row" ') == len(pictures)
    figures = sorted(path.name for path in (reported["latex"][0] / "figures").iterdir())
    assert len(figures) % 4 == 0
    for name in ("images-cifar10-ipc1-", "images-cifar10-ipc10-"):
        own = [figure for figure in figures if figure.startswith(name)]
        revisions = {figure.removeprefix(name).partition(".")[0] for figure in own}
        assert len(own) == 4 * len(revisions) >= 4
    storage = {
        figure.rpartition(".")[0]
        for figure in figures
        if figure.startswith("storage-cifar10-quick-")
    }
    sizes = defaultdict(set)  # of sets judged alike
    for stored in records:
        if isinstance(record := stored.record, EvaluationRecord) and (
            record.dataset,
            record.protocol["name"],
        ) == ("cifar10", "quick"):
            labels = record.protocol.get("labels")
            judged = (record.network, record.augment, record.precision, labels)
            sizes[record.dataset_revision, *judged].add(record.ipc)
    assert len(storage) == sum(len(ipcs) > 1 for ipcs in sizes.values()) > 1


def test_traces_and_embeddings_alone_are_worth_a_report(tmp_path: Path) -> None:
    write_record(tmp_path / "results" / "a" / "record.json", trace("dm").record)
    write_record(tmp_path / "results" / "b" / "record.json", embedding("dm").record)
    done("report", "--results", tmp_path / "results", "--out", tmp_path / "out")
    names = {path.name.rpartition("-")[0] for path in (tmp_path / "out" / "figures").iterdir()}
    assert names == {"trace-cifar10-ipc10-quick", "embedding-cifar10-ipc10-resnet18"}
    page = done("report", "--results", tmp_path / "results", "--format", "html").out
    assert page.count("<figure data-datasets=") == 2


@pytest.mark.parametrize("fmt", ["latex", "html"])
def test_bad_records_are_named_and_the_rest_is_reported(tmp_path: Path, fmt: str) -> None:
    results = tmp_path / "results"
    for number, stored in enumerate(
        [*fixed(), *sets("dm", SETS["dm"], protocol={**EXAMPLE["protocol"], "name": "paper"})]
    ):
        write_record(results / str(number) / "record.json", stored.record)
    whole = (results / "0" / "record.json").read_text(encoding="utf-8")
    newer = json.dumps({**json.loads(whole), "format_version": 99})
    for name, content in (("cut", whole[:200]), ("newer", newer), ("other", '{"kind": "poem"}')):
        (results / name).mkdir()
        (results / name / "record.json").write_text(content, encoding="utf-8")
    answer = done(
        "report", "--results", results, "--format", fmt, "--out", tmp_path / "out", "--json"
    )
    assert len(answer.json["problems"]) == 3
    assert (
        "format_version 99 is newer than 2, the newest that this dcbench reads; a newer dcbench is needed"
        in answer.err
    )
    assert re.search(r"passed over: .*cut/record.json is not a readable record", answer.err)
    assert "unknown kind of record 'poem'" in answer.err
    assert (
        "2 tables: other data, protocols, networks or precisions are never ranked together"
        in answer.err
    )
    assert len(answer.json["tables"]) == (3 if fmt == "html" else 2)  # the page has the scores too
    if fmt == "html":
        page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
        assert page.count('<section class="board"') == 2
        assert "Passed over: 3 files" in page
        assert "format_version 99 is newer" in page


def test_a_page_of_others_stays(tmp_path: Path) -> None:
    for number, stored in enumerate(fixed()):
        write_record(tmp_path / "results" / str(number) / "record.json", stored.record)
    words = ("report", "--results", tmp_path / "results", "--format", "html", "--out", tmp_path)
    (tmp_path / "index.html").write_text("my own", encoding="utf-8")
    answer = ask(*words)
    assert answer.code == 1
    assert "index.html is there already and no page of dcbench's" in answer.line
    assert (tmp_path / "index.html").read_text(encoding="utf-8") == "my own"
    (tmp_path / "index.html").unlink()
    done(*words)
    done(*words)


@pytest.mark.parametrize("fmt", ["latex", "markdown", "csv", "html"])
def test_no_records_are_refused_in_one_line(tmp_path: Path, fmt: str) -> None:
    answer = ask("report", "--results", tmp_path, "--format", fmt)
    assert answer.code == 1
    assert "no records below" in answer.line


def test_options_of_every_command_change_nothing_and_are_checked(tmp_path: Path) -> None:
    write_record(tmp_path / "record.json", fixed()[0].record)
    asked = ("report", "--results", tmp_path, "--format", "csv", "--json")
    options = (
        *(
            "--data-root",
            "nowhere",
            "--seed",
            "0,1",
            "--device",
            "cpu",
            "--threads",
            "2",
        ),
        *("--precision", "bf16", "--engine", "eager", "--executor", "serial", "--debug"),
    )
    plain = done(*asked)
    assert done(*asked, *options).out == plain.out
    assert {
        "protocol",
        "protocol_hash",
        "network",
        "augment",
        "precision",
        "preset",
        "variant",
    } <= plain.json["summary"][0].keys()
    for words, said in (
        (("--preset", "quik"), "unknown preset 'quik'; did you mean 'quick'?"),
        (("--precision", "bf61"), "unknown precision 'bf61'; did you mean 'bf16'?"),
        (("--engine", "eagre"), "unknown engine 'eagre'; did you mean 'eager'?"),
        (("--threads", "0"), "--threads must be at least 1, got 0"),
        (
            ("--seed", "one"),
            "--seed must be a whole number or several with commas between, got 'one'",
        ),
    ):
        answer = ask(*asked, *words)
        assert answer.code == 2
        assert said in answer.line


def test_all_records_are_one_tidy_file_with_a_line_for_each_network(tmp_path: Path) -> None:
    for number, stored in enumerate(fixed()):
        write_record(tmp_path / "results" / str(number) / "record.json", stored.record)
    done("report", "--results", tmp_path / "results", "--format", "csv", "--out", tmp_path / "out")
    rows = list(
        csv.DictReader((tmp_path / "out" / "records.csv").read_text(encoding="utf-8").splitlines())
    )
    assert sorted(float(row["accuracy"]) for row in rows if row["method"] == "dm") == sorted(
        sum(SETS["dm"], ())
    )
    assert len(rows) == sum(len(networks) for method in SETS.values() for networks in method)


def test_filters_choose_what_is_shown_and_say_what_there_is(tmp_path: Path) -> None:
    records = [*fixed(), *sets("dm", SETS["dm"], ipc=1, preset="paper", artifact_hash="paper")]
    for number, stored in enumerate(records):
        write_record(tmp_path / str(number) / "record.json", stored.record)
    asked = ("report", "--results", tmp_path, "--json")
    shown = done(*asked, "--method", "dm,random", "--ipc", "10").json["summary"]
    assert {(row["method"], row["ipc"]) for row in shown} == {("dm", 10), ("random", 10)}
    assert [row["ipc"] for row in done(*asked, "--preset", "paper").json["summary"]] == [1]
    for words, code, said in (
        (("--method", "dmm"), 2, "did you mean 'dm'"),
        (("--ipc", "50"), 1, "no record has --ipc 50; there are 1 and 10"),
        (("--method", "random", "--ipc", "1"), 1, "no record fits --method random and --ipc 1"),
        (("--style", "compct"), 2, "did you mean 'compact'"),
        (("--published", "mine"), 2, "known: all, none, own"),
    ):
        answer = ask(*asked, *words)
        assert (answer.code, said in answer.line) == (code, True), answer.line


@pytest.mark.parametrize("fmt", ["latex", "html"])
def test_filters_choose_figures_as_they_choose_tables(tmp_path: Path, fmt: str) -> None:
    """Of records, traces and embeddings of two methods, budgets and protocols."""
    other = {"protocol": {**EXAMPLE["protocol"], "name": "paper"}, "preset": "paper"}
    other |= {"protocol_hash": "paper", "artifact_hash": "paper"}
    stored: list[Any] = [
        *(
            one
            for ipc in (1, 10)
            for name in ("dm", "random")
            for one in sets(name, [(0.4,)], ipc=ipc, budget_images=10 * ipc)
        ),
        *sets("dm", [(0.5,)], **other),
        *sets("dm", [(0.5,)], network="alexnet", protocol_hash="alexnet"),
        *(trace("dm"), trace("random"), embedding("dm"), embedding("random")),
    ]
    for number, one in enumerate(stored):
        write_record(tmp_path / "results" / str(number) / "record.json", one.record)
    for words, kinds, series in (
        (("--method", "dm"), {"storage", "trace", "embedding", "networks"}, {"DM"}),
        (("--ipc", "1"), set(), set()),
        (("--protocol", "paper"), set(), set()),
        (("--preset", "quick", "--dataset", "cifar10", "--method", "random"), None, {"Random"}),
        (("--network", "convnet"), {"storage", "trace"}, {"DM", "Random"}),
    ):
        out = tmp_path / "-".join(words)
        done("report", "--results", tmp_path / "results", "--format", fmt, "--out", out, *words)
        if fmt == "html":
            page = (out / "index.html").read_text(encoding="utf-8")
            names = set(re.findall(r'data-datasets="([a-z]+)-', page))
        else:
            files = list((out / "figures").glob("*.csv")) if (out / "figures").exists() else []
            names = {path.name.partition("-")[0] for path in files}
            frames = [csv.DictReader(path.read_text("utf-8").splitlines()) for path in files]
            assert {row["series"] for frame in frames for row in frame} == series
        assert kinds is None or names == kinds


@pytest.mark.slow
def test_the_commands_for_missing_scores_make_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of data of one's own, beside a method of one's own, which they leave out."""
    monkeypatch.chdir(tmp_path)
    folder(tmp_path / "mydata", toml="size = 16")
    mine = "./mine.py:Mine"
    Path("mine.py").write_text(MINE.replace('"mine"', '"mine", title="My own"'), encoding="utf-8")
    short = ("--networks", "2", "--epochs", "2", "--engine", "eager")
    words = ("--dataset", "./mydata", "--preset", "quick", *short)
    done("run", "--method", f"random,k-center,{mine}", "--ipc", "1", "--seed", "3", *words)
    asked = ("report", "--style", "full", "--format", "markdown")
    before = done(*asked).out
    assert "| My own, quick |" in before
    (missing,) = re.findall("Missing, and made by: (.*)", before)
    commands = [shlex.split(text) for text in missing.replace("\\", "").split("; ")]
    assert [command[3] for command in commands] == ["whole", "k-center,random"]
    for command in commands:
        done(*command[1:], *(short if command[3] == "whole" else ()))
    after = done(*asked).out
    assert "Missing" not in after
    (row,) = re.findall(r"\| K-Center, quick \| IPC 1 \| quick, 2 epochs, ConvNet, DSA.*", after)
    assert "–" not in row
