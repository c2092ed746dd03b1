"""The networks by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch

from dcbench.images import ImageSpec
from dcbench.networks.base import Network
from dcbench.networks.convnet import NORMALISATIONS, ConvNet, Normalisation
from dcbench.networks.resnet import ResNet18
from dcbench.networks.stacked import ALEXNET, VGG11, Stacked
from dcbench.system.errors import MismatchError, UnknownNameError

# BatchNorm is not among them: the statistics of a single synthetic image say nothing, and a batch
# could not be cut.
PerImageNormalisation = Literal["instance", "none", "layer", "group"]

NETWORKS: dict[str, Callable[[ImageSpec, Normalisation], Network]] = {
    "convnet": lambda spec, normalisation: ConvNet(
        spec.shape, spec.classes, normalisation=normalisation
    ),
    "alexnet": lambda spec, normalisation: Stacked(
        ALEXNET, spec.shape, spec.classes, normalisation
    ),
    "vgg11": lambda spec, normalisation: Stacked(VGG11, spec.shape, spec.classes, normalisation),
    "resnet18": lambda spec, normalisation: ResNet18(spec.shape, spec.classes, normalisation),
}


def build_network(name: str, spec: ImageSpec, normalisation: Normalisation = "instance") -> Network:
    """The network ``name`` for images of ``spec``; raises UnknownNameError, and MismatchError where
    the images are too small for it.
    """
    if name not in NETWORKS:
        raise UnknownNameError("network", name, NETWORKS)
    if normalisation not in NORMALISATIONS:
        raise UnknownNameError("normalisation", normalisation, NORMALISATIONS)
    # layers draw first values from the global generator, which is not ours to move
    with torch.random.fork_rng(devices=[]):
        try:
            return NETWORKS[name](spec, normalisation)
        except MismatchError as error:
            raise MismatchError(f"{name} {error}") from error
