"""DC-VAE: its losses, its memory, reconstruction, and what it makes of real digits."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from dcbench.baselines.dcvae import DCVAE, Contest, divergence, instance_loss
from dcbench.datasets.loading import Loaded
from dcbench.images import TrainSet
from dcbench.run import Run
from tests.generated import judge
from tests.reference import generative as slow

SMALL = DCVAE(iterations=2, batch=4, turns=1, latent=4, width=8, features=3, negatives=6)


def test_instance_loss_equals_its_definition(run: Run) -> None:
    drawn = [torch.randn(rows, 4, generator=run.generator("features", rows)) for rows in (5, 5, 7)]
    drawn[1] += 1
    anchor, positive, negatives = drawn
    expected = slow.instance_loss(anchor, positive, negatives, 0.3)
    normalised = (F.normalize(part, dim=1) for part in drawn)
    assert float(instance_loss(*normalised, 0.3)) == pytest.approx(expected, rel=1e-5)


def test_divergence_equals_its_definition(run: Run) -> None:
    mean, log_variance = (
        torch.randn(3, 4, generator=run.generator(name)) for name in ("mean", "variance")
    )
    assert float(divergence(mean, log_variance)) == pytest.approx(
        slow.divergence(mean, log_variance), rel=1e-5
    )
    assert float(divergence(torch.zeros(2, 3), torch.zeros(2, 3))) == 0


def test_the_memory_keeps_the_features_of_the_latest_real_images(tiny: TrainSet, run: Run) -> None:
    contest = Contest(SMALL, tiny, run)
    norms = contest.memory.norm(dim=2)
    assert torch.allclose(norms, torch.ones_like(norms))
    before = contest.memory.clone()
    batches = [torch.randn(2, 4, 3, generator=run.generator("batch", index)) for index in range(2)]
    contest._remember(tuple(batches[0]))
    assert torch.equal(contest.memory[:, :4], batches[0])
    assert torch.equal(contest.memory[:, 4:], before[:, 4:])
    contest._remember(tuple(batches[1]))
    assert torch.equal(contest.memory[:, [4, 5, 0, 1]], batches[1])
    assert torch.equal(contest.memory[:, [2, 3]], batches[0][:, 2:])


def test_all_three_networks_learn_to_tell_instances_apart(tiny: TrainSet, run: Run) -> None:
    """The parts of the losses are what they are named, and the gradient of the instances' reaches
    everyone.
    """
    contest = Contest(SMALL, tiny, run)
    total, parts = contest.discriminator_loss(run.generator("d"))
    assert float(total) == pytest.approx(float(parts["adversarial"] + parts["instance"]))
    parts["instance"].backward()
    assert all(parameter.grad is not None for parameter in contest.discriminator.early.parameters())
    total, parts = contest.autoencoder_loss(run.generator("g"))
    assert float(total) == pytest.approx(
        float(parts["adversarial"] + parts["instance"] + SMALL.kl * parts["kl"])
    )
    parts["instance"].backward()
    for network in (contest.autoencoder.encoder, contest.autoencoder.decoder):
        assert any(
            float(parameter.grad.abs().max()) > 0
            for parameter in network.parameters()
            if parameter.grad is not None
        )


@pytest.fixture(scope="module")
def quick() -> DCVAE:
    return DCVAE(**DCVAE.presets["quick"])


@pytest.mark.long
def test_drawn_digits_are_of_their_class_differ_and_are_no_copies(
    quick: DCVAE, digits: Loaded, run: Run
) -> None:
    drawn = quick.distill(digits.train, 30, run)
    found = judge(drawn, digits.train)
    assert found.recognised >= 0.8
    assert found.diversity >= 0.5
    assert found.nearest_ratio >= 0.5
    errors = [row["generator_squared_error"] for row in run.history]
    assert errors[-1] < 0.5 * errors[0]  # it reconstructs
