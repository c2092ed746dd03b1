"""BigGAN: its layers, DiffAugment, truncation, and what it makes of real digits."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from dcbench.baselines.biggan import BigGAN, BigGANDiscriminator, BigGANGenerator, _initialise
from dcbench.datasets.loading import Loaded
from dcbench.images import TrainSet
from dcbench.networks.residual import Attention, ConditionalNorm, DownBlock, Projection, raw_weight
from dcbench.run import Run
from dcbench.training.augment import crop, cutout
from tests.generated import judge
from tests.reference import generative as slow


def random(run: Run, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=run.generator("values", *shape))


def test_projection_equals_its_definition(run: Run) -> None:
    layer, features, labels = Projection(6, 4).eval(), random(run, 5, 6), [0, 3, 1, 3, 2]
    weight, bias = layer.linear.weight[0].detach(), float(layer.linear.bias.detach())
    expected = slow.projection(features, labels, weight, bias, layer.embedding.weight.detach())
    assert layer(features, torch.tensor(labels)).tolist() == pytest.approx(expected, abs=1e-5)


def test_conditional_norm_has_the_batch_s_statistics_and_the_condition_s_gain_and_bias(
    run: Run,
) -> None:
    layer, maps, conditions = (
        ConditionalNorm(3, 5),
        2 + 3 * random(run, 4, 3, 2, 2),
        random(run, 4, 5),
    )
    conditions[1] = conditions[0]
    normed = layer(maps, conditions)
    layer.eval()  # holds the spectral normalisation still
    gains, biases = layer.gain(conditions).detach(), layer.bias(conditions).detach()
    # one more step of a power iteration
    assert torch.allclose(normed, slow.conditional_norm(maps, gains, biases), atol=2e-3)
    assert torch.equal(gains[0], gains[1])
    assert not torch.allclose(gains[0], gains[2])


def test_attention_starts_as_nothing_and_equals_its_definition(run: Run) -> None:
    layer, maps = Attention(8).eval(), random(run, 2, 8, 4, 4)
    assert torch.equal(layer(maps), maps)
    nn.init.constant_(layer.weight, 0.7)
    matrices = [
        part.weight.detach().flatten(1)
        for part in (layer.query, layer.key, layer.value, layer.back)
    ]
    expected = torch.stack([slow.attention(image, *matrices, weight=0.7) for image in maps])
    assert torch.allclose(layer(maps), expected, atol=1e-5)


def test_initial_weights_are_orthogonal(tiny: TrainSet) -> None:
    model = BigGAN(width=8, latent_chunk=4, embedding=6)
    for network in (
        BigGANGenerator(tiny.spec, model).apply(_initialise),
        BigGANDiscriminator(tiny.spec, model).apply(_initialise),
    ):
        layers = [
            module
            for module in network.modules()
            if isinstance(module, nn.Conv2d | nn.Linear | nn.Embedding)
        ]
        assert len(layers) > 8
        for layer in layers:
            rows = raw_weight(layer).flatten(1)
            among = rows @ rows.T if len(rows) <= rows.shape[1] else rows.T @ rows
            assert torch.allclose(among, torch.eye(len(among)), atol=1e-5)


def test_layers_are_spectrally_normalised() -> None:
    block, drawn = DownBlock(3, 4, pools=True), torch.Generator().manual_seed(4)
    for layer in (block.before, block.after, block.beside):
        nn.init.normal_(raw_weight(layer), std=5, generator=drawn)
    for _ in range(300):
        block(torch.zeros(1, 3, 4, 4))  # each pass takes a step of the power iteration
    for layer in (block.before, block.after, block.beside):
        assert float(torch.linalg.matrix_norm(layer.weight.flatten(1), 2)) == pytest.approx(
            1, abs=1e-3
        )


def test_each_level_gets_its_own_chunk_of_the_latents(tiny: TrainSet, run: Run) -> None:
    model = BigGAN(width=8, latent_chunk=3, embedding=4)
    generator, z = BigGANGenerator(tiny.spec, model).eval(), random(run, 2, 6)
    labels = torch.tensor([1, 1])
    seen: list[Tensor] = []
    generator.blocks[0].register_forward_hook(lambda module, inputs, output: seen.append(inputs[1]))
    generator(z, labels)
    assert torch.equal(seen[0], torch.cat([z[:, 3:], generator.embedding(labels)], 1))


@pytest.mark.parametrize("truncation", [0.3, 1.0])
def test_truncated_latents_stay_within_bounds(truncation: float, tiny: TrainSet, run: Run) -> None:
    drawn = BigGAN(truncation=truncation).latents(tiny.spec, 500, run.generator("z"))
    assert float(drawn.abs().max()) <= truncation
    assert float(drawn.abs().max()) > 0.95 * truncation
    assert float(BigGAN().latents(tiny.spec, 500, run.generator("z")).abs().max()) > 2


def test_diffaugment_is_one_operation_after_the_other_with_parameters_of_each_image_s_own(
    tiny: TrainSet, run: Run
) -> None:
    images = tiny.images[:6].float()
    augmented = BigGAN(policy="crop-cutout").augment(images, run.generator("augment"))
    source = run.generator("augment")
    expected = crop(images, torch.rand(6, 4, generator=source))
    expected = cutout(expected, torch.rand(6, 4, generator=source))
    assert torch.equal(augmented, expected)
    assert torch.equal(BigGAN(policy="none").augment(images, run.generator("augment")), images)
    assert not torch.equal(
        BigGAN(policy="colour-crop-cutout").augment(images, run.generator("augment")), expected
    )


@pytest.mark.long
def test_drawn_digits_are_of_their_class_differ_and_are_no_copies(digits: Loaded, run: Run) -> None:
    drawn = BigGAN(**BigGAN.presets["quick"]).distill(digits.train, 30, run)
    found = judge(drawn, digits.train)
    assert found.recognised >= 0.8
    assert found.diversity >= 0.5
    assert found.nearest_ratio >= 0.5
