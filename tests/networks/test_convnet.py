"""The ConvNet and its 720 variants: published sizes, hand counts, what it tells of itself, and how
it starts anew.
"""

from __future__ import annotations

import copy
import itertools
import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from scipy.stats import kstest
from torch import Tensor, nn

from dcbench.images import ImageSpec
from dcbench.networks.base import initialise
from dcbench.networks.catalogue import build_network
from dcbench.networks.convnet import (
    ACTIVATIONS,
    NORMALISATIONS,
    POOLINGS,
    AveragePool,
    ConvNet,
    usual_depth,
)
from dcbench.networks.costs import macs
from dcbench.networks.instance_norm import InstanceNorm
from dcbench.system.errors import OutOfRangeError, UnknownNameError

CIFAR = (3, 32, 32)
SPEC = ImageSpec("toy", "0" * 12, channels=3, size=32, class_names=tuple("0123456789"))


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def on_meta(**options: Any) -> ConvNet:
    with torch.device("meta"):
        return ConvNet(CIFAR, 10, **options)


def test_the_published_number_of_parameters() -> None:
    assert parameters(ConvNet(CIFAR, 10)) == 320_010


@pytest.mark.parametrize(
    ("options", "by_hand"),
    [
        # convolutions (9 weights per pair of channels, and biases), then the classifier
        (
            {"depth": 1, "width": 32, "normalisation": "none", "pooling": "none"},
            9 * 3 * 32 + 32 + 32_768 * 10 + 10,
        ),
        (
            {"depth": 1, "width": 32, "normalisation": "none", "pooling": "max"},
            896 + 8_192 * 10 + 10,
        ),
        (
            {"depth": 2, "width": 64, "normalisation": "none", "pooling": "average"},
            1_792 + 36_928 + 4_096 * 10 + 10,
        ),
        # a scale and a shift per channel in each block
        ({"depth": 3, "width": 128, "normalisation": "batch"}, 320_010),
        ({"depth": 3, "width": 128, "normalisation": "group"}, 320_010),
        ({"depth": 3, "width": 128, "normalisation": "none"}, 320_010 - 3 * 2 * 128),
        (
            {"depth": 4, "width": 256, "normalisation": "instance"},
            7_168 + 3 * 590_080 + 4 * 512 + 1_024 * 10 + 10,
        ),
        # layer normalisation: a scale and a shift per value, at 32, 16 and 8 pixels per side
        (
            {"depth": 3, "width": 128, "normalisation": "layer"},
            320_010 - 768 + 2 * 128 * (1_024 + 256 + 64),
        ),
    ],
)
def test_numbers_of_parameters_counted_by_hand(options: dict[str, Any], by_hand: int) -> None:
    assert parameters(on_meta(**options)) == by_hand


def test_all_720_architectures_exist_and_differ_as_they_should() -> None:
    space = list(
        itertools.product((1, 2, 3, 4), (32, 64, 128, 256), ACTIVATIONS, NORMALISATIONS, POOLINGS)
    )
    assert len(space) == 720
    images = torch.empty(2, *CIFAR, device="meta")
    for depth, width, activation, normalisation, pooling in space:
        network = on_meta(
            depth=depth,
            width=width,
            activation=activation,
            normalisation=normalisation,
            pooling=pooling,
        )
        seen = network.observe(images)
        side = 32 if pooling == "none" else 32 // 2**depth
        assert seen.logits.shape == (2, 10)
        assert seen.features.shape == (2, width * side**2)
        assert [tap.shape[1] for tap in seen.taps] == [width] * depth


def test_depth_follows_the_size_of_the_images() -> None:
    assert {size: usual_depth(size) for size in (8, 28, 32, 64, 128)} == {
        8: 2,
        28: 3,
        32: 3,
        64: 4,
        128: 5,
    }
    for size in (8, 28, 32, 64):
        assert len(
            build_network("convnet", replace(SPEC, size=size))
            .observe(torch.zeros(2, 3, size, size))
            .taps
        ) == usual_depth(size)


def test_taps_stand_before_pooling_and_features_after() -> None:
    seen = ConvNet(CIFAR, 10).observe(torch.randn(2, *CIFAR, generator=seeded(0)))
    assert [tuple(tap.shape) for tap in seen.taps] == [
        (2, 128, 32, 32),
        (2, 128, 16, 16),
        (2, 128, 8, 8),
    ]
    assert seen.features.shape == (2, 2048)
    assert all(bool((tap >= 0).all()) for tap in seen.taps)  # outputs of ReLUs
    pooled = nn.functional.avg_pool2d(seen.taps[-1], 2)
    assert torch.equal(pooled.flatten(1), seen.features)


def test_grey_images_of_28_pixels_are_worked_on_as_32() -> None:
    seen = ConvNet((1, 28, 28), 10).observe(torch.zeros(2, 1, 28, 28))
    assert [tap.shape[-1] for tap in seen.taps] == [32, 16, 8]
    assert seen.features.shape == (2, 2048)


@pytest.mark.parametrize("pooling", ["none", "max", "average"])
@pytest.mark.parametrize("activation", ["sigmoid", "relu", "leaky-relu"])
@pytest.mark.parametrize("normalisation", ["none", "batch", "layer", "instance", "group"])
def test_options_mean_torch_s_layers(normalisation: str, activation: str, pooling: str) -> None:
    """One block is the chain of torch's own layers with the same weights; instance normalisation is
    GroupNorm(C, C).
    """
    network = ConvNet(
        (3, 8, 8),
        5,
        depth=1,
        width=8,
        normalisation=normalisation,  # type: ignore[arg-type]
        activation=activation,  # type: ignore[arg-type]
        pooling=pooling,  # type: ignore[arg-type]
    )
    norms = {
        "none": nn.Identity(),
        "batch": nn.BatchNorm2d(8),
        "layer": nn.LayerNorm([8, 8, 8]),
        "group": nn.GroupNorm(4, 8),
    }
    activations = {"sigmoid": nn.Sigmoid(), "relu": nn.ReLU(), "leaky-relu": nn.LeakyReLU(0.01)}
    poolings = {"none": nn.Identity(), "max": nn.MaxPool2d(2), "average": nn.AvgPool2d(2)}
    norm = norms.get(normalisation, nn.GroupNorm(8, 8))
    chain = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        norm,
        activations[activation],
        poolings[pooling],
        nn.Flatten(),
        nn.Linear(network.classifier.in_features, 5),
    )
    generator = seeded(2)
    with torch.no_grad():
        for ours, theirs in zip(network.parameters(), chain.parameters(), strict=True):
            ours.copy_(torch.randn(ours.shape, generator=generator))
            theirs.copy_(ours)
    images = torch.randn(4, 3, 8, 8, generator=generator)
    assert torch.allclose(network(images), chain(images), atol=1e-5)


@pytest.mark.parametrize("compiling", [False, True])
@pytest.mark.parametrize("shape", [(8, 8), (7, 5), (2, 2)])
def test_average_pooling_is_torch_s_with_its_gradients(
    shape: tuple[int, int], compiling: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it is written for compiling, too, to the second derivative; an odd last row and column are
    left out.
    """
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: compiling)
    images = torch.randn(3, 4, *shape, generator=seeded(4), dtype=torch.float64)

    def derivatives(pool: nn.Module) -> list[Tensor]:
        values = images.clone().requires_grad_()
        pooled = pool(values)
        (first,) = torch.autograd.grad(pooled.pow(3).sum(), values, create_graph=True)
        (second,) = torch.autograd.grad(first.square().sum(), values)
        return [pooled, first, second]

    for ours, theirs in zip(derivatives(AveragePool()), derivatives(nn.AvgPool2d(2)), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-12)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("size", [1, 4, 32])
def test_instance_normalisation_is_torch_s_with_its_gradients(
    size: int, layout: torch.memory_format
) -> None:
    """GroupNorm(C, C) in double precision, to the second derivative, of images with a constant
    channel too.
    """
    ours, theirs = InstanceNorm(8).double(), nn.GroupNorm(8, 8).double()
    generator = seeded(3)
    images = 5 * torch.randn(4, 8, size, size, generator=generator, dtype=torch.float64) + 7
    images[0, 0] = 3.0
    sides = torch.randn(images.shape, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        for own, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            own.copy_(torch.randn(8, generator=generator))
            other.copy_(own)

    def derivatives(norm: nn.GroupNorm) -> list[Tensor]:
        values = images.to(memory_format=layout, copy=True).requires_grad_()
        given = [values, norm.weight, norm.bias]
        out = norm(values)
        first = torch.autograd.grad(
            (out * sides).sum() + out.pow(3).sum(), given, create_graph=True
        )
        return [
            out,
            *first,
            *torch.autograd.grad(sum(each.square().sum() for each in first), given[:2]),  # type: ignore[arg-type]
        ]

    for found, wanted in zip(derivatives(ours), derivatives(theirs), strict=True):
        assert torch.allclose(
            found, wanted, rtol=1e-6, atol=1e-9 + 1e-6 * float(wanted.detach().abs().max())
        )
    assert ours(images.to(memory_format=layout)).is_contiguous(memory_format=layout)


def test_instance_normalisation_in_bf16_takes_moments_in_fp32() -> None:
    images = (torch.randn(4, 8, 16, 16, generator=seeded(4)) + 20).bfloat16()
    wanted = nn.functional.group_norm(images.float(), 8)
    found = InstanceNorm(8)(images)
    assert found.dtype == torch.bfloat16
    assert torch.allclose(found.float(), wanted, atol=0, rtol=2**-8)


@pytest.mark.parametrize("normalisation", ["none", "batch", "layer", "instance", "group"])
def test_only_batch_normalisation_mixes_images(normalisation: str) -> None:
    network = ConvNet((3, 8, 8), 5, width=8, normalisation=normalisation)  # type: ignore[arg-type]
    images = torch.randn(6, 3, 8, 8, generator=seeded(0))
    cut = torch.cat([network(images[:2]), network(images[2:])])
    assert (
        network.mixes_images
        == (not torch.allclose(network(images), cut, atol=1e-5))
        == (normalisation == "batch")
    )


def test_multiply_accumulates_counted_by_hand() -> None:
    blocks = 32**2 * 9 * 3 * 128 + 16**2 * 9 * 128 * 128 + 8**2 * 9 * 128 * 128
    assert macs(ConvNet(CIFAR, 10), CIFAR) == blocks + 2048 * 10
    assert (
        macs(ConvNet((1, 8, 8), 10, normalisation="batch"), (1, 8, 8))
        == 8**2 * 9 * 128 + 4**2 * 9 * 128 * 128 + 512 * 10
    )


def test_too_many_blocks_for_the_image_are_refused() -> None:
    with pytest.raises(
        OutOfRangeError, match="4 blocks with pooling need at least 16 pixels per side, got 8"
    ):
        ConvNet((1, 8, 8), 10, depth=4)
    ConvNet((1, 8, 8), 10, depth=4, width=8, pooling="none")


def test_an_unknown_name_is_refused_with_a_suggestion() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'convnet'"):
        build_network("covnet", SPEC)


# ---------------------------------------------------------------------------------------------------------
# starting anew


def weights(network: nn.Module) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])


@pytest.mark.parametrize("normalisation", ["none", "batch", "layer", "instance"])
def test_a_network_starts_anew_in_place_from_the_generator_alone(normalisation: str) -> None:
    network = ConvNet((3, 8, 8), 5, width=16, normalisation=normalisation)  # type: ignore[arg-type]
    used = copy.deepcopy(network)
    optimizer = torch.optim.SGD(used.parameters(), lr=0.5)
    used(torch.randn(8, 3, 8, 8, generator=seeded(0)) + 3).square().sum().backward()
    optimizer.step()
    places = [parameter.data_ptr() for parameter in used.parameters()]
    torch.manual_seed(1)
    initialise(network, seeded(7))
    torch.manual_seed(2)
    before = torch.get_rng_state()
    initialise(used, seeded(7))
    assert torch.equal(before, torch.get_rng_state())
    assert [parameter.data_ptr() for parameter in used.parameters()] == places
    assert all(
        torch.equal(ours, theirs)
        for ours, theirs in zip(
            network.state_dict().values(), used.state_dict().values(), strict=True
        )
    )
    initialise(used, seeded(8))
    assert not torch.equal(weights(network), weights(used))


def test_initial_weights_are_distributed_as_torch_s() -> None:
    """DataDAM's Table 2: uniform; torch's default is within ±1/√fan_in, for weights and biases
    alike.
    """
    network, default = ConvNet(CIFAR, 10), ConvNet(CIFAR, 10)
    initialise(network, seeded(3))
    for name, fan_in in (("blocks.0.0", 27), ("blocks.1.0", 1152), ("classifier", 2048)):
        for kind in ("weight", "bias"):
            ours, theirs = (
                dict(each.named_parameters())[f"{name}.{kind}"].detach().flatten()
                for each in (network, default)
            )
            bound = 1 / math.sqrt(fan_in)
            assert float(ours.abs().max()) <= bound
            assert kstest(ours[:20_000].numpy(), "uniform", (-bound, 2 * bound)).pvalue > 1e-4
            assert float(theirs.abs().max()) <= bound  # so torch's own default has not changed
    for block in (0, 1, 2):
        assert torch.equal(network.get_parameter(f"blocks.{block}.1.weight"), torch.ones(128))
        assert torch.equal(network.get_parameter(f"blocks.{block}.1.bias"), torch.zeros(128))
