"""What the numbers of strangers' sets mean is decided by their values, and said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from dcbench.artifacts.artifact import read_artifact
from dcbench.artifacts.importers.catalogue import find_layout
from dcbench.artifacts.importers.importing import import_set, write_imported
from dcbench.artifacts.importers.interpretation import interpret
from dcbench.images import ImageSpec, Space
from dcbench.system.errors import FileFormatError

SPEC = ImageSpec("three", "0" * 12, 1, 8, ("a", "b", "c"))
NORMALISED = Space("normalised", (0.5,), (0.25,))
GENERATOR = torch.Generator().manual_seed(0)
SHAPE = (6, 1, 8, 8)
BYTES = torch.randint(0, 256, SHAPE, generator=GENERATOR)
BITS = torch.randint(0, 2, SHAPE, generator=GENERATOR)
LEVELS = torch.randint(0, 17, SHAPE, generator=GENERATOR)
ROWS = torch.tensor([[0.9, 0.06, 0.04], [0.2, 0.5, 0.3], [0.05, 0.15, 0.8]]).repeat(2, 1)
LABELS = torch.tensor([0, 1, 2, 0, 1, 2])


@pytest.mark.parametrize(
    ("stored", "pixels", "meaning", "doubt"),
    [
        (BITS.bool(), BITS, "0 and 1", "images hold 0 and 1 alone; read as black, white"),
        (BITS.byte(), BITS, "0 and 1", "images hold 0 and 1 alone; read as black, white"),
        (BITS, BITS, "0 and 1", "images hold 0 and 1 alone; read as black, white"),
        (BITS.float(), BITS, "fractions of white", ""),
        (LEVELS, LEVELS / 16, "whole numbers, 16 for white", "read as 16 for white: bytes of very"),
        (LEVELS.float(), LEVELS / 16, "whole numbers, 16 for white", "from 0 to 16"),
        (LEVELS.byte(), LEVELS / 16, "whole numbers, 16 for white", "from 0 to 16"),
        (LEVELS.clamp(max=15), LEVELS.clamp(max=15) / 15, "whole numbers, 15 for white", "read as"),
        (LEVELS.clamp(max=7), LEVELS.clamp(max=7) / 7, "whole numbers, 7 for white", "read as 7"),
        (BYTES.byte(), BYTES / 255, "bytes, 255 for white", "read as bytes, 255 for white"),
        (BYTES.short(), BYTES / 255, "bytes, 255 for white", "read as bytes, 255 for white"),
        (BYTES.double(), BYTES / 255, "bytes, 255 for white", "read as bytes, 255 for white"),
        (BYTES.to(torch.uint16), BYTES / 255, "bytes, 255 for white", "read as bytes"),
        (BYTES // 4, BYTES // 4 / 255, "bytes, 255 for white", "fewer levels? divide them by"),
        ((BYTES / 255).half(), (BYTES / 255).half(), "fractions of white", ""),
        ((BYTES / 255).bfloat16(), (BYTES / 255).bfloat16(), "fractions of white", ""),
    ],
)
def test_pixels(stored: Tensor, pixels: Tensor, meaning: str, doubt: str) -> None:
    found = interpret(stored, "pixels")
    assert found.values.dtype == torch.float32
    assert torch.allclose(found.values, pixels.float())
    assert found.meaning == meaning
    assert doubt in found.doubt
    assert bool(doubt) == bool(found.doubt)


@pytest.mark.parametrize(
    ("stored", "rows", "meaning", "doubt"),
    [
        (ROWS, ROWS, "probabilities", ""),
        (ROWS.half(), ROWS, "probabilities", ""),
        (ROWS.bfloat16(), ROWS, "probabilities", "read as probabilities"),
        (ROWS * 0.99, ROWS, "probabilities", "sum to 0.99; read as probabilities"),
        (ROWS * 100, ROWS, "percent", "sum to 100; read as percent"),
        ((ROWS * 100).round().int(), ROWS, "percent", "sum to 100; read as percent"),
        ((ROWS * 255).round().byte(), ROWS, "bytes", "read as bytes"),
        ((ROWS * 255).round(), ROWS, "bytes", "read as bytes"),
        (torch.eye(3)[LABELS].bool(), torch.eye(3)[LABELS], "probabilities", ""),
        (torch.eye(3)[LABELS].long() * 255, torch.eye(3)[LABELS], "bytes", "read as bytes"),
        (ROWS.log(), ROWS, "logarithms of probabilities", ""),
        (ROWS.log() + 3, ROWS, "logits", "do not sum to one; read as logits"),
        (
            ROWS * torch.linspace(0.3, 0.9, 6)[:, None],
            ROWS,
            "weights",
            "within [0, 1] that sum to 0.3 to 0.9; read as weights, not as logits",
        ),
    ],
)
def test_rows_of_labels(stored: Tensor, rows: Tensor, meaning: str, doubt: str) -> None:
    found = interpret(stored, "label rows")
    assert found.values.dtype == torch.float32
    assert torch.allclose(found.values, rows, atol=1e-2 if stored.dtype != torch.float32 else 3e-3)
    assert torch.allclose(found.values.sum(1), torch.ones(6), atol=1e-3)
    assert found.meaning == meaning
    assert doubt in found.doubt
    assert bool(doubt) == bool(found.doubt)


def quantised(values: Tensor) -> Tensor:
    found: Tensor = torch.quantize_per_tensor(values.float(), 0.1, 0, torch.quint8)
    return found


@pytest.mark.parametrize(
    ("images", "labels", "says"),
    [
        (BYTES.to(torch.complex64), LABELS, "images are complex numbers (torch.complex64)"),
        (BYTES / 255, LABELS.to(torch.complex64), "labels are complex numbers"),
        (BYTES / 255, ROWS.to(torch.complex64), "labels are complex numbers"),
        (BYTES * 256, LABELS, "whole numbers from 0 to 65280; wanted bytes from 0 to 255"),
        ((BYTES - 128).to(torch.int8), LABELS, "whole numbers from -128 to 127; wanted bytes"),
        (BYTES / 255, LABELS + 1, "labels from 1 to 3, but three has 3 classes; numbered from 1?"),
        (torch.full(SHAPE, 1e300, dtype=torch.float64), LABELS, "images hold values that are not"),
    ],
)
def test_what_can_mean_nothing_is_refused(
    images: Tensor, labels: Tensor, says: str, tmp_path: Path
) -> None:
    path = tmp_path / "set.pt"
    torch.save((images, labels), path)
    with pytest.raises(FileFormatError) as refusal:
        import_set(path, find_layout("plain"), SPEC, NORMALISED, pixels=True)
    assert str(refusal.value).startswith(f"{path}: ")
    assert says in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.filterwarnings("ignore")  # torch speaks of quantised tensors as of the past
def test_quantised_numbers_are_refused() -> None:
    for expected in ("pixels", "values", "labels", "label rows"):
        with pytest.raises(FileFormatError, match=r"are quantised \(torch.quint8\); wanted plain"):
            interpret(quantised(ROWS), expected)


@pytest.mark.parametrize(
    "kind",
    [
        lambda array: array.astype(">f4"),
        lambda array: array.astype(">f8"),
        np.asfortranarray,
        lambda array: array.astype("<f2"),
    ],
    ids=[">f4", ">f8", "Fortran", "<f2"],
)
def test_arrays_of_other_machines(kind: Callable[[np.ndarray], np.ndarray], tmp_path: Path) -> None:
    path, pixels = tmp_path / "set.npz", BYTES.numpy() / 255
    np.savez(path, images=kind(pixels), labels=LABELS.numpy().astype(">i4"))
    found = import_set(path, find_layout("plain"), SPEC, NORMALISED, pixels=True)
    assert torch.allclose(NORMALISED.leave(found.synthetic.images), BYTES / 255, atol=1e-3)
    assert torch.equal(found.synthetic.labels, LABELS)
    assert not found.warnings


def test_labels_in_a_column(tmp_path: Path) -> None:
    np.savez(tmp_path / "set.npz", images=BYTES.numpy() / 255, labels=LABELS.numpy()[:, None])
    found = import_set(tmp_path / "set.npz", find_layout("plain"), SPEC, NORMALISED, pixels=True)
    assert torch.equal(found.synthetic.labels, LABELS)


def test_the_artifact_says_what_its_numbers_were_taken_for(tmp_path: Path) -> None:
    torch.save((LEVELS, ROWS * 100), tmp_path / "theirs.pt")
    found = import_set(tmp_path / "theirs.pt", find_layout("plain"), SPEC, NORMALISED, pixels=True)
    write_imported(tmp_path / "ours.pt", found, "theirs")
    provenance = read_artifact(tmp_path / "ours.pt").provenance
    meanings = {"images": "whole numbers, 16 for white", "labels": "percent"}
    assert provenance["read_as"] == meanings
    assert provenance["warnings"] == [
        "images are stored as whole numbers from 0 to 16; read as 16 for white: bytes of very dark images?",
        "labels are rows that sum to 100; read as percent",
    ]
