"""What a machine says of memory: of the work that is being done, not of what the process did before."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest
import torch

from dcbench import machine as module
from dcbench.machine import Machine
from dcbench.records import EvaluationRecord, read_record
from tests.commandline import RANDOM, done

SPENT = 512 << 20  # bytes
forgets = pytest.mark.skipif(not module.LINUX_MARKS.exists(), reason="only Linux forgets how much a process has held")


def spend() -> None:
    """Hold so much, and give it back."""
    torch.ones(SPENT // 4).sum()


@forgets
def test_memory_that_was_given_back_is_forgotten(machine: Machine) -> None:
    spend()
    before = machine.peak_memory_bytes()
    machine.forget_peak_memory()
    assert machine.peak_memory_bytes() < before - SPENT // 2
    spend()
    assert machine.peak_memory_bytes() > before - SPENT // 2


@forgets
def test_a_record_tells_the_memory_of_its_own_work(machine: Machine, tmp_path: Path) -> None:
    done(*RANDOM, "--out", tmp_path / "first")  # what it loads, it will hold
    spend()
    before = machine.peak_memory_bytes()
    (run,) = done(*RANDOM, "--out", tmp_path, "--json").json["runs"]
    record = read_record(Path(run["record"]))
    assert isinstance(record, EvaluationRecord)
    assert record.distillation is not None
    for peak in (record.distillation.peak_memory_bytes, record.peak_memory_bytes):
        assert peak is not None
        assert 0 < peak < before - SPENT // 4


def test_where_nothing_is_forgotten_the_mark_is_the_process_s(machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LINUX_STATUS", "LINUX_MARKS"):
        monkeypatch.setattr(module, name, tmp_path / "nowhere" / name)
    machine.forget_peak_memory()
    assert machine.peak_memory_bytes() >= resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
