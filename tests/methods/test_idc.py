"""IDC: parts of images, the first images, the matching distance and its gradient."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dcbench.evaluation.evaluate import evaluate
from dcbench.evaluation.protocol import Protocol
from dcbench.experiments.presets import build
from dcbench.images import TestSet, TrainSet, in_parts
from dcbench.methods.idc import IDC, _Matching, augmented, first_pixels, squared_distance
from dcbench.networks.base import initialise
from dcbench.networks.catalogue import build_network
from dcbench.run import Run
from dcbench.training.trainer import Schedule
from tests.reference import supervision as slow

FEW = {"iterations": 1, "inner": 2, "real_batch": 4, "network_images": 8}


def test_parts_equal_their_formula() -> None:
    images = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    parts = in_parts(images, 2)
    for index in range(2):
        for number, (top, left) in enumerate(((0, 0), (0, 4), (4, 0), (4, 4))):
            expected = slow.enlarged(images[index].tolist(), (top, left, 4, 4), 8)
            assert torch.allclose(parts[4 * index + number], torch.tensor(expected), atol=1e-6)


def test_images_begin_as_small_real_ones(tiny: TrainSet, run: Run) -> None:
    pixels = first_pixels(tiny, 2, 2, run)
    for label in range(3):
        members = tiny.draw(label, 8, run.generator("first", label)).tolist()
        for image in range(2):
            for number, (top, left) in enumerate(((0, 0), (0, 4), (4, 0), (4, 4))):
                real = tiny.images[members[number * 2 + image]].float() / 255
                own = pixels[2 * label + image][:, top : top + 4, left : left + 4]
                assert torch.equal(own, real[:, ::2, ::2])
    assert torch.equal(
        first_pixels(tiny, 1, 1, run)[0] * 255,
        tiny.images[tiny.draw(0, 1, run.generator("first", 0))][0].float(),
    )


def test_the_gradient_is_that_of_the_distance(tiny: TrainSet, run: Run) -> None:
    """Along a random direction, against finite differences of a plain transcription in float64."""
    method = IDC(real_batch=4, synthetic_batch=99)
    matching = _Matching(method, tiny, run)
    matching.begin(0)
    pixels = first_pixels(tiny, 1, 2, run)[:1]
    loss, gradient = matching.loss_and_gradient(pixels, 0, step=5)
    network = build_network("convnet", tiny.spec)
    initialise(network, run.generator("network", 0))
    network.double()
    weights = [each for each in network.parameters() if each.ndim == 4]
    generator = run.generator("match", 5, 0)
    real = tiny.values(tiny.draw(0, 4, generator)).double()
    amounts = torch.rand(3, 1, 4, generator=generator)

    def gradients(images: Tensor) -> tuple[Tensor, ...]:
        labels = torch.zeros(len(images), dtype=torch.int64)
        losses = F.cross_entropy(network(augmented(images, amounts)), labels)
        return torch.autograd.grad(losses, weights)

    def distance(values: Tensor) -> float:
        own = gradients(tiny.space.enter(in_parts(values, 2)))
        return sum(float(((a - b) ** 2).sum()) for a, b in zip(gradients(real), own, strict=True))

    assert loss == pytest.approx(distance(pixels.double()), rel=1e-3)
    direction = torch.randn(pixels.shape, generator=torch.Generator().manual_seed(3)).double()
    little = 1e-5
    slope = (
        distance(pixels.double() + little * direction)
        - distance(pixels.double() - little * direction)
    ) / (2 * little)
    assert float((gradient.double() * direction).sum()) == pytest.approx(slope, rel=2e-2)


def test_squared_distances_add_up_over_layers() -> None:
    a, b = [torch.ones(2, 2), torch.zeros(3)], [torch.zeros(2, 2), torch.full((3,), 2.0)]
    assert float(squared_distance(a, b)) == 4 + 12


def test_a_set_is_trained_on_in_parts(tiny: TrainSet, tiny_test: TestSet, run: Run) -> None:
    made = build("idc", "paper", FEW).distill(tiny, 1, run)
    assert made.images.shape == (10, 1, 8, 8)
    assert made.recipe == {"factor": 2}
    apart = made.in_training
    assert apart.images.shape == (40, 1, 8, 8)
    assert apart.labels.tolist() == [label for label in range(10) for _ in range(4)]
    protocol = Protocol("brief", 1, Schedule(epochs=2), augment="none")
    (whole,) = evaluate(made, tiny_test, protocol, [0], run)
    plain = type(made)(made.spec, apart.images, apart.labels, made.space)
    (parts,) = evaluate(plain, tiny_test, protocol, [0], run)
    assert (whole.loss, whole.accuracy) == (parts.loss, parts.accuracy)
    single = build("idc", "paper", {**FEW, "factor": 1}).distill(tiny, 1, run)
    assert single.recipe == {}
    assert "3×3 parts" in IDC(factor=3).refuses(tiny, 1)


def test_steps_move_the_images(tiny: TrainSet, run: Run) -> None:
    made = build("idc", "paper", {**FEW, "lr": 0.5}).distill(tiny, 1, run)
    moved = (made.space.leave(made.images) - first_pixels(tiny, 1, 2, run)).abs()
    assert float(moved.max()) > 1e-4
