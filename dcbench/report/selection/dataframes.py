"""Records and figures as pandas data frames."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from dcbench.records import StoredRecord
from dcbench.report.formatting import canonical
from dcbench.report.selection.method_variants import made_by


def frame(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> pd.DataFrame:
    """``rows`` as a data frame in which integers stay integers beside missing values."""
    values = {column: [row.get(column) for row in rows] for column in columns}
    return pd.DataFrame(
        {column: pd.Series(entries, dtype=_dtype(entries)) for column, entries in values.items()},
        columns=list(columns),
    )


def _dtype(entries: Sequence[object]) -> Any:
    kinds = {type(entry) for entry in entries if entry is not None}
    if kinds == {int}:
        return "Int64"
    if kinds and kinds <= {int, float}:
        return "float64"
    return "bool" if kinds == {bool} else "object"


def budgets(data: pd.DataFrame) -> list[int | None]:
    """The column ``ipc``; None for a set without a budget."""
    return [None if pd.isna(ipc) else int(ipc) for ipc in data["ipc"]]


def tidy_frame(records: Iterable[StoredRecord]) -> pd.DataFrame:
    """One row for each network of each record, accuracies as fractions."""
    return frame([row for stored in records for row in _tidy_rows(stored)], _TIDY_COLUMNS)


_FROM_RECORD = (
    *("method", "paper", "method_version", "preset", "dataset", "dataset_revision"),
    *("dataset_note", "ipc", "budget_images", "seed", "holdout", "space", "artifact_hash"),
    *("artifact_sha256", "network", "augment", "protocol_hash", "evaluation_seed", "engine"),
    *("precision", "threads", "code", "created"),
)
_TIDY_COLUMNS = (
    *("origin", *_FROM_RECORD, "foreign", "fields", "recipe", "made", "protocol"),
    *("protocol_version", "distill_seconds", "device", "dcbench_version", "torch_version"),
    *("network_index", "accuracy", "loss", "network_seconds"),
)


def _tidy_rows(stored: StoredRecord) -> Iterable[dict[str, Any]]:
    record, made = stored.record, stored.record.distillation
    shared = {name: getattr(record, name) for name in _FROM_RECORD} | {
        "origin": stored.origin,
        "foreign": record.foreign,
        "fields": canonical(record.fields),
        "recipe": canonical(record.recipe),
        "made": made_by(record),
        "protocol": str(record.protocol.get("name", "")),
        "protocol_version": str(record.protocol.get("version", "")),
        "distill_seconds": made.distill_seconds if made else None,
        "device": f"{record.device}: {record.device_name}",
        "dcbench_version": record.versions.dcbench,
        "torch_version": record.versions.torch,
    }
    for result in sorted(record.networks, key=lambda result: result.network):
        own = {"accuracy": result.accuracy, "loss": result.loss, "network_seconds": result.seconds}
        yield shared | {"network_index": result.network} | own


def as_csv(frame: pd.DataFrame) -> str:
    """A frame as CSV in which no text begins like a spreadsheet's formula."""
    plain = frame.copy()
    for name in frame.select_dtypes(include=["object", "string"]):
        plain[name] = [f"'{cell}" if _is_formula(cell) else cell for cell in frame[name]]
    return str(plain.to_csv(index=False, lineterminator="\n"))


def _is_formula(cell: object) -> bool:
    return isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r"))
