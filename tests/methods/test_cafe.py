"""CAFE: both losses against slow transcriptions, and the loops that end by what an accuracy does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from dcbench.families.selection import first_images
from dcbench.images import TrainSet
from dcbench.methods.cafe import CAFE, spread
from dcbench.networks.base import initialise
from dcbench.networks.catalogue import build_network
from dcbench.run import Run
from dcbench.training.augment import Draw, DSAAugmentation
from dcbench.training.trainer import Trainer
from tests.reference import cafe as formulas
from tests.reference.dsa import OPERATIONS as FORMULAS
from tests.reference.networks import Block

# an image rate at which one step dwarfs the images, so that the step tells the gradient to seven
# digits
FAR = 1e6


def method(**fields: Any) -> CAFE:
    return CAFE(
        **{
            "iterations": 1,
            "real_batch": 3,
            "query": 2,
            "window": 2,
            "most_outer": 1,
            "most_inner": 1,
            **fields,
        }
    )


def blocks_of(distiller: CAFE, train: TrainSet, run: Run) -> list[Block]:
    network = build_network(distiller.network, train.spec, distiller.normalisation)
    initialise(network, run.generator("network", 0))
    rows = [
        parameter.detach().double()
        for name, parameter in network.named_parameters()
        if name.startswith("blocks")
    ]
    return [
        (rows[index], rows[index + 1], rows[index + 2], rows[index + 3])
        for index in range(0, len(rows), 4)
    ]


def augmented(images: Tensor, draw: Draw) -> Tensor:
    return torch.stack(
        [FORMULAS[draw.operation](image, draw.amounts[0].tolist()) for image in images]
    )


def seen(
    distiller: CAFE, train: TrainSet, images: Tensor, run: Run
) -> tuple[list[Tensor], list[Tensor]]:
    """The real and the synthetic images of each class as the first step draws and augments them, in
    float64.
    """
    real: list[Tensor] = []
    synthetic: list[Tensor] = []
    for label, part in enumerate(images.split(len(images) // train.spec.classes)):
        chosen = train.values(
            train.draw(label, distiller.real_batch, run.generator("real", 0, 0, label))
        ).double()
        draw = DSAAugmentation(train.spec.flips).draw(run.generator("dsa", 0, 0, label))
        for images_of, into in ((chosen, real), (part, synthetic)):
            into.append(augmented(images_of, draw) if distiller.siamese else images_of)
    return real, synthetic


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"discrimination": 0.0},
        {"discrimination": 5.0, "early_weight": 0.0},
        {"early_weight": 1.0, "siamese": True},
    ],
)
def test_loss_and_gradient_equal_the_formula(
    fields: dict[str, Any], tiny: TrainSet, run: Run
) -> None:
    distiller, run = method(lr=FAR, **fields), replace(run, history=[])
    start = first_images(distiller.init, tiny, 2, run)
    moved = (start - distiller.distill(tiny, 2, run).images).double() / FAR
    leaf = start.double().requires_grad_()
    real, synthetic = seen(distiller, tiny, leaf, run)
    blocks = blocks_of(distiller, tiny, run)
    loss = formulas.alignment(real, synthetic, blocks, distiller.early_weight)
    loss = loss + distiller.discrimination * formulas.discrimination(real, synthetic, blocks)
    (wanted,) = torch.autograd.grad(loss, leaf)
    assert run.history[0]["loss"] == pytest.approx(float(loss.detach()), rel=1e-5)
    assert float((moved - wanted).norm() / wanted.norm()) < 1e-4


def test_cutting_batches_changes_nothing_but_rounding(
    tiny: TrainSet, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    distiller = method(real_batch=7, lr=FAR)
    whole = distiller.distill(tiny, 1, run).images
    monkeypatch.setattr("dcbench.system.machine.CHUNK_BYTES", {"cpu": 8 * 128 * 8 * 8})
    assert float((distiller.distill(tiny, 1, run).images - whole).norm() / whole.norm()) < 1e-4


def test_the_spread_is_of_the_latest_accuracies_once_there_are_enough() -> None:
    assert spread([0.1, 0.2], 3) is None
    assert spread([0.9, 0.1, 0.2, 0.4], 3) == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("fields", "turns", "epochs"),
    [
        # every accuracy is settled: as soon as the window is full
        ({"settled": 2.0, "most_outer": 5}, 3, 2),
        ({"settled": 1e-9, "most_outer": 5, "query": 7}, 5, 4),  # none is: the cap
        # none moves so much: the inner loop's cap, twice
        ({"settled": 2.0, "most_outer": 5, "moved": 1.5, "most_inner": 4}, 3, 8),
        # any change will do: the window, twice
        ({"settled": 2.0, "most_outer": 5, "moved": 0.0, "most_inner": 9, "query": 7}, 3, 6),
    ],
)
def test_the_loops_end_by_the_spread_of_accuracies_or_at_their_caps(
    fields: dict[str, Any],
    turns: int,
    epochs: int,
    tiny: TrainSet,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trainings = []
    honest = Trainer.train
    monkeypatch.setattr(
        Trainer, "train", lambda self, *arguments: trainings.append(honest(self, *arguments))
    )
    run = replace(run, history=[])
    method(**{"window": 3, **fields}).distill(tiny, 1, run)
    assert run.history[0]["outer"] == turns
    assert len(trainings) == epochs


@pytest.mark.parametrize(
    ("step", "rate"),
    [(0, 0.1), (1199, 0.1), (1200, 0.05), (1600, 0.025), (1800, 0.0125), (1999, 0.0125)],
)
def test_the_image_rate_is_halved_three_times(step: int, rate: float) -> None:
    assert CAFE().image_lr(step) == pytest.approx(rate)
