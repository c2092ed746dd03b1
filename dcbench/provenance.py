"""What a record says of how it came to be: on what machine, by which code, and when."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

import dcbench
from dcbench.machine import Machine
from dcbench.records import Versions


def ran_on(machine: Machine) -> dict[str, Any]:
    """What a network's row says of the machine that trained it."""
    return {
        "engine": machine.engine,
        "threads": machine.threads,
        "device": machine.device.type,
        "device_name": machine.device_name,
    }


def circumstances(rows: Sequence[Mapping[str, Any]], precision: str) -> dict[str, Any]:
    """What a record says of the machine that made ``rows`` (each with what ``ran_on`` says), of the code and of the time."""
    return {
        **{name: rows[0][name] for name in ("threads", "device", "device_name")},
        "engine": "/".join(sorted({row["engine"] for row in rows})),
        "precision": precision,
        "versions": Versions(dcbench.__version__, str(torch.__version__), platform.python_version()),
        "code": source_hash(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def source_hash() -> str:
    """A hash of the project's own source, so that a record says which code made it."""
    import dcbench.baselines
    import dcbench.methods

    digest = hashlib.sha256()
    plugins = [*dcbench.methods.__path__, *dcbench.baselines.__path__]
    for folder in [Path(dcbench.__file__).parent, *(Path(part).resolve() for part in plugins)]:
        for path in sorted(folder.rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
