"""Accuracies of classes and the calibration error against counting by hand."""

from __future__ import annotations

import pytest
import torch

from dcbench.evaluation.measures import accuracy, calibration_error, class_accuracies
from tests.reference import supervision as slow


def test_the_calibration_error_equals_its_formula() -> None:
    generator = torch.Generator().manual_seed(0)
    for scale in (0.1, 1.0, 5.0, 40.0):
        logits = torch.randn(200, 7, generator=generator).double() * scale
        labels = torch.randint(7, (200,), generator=generator)
        expected = slow.calibration_error(logits.softmax(1).tolist(), labels.tolist())
        assert calibration_error(logits.float(), labels) == pytest.approx(expected, abs=1e-5)


def test_bins_that_are_too_sure_do_not_make_up_for_those_that_are_not_sure_enough() -> None:
    """What is unsure is right and what is sure is wrong, so that the number of bins counts."""
    logits = torch.randn(200, 7, generator=torch.Generator().manual_seed(1)).double() * 2
    confidence, predicted = logits.softmax(1).max(1)
    labels = torch.where(confidence < confidence.median(), predicted, (predicted + 1) % 7)
    expected = slow.calibration_error(logits.softmax(1).tolist(), labels.tolist())
    assert calibration_error(logits.float(), labels) == pytest.approx(expected, abs=1e-5)
    other = slow.calibration_error(logits.softmax(1).tolist(), labels.tolist(), bins=10)
    assert abs(other - expected) > 1e-3


def test_a_bin_holds_its_upper_bound_and_not_its_lower_one() -> None:
    """A third is the bound of two of fifteen bins: right there, and wrong a little above it."""
    logits = torch.tensor([[0.0, 0.0, 0.0], [0.1, 0.0, 0.0]], dtype=torch.float64)
    labels = torch.tensor([0, 1])
    expected = slow.calibration_error(logits.softmax(1).tolist(), labels.tolist())
    assert calibration_error(logits.float(), labels) == pytest.approx(expected, abs=1e-6)


def test_a_network_that_knows_how_much_it_knows_has_no_error() -> None:
    """Four of five right at a confidence of 0.8; sure and right; sure and wrong."""
    logits = torch.tensor([[0.8, 0.2]]).log().expand(5, 2)
    assert calibration_error(logits, torch.tensor([0, 0, 0, 0, 1])) == pytest.approx(0, abs=1e-6)
    sure = torch.tensor([[100.0, 0.0]])
    assert calibration_error(sure, torch.tensor([0])) == pytest.approx(0, abs=1e-6)
    assert calibration_error(sure, torch.tensor([1])) == pytest.approx(1)
    assert calibration_error(torch.tensor([[torch.nan, 0.0]]), torch.tensor([0])) is None


def test_accuracies_of_classes_are_counted_apart() -> None:
    logits = torch.eye(4)[[0, 0, 1, 2, 2]]
    labels = torch.tensor([0, 1, 1, 2, 2])
    assert class_accuracies(logits, labels) == [1.0, 0.5, 1.0, None]
    assert accuracy(logits, labels) == pytest.approx(0.8)
