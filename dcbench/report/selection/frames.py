"""Records and figures as pandas frames."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from dcbench.records import StoredRecord
from dcbench.report.formatting import canonical
from dcbench.report.selection.variants import made_by


def frame(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> pd.DataFrame:
    """``rows`` as a frame in which whole numbers stay whole beside missing ones."""
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


def tidy_frame(records: Iterable[StoredRecord]) -> pd.DataFrame:
    """One row per network of each record, accuracies as fractions."""
    return frame([row for stored in records for row in _tidy_rows(stored)], _TIDY_COLUMNS)


_PLAIN_COLUMNS = (
    *(
        "method",
        "paper",
        "method_version",
        "preset",
        "dataset",
        "dataset_revision",
        "dataset_note",
        "ipc",
        "budget_images",
        "seed",
    ),
    *(
        "holdout",
        "space",
        "artifact_hash",
        "artifact_sha256",
        "network",
        "augment",
        "protocol_hash",
        "evaluation_seed",
    ),
    *("engine", "precision", "threads", "code", "created"),
)
_TIDY_COLUMNS = (
    *(
        "origin",
        *_PLAIN_COLUMNS,
        "foreign",
        "fields",
        "recipe",
        "made",
        "protocol",
        "protocol_version",
        "distill_seconds",
        "device",
    ),
    *("dcbench_version", "torch_version", "network_index", "accuracy", "loss", "network_seconds"),
)


def _tidy_rows(stored: StoredRecord) -> Iterable[dict[str, Any]]:
    record = stored.record
    shared = {name: getattr(record, name) for name in _PLAIN_COLUMNS} | {
        "origin": stored.origin,
        "foreign": record.foreign,
        "fields": canonical(record.fields),
        "recipe": canonical(record.recipe),
        "made": made_by(record),
        "protocol": str(record.protocol.get("name", "")),
        "protocol_version": str(record.protocol.get("version", "")),
        "distill_seconds": None
        if record.distillation is None
        else record.distillation.distill_seconds,
        "device": f"{record.device}: {record.device_name}",
        "dcbench_version": record.versions.dcbench,
        "torch_version": record.versions.torch,
    }
    for result in sorted(record.networks, key=lambda result: result.network):
        own = {"accuracy": result.accuracy, "loss": result.loss, "network_seconds": result.seconds}
        yield shared | {"network_index": result.network} | own
