"""What bf16 changes: differences are paired by network, and only of the same work in both
precisions.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.precision import MEASURED, rows
from dcbench.records import EvaluationRecord, find_records
from tests.fixed_records import record

FP32, BF16 = (0.30, 0.32, 0.34), (0.301, 0.322, 0.340)


def judged(
    precision: str, accuracies: tuple[float, ...], made: str = "fp32", artifact: str = "aaaa"
) -> EvaluationRecord:
    found = record("dm", accuracies, precision=precision, artifact_hash=artifact).record
    assert found.distillation is not None
    return replace(found, distillation=replace(found.distillation, precision=made))


def test_training_is_compared_on_one_set_network_by_network() -> None:
    """0.1, 0.2 and 0 points: 0.1 ± 4.303 × 0.1 / √3."""
    (row,) = rows([judged("fp32", FP32), judged("bf16", BF16)])
    assert (row.what, row.networks) == ("training on dm, seed 0, distilled in fp32", 3)
    assert row.comparison.difference == pytest.approx(0.001)
    assert row.comparison.ci95 == pytest.approx((0.001 - 0.002484, 0.001 + 0.002484), abs=1e-6)
    assert row.within
    assert "+0.10 [-0.15, +0.35] | yes" in str(row)


def test_an_interval_that_leaves_the_margin_is_said_to() -> None:
    (row,) = rows([judged("fp32", FP32), judged("bf16", (0.31, 0.32, 0.34))])
    assert not row.within
    assert str(row).endswith("| no |")


def test_distilling_is_compared_between_sets_that_are_judged_in_bf16() -> None:
    sets = [
        judged("bf16", FP32, "fp32", "aaaa"),
        judged("bf16", BF16, "bf16", "bbbb"),
        judged("fp32", FP32, "bf16", "cccc"),
    ]
    assert [row.what for row in rows(sets)] == ["distilling dm, seed 0"]


def test_networks_that_only_one_precision_has_are_left_out() -> None:
    (row,) = rows([judged("fp32", FP32), judged("bf16", (*BF16, 0.9))])
    assert row.networks == 3


def test_the_page_shows_what_the_records_hold() -> None:
    measured = list(rows(stored.record for stored in find_records(MEASURED).records))
    page = (Path(__file__).parents[2] / "docs" / "results" / "speed.md").read_text(encoding="utf-8")
    assert [row.what for row in measured if str(row) not in page] == []
    assert max(row.networks for row in measured) == 100
