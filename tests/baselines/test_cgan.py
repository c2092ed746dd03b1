"""cGAN: its loss, its conditioning, and what it makes of real digits."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from dcbench.baselines.cgan import CGAN, CGANDiscriminator, CGANGenerator, Maxout
from dcbench.datasets.loading import Loaded
from dcbench.images import TrainSet
from dcbench.run import Run
from dcbench.system.machine import Machine
from tests.generated import judge
from tests.reference import generative as slow


def test_the_loss_equals_the_game_s_value(run: Run) -> None:
    real, fake = (
        torch.randn(5, generator=run.generator("real")),
        torch.randn(4, generator=run.generator("fake")),
    )
    loss = -F.logsigmoid(real).mean() - F.logsigmoid(-fake).mean()
    assert float(loss) == pytest.approx(
        slow.cross_entropy_discriminator(real.tolist(), fake.tolist()), rel=1e-5
    )


def test_a_maxout_unit_is_the_largest_of_its_pieces(run: Run) -> None:
    layer, values = Maxout(3, 4, 5), torch.randn(6, 3, generator=run.generator("values"))
    pieces = values @ layer.linear.weight.T + layer.linear.bias
    for unit in range(4):
        assert torch.allclose(
            layer(values)[:, unit], pieces[:, 5 * unit : 5 * unit + 5].max(1).values, atol=1e-6
        )


def test_both_players_are_told_the_class(tiny: TrainSet, run: Run) -> None:
    model = CGAN(width=4, latent_units=8, label_units=8)
    generator, discriminator = (
        CGANGenerator(tiny.spec, model).eval(),
        CGANDiscriminator(tiny.spec, 4).eval(),
    )
    z = model.latents(tiny.spec, 1, run.generator("z")).expand(10, -1)
    assert bool(((z >= 0) & (z <= 1)).all())  # uniform in the unit hypercube
    images = generator(z, torch.arange(10))
    assert float(torch.pdist(images.detach().flatten(1)).min()) > 0
    assert (
        len(set(discriminator(images[:1].expand(10, -1, -1, -1), torch.arange(10)).tolist())) == 10
    )


def test_what_is_dropped_no_later_layer_sees(tiny: TrainSet, run: Run) -> None:
    """A channel of the first map and a unit of the joint layer, each as if its outgoing weights
    were zero.
    """
    spec = replace(tiny.spec, size=16)
    discriminator = CGANDiscriminator(spec, 4).eval()
    images, labels = (
        torch.randn(3, *spec.shape, generator=run.generator("images")),
        torch.tensor([0, 1, 2]),
    )
    kept = torch.ones(3, discriminator.units)
    assert (
        discriminator.units
        == sum(block[0].out_channels for block in discriminator.blocks) + 2 * 240
    )
    assert torch.equal(discriminator(images, labels, kept), discriminator(images, labels))
    kept[:, 1] = kept[:, -1] = 0
    dropped = discriminator(images, labels, kept)
    with torch.no_grad():
        discriminator.blocks[1][0].weight[:, 1] = 0
        discriminator.logit.weight[:, -1] = 0
    assert torch.allclose(dropped, discriminator(images, labels), atol=1e-6)


def test_dropout_draws_from_the_run_alone_and_changes_the_set(
    tiny: TrainSet, machine: Machine
) -> None:
    def drawn(dropout: float) -> torch.Tensor:
        model = CGAN(iterations=3, batch=8, width=4, latent_units=8, label_units=8, dropout=dropout)
        return model.distill(tiny, 2, Run(0, machine)).images

    assert torch.equal(drawn(0.5), drawn(0.5))
    assert not torch.equal(drawn(0.5), drawn(0.0))


def test_the_paper_s_generator_has_the_paper_s_hidden_layers(tiny: TrainSet) -> None:
    """200 units for z, 1,000 for y, 1,200 for both (Section 4.1)."""
    generator = CGANGenerator(tiny.spec, CGAN())
    assert generator.of_z[0].weight.shape == (200, 100)
    assert generator.of_y[0].weight.shape == (1000, 10)
    assert generator.both[0][0].weight.shape == (1200, 1200)


@pytest.mark.long
def test_drawn_digits_are_of_their_class_differ_and_are_no_copies(digits: Loaded, run: Run) -> None:
    drawn = CGAN(**CGAN.presets["quick"]).distill(digits.train, 30, run)
    found = judge(drawn, digits.train)
    assert found.recognised >= 0.8
    assert found.diversity >= 0.5
    assert found.nearest_ratio >= 0.5
