"""DSA against its formulas, image by image; what is drawn, how often, and from which generator."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from torch import Tensor

from dcbench.datasets.loading import Loaded
from dcbench.images import Space, TrainSet
from dcbench.system.errors import UnknownNameError
from dcbench.training.augment import (
    AUGMENTATIONS,
    OPERATIONS,
    Augmentation,
    Draw,
    DSAAugmentation,
    augmentation,
)
from tests.reference.dsa import OPERATIONS as FORMULAS

NAMES = ("colour", "crop", "cutout", "flip", "scale", "rotate")


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(count: int, channels: int = 3, size: int = 12) -> Tensor:
    return torch.randn(count, channels, size, size, generator=seeded(1))


def by_formula(images: Tensor, draw: Draw) -> Tensor:
    rows = draw.amounts.expand(len(images), 4).tolist()
    return torch.stack(
        [FORMULAS[draw.operation](image.double(), u) for image, u in zip(images, rows, strict=True)]
    ).float()


@pytest.mark.parametrize("siamese", [True, False], ids=["siamese", "per-image"])
@pytest.mark.parametrize("operation", NAMES)
def test_operations_equal_their_formulas(
    operation: str, siamese: bool, digits: Loaded, colourful: TrainSet
) -> None:
    generator = seeded(0)
    for images in (
        digits.train.values(slice(0, 6)),
        colourful.values(slice(0, 6)),
        noise(3, size=32),
        noise(5, size=9),
    ):
        draw = Draw(operation, torch.rand(1 if siamese else len(images), 4, generator=generator))
        assert torch.allclose(
            DSAAugmentation().apply(images, draw), by_formula(images, draw), atol=2e-5
        )


@given(
    st.sampled_from(NAMES),
    st.lists(st.floats(0, 1, exclude_max=True, width=32), min_size=4, max_size=4),
    st.integers(4, 9),
)
@settings(max_examples=60)
def test_operations_equal_their_formulas_at_the_ends_of_their_ranges(
    operation: str, u: list[float], size: int
) -> None:
    images = noise(2, size=size)
    draw = Draw(operation, torch.tensor([u]))
    assert torch.allclose(
        DSAAugmentation().apply(images, draw), by_formula(images, draw), atol=5e-5
    )


def test_a_shared_row_is_the_same_as_that_row_for_every_image() -> None:
    images, row = noise(4), torch.rand(1, 4, generator=seeded(3))
    for operation in NAMES:
        shared, each = (
            DSAAugmentation().apply(images, Draw(operation, amounts))
            for amounts in (row, row.expand(4, 4))
        )
        assert torch.allclose(shared, each, atol=1e-6)


def test_real_and_synthetic_images_of_one_draw_are_treated_alike() -> None:
    """Siamese: an image that stands in both batches comes out the same of both, whatever else is in
    them.
    """
    dsa, real = DSAAugmentation(), noise(7)
    synthetic = real[2:5]
    for seed in range(20):
        draw = dsa.draw(seeded(seed))
        assert draw.amounts.shape == (1, 4)
        assert torch.equal(dsa.apply(real, draw)[2:5], dsa.apply(synthetic, draw))


def test_in_evaluation_a_batch_shares_the_operation_and_not_its_parameters() -> None:
    image = noise(1)
    batch = image.expand(15, -1, -1, -1)
    for seed in range(15):
        draw = DSAAugmentation().draw(seeded(seed), 15)
        augmented = DSAAugmentation()(batch, seeded(seed))
        # one operation for all
        assert torch.allclose(augmented, by_formula(batch, draw), atol=2e-5)
        assert len({tuple(row.flatten().tolist()) for row in augmented}) > 1


def test_all_operations_are_drawn_equally_often() -> None:
    for flips, names in ((True, NAMES), (False, tuple(name for name in NAMES if name != "flip"))):
        generator = seeded(11)
        counts = Counter(DSAAugmentation(flips).draw(generator).operation for _ in range(3000))
        assert set(counts) == set(names)
        assert chisquare(list(counts.values())).pvalue > 0.001


def test_amounts_are_uniform() -> None:
    generator = seeded(12)
    amounts = torch.cat([DSAAugmentation().draw(generator, 50).amounts for _ in range(60)])
    for column in amounts.T:
        assert chisquare(torch.histc(column, 10, 0, 1).tolist()).pvalue > 0.001


def test_where_images_must_not_be_mirrored_they_never_are(digits: Loaded) -> None:
    """Of an image that is zero but for its left half, a mirrored copy would be zero but for its
    right half.
    """
    assert digits.spec.flips is False
    image = torch.zeros(1, 1, 16, 16)
    image[..., :4] = 1
    mirrored = image.flip(3)
    seen = [
        DSAAugmentation(flips)(image, seeded(seed))
        for flips in (True, False)
        for seed in range(300)
    ]
    assert any(torch.equal(result, mirrored) for result in seen[:300])
    assert not any(torch.equal(result, mirrored) for result in seen[300:])


def test_crop_leaves_zeros_outside() -> None:
    shifted = DSAAugmentation().apply(
        torch.ones(1, 3, 16, 16), Draw("crop", torch.tensor([[0.0, 0.999, 0, 0]]))
    )
    assert (shifted[..., :2, :] == 0).all()  # reach 2, moved down by two rows
    assert (shifted[..., -2:] == 0).all()
    assert (shifted[..., 2:, :-2] == 1).all()


def test_cutout_is_clipped_at_the_border() -> None:
    corner = DSAAugmentation().apply(torch.ones(1, 1, 8, 8), Draw("cutout", torch.zeros(1, 4)))
    assert int((corner == 0).sum()) == 4  # a quarter of the 4×4 square is inside
    middle = DSAAugmentation().apply(
        torch.ones(1, 1, 8, 8), Draw("cutout", torch.full((1, 4), 0.5))
    )
    assert int((middle == 0).sum()) == 16


@pytest.mark.parametrize("operation", NAMES)
def test_gradients_flow_to_the_images(operation: str) -> None:
    images = noise(2, size=5).double().requires_grad_()
    draw = Draw(operation, torch.rand(2, 4, generator=seeded(5)))
    assert torch.autograd.gradcheck(lambda values: DSAAugmentation().apply(values, draw), (images,))


def test_nothing_is_clipped() -> None:
    bright = torch.full((1, 3, 8, 8), 40.0)
    assert (
        float(
            DSAAugmentation()
            .apply(bright, Draw("colour", torch.tensor([[0.9, 0.9, 0.9, 0]])))
            .max()
        )
        > 40
    )


# -------------------------------------------------------------------------------- evaluation-time
# augmentations by their names


def augmentations(space: Space) -> dict[str, Augmentation]:
    made = {name: augmentation(name, space, flips=True) for name in AUGMENTATIONS}
    return {name: each for name, each in made.items() if each is not None}


def test_names_mean_what_they_say() -> None:
    assert augmentation("none", Space(), True) is None
    assert augmentation("dsa", Space(), False) == DSAAugmentation(flips=False)
    with pytest.raises(UnknownNameError, match="did you mean 'randaugment'"):
        augmentation("randaugmnt", Space(), True)


@pytest.fixture(params=["dsa", "autoaugment", "randaugment"])
def augment(
    request: pytest.FixtureRequest, colourful: TrainSet
) -> Callable[[Tensor, torch.Generator], Tensor]:
    return augmentations(colourful.space)[request.param]


def test_the_generator_alone_decides(augment: Augmentation, colourful: TrainSet) -> None:
    images = colourful.values(slice(0, 8))
    first = [augment(images, seeded(seed)) for seed in range(6)]
    torch.manual_seed(99)
    random.seed(99)
    assert all(
        torch.equal(before, augment(images, seeded(seed))) for seed, before in enumerate(first)
    )
    assert any(not torch.equal(first[0], other) for other in first[1:])


def test_the_generator_moves_on(augment: Augmentation, colourful: TrainSet) -> None:
    images, generator = colourful.values(slice(0, 8)), seeded(0)
    drawn = [augment(images, generator) for _ in range(6)]
    assert len({result.numpy().tobytes() for result in drawn}) > 3


def test_global_randomness_is_left_as_it_was(augment: Augmentation, colourful: TrainSet) -> None:
    # not Python's: beartype, which checks the shapes, draws from that
    before = torch.get_rng_state(), repr(np.random.get_state())
    for seed in range(8):
        augment(colourful.values(slice(0, 8)), seeded(seed))
    assert torch.equal(before[0], torch.get_rng_state())
    assert repr(np.random.get_state()) == before[1]


@pytest.mark.parametrize("name", ["autoaugment", "randaugment"])
def test_policies_are_drawn_per_image(name: str, colourful: TrainSet) -> None:
    """DC-BENCH's code draws once for the whole batch: then copies of one image would all come out
    the same.
    """
    copies = colourful.values(torch.zeros(32, dtype=torch.int64))
    results = augmentations(colourful.space)[name](copies, seeded(0))
    assert len({result.numpy().tobytes() for result in results}) > 5


@pytest.mark.parametrize("name", ["autoaugment", "randaugment"])
def test_policies_work_on_pixels_and_come_back_into_the_space(
    name: str, digits: Loaded, colourful: TrainSet
) -> None:
    for train in (digits.train, colourful):
        images = train.values(slice(0, 20))
        results = augmentations(train.space)[name](images, seeded(4))
        assert results.shape == images.shape
        pixels = train.space.leave(results)
        assert float(pixels.min()) > -1e-5
        assert float(pixels.max()) < 1 + 1e-5
        assert torch.allclose(pixels * 255, (pixels * 255).round(), atol=1e-3)
        unchanged = [
            torch.allclose(before, after, atol=1e-5)
            for before, after in zip(images, results, strict=True)
        ]
        assert 0 < sum(unchanged) < 20  # most policies leave some images as they are, and none all


def test_there_are_six_operations() -> None:
    assert set(OPERATIONS) == set(NAMES) == set(FORMULAS)
