"""The names of all files and folders of results; results/README.md shows the tree.

``out`` is the folder given by ``--out``. A set's folder holds its artifact and its evaluations.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

ARTIFACT = "synthetic.pt"
PICTURE = "images.png"
HISTORY = "history.csv"  # the loss by step
DISTILLATION = "distillation.json"  # what making the set took
CHECKPOINT = "checkpoint.pt"
RECORD = "record.json"
NETWORK_ROWS = "networks.jsonl"  # a row for each network that judges a set
ARCHITECTURE_ROWS = "architectures.jsonl"  # a row for each network of a search
TRUTH = "truth.csv"  # accuracies of architectures on the whole data (the truth)
SHARED_RESULT = "result.pt"  # work that several sets share
LOCK = ".lock"  # the lock of the process that works in the folder
MEASURED = "measured"  # below results/: the project's own measurements

_EVALUATIONS = "evaluations"


def file_name(name: str) -> str:
    """Turn any name into one that is safe for a single file or folder."""
    letters = (letter if letter.isalnum() or letter in "-_" else "_" for letter in name)
    return "".join(letters)[:60] or "unnamed"


def set_folder(
    out: Path, dataset: str, ipc: int | None, method: str, variant: str, seed: int
) -> Path:
    """Return the folder of a set; ``ipc`` is None for the whole data."""
    budget = "whole" if ipc is None else f"ipc{ipc}"
    return out / dataset / budget / file_name(method) / variant / f"seed{seed}"


def artifacts_with_hash(out: Path, dataset: str, artifact_hash: str, seed: str) -> Iterator[Path]:
    """Return the artifacts below ``out`` whose folders carry this hash and seed, whatever the
    method.
    """
    pattern = f"*/*/*-{file_name(artifact_hash)}/seed{file_name(seed)}/{ARTIFACT}"
    yield from sorted((out / file_name(dataset)).glob(pattern))


def latest_artifact(out: Path, method: str) -> Path:
    """Return the path OUT/<method>.pt: a copy of the set that the latest run of a method ended
    with.
    """
    return out / f"{file_name(method)}.pt"


def imported_folder(out: Path, dataset: str) -> Path:
    """Return the folder of imported sets."""
    return out / dataset / "imported"


def foreign_set_folder(out: Path, dataset: str, sha256: str) -> Path:
    """Return the folder for evaluations of an artifact that has no folder of its own."""
    return out / file_name(dataset) / "evaluated" / sha256[:12]


def revision_folder(set_folder: Path, revision: str) -> Path:
    """Return the folder for evaluations of a set on another revision of its data."""
    return set_folder / f"on-{revision}"


def shared_folder(out: Path, dataset: str) -> Path:
    """Return the folder of work that several sets share."""
    return out / dataset / "shared"


def evaluation_folder(set_folder: Path, protocol_hash: str, seed: int | None = None) -> Path:
    """Return the folder of one evaluation. ``seed`` is the networks' seed, if it differs from the
    set's.
    """
    name = protocol_hash if seed is None else f"{protocol_hash}-seed{seed}"
    return set_folder / _EVALUATIONS / name


def evaluated_set_folder(record: Path) -> Path | None:
    """Return the folder of the set that the evaluation ``record`` belongs to; None for another kind
    of record.
    """
    evaluations = record.parent.parent
    return evaluations.parent if evaluations.name == _EVALUATIONS else None


def trace_folder(set_folder: Path, trace_hash: str) -> Path:
    """Return the folder of a trace: a set's snapshots and their evaluations."""
    return set_folder / "trace" / trace_hash


def snapshot(trace_folder: Path, step: int, ending: str) -> Path:
    """Return the path of the set after ``step`` steps (``ending`` pt) or of its picture (png)."""
    return trace_folder / f"step-{step:06d}.{ending}"


def embedding_record(set_folder: Path, embedding_hash: str) -> Path:
    """Return the path of the record of a set's embedding."""
    return set_folder / "embedding" / embedding_hash / RECORD


def search_folder(out: Path, dataset: str, space: str, proxy: str, search_hash: str) -> Path:
    """Return the folder of the architectures that were trained on one proxy."""
    return out / dataset / "search" / space / f"{file_name(proxy)}-{search_hash}"


def search_record(search_folder: Path, architectures: int, seeds: int, draw_hash: str) -> Path:
    """Return the path of the record of one search: which architectures were drawn, and
    their truth.
    """
    return search_folder / f"{architectures}x{seeds}-{draw_hash}" / RECORD
