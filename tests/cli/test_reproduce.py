"""``dcbench reproduce`` on digits: one small study of each kind, what it leaves, what it says beforehand, and what a kill costs."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from dcbench.artifacts.artifact import read_artifact
from dcbench.datasets.loading import Loaded, declared
from dcbench.datasets.places import Places
from dcbench.evaluation.protocol import PROTOCOLS
from dcbench.experiments.context import Cell, Workspace
from dcbench.experiments.presets import build
from dcbench.records import find_records
from dcbench.reproduction import reproduce as reproduction
from dcbench.reproduction.reproduce import Reproduction, StudyResults, _distilling_macs
from dcbench.run import Resumption, Run
from dcbench.studies.declarations import STUDIES, find_study
from dcbench.system.errors import MismatchError
from dcbench.system.machine import Machine
from tests.commandline import CACHE, Answer, ask, done
from tests.faults.victims import finish, left_over, start, wait_until
from tests.small_studies import FIELDS, SHORT, SMALL, STEPS


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, study in SMALL.items():
        monkeypatch.setitem(STUDIES, name, study)
    monkeypatch.setitem(PROTOCOLS, "quick", SHORT)


def reproduce(name: str, out: Path, *words: str) -> Answer:
    return done(
        "reproduce", name, "--preset", "quick", "--threads", "1", "--out", out, "--json", *words
    )


def test_an_ablation_shows_what_it_varies(tmp_path: Path) -> None:
    answer = done(
        "reproduce",
        "small-ablation",
        "--preset",
        "quick",
        "--threads",
        "1",
        "--precision",
        "fp32",
        "--out",
        tmp_path,
    )
    head, *rows = [
        line.split()
        for line in answer.out.splitlines()
        if line.startswith((" method", "method", "mmd", " mmd"))
    ]
    assert head[:2] == ["method", "lr"]
    assert [row[1] for row in rows] == ["0.1", "0.2"]
    assert {stored.record.augment for stored in find_records(tmp_path).records} == {"none"}
    assert "here from the beginning (fp32, 1 thread)" in answer.err


def test_why_a_cell_is_skipped_is_said_as_it_ends(
    tmp_path: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes = iter([MismatchError("not today"), KeyboardInterrupt()])

    def stopped(*_cell: Any) -> None:
        raise next(outcomes)

    said: list[str] = []
    monkeypatch.setattr(Reproduction, "_cell", stopped)
    study = Reproduction(
        SMALL["small-ablation"],
        "quick",
        Places(None, tmp_path / "cache"),
        Workspace(tmp_path, machine, say=said.append),
    )
    with pytest.raises(KeyboardInterrupt):
        study.reproduce()
    assert said == [
        "mmd IPC 1 seed 0 iterations=40 real_batch=8 init=noise lr=0.1 skipped: not today"
    ]


def test_what_comes_out_stands_in_the_plan_s_order(
    tmp_path: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def backwards(_function: Any, items: Sequence[int], _workers: Any) -> Iterator[Any]:
        yield from ((index, StudyResults(sets=[places[index]])) for index in reversed(items))

    monkeypatch.setattr(reproduction, "each", backwards)
    study = Reproduction(
        SMALL["small-ablation"],
        "quick",
        Places(None, tmp_path / "cache"),
        Workspace(tmp_path, machine),
    )
    places = [cell.folder(study.workspace) for _, cell in study._cells()]
    assert study.reproduce().sets == places


def test_a_checkpoint_of_another_machine_is_gone_on_with_where_that_is_asked(
    tmp_path: Path, machine: Machine
) -> None:
    study = Reproduction(
        SMALL["small-ablation"],
        "quick",
        Places(None, tmp_path / "cache"),
        Workspace(tmp_path, machine),
    )
    _, cell = next(iter(study._cells()))
    there = Run(
        cell.seed,
        replace(machine, threads=77),
        cell.folder(study.workspace),
        stop=lambda: True,
        resumption=Resumption(checkpoint_seconds=0),
    )
    with pytest.raises(KeyboardInterrupt):
        cell.distiller.distill(cell.loaded.train, cell.ipc, there)
    words = (
        "reproduce",
        "small-ablation",
        "--preset",
        "quick",
        "--threads",
        "1",
        "--precision",
        "fp32",
        "--out",
        tmp_path,
    )
    refused = ask(*words)
    assert (refused.code, refused.err.count("skipped: ")) == (1, 1)
    assert "threads 77 is now 1" in refused.err
    assert "--resume-elsewhere" in refused.err
    done(*words, "--resume-elsewhere")
    went_on = {
        stored.record.fields["lr"]: stored.record.distillation
        for stored in find_records(tmp_path).records
    }
    assert {lr: made is not None and made.resumed_elsewhere for lr, made in went_on.items()} == {
        0.1: True,
        0.2: False,
    }


def test_what_it_costs_is_said_and_nothing_else_is_done(tmp_path: Path) -> None:
    value = reproduce("small-ablation", tmp_path / "out", "--estimate").json
    assert value["runs"] == []
    told = [
        f"mmd IPC 1 seed 0 iterations=40 real_batch=8 init=noise lr={lr}" for lr in ("0.1", "0.2")
    ]
    assert [piece["label"] for piece in value["pieces"]] == told
    assert value["estimate_seconds"] == pytest.approx(
        sum(piece["seconds"] for piece in value["pieces"])
    )
    assert value["estimate_seconds"] > 0
    assert not (tmp_path / "out").exists()


def estimate(name: str, preset: str, out: Path, data_root: Path) -> Answer:
    return done(
        "reproduce",
        name,
        "--preset",
        preset,
        "--estimate",
        "--threads",
        "1",
        "--out",
        out,
        "--data-root",
        data_root,
        "--json",
    )


@pytest.mark.parametrize(
    ("name", "preset"), [("table3", "quick"), ("table4", "paper"), ("fig9", "quick")]
)
def test_what_it_costs_is_known_without_data(tmp_path: Path, name: str, preset: str) -> None:
    answer = estimate(name, preset, tmp_path / "out", tmp_path)
    assert "cifar10 was not found: looked for parquet files in" in answer.err
    assert (
        f"estimated all the same, for {40_000 if name == 'table4' else 50_000} images to train on and 10000 to test"
        in answer.err
    )
    assert answer.json["data_found"] is False
    assert all(
        piece["seconds"] > 0 for piece in answer.json["pieces"] if "random" not in piece["label"]
    )
    assert answer.json["estimate_seconds"] > 60
    refused = ask(
        "reproduce", name, "--preset", preset, "--out", tmp_path / "out", "--data-root", tmp_path
    )
    assert refused.code == 1
    assert "cifar10 was not found" in refused.line
    assert not (tmp_path / "out").exists()


def test_an_estimate_decodes_and_whitens_nothing(
    tmp_path: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though the data are there, or claim to be."""

    def decoding(*_anything: Any, **_named: Any) -> None:
        raise AssertionError("data are decoded")

    monkeypatch.setattr("dcbench.datasets.cache.cached_images", decoding)
    for split in ("train", "test"):
        path = tmp_path / "cifar10" / "plain_text" / f"{split}-00000-of-00001.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    places, workspace = Places(tmp_path, Path(CACHE)), Workspace(tmp_path, machine)
    counted = Reproduction(find_study("fig5"), "quick", places, workspace, only_estimate=True)
    assert sum(piece.seconds for piece in counted.estimate()) > 60
    assert counted.data_found


@pytest.mark.parametrize(
    ("name", "preset"), [("table3", "quick"), ("table5", "quick"), ("fig9", "quick")]
)
def test_with_the_data_it_costs_the_same(
    tmp_path: Path, cifar_root: Path, name: str, preset: str
) -> None:
    counted, seen = (estimate(name, preset, tmp_path, root).json for root in (tmp_path, cifar_root))
    assert (counted.pop("data_found"), seen.pop("data_found")) == (False, True)
    assert counted == seen


def test_what_data_costs_that_is_declared_nowhere_is_not_guessed() -> None:
    assert declared("digits") is None
    counted = declared("cifar100", holdout=10_000)
    assert counted is not None
    assert (len(counted.train), len(counted.test), counted.spec.classes) == (40_000, 10_000, 100)
    assert {len(members) for members in counted.train.by_class} == {400}
    assert counted.train.images.untyped_storage().nbytes() < 10_000


def test_work_that_several_sets_share_is_counted_once(digits: Loaded) -> None:
    counted: set[tuple[int, str]] = set()

    def macs(method: str, ipc: int, seed: int) -> float:
        return _distilling_macs(Cell(build(method, "quick"), "quick", digits, ipc, seed), counted)

    alone = build("k-center", "quick").cost_macs(digits.train, 1)
    assert alone > 0
    asked = [("k-center", 1, 0), ("k-center", 10, 0), ("herding", 1, 0), ("k-center", 1, 1)]
    # herding sees through k-center's network
    assert [macs(*each) for each in asked] == [alone, 0.0, 0.0, alone]
    assert macs("cgan", 1, 0) > macs("cgan", 10, 0) == 0.0
    assert macs("dm", 1, 0) == macs("dm", 1, 0) > 0


def test_a_trace_holds_the_sets_that_shorter_distillations_make(
    tmp_path: Path, machine: Machine, digits: Loaded
) -> None:
    """Accuracies, images and bits at each step are those of a distillation that ends there."""
    value = reproduce("small-trace", tmp_path).json
    (stored,) = find_records(tmp_path).traces
    assert value["traces"][0]["record"] == str(stored.path)
    assert [point.step for point in stored.record.points] == [0, 5, STEPS]
    # the set's, not one of a snapshot
    assert stored.path.parents[3].name == f"quick-{stored.record.artifact_hash}"
    for point in stored.record.points:
        assert (stored.path.parent / point.image).read_bytes().startswith(b"\x89PNG")
        assert len(point.networks) == 2
    for step in (5, STEPS):
        shorter = build("mmd", "quick", {**FIELDS, "iterations": str(step)}).distill(
            digits.train, 1, Run(0, machine)
        )
        kept = read_artifact(stored.path.parent / f"step-{step:06d}.pt")
        assert torch.equal(kept.synthetic.images, shorter.images)
    noise = read_artifact(stored.path.parent / "step-000000.pt").synthetic.images
    assert float(noise.std()) == pytest.approx(1, abs=0.1)
    assert (stored.record.method, stored.record.ipc, stored.record.fields["init"]) == (
        "mmd",
        1,
        "noise",
    )


def test_an_embedding_places_real_and_synthetic_images_of_each_set(
    tmp_path: Path, digits: Loaded
) -> None:
    value = reproduce("small-embedding", tmp_path).json
    found = find_records(tmp_path)
    assert not found.records
    records = {stored.record.method: stored.record for stored in found.embeddings}
    assert set(records) == {"random", "mmd"} == {entry["method"] for entry in value["embeddings"]}
    for record in records.values():
        real, synthetic = (
            [point for point in record.points if point.synthetic is kind] for kind in (False, True)
        )
        assert (len(real), len(synthetic)) == (60, 20)
        assert sorted(point.label for point in synthetic) == sorted([*range(10)] * 2)
        assert record.class_names == digits.spec.class_names
        assert record.kl_divergence > 0
    # one network for both
    assert records["random"].network_accuracy == records["mmd"].network_accuracy > 0.15
    before = {stored.path: stored.path.stat().st_mtime_ns for stored in found.embeddings}
    reproduce("small-embedding", tmp_path)
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_search_ranks_on_sets_that_were_made_without_its_validation_images(
    tmp_path: Path,
) -> None:
    truth = tmp_path / "truth.csv"
    said = ask(
        "reproduce",
        "small-search",
        "--preset",
        "quick",
        "--out",
        tmp_path / "out",
        "--truth",
        truth,
    )
    assert said.code == 1
    assert "truth.csv" in said.err
    assert not list((tmp_path / "out").rglob("*.pt"))  # said before any set was made
    from dcbench.nas.catalogue import find_space

    rows = [f"{name},0.5" for name in find_space("convnet720").identifiers()]
    truth.write_text("\n".join(["architecture,test_accuracy", *rows]), encoding="utf-8")
    value = reproduce("small-search", tmp_path / "out", "--truth", str(truth)).json
    proxies: list[dict[str, Any]] = value["searches"]
    assert [entry["proxy"] for entry in proxies] == ["random", "random", "early-stopping"]
    assert not any(entry["validation_seen_by_proxy"] for entry in proxies)


def test_words_that_are_wrong_are_refused_before_anything_is_done(tmp_path: Path) -> None:
    for words, said in (
        (("tabel3",), "did you mean 'table3'"),
        (("fig1", "--preset", "quik"), "did you mean 'quick'"),
    ):
        answer = ask("reproduce", *words, "--out", tmp_path / "out")
        assert answer.code == 2
        assert said in answer.line
    assert not (tmp_path / "out").exists()


def test_another_protocol_or_other_seeds_than_the_study_s_are_refused(tmp_path: Path) -> None:
    for words, said in (
        (
            ("table3", "--protocol", "quick"),
            "table3 with --preset paper is judged by protocol paper, got --protocol quick; a study decides",
        ),
        (("table3", "--protocol", "quik"), "unknown protocol 'quik'; did you mean 'quick'?"),
        (
            ("table3", "--seed", "1"),
            "table3 with --preset paper makes sets of --seed 0,1,2, got --seed 1; a study decides its seeds",
        ),
        (
            ("table3", "--preset", "quick", "--seed", "0,1"),
            "makes sets of --seed 0, got --seed 0,1;",
        ),
        (
            ("table5", "--protocol", "paper"),
            "is judged by protocol search-nasbench201, got --protocol paper;",
        ),
        (("table3", "--seed", "-1"), "--seed must be at least 0, got -1"),
    ):
        for last in ((), ("--estimate",)):
            answer = ask(
                "reproduce", *words, *last, "--data-root", tmp_path, "--out", tmp_path / "out"
            )
            assert answer.code == 2, answer.err
            assert said in answer.line
    assert not (tmp_path / "out").exists()


def test_the_study_s_own_protocol_and_seeds_may_be_said(tmp_path: Path) -> None:
    said = ("--seed", "0", "--estimate")
    plain = reproduce("small-ablation", tmp_path, "--estimate").json
    assert (
        reproduce("small-ablation", tmp_path, *said, "--protocol", PROTOCOLS["quick"].name).json
        == plain
    )
    # which judges nothing there
    assert reproduce("small-embedding", tmp_path, *said, "--protocol", "lineage").json["pieces"]


@pytest.mark.slow
def test_killed_in_the_middle_it_goes_on_and_ends_in_the_same(tmp_path: Path) -> None:
    words = ("reproduce", "small-trace", "--preset", "quick", "--threads", "1", "--json")
    said, _ = finish(start(*words, "--out", tmp_path / "whole", driver="tests.small_studies"))
    for name, done_so_far in (("step-000005.pt", "distilling"), ("networks.jsonl", "judging")):
        process = start(*words, "--out", tmp_path / "killed", driver="tests.small_studies")
        wait_until(lambda name=name: any((tmp_path / "killed").rglob(name)), process)  # type: ignore[misc]
        time.sleep(0.05)
        process.kill()
        process.communicate()
        assert not find_records(tmp_path / "killed").traces, done_so_far
    again, _ = finish(start(*words, "--out", tmp_path / "killed", driver="tests.small_studies"))
    points = [json.loads(text)["traces"][0]["points"] for text in (said, again)]
    assert points[0] == points[1]
    for step in (0, 5, STEPS):
        one, other = (
            next((tmp_path / name).rglob(f"step-{step:06d}.pt")).read_bytes()
            for name in ("whole", "killed")
        )
        assert one == other
    assert left_over(tmp_path / "killed") == []
