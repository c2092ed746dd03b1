"""AlexNet, VGG-11 and ResNet-18: sizes counted by hand and published, slow transcriptions, what
they tell of themselves.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dcbench.images import ImageSpec
from dcbench.networks.base import initialise
from dcbench.networks.catalogue import NETWORKS, build_network
from dcbench.networks.convnet import NORMALISATIONS, Normalisation
from dcbench.networks.costs import macs
from dcbench.system.errors import MismatchError
from tests.reference.networks import normalised

SPEC = ImageSpec("toy", "0" * 12, channels=3, size=32, class_names=tuple("0123456789"))
# channels, width, kernel
ALEXNET = [(3, 128, 5), (128, 192, 5), (192, 256, 3), (256, 192, 3), (192, 192, 3)]
VGG11 = [
    (3, 64, 3),
    (64, 128, 3),
    (128, 256, 3),
    (256, 256, 3),
    (256, 512, 3),
    (512, 512, 3),
    (512, 512, 3),
    (512, 512, 3),
]
NORMS: list[Normalisation] = ["instance", "batch"]


def stack_parameters(layers: list[tuple[int, int, int]], features: int, norms: bool) -> int:
    convolutions = sum(channels * width * kernel**2 + width for channels, width, kernel in layers)
    return convolutions + norms * sum(2 * width for _, width, _ in layers) + features * 10 + 10


@pytest.mark.parametrize(
    ("name", "normalisation", "by_hand"),
    [
        ("alexnet", "none", stack_parameters(ALEXNET, 192 * 4 * 4, False)),
        ("alexnet", "batch", stack_parameters(ALEXNET, 192 * 4 * 4, True)),
        ("alexnet", "instance", 1_874_122),
        ("vgg11", "none", stack_parameters(VGG11, 512, False)),
        ("vgg11", "instance", stack_parameters(VGG11, 512, True)),
        ("vgg11", "batch", 9_231_114),  # as published for CIFAR-10 with batch normalisation
        ("resnet18", "batch", 11_173_962),  # likewise
        ("resnet18", "instance", 11_173_962),
    ],
)
def test_numbers_of_parameters(name: str, normalisation: Normalisation, by_hand: int) -> None:
    assert (
        sum(
            parameter.numel() for parameter in build_network(name, SPEC, normalisation).parameters()
        )
        == by_hand
    )


def test_multiply_accumulates_counted_by_hand() -> None:
    sides = {"alexnet": [32, 16, 8, 8, 8], "vgg11": [32, 16, 8, 8, 4, 4, 2, 2]}
    for name, layers, features in (("alexnet", ALEXNET, 3072), ("vgg11", VGG11, 512)):
        pairs = zip(sides[name], layers, strict=True)
        by_hand = (
            sum(side**2 * channels * width * kernel**2 for side, (channels, width, kernel) in pairs)
            + features * 10
        )
        assert macs(build_network(name, SPEC), SPEC.shape) == by_hand
    # published: 0.56 G
    assert macs(build_network("resnet18", SPEC), SPEC.shape) == pytest.approx(0.556e9, rel=0.01)


def fresh(name: str, normalisation: Normalisation) -> tuple[nn.Module, Tensor]:
    network = build_network(name, SPEC, normalisation)
    generator = torch.Generator().manual_seed(4)
    initialise(network, generator)
    return network, torch.randn(3, 3, 32, 32, generator=generator)


def normalise(values: Tensor, normalisation: Normalisation) -> Tensor:
    # scale 1 and shift 0, as they begin
    return normalised(values, (0, 2, 3) if normalisation == "batch" else (2, 3))


@pytest.mark.parametrize("normalisation", NORMS)
@pytest.mark.parametrize(("name", "pooled"), [("alexnet", (0, 1, 4)), ("vgg11", (0, 1, 3, 5, 7))])
def test_a_stack_is_its_transcription(
    name: str, pooled: tuple[int, ...], normalisation: Normalisation
) -> None:
    network, images = fresh(name, normalisation)
    seen = network.observe(images)  # type: ignore[operator]
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    values, taps = images, []
    for index, convolution in enumerate(convolutions):
        raw = F.conv2d(
            values, convolution.weight, convolution.bias, padding=convolution.kernel_size[0] // 2
        )
        values = normalise(raw, normalisation).clamp(min=0)
        taps.append(values)
        values = F.max_pool2d(values, 2) if index in pooled else values
    assert len(seen.taps) == len(taps) == len(convolutions)
    for ours, theirs in zip(seen.taps, taps, strict=True):
        assert torch.allclose(ours, theirs, atol=2e-4)
    assert torch.allclose(seen.features, values.flatten(1), atol=2e-4)


@pytest.mark.parametrize("normalisation", NORMS)
def test_resnet_is_its_transcription(normalisation: Normalisation) -> None:
    network, images = fresh("resnet18", normalisation)
    seen = network.observe(images)  # type: ignore[operator]
    weights = iter([module.weight for module in network.modules() if isinstance(module, nn.Conv2d)])

    def convolved(values: Tensor, weight: Tensor, stride: int = 1) -> Tensor:
        return normalise(
            F.conv2d(values, weight, stride=stride, padding=weight.shape[-1] // 2), normalisation
        )

    values = convolved(images, next(weights)).relu()
    taps = [values]
    for stage in range(4):
        for block in range(2):
            stride = 2 if stage and not block else 1
            first, second = next(weights), next(weights)
            beside = convolved(values, next(weights), stride) if stage and not block else values
            inner = convolved(values, first, stride).relu()
            values = (convolved(inner, second) + beside).relu()
            taps += [inner, values]
    assert len(seen.taps) == 17
    for ours, theirs in zip(seen.taps, taps, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-3)
    assert torch.allclose(seen.features, values.mean((2, 3)), atol=1e-3)
    assert torch.allclose(
        seen.logits,
        F.linear(seen.features, network.classifier.weight, network.classifier.bias),  # type: ignore[union-attr, arg-type]
        atol=1e-4,
    )


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("normalisation", NORMALISATIONS)
def test_only_batch_normalisation_mixes_images(name: str, normalisation: Normalisation) -> None:
    assert build_network(name, SPEC, normalisation).mixes_images == (normalisation == "batch")


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("size", [28, 32, 64])
def test_every_network_takes_the_usual_sizes(name: str, size: int) -> None:
    spec = replace(SPEC, channels=1, size=size)
    seen = build_network(name, spec).observe(torch.zeros(2, *spec.shape))
    assert seen.logits.shape == (2, 10)
    if size == 28:
        assert seen.taps[0].shape[-1] == 32


def test_images_that_a_network_pools_away_are_refused() -> None:
    for name, least in (("vgg11", 32), ("resnet18", 16)):
        build_network(name, replace(SPEC, size=least))
        with pytest.raises(MismatchError, match=f"at least {least}×{least}"):
            build_network(name, replace(SPEC, size=least // 2))
    build_network("alexnet", replace(SPEC, size=8))
    with pytest.raises(MismatchError, match="at least 8×8"):
        build_network("alexnet", replace(SPEC, size=4))


@pytest.mark.parametrize("name", NETWORKS)
def test_every_weight_takes_part(name: str) -> None:
    network, images = (
        build_network(name, SPEC),
        torch.randn(4, *SPEC.shape, generator=torch.Generator().manual_seed(0)),
    )
    F.cross_entropy(network(images), torch.arange(4)).backward()
    idle = [
        key
        for key, weight in network.named_parameters()
        if weight.grad is None or not bool(weight.grad.any())
    ]
    # A bias before instance normalisation is taken away by it: its gradient is nothing but
    # rounding.
    assert idle == []
