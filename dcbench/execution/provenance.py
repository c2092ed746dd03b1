"""What a record says of how it came to be: on what machine, by which code, and when."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import torch

import dcbench
from dcbench.records import Versions
from dcbench.system.machine import Machine
from dcbench.system.source import source_hash


def ran_on(machine: Machine) -> dict[str, Any]:
    """What a network's row says of the machine and the code that trained it."""
    return {
        "code": source_hash(),
        "torch": str(torch.__version__),
        "engine": machine.engine,
        "threads": machine.threads,
        "device": machine.device.type,
        "device_name": machine.device_name,
    }


def circumstances(rows: Sequence[Mapping[str, Any]], precision: str) -> dict[str, Any]:
    """What a record says of the machine and the code that made ``rows`` (each with what ``ran_on``
    says), and of the time.

    Where rows differ, as those of an ensemble that was enlarged later may, it names each; older
    rows do not say their code.
    """

    def each(name: str) -> str:
        return "/".join(sorted({str(row.get(name, "unknown")) for row in rows}))

    return {
        **{name: each(name) for name in ("engine", "device", "device_name", "code")},
        "threads": rows[0]["threads"],
        "precision": precision,
        "versions": Versions(dcbench.__version__, each("torch"), platform.python_version()),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
