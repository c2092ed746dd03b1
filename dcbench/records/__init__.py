"""Records: one JSON file for each measurement, with what was measured, how, and on which machine.

A record holds raw figures only, such as an accuracy for each network. Reports compute means,
intervals and ranks. All accuracies are fractions. ``results/README.md`` describes every field.
"""

from dcbench.records.embedding import EmbeddedImage, EmbeddingRecord
from dcbench.records.evaluation import Distillation, EvaluationRecord, NetworkScore
from dcbench.records.files import (
    MAX_BYTES,
    Origin,
    Record,
    RecordsFound,
    StoredEmbedding,
    StoredRecord,
    StoredSearch,
    StoredTrace,
    find_records,
    read_distillation,
    read_record,
    write_record,
)
from dcbench.records.search import ArchitectureScore, SearchRecord, SearchRun
from dcbench.records.trace import TracePoint, TraceRecord
from dcbench.records.values import Versions

__all__ = [
    "MAX_BYTES",
    "ArchitectureScore",
    "Distillation",
    "EmbeddedImage",
    "EmbeddingRecord",
    "EvaluationRecord",
    "NetworkScore",
    "Origin",
    "Record",
    "RecordsFound",
    "SearchRecord",
    "SearchRun",
    "StoredEmbedding",
    "StoredRecord",
    "StoredSearch",
    "StoredTrace",
    "TracePoint",
    "TraceRecord",
    "Versions",
    "find_records",
    "read_distillation",
    "read_record",
    "write_record",
]
