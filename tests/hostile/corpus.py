"""The corpus: files that a stranger might send, each with the reader that must refuse it."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dcbench.artifacts.artifact import read_artifact
from dcbench.artifacts.importers.catalogue import find_layout
from dcbench.artifacts.importers.importing import import_set
from dcbench.datasets import find
from dcbench.datasets.parquet import find_source
from dcbench.images import ImageSpec, Space
from dcbench.nas.catalogue import SPACES
from dcbench.nas.truth import read_truth
from dcbench.records import read_record

SPEC = ImageSpec("stranger's", "0" * 12, 3, 8, ("a", "b"))
RAW = Space()


class Executing:
    """Unpickled by a trusting reader, it leaves a file."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {self.trace}",)


class Trusting(pickle.Unpickler):
    """Builds whatever a pickle asks for; tensors' storages, whose numbers stand beside it in
    torch's archives, are left empty.
    """

    def persistent_load(self, pid: Any) -> Any:
        return torch.storage.TypedStorage(pid[-1], dtype=torch.float32, _internal=True)


def read_trustingly(path: Path) -> None:
    """What a reader that trusts does with a file that the test has just written itself: the proof
    that the file is hostile.
    """
    content = path.read_bytes()
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            (pickled,) = (name for name in archive.namelist() if name.endswith("/data.pkl"))
            content = archive.read(pickled)
    Trusting(io.BytesIO(content)).load()


class Claiming(pickle.Pickler):
    """Writes a tensor whose storage is said to have ``numbers`` numbers."""

    numbers = 10**13

    def persistent_id(self, obj: Any) -> Any:
        return (
            ("storage", torch.FloatStorage, "0", "cpu", self.numbers, None)
            if obj == "the storage"
            else None
        )


class Claimed:
    def __reduce__(self) -> Any:
        size = (Claiming.numbers,)
        return torch._utils._rebuild_tensor_v2, ("the storage", 0, size, (1,), False, OrderedDict())


@dataclass(frozen=True)
class Stranger:
    """A file, how it is made, and what reads it."""

    name: str
    make: Callable[[Path], object]
    read: Callable[[Path], object]
    suffix: str = ".pt"


def foreign(layout: str) -> Callable[[Path], object]:
    return lambda path: import_set(path, find_layout(layout), SPEC, RAW)


def truth(path: Path) -> object:
    return read_truth(path, SPACES["convnet720"], "digits")


def data(path: Path) -> object:
    """As a shard of the training data of CIFAR-10."""
    from dcbench.system.progress import silent

    folder = path.parent / f"{path.stem} as data" / "cifar10"
    folder.mkdir(parents=True)
    for split in ("train", "test"):
        (folder / f"{split}-00000-of-00001.parquet").symlink_to(path)
    source = find_source(find("cifar10"), folder.parent)
    assert source is not None
    return source.read(silent)


# ------------------------------------------------------------------------------------------------------------------
# what swells


def compressed_archive(path: Path) -> None:
    """A file of torch's, compressed, with 400 MB of zeros in it."""
    torch.save({"images": torch.zeros(4)}, path)
    with zipfile.ZipFile(path) as stored:
        entries = {entry: stored.read(entry) for entry in stored.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in entries.items():
            with archive.open(name, "w", force_zip64=True) as stream:
                for _ in range(100 if name.endswith("data/0") else 0):
                    stream.write(bytes(4 << 20))
                stream.write(content)


def lying_archive(path: Path) -> None:
    """A file of torch's whose directory says 2 GB of an entry of 16 bytes."""
    torch.save({"images": torch.zeros(4)}, path)
    with zipfile.ZipFile(path, "a") as archive:
        next(entry for entry in archive.filelist if entry.filename.endswith("data/0")).file_size = (
            1 << 31
        )
        archive.writestr("archive/more", b"")  # so that the directory is written again


def huge_storage(path: Path) -> None:
    """torch's older format, announcing 40 TB."""
    with path.open("wb") as stream:
        for value in (
            torch.serialization.MAGIC_NUMBER,
            torch.serialization.PROTOCOL_VERSION,
            {"little_endian": True},
        ):
            pickle.dump(value, stream, 2)
        Claiming(stream, 2).dump(Claimed())
        pickle.dump(["0"], stream, 2)


def expanded(path: Path) -> None:
    """Ten million images, all of them one number."""
    images, labels = (
        torch.zeros(1).expand(10_000_000, 3, 8, 8),
        torch.zeros(1, dtype=torch.int64).expand(10_000_000),
    )
    torch.save({"data": [[images, labels]]}, path)


def sparse(path: Path) -> None:
    images = torch.sparse_coo_tensor(
        torch.zeros(4, 1, dtype=torch.int64),
        torch.ones(1),
        (10_000_000, 3, 8, 8),
        check_invariants=True,
    )
    torch.save({"data": [[images, torch.zeros(2)]]}, path)


def swelling_npz(path: Path) -> None:
    np.savez_compressed(path, images=np.zeros((400 << 20), np.uint8), labels=np.zeros((2, 2)))


def lying_npz(path: Path) -> None:
    """An array without numbers that announces a trillion."""
    header = "{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }"
    content = (
        b"\x93NUMPY\x01\x00" + (len(header) + 1).to_bytes(2, "little") + header.encode() + b"\n"
    )
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images.npy", content)
        archive.writestr("labels.npy", content)


def pickled_npz(path: Path, trace: Path) -> None:
    hostile: Any = [Executing(trace)]
    np.savez(path, images=np.array(hostile, dtype=object), labels=np.zeros(2))


def long_table(path: Path) -> None:
    """A CSV table of one line without an end."""
    with path.open("wb") as stream:
        stream.write(b"architecture,test_accuracy\n")
        stream.truncate(70 << 20)


def repeated_rows(path: Path, columns: dict[str, Any], count: int = 30_000_000) -> None:
    """A parquet file of a few kilobytes with ``count`` equal rows."""
    import pyarrow as pa
    from pyarrow import parquet

    arrays: dict[str, Any] = {}
    for name, value in columns.items():
        indices = pa.array(np.zeros(1_000_000, np.int32))  # type: ignore[attr-defined]
        arrays[name] = pa.DictionaryArray.from_arrays(indices, pa.array([value]))  # type: ignore[attr-defined]
    table: Any = pa.table(arrays)  # type: ignore[attr-defined]
    writer: Any = parquet.ParquetWriter(path, table.schema, compression="zstd")  # type: ignore[no-untyped-call]
    with writer:
        for _ in range(count // 1_000_000):
            writer.write_table(table)


def large_record(path: Path) -> None:
    with path.open("wb") as stream:
        stream.write(b'{"kind": "')
        stream.truncate(1 << 30)


def nested_record(path: Path) -> None:
    path.write_text('{"kind":' + "[" * 1_000_000)


def long_number(path: Path) -> None:
    path.write_text('{"kind": ' + "9" * 1_000_000 + "}")


def many_classes(path: Path) -> None:
    """An artifact of a million classes."""
    names = [""] * 1_000_000
    spec = {
        "dataset": "x",
        "revision": "y",
        "channels": 3,
        "size": 8,
        "class_names": names,
        "flips": True,
    }
    torch.save(artifact() | {"provenance": {"images_of": spec}}, path)


def artifact(**changes: Any) -> dict[str, Any]:
    spec = {
        "dataset": "x",
        "revision": "y",
        "channels": 3,
        "size": 8,
        "class_names": ["a", "b"],
        "flips": True,
    }
    whole = {
        "format_version": 1,
        "images": torch.zeros(2, 3, 8, 8),
        "labels": torch.tensor([0, 1]),
        "space": RAW.to_plain(),
        "recipe": {},
        "provenance": {"images_of": spec},
    }
    return whole | changes


SWELLING = [
    Stranger("an artifact that is compressed", compressed_archive, read_artifact),
    Stranger("an artifact whose directory lies", lying_archive, read_artifact),
    Stranger("an artifact that announces 40 TB", huge_storage, read_artifact),
    Stranger("an artifact of a million classes", many_classes, read_artifact),
    Stranger("a foreign set expanded from one number", expanded, foreign("dm")),
    Stranger("a foreign set that is sparse", sparse, foreign("dm")),
    Stranger("an npz that swells", swelling_npz, foreign("kip"), ".npz"),
    Stranger("an npz that announces a trillion numbers", lying_npz, foreign("kip"), ".npz"),
    Stranger("a table of one endless line", long_table, truth, ".csv"),
    Stranger(
        "a parquet table of equal rows",
        lambda path: repeated_rows(path, {"architecture": "x"}),
        truth,
        ".parquet",
    ),
    Stranger(
        "a parquet shard of equal rows",
        lambda path: repeated_rows(path, {"img": "x", "label": 0}),
        data,
        ".parquet",
    ),
    Stranger("a record of a gigabyte", large_record, read_record, ".json"),
    Stranger("a record nested a million deep", nested_record, read_record, ".json"),
    Stranger("a record with a number of a million digits", long_number, read_record, ".json"),
]
