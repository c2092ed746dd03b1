"""Traces and embeddings: read as strictly as evaluations, found beside them, each measurement once."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest

from dcbench.records import (
    EmbeddedImage,
    EmbeddingRecord,
    EvaluationRecord,
    NetworkScore,
    TracePoint,
    TraceRecord,
    find_records,
    write_record,
)
from dcbench.system.errors import FileFormatError
from tests.fixed_records import measured_by_the_project

README = (Path(__file__).parents[2] / "results" / "README.md").read_text(encoding="utf-8")
Kind = type[TraceRecord] | type[EmbeddingRecord]
KINDS: tuple[Kind, ...] = (TraceRecord, EmbeddingRecord)


@pytest.fixture(scope="module")
def evaluation() -> dict[str, Any]:
    found = re.search(r"```json\n(.*?)```", README, re.DOTALL)
    assert found is not None
    value: dict[str, Any] = json.loads(found[1])
    return value


@pytest.fixture(scope="module")
def examples(evaluation: dict[str, Any]) -> dict[Kind, dict[str, Any]]:
    scores = evaluation["networks"]
    own: dict[Kind, dict[str, Any]] = {
        TraceRecord: {
            "points": [
                {"step": step, "image": f"step-{step:06d}.png", "networks": scores}
                for step in (0, 100, 250)
            ],
            "seconds": 12.5,
        },
        EmbeddingRecord: {
            "class_names": ["cat", "dog"],
            "network_seed": 0,
            "network_accuracy": 0.9,
            "embedding_seed": 1,
            "settings": {"perplexity": 30.0},
            "kl_divergence": 1.25,
            "points": [
                {"x": -1.5, "y": 2.0, "label": 1, "synthetic": True},
                {"x": 0.0, "y": 0.5, "label": 0, "synthetic": False},
            ],
            "seconds": 3.0,
        },
    }
    values = {
        kind: {**evaluation, **own[kind], "kind": kind.kind, "format_version": 1} for kind in KINDS
    }
    wanted = {
        kind: ["kind", "format_version", *(field.name for field in dataclasses.fields(kind))]
        for kind in KINDS
    }
    return {
        kind: {name: values[kind][name] for name in wanted[kind] if name != "title"}
        for kind in KINDS
    }


@pytest.mark.parametrize("kind", KINDS)
def test_it_survives_json_and_each_field_is_wanted(
    kind: Kind, examples: dict[Kind, dict[str, Any]]
) -> None:
    example = examples[kind]
    record = kind.from_json(json.loads(json.dumps(example)))
    assert record.to_json() == example
    assert record.label == "datadam on cifar10, IPC 10, seed 0"
    for name in example.keys() - {"changed", "content"}:  # which older files do not have
        with pytest.raises(FileFormatError, match=rf"^some\.json: .*{name}"):
            kind.from_json(
                {key: value for key, value in example.items() if key != name}, "some.json"
            )


SCORE = {"network": 0, "accuracy": 0.4, "loss": 0.1, "seconds": 1.0}
WRONG: list[tuple[Kind, str, object, str]] = [
    (TraceRecord, "points", [], "field points must not be empty"),
    (
        TraceRecord,
        "points",
        [{"step": 1, "image": "a.png", "networks": []}],
        r"points\[0\].networks must not be empty",
    ),
    (
        TraceRecord,
        "points",
        [{"step": 1, "image": "a.png", "networks": [SCORE, SCORE]}],
        r"points\[0\].networks names a network twice",
    ),
    (
        TraceRecord,
        "points",
        [{"step": 1, "image": "../a.png", "networks": [SCORE]}],
        r"points\[0\].image must be the name of a file",
    ),
    (
        TraceRecord,
        "points",
        [{"step": 1, "image": "..", "networks": [SCORE]}],
        r"points\[0\].image must be the name of a file",
    ),
    (
        TraceRecord,
        "points",
        [{"step": 1, "image": "a.png", "networks": [SCORE]}] * 2,
        "must name each step once, in order",
    ),
    (
        TraceRecord,
        "points",
        [{"step": step, "image": "a.png", "networks": [SCORE]} for step in (2, 1)],
        "must name each step once, in order",
    ),
    (
        TraceRecord,
        "points",
        [{"step": -1, "image": "a.png", "networks": [SCORE]}],
        r"points\[0\].step must be at least 0",
    ),
    (TraceRecord, "format_version", 2, "newer than 1"),
    (
        EmbeddingRecord,
        "points",
        [{"x": 0.0, "y": 0.0, "label": 2, "synthetic": True}],
        r"points\[0\].label must be below 2",
    ),
    (
        EmbeddingRecord,
        "points",
        [{"x": 0.0, "y": 0.0, "label": 1, "synthetic": 1}],
        r"points\[0\].synthetic must be true or false",
    ),
    (
        EmbeddingRecord,
        "points",
        [{"x": 0.0, "y": float("nan"), "label": 1, "synthetic": True}],
        r"points\[0\].y must be a finite number",
    ),
    (EmbeddingRecord, "kl_divergence", -0.1, "field kl_divergence must be at least 0"),
    (EmbeddingRecord, "network_accuracy", 90.0, "field network_accuracy must be at most 1"),
    (EmbeddingRecord, "kind", "trace", "kind is 'trace', wanted 'embedding'"),
]


@pytest.mark.parametrize(("kind", "name", "value", "complaint"), WRONG)
def test_a_wrong_field_is_refused_by_name(
    kind: Kind, name: str, value: object, complaint: str, examples: dict[Kind, dict[str, Any]]
) -> None:
    with pytest.raises(FileFormatError, match=rf"^some\.json: .*{complaint}"):
        kind.from_json({**examples[kind], name: value}, "some.json")


@pytest.mark.parametrize("kind", KINDS)
def test_fields_of_its_own_are_documented(kind: Kind) -> None:
    section = README.split(
        f"## The record of {'a trace' if kind is TraceRecord else 'an embedding'}"
    )[1].split("\n## ")[0]
    own = {field.name for field in dataclasses.fields(kind)} - {
        field.name for field in dataclasses.fields(EvaluationRecord)
    }
    own |= {
        field.name
        for field in dataclasses.fields(TracePoint if kind is TraceRecord else EmbeddedImage)
    }
    assert {name for name in own if not re.search(rf"`(points\[\]\.)?{name}`", section)} == set()


def test_they_are_found_beside_evaluations_each_once_with_what_was_measured_most(
    tmp_path: Path,
    evaluation: dict[str, Any],
    examples: dict[Kind, dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trace, embedding = (
        TraceRecord.from_json(examples[TraceRecord]),
        EmbeddingRecord.from_json(examples[EmbeddingRecord]),
    )
    write_record(tmp_path / "a" / "record.json", EvaluationRecord.from_json(evaluation))
    fewer = tuple(dataclasses.replace(point, networks=point.networks[:1]) for point in trace.points)
    write_record(tmp_path / "b" / "record.json", dataclasses.replace(trace, points=fewer))
    write_record(
        tmp_path / "b" / "other-steps" / "record.json",
        dataclasses.replace(trace, points=trace.points[:1]),
    )
    write_record(tmp_path / "c" / "record.json", trace)
    measured_by_the_project(tmp_path / "c" / "record.json", monkeypatch)
    write_record(tmp_path / "d" / "record.json", embedding)
    write_record(
        tmp_path / "e" / "record.json", dataclasses.replace(embedding, settings={"perplexity": 5.0})
    )
    found = find_records(tmp_path)
    assert [stored.path.parent.name for stored in found.records] == ["a"]
    assert [(stored.path.parent.name, stored.origin) for stored in found.traces] == [
        ("other-steps", "yours"),
        ("c", "measured"),
    ]
    assert [stored.path.parent.name for stored in found.embeddings] == ["d", "e"]
    assert found.traces[1].record.points[0].accuracies == (0.4519, 0.4432, 0.4468, 0.4445, 0.4413)
    assert found.problems == ()


def test_accuracies_are_in_the_networks_order() -> None:
    scores = (NetworkScore(1, 0.5, None, 1.0), NetworkScore(0, 0.25, None, 1.0))
    assert TracePoint(0, "a.png", scores).accuracies == (0.25, 0.5)
