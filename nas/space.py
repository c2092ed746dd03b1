"""The base class of search spaces: named architectures, each of which can be built for given
images.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from typing import Any, ClassVar

import torch

from dcbench.evaluation.protocol import SearchProtocol
from dcbench.images import ImageSpec
from dcbench.networks.base import Network
from dcbench.networks.costs import macs
from dcbench.system.errors import OutOfRangeError, require_known

PRESETS = ("paper", "released", "quick")

# Compiling gains little for most architectures and nothing for cells of many small parts, and each
# architecture is compiled separately (docs/results/speed.md).
LEAST_MACS_TO_COMPILE_SELDOM = 5e13


class SearchSpace(ABC):
    """A search space: a frozen dataclass whose fields change every network. An architecture is
    known by its identifier, a text.
    """

    name: ClassVar[str]
    protocol: ClassVar[SearchProtocol]
    quick_protocol: ClassVar[SearchProtocol]
    # whether the truth can be trained here; else it must come from a table
    truth_trained: ClassVar[bool]
    # the largest accuracy in a table of truths: 1 where it holds fractions, 100 where percent
    truth_most: ClassVar[float]
    truth_help: ClassVar[str]  # where users find a table of truths

    @abstractmethod
    def identifiers(self) -> tuple[str, ...]:
        """Return all architectures, always in the same order."""

    @abstractmethod
    def canonical(self, text: str) -> str:
        """Return the standard spelling of an identifier. Raises OutOfRangeError if ``text`` is
        none.
        """

    @abstractmethod
    def build(self, identifier: str, spec: ImageSpec) -> Network:
        """Build the network for images of ``spec``. Raises OutOfRangeError if the architecture
        cannot take them.
        """

    @abstractmethod
    def twin(self, identifier: str) -> str:
        """Return one architecture that stands for several of equal cost: it takes the same images
        and operations.
        """

    @abstractmethod
    def truth_column(self, dataset: str) -> str:
        """Return the column of a table of truths with the test accuracy on ``dataset``. Raises
        MismatchError if the space knows none.
        """

    def least_macs_to_compile(self, identifier: str) -> float:
        """Return the multiply-accumulates of training from which compiling the architecture
        pays.
        """
        return LEAST_MACS_TO_COMPILE_SELDOM

    def protocol_named(self, name: str | None, preset: str) -> SearchProtocol:
        """Return the protocol called ``name``, else the preset's. Raises UnknownNameError."""
        require_known("preset", preset, PRESETS)
        known = {protocol.name: protocol for protocol in (self.protocol, self.quick_protocol)}
        if name is not None:
            require_known(f"protocol of {self.name}", name, known)
            return known[name]
        return self.quick_protocol if preset == "quick" else self.protocol

    @property
    def fields(self) -> Mapping[str, Any]:
        """Return what changes every network of the space."""
        return asdict(self)  # type: ignore[call-overload,no-any-return]

    def refuses(self, identifier: str, spec: ImageSpec) -> str:
        """Return why the architecture is impossible for images of ``spec``; empty if it is
        possible.
        """
        return _cost(self, self.twin(identifier), spec)[1]

    def macs(self, identifier: str, spec: ImageSpec) -> float:
        """Return the multiply-accumulates of one forward pass of one image, counted without
        computing; 0 if impossible.
        """
        return _cost(self, self.twin(identifier), spec)[0]


@cache
def _cost(space: SearchSpace, identifier: str, spec: ImageSpec) -> tuple[float, str]:
    try:
        with torch.device("meta"):
            network = space.build(identifier, spec)
    except OutOfRangeError as error:
        return 0.0, str(error)
    return macs(network, spec.shape), ""
