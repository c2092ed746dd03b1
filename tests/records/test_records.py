"""Records: what is written is read back; what is wrong is refused by name; a folder of them is read
as far as it can be.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcbench.distiller import find
from dcbench.evaluation.protocol import PROTOCOLS
from dcbench.records import (
    MAX_BYTES,
    Distillation,
    EmbeddedImage,
    EmbeddingRecord,
    EvaluationRecord,
    NetworkScore,
    Record,
    TracePoint,
    TraceRecord,
    Versions,
    find_records,
    read_record,
    write_record,
)
from dcbench.system.errors import DataError, FileFormatError
from tests.fixed_records import measured_by_the_project

README = Path(__file__).parents[2] / "results" / "README.md"

texts = st.text(st.characters(codec="utf-8"), max_size=20)
names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
whole = st.integers(0, 2**63 - 1)
positive = st.integers(1, 2**63 - 1)
seconds = st.floats(0, 1e9)
plain = st.dictionaries(
    texts,
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | texts,
        lambda values: st.lists(values, max_size=3) | st.dictionaries(texts, values, max_size=3),
        max_leaves=5,
    ),
    max_size=3,
)
scores = st.builds(
    NetworkScore,
    whole,
    st.floats(0, 1),
    st.none() | st.floats(allow_nan=False, allow_infinity=False),
    seconds,
    st.lists(st.none() | st.floats(0, 1), max_size=3).map(tuple),
    st.none() | st.floats(0, 1),
)
distillations = st.builds(
    Distillation,
    distill_seconds=seconds,
    step_seconds=st.none() | seconds,
    compile_seconds=st.none() | seconds,
    peak_memory_bytes=st.none() | whole,
    engine=names,
    precision=names,
    threads=positive,
    device=names,
    device_name=texts,
    torch=names,
    resumed_elsewhere=st.booleans(),
    code=texts,
)


several_scores = st.lists(
    scores, min_size=1, max_size=4, unique_by=lambda score: score.network
).map(tuple)
file_names = st.text(
    st.characters(min_codepoint=32, exclude_characters="/\\:", codec="utf-8"),
    min_size=1,
    max_size=20,
)
coordinates = st.floats(allow_nan=False, allow_infinity=False)
finite = st.floats(0, 1e300)
points = {
    TraceRecord: st.lists(
        st.builds(
            TracePoint,
            whole,
            file_names.filter(lambda name: name not in (".", "..")),
            several_scores,
        ),
        min_size=1,
        max_size=3,
        unique_by=lambda point: point.step,
    ).map(lambda points: tuple(sorted(points, key=lambda point: point.step))),
    EmbeddingRecord: st.lists(
        st.builds(EmbeddedImage, coordinates, coordinates, st.integers(0, 1), st.booleans()),
        min_size=1,
        max_size=5,
    ).map(tuple),
}


def records(kind: type[Record]) -> st.SearchStrategy[Record]:
    by_field: dict[str, st.SearchStrategy[Any]] = {
        **dict.fromkeys(("fields", "changed", "protocol", "recipe", "settings"), plain),
        "networks": several_scores,
        "points": points.get(kind, st.nothing()),
        "class_names": st.lists(names, min_size=2, max_size=3).map(tuple),
        "network_accuracy": st.floats(0, 1),
        "teacher_accuracy": st.none() | st.floats(0, 1),
        "kl_divergence": finite,
        "distillation": st.none() | distillations,
        "versions": st.builds(Versions, names, names, names),
        "created": st.datetimes().map(lambda time: time.isoformat()),
        "warnings": st.lists(texts, max_size=2).map(tuple),
        **dict.fromkeys(("paper", "preset"), st.none() | names),
        **dict.fromkeys(("method_version", "seed", "peak_memory_bytes"), st.none() | whole),
        **dict.fromkeys(("epoch_seconds", "compile_seconds"), st.none() | seconds),
        **dict.fromkeys(
            ("dataset_note", "holdout", "artifact_sha256", "content", "device_name", "code"), texts
        ),
        **dict.fromkeys(("budget_images", "threads"), positive),
        "ipc": st.none() | positive,
        **dict.fromkeys(("evaluation_seed", "network_seed", "embedding_seed"), whole),
        **dict.fromkeys(("evaluate_seconds", "seconds"), seconds),
    }
    return st.builds(
        kind, **{field.name: by_field.get(field.name, names) for field in dataclasses.fields(kind)}
    )


@pytest.fixture(scope="module")
def example() -> dict[str, Any]:
    found = re.search(r"```json\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    value: dict[str, Any] = json.loads(found[1])
    return value


def store(folder: Path, value: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "record.json").write_text(json.dumps(value), encoding="utf-8")
    return folder / "record.json"


@settings(deadline=None, max_examples=60)
@pytest.mark.parametrize("kind", [EvaluationRecord, TraceRecord, EmbeddingRecord])
@given(data=st.data())
def test_whatever_is_recorded_is_read_back(kind: type[Record], data: st.DataObject) -> None:
    record = data.draw(records(kind))
    text = json.dumps(record.to_json(), allow_nan=False)
    assert kind.from_json(json.loads(text)) == record


def test_a_record_survives_the_disk(tmp_path: Path, example: dict[str, Any]) -> None:
    record = EvaluationRecord.from_json(example)
    write_record(tmp_path / "deep" / "record.json", record)
    assert read_record(tmp_path / "deep" / "record.json") == record
    assert record.to_json() == {**example, "format_version": 2}
    assert record.label == "datadam on cifar10, IPC 10, seed 0"


def test_the_example_is_a_record_of_a_run(example: dict[str, Any]) -> None:
    (place,) = re.findall(
        r"^The record in `(.+)`$", README.read_text(encoding="utf-8"), re.MULTILINE
    )
    assert read_record(README.parent / place) == EvaluationRecord.from_json(example)
    assert example["fields"].items() >= find(example["method"]).presets[example["preset"]].items()
    assert example["protocol"] == PROTOCOLS["quick"].to_json() | {"precision": "bf16"}


def test_accuracies_are_in_the_networks_order(example: dict[str, Any]) -> None:
    backwards = {**example, "networks": example["networks"][::-1]}
    assert EvaluationRecord.from_json(backwards).accuracies == (
        0.4519,
        0.4432,
        0.4468,
        0.4445,
        0.4413,
    )


def test_what_is_not_known_of_a_network_is_left_out(example: dict[str, Any]) -> None:
    """Older records have no accuracies of classes; newer ones do, and keep them."""
    record = EvaluationRecord.from_json(example)
    assert record.networks[0].class_accuracies == ()
    assert record.networks[0].calibration_error is None
    more = {"class_accuracies": [0.5, None], "calibration_error": 0.125}
    detailed = {**example, "networks": [{**example["networks"][0], **more}]}
    detailed |= {"format_version": 2, "labels": "teacher", "teacher_accuracy": 0.75}
    assert EvaluationRecord.from_json(detailed).to_json() == detailed
    wrong = {**example["networks"][0], "calibration_error": 1.5}
    with pytest.raises(FileFormatError, match=r"networks\[0\].calibration_error must be at most 1"):
        EvaluationRecord.from_json({**example, "networks": [wrong]})


def test_every_field_is_documented(example: dict[str, Any]) -> None:
    """In the order in which a record is written."""
    documented = re.findall(r"^\| `([^`]+)` \|", README.read_text(encoding="utf-8"), re.MULTILINE)
    fields = []
    whole = dataclasses.replace(
        EvaluationRecord.from_json(example),
        labels="teacher",
        teacher_accuracy=0.5,
        title="T",
        data_folder="./d",
    )
    for name in whole.to_json():
        fields.append(name)
        nested: dict[str, tuple[type, str]] = {
            "networks": (NetworkScore, "[]"),
            "distillation": (Distillation, ""),
            "versions": (Versions, ""),
        }
        if name in nested:
            kind, brackets = nested[name]
            fields += [f"{name}{brackets}.{part.name}" for part in dataclasses.fields(kind)]
    assert documented == fields


def test_every_field_is_wanted(example: dict[str, Any]) -> None:
    later = {"changed", "content"}  # which older files do not have
    assert (
        EvaluationRecord.from_json(
            {key: value for key, value in example.items() if key not in later}
        ).content
        == ""
    )
    for name in example.keys() - later:
        with pytest.raises(FileFormatError, match=name):
            EvaluationRecord.from_json(
                {key: value for key, value in example.items() if key != name}, "some.json"
            )


WRONG = [
    ("method", 3, "field method must be text"),
    ("method", "", "field method must not be empty"),
    ("method", "x" * 201, "field method must have at most 200"),
    ("method", "\ud800", "field method holds half a character"),
    ("ipc", 0, "field ipc must be at least 1, got 0"),
    ("ipc", 1.5, "field ipc must be a whole number"),
    ("ipc", True, "field ipc must be a whole number"),
    ("seed", 2**63, "field seed must be at most"),
    ("threads", None, "field threads must be a whole number"),
    ("evaluate_seconds", -1.0, "field evaluate_seconds must be at least 0"),
    ("evaluate_seconds", float("nan"), "field evaluate_seconds must be a finite number"),
    ("evaluate_seconds", 10**400, "field evaluate_seconds must be a finite number"),
    ("evaluate_seconds", "1", "field evaluate_seconds must be a number"),
    ("fields", [], "field fields must be an object"),
    ("fields", {"lr": float("inf")}, "field fields.lr must be a finite number"),
    ("fields", {"lr": {1, 2}}, "field fields.lr holds a set"),
    ("networks", [], "field networks must not be empty"),
    ("networks", {}, "field networks must be a list"),
    (
        "networks",
        [{"network": 0, "accuracy": 45.1, "loss": 0.1, "seconds": 1.0}],
        r"networks\[0\].accuracy must be at most 1, got 45.1",
    ),
    (
        "networks",
        [{"network": 0, "accuracy": 0.4, "loss": 0.1}],
        r"networks\[0\].seconds is missing",
    ),
    (
        "networks",
        [{"network": 0, "accuracy": 0.4, "loss": 0.1, "seconds": 1.0}] * 2,
        "names a network twice",
    ),
    ("distillation", {}, "field distillation.engine is missing"),
    (
        "versions",
        {"dcbench": "1", "torch": "2", "python": "3", "numpy": "2"},
        "unknown field 'versions.numpy'",
    ),
    ("created", "yesterday", "field created must be a time in ISO form"),
    ("surprise", 1, "unknown field 'surprise'"),
    ("format_version", 3, "newer than 2"),
    ("format_version", "1", "format_version is '1', wanted 2"),
    ("kind", "search", "kind is 'search', wanted 'evaluation'"),
]


@pytest.mark.parametrize(("name", "value", "complaint"), WRONG)
def test_a_wrong_field_is_refused_by_name(
    example: dict[str, Any], name: str, value: object, complaint: str
) -> None:
    with pytest.raises(FileFormatError, match=rf"^some\.json: .*{complaint}"):
        EvaluationRecord.from_json({**example, name: value}, "some.json")


def test_nesting_without_end_is_refused(example: dict[str, Any]) -> None:
    deep: dict[str, Any] = {}
    for _ in range(50):
        deep = {"deeper": deep}
    with pytest.raises(FileFormatError, match="nested deeper"):
        EvaluationRecord.from_json({**example, "fields": deep})


def test_a_record_that_could_not_be_read_is_not_written(
    tmp_path: Path, example: dict[str, Any]
) -> None:
    record = EvaluationRecord.from_json(example)
    path = tmp_path / "record.json"
    write_record(path, record)
    before = path.read_bytes()
    broken = dataclasses.replace(record, networks=(NetworkScore(0, float("nan"), None, 1.0),))
    with pytest.raises(
        FileFormatError, match=r"networks\[0\]\.accuracy must be a finite number, got nan"
    ):
        write_record(path, broken)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["record.json"]


CONTENTS = {
    "truncated": b'{"kind": "evaluation", "format_ver',
    "empty": b"",
    "not text": b"\x80\x04\x95\xff\xfe",
    "a list": b"[]",
    "not a number": b'{"kind": NaN}',
    "no kind": b"{}",
    "unknown kind": b'{"kind": "poem", "format_version": 1}',
    "kind of another type": b'{"kind": ["evaluation"]}',
    "deep": b'{"kind":' + b"[" * 100_000,
}


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS.keys())
def test_a_strange_file_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "record.json"
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match=re.escape(str(path))):
        read_record(path)


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match=r"gone\.json"):
        read_record(tmp_path / "gone.json")


def test_a_strange_file_hides_no_other(tmp_path: Path, example: dict[str, Any]) -> None:
    for number, content in enumerate(CONTENTS.values()):
        store(tmp_path / f"strange\n{number}", {}).write_bytes(content)
    store(tmp_path / "newer", {**example, "format_version": 3})
    (tmp_path / "folder" / "record.json").mkdir(parents=True)
    (tmp_path / "pipe").mkdir()
    os.mkfifo(tmp_path / "pipe" / "record.json")
    with store(tmp_path / "huge", {}).open("ab") as stream:
        stream.truncate(MAX_BYTES + 1)
    (tmp_path / "other.json").write_text("{}", encoding="utf-8")
    store(tmp_path / "zz", example)

    found = find_records(tmp_path)
    assert [stored.path for stored in found.records] == [tmp_path / "zz" / "record.json"]
    assert len(found.problems) == len(CONTENTS) + 4
    assert not any("\n" in problem for problem in found.problems)
    said = "; ".join(found.problems)
    for words in (
        "unknown kind of record 'poem'",
        "format_version 3 is newer",
        "is a folder",
        "is not a file",
        "16777217 bytes",
    ):
        assert words in said


def test_records_are_found_in_order_and_labelled(
    tmp_path: Path, example: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    store(tmp_path / "b", {**example, "seed": 1})
    measured_by_the_project(
        store(tmp_path / "a" / "0" / "deep", {**example, "seed": 2}), monkeypatch
    )
    store(tmp_path / "a", {**example, "seed": 3})
    found = find_records(tmp_path)
    assert [(stored.record.seed, stored.origin) for stored in found.records] == [
        (2, "measured"),
        (3, "yours"),
        (1, "yours"),
    ]
    assert [stored.origin for stored in find_records(tmp_path / "a" / "0").records] == ["measured"]
    assert found.problems == ()


def test_a_folder_of_yours_called_measured_is_yours(
    tmp_path: Path, example: dict[str, Any]
) -> None:
    """And the project's own records are its own wherever they lie, until they are changed."""
    store(tmp_path / "measured" / "a", example)
    assert [stored.origin for stored in find_records(tmp_path).records] == ["yours"]
    assert [stored.origin for stored in find_records(tmp_path / "measured").records] == ["yours"]
    own = next((Path(__file__).parents[2] / "results" / "measured").rglob("record.json"))
    copy = tmp_path / "copies" / "1" / "record.json"
    copy.parent.mkdir(parents=True)
    copy.write_bytes(own.read_bytes())
    assert [stored.origin for stored in everything(tmp_path / "copies")] == ["measured"]
    copy.write_bytes(own.read_bytes().replace(b'"created": "2', b'"created": "3'))
    assert [stored.origin for stored in everything(tmp_path / "copies")] == ["yours"]


def everything(folder: Path) -> list[Any]:
    found = find_records(folder)
    return [*found.records, *found.searches, *found.traces, *found.embeddings]


def test_a_record_that_says_the_same_stays_as_it_was(
    tmp_path: Path, example: dict[str, Any]
) -> None:
    path = store(tmp_path, example)
    before = path.read_bytes()
    later = {
        **example,
        "created": "2027-02-01T00:00:00",
        "code": "another",
        "versions": {**example["versions"], "dcbench": "9"},
    }
    write_record(path, EvaluationRecord.from_json(later))
    assert path.read_bytes() == before
    other = {**later, "networks": example["networks"][:1]}
    write_record(path, EvaluationRecord.from_json(other))
    assert json.loads(path.read_text(encoding="utf-8")) == {**other, "format_version": 2}
    path.write_bytes(b"{")
    write_record(path, EvaluationRecord.from_json(later))
    assert json.loads(path.read_text(encoding="utf-8")) == {**later, "format_version": 2}


def test_the_same_measurement_counts_once(
    tmp_path: Path, example: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = {**example, "networks": example["networks"][:1]}
    store(tmp_path / "a", one)
    store(tmp_path / "b", example)
    measured_by_the_project(
        store(tmp_path / "measured" / "c", {**example, "created": "2026-02-01T00:00:00"}),
        monkeypatch,
    )
    store(tmp_path / "d", {**one, "evaluation_seed": 5})
    store(tmp_path / "e", {**one, "ipc": 1})
    found = find_records(tmp_path)
    assert [stored.path.parent.name for stored in found.records] == ["d", "e", "c"]


def test_links_out_of_the_folder_are_not_followed(tmp_path: Path, example: dict[str, Any]) -> None:
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    store(outside, example)
    store(inside / "own", {**example, "seed": 1})
    (inside / "folder").symlink_to(outside)
    (inside / "again").symlink_to(inside / "own")
    (inside / "loop").symlink_to(inside / "loop")
    file = inside / "file" / "record.json"
    file.parent.mkdir()
    file.symlink_to(outside / "record.json")
    found = find_records(inside)
    assert [stored.record.seed for stored in found.records] == [1]
    assert found.problems == tuple(
        f"{link} is a link that leaves {inside}; not followed" for link in (inside / "folder", file)
    )


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no folder"):
        find_records(tmp_path / "nothing")


def test_reports_need_neither_torch_nor_the_command_line() -> None:
    names = "dcbench.records, dcbench.report, dcbench.report.selection.dataframes, dcbench.studies.declarations"
    code = f"import sys, {names}; print(*sys.modules)"
    modules = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "dcbench.report" in modules
    assert not {
        "torch",
        "click",
        "rich",
        "dcbench.images",
        "dcbench.distiller",
        "dcbench.system.machine",
        "dcbench.cli",
    } & set(modules)
