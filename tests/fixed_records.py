"""Fixed records of evaluations, made from the example in ``results/README.md``; and names that no
file should have.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

from dcbench.records import EvaluationRecord, Origin, StoredRecord

README = Path(__file__).parents[1] / "results" / "README.md"
EXAMPLE: dict[str, Any] = {
    **json.loads(README.read_text(encoding="utf-8").split("```json\n")[1].split("```")[0]),
    "title": "",
}
FOREIGN: dict[str, Any] = {
    "method_version": None,
    "seed": None,
    "preset": None,
    "fields": {},
    "distillation": None,
    "artifact_hash": "f0",
}

SETS = {
    "random": ((0.28, 0.29), (0.27, 0.28), (0.29, 0.30)),
    "dm": ((0.441, 0.451), (0.447, 0.457), (0.440, 0.450)),
    "datadam": ((0.445, 0.455), (0.446, 0.456), (0.450, 0.460)),
}


def measured_by_the_project(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the record at ``path`` be one of the project's own."""
    checksum = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setattr(
        "dcbench.records.files.measured_by_the_project", lambda: frozenset({checksum})
    )


def record(
    method: str, accuracies: Sequence[float], origin: Origin = "yours", **changes: Any
) -> StoredRecord:
    networks = [
        {"network": index, "accuracy": accuracy, "loss": 0.5, "seconds": 1.0}
        for index, accuracy in enumerate(accuracies)
    ]
    value = {
        **EXAMPLE,
        "content": "",
        "method": method,
        "artifact_hash": f"{method} hash",
        "networks": networks,
        **changes,
    }
    return StoredRecord(Path("record.json"), EvaluationRecord.from_json(value), origin)


def sets(method: str, accuracies: Iterable[Sequence[float]], **changes: Any) -> list[StoredRecord]:
    return [
        record(method, networks, **{"seed": seed, **changes})
        for seed, networks in enumerate(accuracies)
    ]


def fixed() -> list[StoredRecord]:
    return [stored for method, accuracies in SETS.items() for stored in sets(method, accuracies)]


HOSTILE = [
    r"\input{/etc/passwd}",
    "a|b",
    "line\nbreak\r\n\n# heading",
    "<script>alert(1)</script>",
    "[click](javascript:alert(1))",
    "![image](x)",
    "**bold** _under_ `code` ~~struck~~",
    r"100% $x^2$ & #1 {a} ~",
    r"\\ & \end{tabular} \write18{ls}",
    "[5cm] looks like an option",
    "*star",
    "^^5cinput",
    "a--b---c",
    "\u202eright to left\x1b[31m",
    "\N{SNOWMAN} \N{CJK UNIFIED IDEOGRAPH-4E2D} café \N{DIVISION SIGN} \N{DAGGER} \N{MULTIPLICATION SIGN} $ %",
    "../../escape",
]
