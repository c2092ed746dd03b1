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
from dcbench.system.errors import OutOfRangeError, UnknownNameError

PRESETS = ("paper", "released", "quick")

# Most architectures gain little by being compiled, cells of many small parts nothing, and each is
# compiled anew (docs/results/speed.md).
LEAST_MACS_TO_COMPILE_SELDOM = 5e13


class SearchSpace(ABC):
    """A frozen dataclass whose fields change every network of the space; an architecture is known
    by its identifier.
    """

    name: ClassVar[str]
    protocol: ClassVar[SearchProtocol]
    quick_protocol: ClassVar[SearchProtocol]
    # whether the truth can be had by training here; else it comes from a table alone
    truth_trained: ClassVar[bool]
    # the largest accuracy in a table of truths: 1 where it holds fractions, 100 where percent
    truth_most: ClassVar[float]
    truth_help: ClassVar[str]  # where a table of truths comes from

    @abstractmethod
    def identifiers(self) -> tuple[str, ...]:
        """All architectures, always in the same order."""

    @abstractmethod
    def canonical(self, text: str) -> str:
        """The identifier that ``text`` writes; raises OutOfRangeError on anything else."""

    @abstractmethod
    def build(self, identifier: str, spec: ImageSpec) -> Network:
        """The network for images of ``spec``; raises OutOfRangeError where the architecture cannot
        take them.
        """

    @abstractmethod
    def twin(self, identifier: str) -> str:
        """An architecture of equal size that stands for many: it takes the same images and
        operations.
        """

    @abstractmethod
    def truth_column(self, dataset: str) -> str:
        """The column of a table of truths that holds the test accuracy on ``dataset``; raises
        MismatchError if the space knows none.
        """

    def least_macs_to_compile(self, identifier: str) -> float:
        """Multiply-accumulates of training from which compiling the architecture pays."""
        return LEAST_MACS_TO_COMPILE_SELDOM

    def protocol_named(self, name: str | None, preset: str) -> SearchProtocol:
        """The protocol called ``name``, or else the preset's; raises UnknownNameError."""
        if preset not in PRESETS:
            raise UnknownNameError("preset", preset, PRESETS)
        known = {protocol.name: protocol for protocol in (self.protocol, self.quick_protocol)}
        if name is not None and name not in known:
            raise UnknownNameError(f"protocol of {self.name}", name, known)
        return (
            known[name]
            if name is not None
            else self.quick_protocol
            if preset == "quick"
            else self.protocol
        )

    @property
    def fields(self) -> Mapping[str, Any]:
        """What changes every network of the space."""
        return asdict(self)  # type: ignore[call-overload,no-any-return]

    def refuses(self, identifier: str, spec: ImageSpec) -> str:
        """Say why the architecture is impossible for images of ``spec``; empty if it is
        possible.
        """
        return _cost(self, self.twin(identifier), spec)[1]

    def macs(self, identifier: str, spec: ImageSpec) -> float:
        """Multiply-accumulates of one forward pass of one image, counted without computing; 0 if it
        is impossible.
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
