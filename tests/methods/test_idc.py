"""IDC: parts of images, the first images, the matching distance and its gradient."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dcbench.evaluation.evaluate import evaluate
from dcbench.evaluation.protocol import Protocol
from dcbench.experiments.presets import build
from dcbench.images import TestSet, TrainSet, in_parts
from dcbench.methods.idc import IDC, _Matching, augmented, first_pixels, squared_distance
from dcbench.networks.base import Network, initialise
from dcbench.networks.catalogue import build_network
from dcbench.run import Run
from dcbench.training.mixing import Mix
from dcbench.training.trainer import Schedule
from tests.reference import supervision as slow
from tests.reference.dsa import OPERATIONS

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


def changed(names: Sequence[str], images: Tensor, amounts: Tensor) -> Tensor:
    """The operations by name, image by image; ``amounts`` has a row for each operation and image,
    or one for all images.
    """
    for name, rows in zip(names, amounts, strict=True):
        each = zip(images, rows.expand(len(images), 4).tolist(), strict=True)
        images = torch.stack([OPERATIONS[name](image, u) for image, u in each])
    return images


def slope_of_a_class(
    network: Network, pixels: Tensor, label: int, train: TrainSet, generator: torch.Generator
) -> Tensor:
    """The gradient of a class's distance in all pixels: two images of four parts, five of the parts
    drawn.
    """
    real, leaf = train.values(train.draw(label, 3, generator)), pixels.clone().requires_grad_()
    parts = [
        F.interpolate(leaf[index][None, :, top : top + 4, side : side + 4], 8, mode="bilinear")
        for index in (2 * label, 2 * label + 1)
        for top in (0, 4)
        for side in (0, 4)
    ]
    some = torch.cat(parts)[torch.randperm(8, generator=generator)[:5]]
    amounts = torch.rand(3, 1, 4, generator=generator)
    weights = [each for each in network.parameters() if each.ndim == 4]
    gradients = []
    for images in (real, train.space.enter(some)):
        seen = changed(("colour", "crop", "cutout"), images, amounts)
        loss = F.cross_entropy(network(seen), torch.full((len(seen),), label))
        gradients.append(torch.autograd.grad(loss, weights, create_graph=True))
    squares = [((a.detach() - b) ** 2).sum() for a, b in zip(*gradients, strict=True)]
    return torch.autograd.grad(torch.stack(squares).sum(), leaf)[0]


def learn(
    network: Network, sgd: torch.optim.SGD, train: TrainSet, generator: torch.Generator
) -> None:
    """Twenty real images, eight at a time: coloured, cropped, half of the batches cut and mixed."""
    for chosen in torch.randperm(len(train), generator=generator)[:20].split(8):
        images = train.values(chosen)
        for name in ("colour", "crop"):
            amounts = torch.rand(len(chosen), 4, generator=generator)
            images = changed((name,), images, amounts[None])
        classes = F.one_hot(train.labels[chosen], 3).float()
        images, classes = Mix("cutmix", share=0.5)(images, classes, generator)
        sgd.zero_grad()
        F.cross_entropy(network(images), classes).backward()
        sgd.step()


def test_the_method_equals_a_plain_loop(
    colourful: TrainSet, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two networks, two steps of the images with each: classes in turn, momentum over all of them,
    pixels back within [0, 1] before each network.
    """
    monkeypatch.setattr("dcbench.methods.idc.NETWORK_BATCH", 8)
    method = IDC(iterations=2, inner=2, lr=50.0, real_batch=3, synthetic_batch=5, network_images=20)
    reached = colourful.space.leave(method.distill(colourful, 2, run).images)
    start = first_pixels(colourful, 2, 2, run)
    pixels, velocity, left = start.clone(), torch.zeros_like(start), False
    network = build_network("convnet", colourful.spec)
    for step in range(4):
        if step % 2 == 0:
            initialise(network, run.generator("network", step // 2))
            sgd = torch.optim.SGD(network.parameters(), 0.01, 0.9, weight_decay=5e-4)
            left = left or not torch.equal(pixels, pixels.clamp(0, 1))
            pixels = pixels.clamp(0, 1)
        for label in range(3):
            generator = run.generator("match", step, label)
            slope = slope_of_a_class(network, pixels, label, colourful, generator)
            velocity = 0.5 * velocity + slope
            pixels = pixels - 50.0 * 2 / 10 * velocity
        learn(network, sgd, colourful, run.generator("learn", step))
    assert left  # or clamping was not tried
    moved, missed = (pixels - start).norm(), (reached - pixels).norm()
    assert float(moved) > 0.1
    assert float(missed / moved) < 0.01


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
