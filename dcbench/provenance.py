"""What a record says of how it came to be: on what machine, by which code, and when."""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
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


@cache
def source_hash(package: Path = Path(dcbench.__file__).parent) -> str:
    """A hash of the project's own source as it was when first asked for, so that a record says which code made it.

    The same whether methods, baselines and nas are links, as in the repository, or folders, as in a wheel.
    """
    digest = hashlib.sha256()
    for folder, below, names in os.walk(package, followlinks=True):
        below.sort()
        for name in sorted(name for name in names if name.endswith(".py")):
            digest.update((Path(folder) / name).read_bytes())
    return digest.hexdigest()[:12]
