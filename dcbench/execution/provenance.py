"""Provenance in records: machine, code and time of a piece of work."""

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
    """Return the machine and code that trained a network, for its row."""
    return {
        "code": source_hash(),
        "torch": str(torch.__version__),
        "engine": machine.engine,
        "threads": machine.threads,
        "device": machine.device.type,
        "device_name": machine.device_name,
    }


def circumstances(rows: Sequence[Mapping[str, Any]], precision: str) -> dict[str, Any]:
    """Return a record's fields for machine, code and time.

    ``rows`` are the rows of its networks, each with the fields of ``ran_on``. Where rows differ,
    because networks were added later on another machine, a field lists all values. Old rows lack
    their code.
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
