"""Archives, tables and records in which one name stands twice: readers take one of the two without a
word, so they are refused.
"""

from __future__ import annotations

import io
import json
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import torch

from dcbench.artifacts.importers.reading import read_arrays
from dcbench.datasets.catalogue import find
from dcbench.datasets.parquet import _Shard
from dcbench.nas.catalogue import find_space
from dcbench.nas.truth import read_truth
from dcbench.records import read_record
from dcbench.system.errors import DataError, FileFormatError
from dcbench.system.files import append_line, read_json, read_lines, read_plain_tensors
from tests.fixed_records import EXAMPLE

pa: Any = pyarrow
pq: Any = pyarrow.parquet
IMAGES = np.zeros((2, 1, 8, 8), np.float32)


def array(value: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.asarray(value))
    return stream.getvalue()


def archive(path: Path, *entries: tuple[str, bytes]) -> Path:
    """A zip archive of these entries, some of one name."""
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w") as written:
        warnings.simplefilter("ignore", UserWarning)  # Duplicate name
        for name, content in entries:
            written.writestr(name, content)
    return path


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("images.npy", "labels.npy", "labels.npy"), "it holds 'labels' twice"),
        (("images.npy", "labels", "labels.npy"), "it holds 'labels' twice"),
        (("images.npy", "images.npy", "labels.npy"), "it holds 'images' twice"),
        (("images.npy", "image.npy", "labels.npy"), "it holds both images and image"),
        (("images.npy", "label.npy", "labels.npy"), "it holds both labels and label"),
    ],
)
def test_an_npz_with_an_array_twice(names: tuple[str, ...], said: str, tmp_path: Path) -> None:
    entries = [
        (name, array(IMAGES if "image" in name else [number, number]))
        for number, name in enumerate(names)
    ]
    with pytest.raises(FileFormatError, match=said):
        read_arrays(archive(tmp_path / "set.npz", *entries))


@pytest.mark.parametrize("twice", ["data/0", "data.pkl"])
def test_a_file_of_torch_s_with_an_entry_twice(twice: str, tmp_path: Path) -> None:
    torch.save({"images": torch.ones(2)}, tmp_path / "whole.pt")
    with zipfile.ZipFile(tmp_path / "whole.pt") as whole:
        entries = [(name, whole.read(name)) for name in whole.namelist()]
    again = next((name, content) for name, content in entries if name.endswith(twice))
    path = archive(tmp_path / "set.pt", *entries, again)
    with pytest.raises(FileFormatError, match=f"it holds '.*/{twice}' twice"):
        read_plain_tensors(path)
    assert torch.equal(
        read_plain_tensors(archive(tmp_path / "same.pt", *entries))["images"], torch.ones(2)
    )


def with_a_key_twice(value: Mapping[str, Any], key: str, other: Any) -> str:
    text = json.dumps(value)
    return f"{text[:-1]}, {json.dumps(key)}: {json.dumps(other)}}}"


@pytest.mark.parametrize("where", ["the record", "a network of it"])
def test_a_record_with_a_figure_twice(where: str, tmp_path: Path) -> None:
    record, first = {**EXAMPLE}, EXAMPLE["networks"][0]
    if where == "the record":
        text = with_a_key_twice(record, "ipc", 50)
    else:
        text = json.dumps(record).replace(
            json.dumps(first), with_a_key_twice(first, "accuracy", 0.99), 1
        )
    (tmp_path / "record.json").write_text(text, encoding="utf-8")
    with pytest.raises(FileFormatError, match="twice in one object"):
        read_record(tmp_path / "record.json")


def test_what_a_cache_s_index_says_twice_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "index.json"
    path.write_text('{"revision": "a", "revision": "b"}', encoding="utf-8")
    with pytest.raises(FileFormatError, match="it holds 'revision' twice"):
        read_json(path)


def test_a_row_with_a_figure_twice_is_passed_over(tmp_path: Path) -> None:
    """Its network is trained again."""
    path = tmp_path / "networks.jsonl"
    append_line(path, {"network": 0, "accuracy": 0.5})
    with path.open("a", encoding="utf-8") as stream:
        stream.write('{"network": 1, "accuracy": 0.5, "accuracy": 0.9}\n')
    assert read_lines(path) == [{"network": 0, "accuracy": 0.5}]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_table_of_truths_with_a_column_twice(kind: str, tmp_path: Path) -> None:
    space = find_space("convnet720")
    head = ["architecture", "test_accuracy", "test_accuracy"]
    path = tmp_path / f"truth.{kind}"
    if kind == "csv":
        row = f"{space.identifiers()[0]},0.5,0.9"
        path.write_text(f"{','.join(head)}\n{row}\n", encoding="utf-8")
    else:
        columns = [pa.array([space.identifiers()[0]]), pa.array([0.5]), pa.array([0.9])]
        pq.write_table(pa.Table.from_arrays(columns, names=head), path)
    with pytest.raises(FileFormatError, match="has two columns 'test_accuracy'"):
        read_truth(path, space, "cifar10")


def test_a_data_set_s_parquet_with_a_column_twice(tmp_path: Path) -> None:
    image = pa.array([{"bytes": b"", "path": ""}])
    columns = [image, pa.array([0]), pa.array([1])]
    table = pa.Table.from_arrays(columns, names=["img", "label", "label"])
    pq.write_table(table, tmp_path / "train.parquet")
    with pytest.raises(DataError, match="has two columns 'label'"):
        _Shard.open(find("cifar10"), tmp_path / "train.parquet")
