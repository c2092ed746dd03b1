"""DC and DSA: loss, gradient and loops against a slow transcription; interruption inside a network;
and every method against Random.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from dcbench.datasets.loading import Loaded
from dcbench.evaluation.evaluate import evaluate
from dcbench.evaluation.protocol import PROTOCOLS
from dcbench.experiments.presets import build
from dcbench.families.gradient_matching import GradientMatching, gradient_distance
from dcbench.families.selection import first_images
from dcbench.images import TrainSet
from dcbench.networks.base import initialise
from dcbench.networks.catalogue import build_network
from dcbench.run import Run
from dcbench.system.machine import Machine
from dcbench.training.augment import Draw, DSAAugmentation
from tests.reference import gradient_matching as formulas
from tests.reference.dsa import OPERATIONS as FORMULAS

# an image rate at which one step dwarfs the images, so that the step tells the gradient to seven
# digits
FAR = 1e6


def method(name: str, **fields: Any) -> GradientMatching:
    made = build(name, "paper", {"iterations": 1, "real_batch": 4, **fields})
    assert isinstance(made, GradientMatching)
    return made


def weights_of(distiller: GradientMatching, train: TrainSet, run: Run) -> list[Tensor]:
    """The first network's parameters, in float64."""
    network = build_network(distiller.network, train.spec, distiller.normalisation)
    initialise(network, run.generator("network", 0))
    return [parameter.detach().double().requires_grad_() for parameter in network.parameters()]


def augmented(images: Tensor, draw: Draw) -> Tensor:
    return torch.stack(
        [FORMULAS[draw.operation](image, draw.amounts[0].tolist()) for image in images]
    )


def seen(
    distiller: GradientMatching, train: TrainSet, images: Tensor, run: Run, step: int
) -> tuple[list[Tensor], list[Tensor]]:
    """The real and the synthetic images of each class as the loop draws and augments them at
    ``step``, in float64.
    """
    real: list[Tensor] = []
    synthetic: list[Tensor] = []
    for label, part in enumerate(images.split(len(images) // train.spec.classes)):
        chosen = train.values(
            train.draw(label, distiller.real_batch, run.generator("real", step, label))
        ).double()
        draw = DSAAugmentation(train.spec.flips).draw(run.generator("dsa", step, label))
        for images_of, into in ((chosen, real), (part, synthetic)):
            into.append(augmented(images_of, draw) if distiller.augments else images_of)
    return real, synthetic


@pytest.mark.parametrize("shapes", [[(3, 2, 3, 3), (3,), (4, 12)], [(5, 1)], [(2, 4, 4), (7, 3)]])
def test_the_distance_is_one_minus_the_cosine_of_every_output_node(
    shapes: Sequence[tuple[int, ...]],
) -> None:
    generator = torch.Generator().manual_seed(1)
    ours, theirs = (
        [
            torch.randn(shape, generator=generator, dtype=torch.float64)
            for shape in shapes
            if len(shape) > 1
        ]
        for _ in range(2)
    )
    assert float(gradient_distance(ours, theirs)) == pytest.approx(
        float(formulas.distance(ours, theirs)), rel=1e-12
    )
    assert float(gradient_distance(ours, [3 * tensor for tensor in ours])) == pytest.approx(
        0, abs=1e-2
    )
    assert float(gradient_distance(ours, [-tensor for tensor in ours])) == pytest.approx(
        2 * sum(len(tensor) for tensor in ours), abs=1e-2
    )


def test_a_node_without_a_gradient_is_no_division_by_zero() -> None:
    silent = torch.zeros(2, 3, requires_grad=True)
    distance = gradient_distance([torch.ones(2, 3)], [silent])
    distance.backward()
    assert float(distance.detach()) == 2
    assert silent.grad is not None
    assert bool(silent.grad.isfinite().all())


@pytest.mark.parametrize(("name", "seed"), [("dc", 0), ("dsa", 0), ("dsa", 1), ("dsa", 2)])
def test_loss_and_gradient_equal_the_formula(
    name: str, seed: int, tiny: TrainSet, run: Run
) -> None:
    distiller, run = method(name, lr=FAR, outer=1), replace(run, seed=seed, history=[])
    start = first_images(distiller.init, tiny, 2, run)
    moved = (start - distiller.distill(tiny, 2, run).images).double() / FAR
    leaf = start.double().requires_grad_()
    loss = formulas.matching_loss(
        *seen(distiller, tiny, leaf, run, 0), weights_of(distiller, tiny, run)
    )
    (wanted,) = torch.autograd.grad(loss, leaf)
    assert run.history[0]["loss"] == pytest.approx(float(loss.detach()), rel=1e-5)
    assert float((moved - wanted).norm() / wanted.norm()) < 1e-4


def test_cutting_real_batches_changes_nothing_but_rounding(
    tiny: TrainSet, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    distiller = method("dsa", outer=1, real_batch=7, lr=FAR)
    whole = distiller.distill(tiny, 1, run).images
    monkeypatch.setattr("dcbench.system.machine.CHUNK_BYTES", {"cpu": 8 * 128 * 8 * 8})
    assert float((distiller.distill(tiny, 1, run).images - whole).norm() / whole.norm()) < 1e-4


def test_between_two_steps_the_network_is_trained_on_the_synthetic_images(
    tiny: TrainSet, run: Run
) -> None:
    distiller, run = method("dc", outer=2, inner=3, lr=1e-9), replace(run, history=[])
    distiller.distill(tiny, 1, run)
    start = first_images(distiller.init, tiny, 1, run).double()
    trained = formulas.descended(start, range(10), weights_of(distiller, tiny, run), 0.01, 3)
    wanted = formulas.matching_loss(*seen(distiller, tiny, start.requires_grad_(), run, 1), trained)
    assert run.history[1]["loss"] == pytest.approx(float(wanted.detach()), rel=1e-4)
    assert run.history[1]["loss"] != pytest.approx(run.history[0]["loss"], rel=1e-3)


@pytest.mark.parametrize(
    ("ipc", "loops"),
    [(1, (1, 1)), (9, (1, 1)), (10, (10, 50)), (20, (20, 25)), (50, (50, 10)), (500, (50, 10))],
)
def test_loops_are_the_published_ones_of_the_budget_below(ipc: int, loops: tuple[int, int]) -> None:
    assert method("dc").loops(ipc) == loops
    assert method("dsa", outer=3, inner=7).loops(ipc) == (3, 7)
    assert method("dc", iterations=1000).image_steps(ipc) == 1000 * loops[0]


def test_an_interruption_between_two_steps_of_one_network_changes_no_bit(
    tiny: TrainSet, machine: Machine, tmp_path: Path
) -> None:
    distiller = method("dsa", iterations=2, outer=3, inner=1)
    asked = count(1)
    with pytest.raises(KeyboardInterrupt):
        distiller.distill(tiny, 1, Run(0, machine, folder=tmp_path, stop=lambda: next(asked) == 2))
    resumed = Run(0, machine, folder=tmp_path)
    assert torch.equal(
        distiller.distill(tiny, 1, resumed).images,
        distiller.distill(tiny, 1, Run(0, machine)).images,
    )
    assert len(resumed.history) == 6


def mean_accuracy(name: str, digits: Loaded, machine: Machine, fields: dict[str, Any]) -> float:
    """At IPC 1, of two networks on each of two sets."""
    accuracies = []
    for seed in (0, 1):
        synthetic = build(name, "quick", fields).distill(digits.train, 1, Run(seed, machine))
        protocol = PROTOCOLS["quick"].with_options(epochs=30).with_recipe(synthetic.recipe)
        accuracies += [
            result.accuracy
            for result in evaluate(synthetic, digits.test, protocol, range(2), Run(seed, machine))
        ]
    return sum(accuracies) / len(accuracies)


@pytest.fixture(scope="module")
def random_accuracy(digits: Loaded, machine: Machine) -> float:
    return mean_accuracy("random", digits, machine, {})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("dc", {"iterations": 10, "real_batch": 32}),
        ("dsa", {"iterations": 10, "real_batch": 32}),
        ("cafe", {"iterations": 2, "real_batch": 32, "query": 8, "most_outer": 5, "most_inner": 3}),
        ("kip", {"iterations": 20, "real_batch": 200, "networks": 1}),
        (
            "mtt",
            {
                "iterations": 10,
                "experts": 2,
                "expert_images": 512,
                "student_lr": 0.005,
                "lr": 10.0,
            },
        ),
    ],
)
def test_learned_digits_beat_random_ones(
    name: str, fields: dict[str, Any], digits: Loaded, machine: Machine, random_accuracy: float
) -> None:
    assert mean_accuracy(name, digits, machine, fields) > random_accuracy + 0.03
