"""The networks by name."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from typing import Literal

import torch

from dcbench.images import ImageSpec
from dcbench.networks.base import Network
from dcbench.networks.convnet import NORMALISATIONS, ConvNet, Normalisation
from dcbench.networks.resnet import ResNet18
from dcbench.networks.stacked import ALEXNET, VGG11, Stacked
from dcbench.networks.timm_models import PREFIX, require_timm, timm_network
from dcbench.system.errors import MismatchError, UnknownNameError

# BatchNorm is not offered: statistics of a single synthetic image mean nothing, and batches could
# not
# be split.
PerImageNormalisation = Literal["instance", "none", "layer", "group"]

Maker = Callable[[ImageSpec, Normalisation], Network]
ENTRY_POINTS = "dcbench.networks"  # entry points of installed packages that add networks

NETWORKS: dict[str, Maker] = {
    "convnet": lambda spec, normalisation: ConvNet(
        spec.shape, spec.classes, normalisation=normalisation
    ),
    "alexnet": lambda spec, normalisation: Stacked(
        ALEXNET, spec.shape, spec.classes, normalisation
    ),
    "vgg11": lambda spec, normalisation: Stacked(VGG11, spec.shape, spec.classes, normalisation),
    "resnet18": lambda spec, normalisation: ResNet18(spec.shape, spec.classes, normalisation),
}


def installed() -> dict[str, importlib.metadata.EntryPoint]:
    """Return the networks that installed packages add, by name."""
    return {point.name: point for point in importlib.metadata.entry_points(group=ENTRY_POINTS)}


def find_network(name: str) -> Maker:
    """Return the factory of the network ``name``: ours, timm's (``timm:NAME``), or an installed
    package's.

    Raises UnknownNameError with a suggestion, MismatchError if timm is asked for and not installed.
    """
    if name in NETWORKS:
        return NETWORKS[name]
    if name.startswith(PREFIX):
        model = name.removeprefix(PREFIX)
        require_timm(model)
        return lambda spec, _normalisation: timm_network(model, spec)
    added = installed()
    if name not in added:
        raise UnknownNameError("network", name, (*NETWORKS, *added))
    maker: Maker = added[name].load()
    return maker


def normalisation_in(name: str, wanted: Normalisation) -> Normalisation:
    """Return the normalisation of the network ``name``: ``wanted``, or ``own`` if it is fixed."""
    return "own" if name.startswith(PREFIX) else wanted


def build_network(name: str, spec: ImageSpec, normalisation: Normalisation = "instance") -> Network:
    """Build the network ``name`` for images of ``spec``.

    Raises UnknownNameError, and MismatchError if it cannot take such images
    or has another normalisation.
    """
    make = find_network(name)
    if normalisation_in(name, normalisation) != normalisation:
        raise MismatchError(
            f"{name} has its own normalisation and takes no other, got {normalisation}; "
            "set normalisation=own if the method has that field, or choose another network"
        )
    if not name.startswith(PREFIX) and normalisation not in NORMALISATIONS:
        raise UnknownNameError("normalisation", normalisation, NORMALISATIONS)
    # layers initialise themselves from the global generator, whose state must not change
    with torch.random.fork_rng(devices=[]):
        try:
            return make(spec, normalisation)
        except MismatchError as error:
            raise MismatchError(f"{name} {error}") from error
