"""Interpret the numbers of a foreign set: which value is white, what a row of labels means.

``interpret`` alone decides, by the values and not by their stored type. It says what it decided,
and warns if the same numbers could mean something else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from dcbench.images import class_weights
from dcbench.system.errors import FileFormatError

Numbers = Literal["pixels", "values", "labels", "label rows", "centred label rows"]
# values of white in images with fewer levels than a byte (16: scikit-learn's digits)
_FEW_LEVELS = (3, 7, 15, 16)
_LEAST_OF_BYTES = 128  # warn if no pixel of a set has half the brightness
_SUMS = {1: "probabilities", 100: "percent", 255: "bytes"}  # of a row of labels
_NEARLY = 0.02  # by which rounded weights may miss such a sum


@dataclass(frozen=True)
class Interpretation:
    """Interpreted numbers, what they were read as, and why that may be wrong."""

    values: Tensor
    meaning: str  # for the artifact's provenance
    doubt: str = ""  # empty: nothing else is plausible


def interpret(numbers: Tensor, expected: Numbers) -> Interpretation:
    """Interpret ``numbers``, which are ``expected`` to be of one kind.

    Args:
        numbers: Of any type and shape; rows of labels are N×K.
        expected: ``pixels`` on any scale; ``values`` in a space, which have one scale only; one
            class for each image (``labels``); or weights of all classes (``label rows``; KIP's are
            ``centred``, less 1/K).

    Raises:
        FileFormatError: If no plausible meaning is left; the message says what was got and wanted.
    """
    numbers = numbers.detach()
    what = "images" if expected in ("pixels", "values") else "labels"
    if numbers.is_quantized or numbers.is_complex():
        kind = "quantised" if numbers.is_quantized else "complex numbers"
        raise FileFormatError(f"{what} are {kind} ({numbers.dtype}); wanted plain real numbers")
    if not numbers.is_floating_point():
        numbers = numbers.long()  # what torch can do with its other whole numbers differs
    if numbers.is_floating_point() and not bool(numbers.float().isfinite().all()):
        raise FileFormatError(f"{what} hold values that are not finite")
    if not numbers.numel():
        raise FileFormatError(f"no {what}")
    decide = {
        "pixels": _pixels,
        "values": _values,
        "labels": _labels,
        "label rows": _rows,
        "centred label rows": _centred_rows,
    }[expected]
    return decide(numbers)


def _pixels(numbers: Tensor) -> Interpretation:
    values, low, high = numbers.float(), float(numbers.min()), float(numbers.max())
    if numbers.is_floating_point() and (high <= 1 or not _whole(values)):
        return Interpretation(values, "fractions of white")
    if low < 0 or high > 255:
        raise FileFormatError(
            f"images are whole numbers from {low:.0f} to {high:.0f}; wanted bytes from 0 to 255, "
            "or fractions of white from 0 to 1"
        )
    stored = f"images are stored as whole numbers from {low:.0f} to {high:.0f}"
    if high <= 1:
        return Interpretation(values, "0 and 1", "images hold 0 and 1 alone; read as black, white")
    if high <= _FEW_LEVELS[-1]:
        white = next(level for level in _FEW_LEVELS if high <= level)
        doubt = f"{stored}; read as {white} for white: bytes of very dark images?"
        return Interpretation(values / white, f"whole numbers, {white} for white", doubt)
    bytes_ = "bytes, 255 for white"
    if high < _LEAST_OF_BYTES:
        doubt = f"{stored}; read as {bytes_}: fewer levels? divide them by the number for white"
    else:
        doubt = f"images are stored as whole numbers; read as {bytes_}"
    return Interpretation(values / 255, bytes_, doubt)


def _values(numbers: Tensor) -> Interpretation:
    if not numbers.is_floating_point():
        raise FileFormatError(
            "images are whole numbers, which no normalised values are; they may be bytes: --space "
            "pixels"
        )
    return Interpretation(numbers.float(), "values of the space")


def _labels(numbers: Tensor) -> Interpretation:
    whole = numbers.long()
    if numbers.is_floating_point() and not torch.equal(whole.to(numbers.dtype), numbers):
        raise FileFormatError("labels are fractions, and not one row per image")
    stored = "labels are stored as floats; read as whole numbers"
    return Interpretation(whole, "classes", stored if numbers.is_floating_point() else "")


def _centred_rows(numbers: Tensor) -> Interpretation:
    rows, classes = numbers.float(), numbers.shape[1]
    hard = rows.argmax(1)
    if torch.allclose(rows, torch.nn.functional.one_hot(hard, classes) - 1 / classes, atol=1e-3):
        return Interpretation(hard, "classes, centred")
    doubt = "labels are learned; read as probabilities less 1/classes, negative ones cut off"
    return Interpretation(class_weights(rows), "probabilities, centred", doubt)


def _rows(numbers: Tensor) -> Interpretation:
    """Interpret rows as weights if their sums fit a known scale, else as logits.

    Rows within [0, 1] are weights whatever their sums: as logits they would hardly differ.
    """
    rows = numbers.float()
    low, high, sums = float(rows.min()), float(rows.max()), rows.sum(1)
    rounding = rows.shape[1] / 2 if high > 1 and _whole(rows) else 0.0
    for scale, meaning in _SUMS.items():
        beyond = float((sums - scale).abs().max())
        if low >= 0 and beyond <= scale * _NEARLY + rounding:
            if scale == 1 and beyond < 1e-3:
                return Interpretation(rows, meaning)
            doubt = f"labels are rows that sum to {_range(sums)}; read as {meaning}"
            return Interpretation(rows / sums[:, None], meaning, doubt)
    if low >= 0 and high <= 1 and float(sums.min()) > 0:
        doubt = (
            f"labels are rows within [0, 1] that sum to {_range(sums)}; read as weights, not as "
            "logits"
        )
        return Interpretation(rows / sums[:, None], "weights", doubt)
    if high <= 0 and float(rows.logsumexp(1).abs().max()) < 1e-2:
        return Interpretation(rows.softmax(1), "logarithms of probabilities")
    doubt = "labels are rows that do not sum to one; read as logits"
    return Interpretation(rows.softmax(1), "logits", doubt)


def _whole(values: Tensor) -> bool:
    return torch.equal(values.round(), values)


def _range(sums: Tensor) -> str:
    low, high = float(sums.min()), float(sums.max())
    return f"{low:.3g}" if f"{low:.3g}" == f"{high:.3g}" else f"{low:.3g} to {high:.3g}"
