"""GMMN: the discrepancy and its kernel, the autoencoder, and what it makes of real digits."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dcbench.baselines.gmmn import GMMN, GMMNAutoencoder, squared_mmd
from dcbench.datasets.loading import Loaded
from dcbench.images import TrainSet
from dcbench.run import Run
from dcbench.system.errors import OutOfRangeError
from tests.generated import judge
from tests.reference import generative as slow

BANDWIDTHS = (0.5, 1.0, 2.0)


@given(
    seed=st.integers(0, 10_000),
    n=st.integers(1, 5),
    m=st.integers(1, 5),
    dimensions=st.integers(1, 4),
)
def test_mmd_with_a_mixture_kernel_equals_its_definition(
    seed: int, n: int, m: int, dimensions: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    x, y = (
        torch.rand(3, n, dimensions, generator=generator),
        torch.rand(3, m, dimensions, generator=generator),
    )
    expected = [slow.squared_mmd(*pair, BANDWIDTHS) for pair in zip(x, y, strict=True)]
    assert squared_mmd(x, y, BANDWIDTHS).tolist() == pytest.approx(expected, abs=1e-5)


def test_mmd_vanishes_between_the_same_points_only(run: Run) -> None:
    x = torch.rand(1, 20, 3, generator=run.generator("x"))
    assert float(squared_mmd(x, x.flip(1), BANDWIDTHS)) == pytest.approx(0, abs=1e-5)
    assert float(squared_mmd(x, 2 * x, BANDWIDTHS)) > 0.01


@pytest.mark.parametrize("bandwidths", ["", "2,x", "0", "-1,2"])
def test_bandwidths_that_are_none_are_refused(bandwidths: str, tiny: TrainSet, run: Run) -> None:
    with pytest.raises(OutOfRangeError, match="positive numbers with commas between them"):
        GMMN(iterations=1, width=16, bandwidths=bandwidths).distill(tiny, 1, run)


def test_a_class_too_small_for_a_batch_is_told(tiny: TrainSet, run: Run) -> None:
    smallest = min(len(members) for members in tiny.by_class)
    GMMN(iterations=1, width=16, batch=smallest).distill(tiny, 1, run)
    assert not run.cost.warnings
    GMMN(iterations=1, width=16, batch=smallest + 1).distill(tiny, 1, run)
    assert run.cost.warnings == [
        f"trained on {smallest} real images of each class a step, as many as the smallest has, not {smallest + 1}"
    ]


def test_a_mask_drops_what_the_encoder_sees(tiny: TrainSet) -> None:
    network = GMMNAutoencoder(tiny.spec, GMMN(code=4, code_width=8))
    pixels = tiny.images[:2].flatten(1).float() / 255
    kept = torch.ones(2, 64)
    kept[:, 32:] = 0
    half = torch.cat([pixels[:, :32], torch.zeros(2, 32)], 1)
    assert torch.equal(network.encode(pixels, [kept, torch.ones(2, 8)]), network.encode(half))


@pytest.mark.parametrize("preset", ["quick", "quick with autoencoder"])
@pytest.mark.long
def test_drawn_digits_are_of_their_class_differ_and_are_no_copies(
    preset: str, digits: Loaded, run: Run
) -> None:
    changes = (
        {"autoencoder": True, "code_iterations": 2000, "lr": 1e-3}
        if "autoencoder" in preset
        else {}
    )
    drawn = GMMN(**{**GMMN.presets["quick"], **changes}).distill(digits.train, 30, run)
    found = judge(drawn, digits.train)
    assert found.recognised >= 0.8
    assert found.diversity >= 0.5
    assert found.nearest_ratio >= 0.5
    first, last = run.history[0]["mmd"], run.history[-1]["mmd"]
    assert last < 0.5 * first
