"""The 720 ConvNets of DataDAM's Table 4: the whole grid of depth, width, activation, normalisation
and pooling (supplement, 2.3).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from itertools import product
from typing import cast, final, get_args

from dcbench.evaluation.protocol import SearchProtocol
from dcbench.images import ImageSpec
from dcbench.nas.space import SearchSpace
from dcbench.networks.convnet import NORMALISATIONS, Activation, ConvNet, Normalisation, Pooling
from dcbench.system.errors import OutOfRangeError
from dcbench.system.machine import LEAST_MACS_TO_COMPILE
from dcbench.training.trainer import Schedule

DEPTHS = (1, 2, 3, 4)
WIDTHS = (32, 64, 128, 256)

_PATTERN = re.compile(
    rf"d({'|'.join(map(str, DEPTHS))})-w({'|'.join(map(str, WIDTHS))})"
    rf"-({'|'.join(get_args(Activation))})-({'|'.join(NORMALISATIONS)})"
    rf"-({'|'.join(get_args(Pooling))})"
)


@final
@dataclass(frozen=True)
class ConvNetDesign:
    """One point of the grid, written as ``d3-w128-relu-instance-average``."""

    depth: int
    width: int
    activation: Activation
    normalisation: Normalisation
    pooling: Pooling

    def __str__(self) -> str:
        return f"d{self.depth}-w{self.width}-{self.activation}-{self.normalisation}-{self.pooling}"

    def build(self, spec: ImageSpec) -> ConvNet:
        """Build the network for images of ``spec``. Raises OutOfRangeError if they are too small
        for its poolings.
        """
        return ConvNet(
            spec.shape,
            spec.classes,
            depth=self.depth,
            width=self.width,
            activation=self.activation,
            normalisation=self.normalisation,
            pooling=self.pooling,
        )


def grid() -> tuple[ConvNetDesign, ...]:
    """Return all 720 designs, the depth changing slowest."""
    axes = (DEPTHS, WIDTHS, get_args(Activation), NORMALISATIONS, get_args(Pooling))
    return tuple(ConvNetDesign(*point) for point in product(*axes))


def parse(text: str) -> ConvNetDesign:
    """Return the design that ``str`` wrote as ``text``. Raises OutOfRangeError."""
    found = _PATTERN.fullmatch(text)
    if found is None:
        raise OutOfRangeError(
            f"no such architecture of convnet720: {text!r:.120}; wanted one like "
            "'d3-w128-relu-instance-average'"
        )
    depth, width, activation, normalisation, pooling = found.groups()
    return ConvNetDesign(
        int(depth),
        int(width),
        cast(Activation, activation),
        cast(Normalisation, normalisation),
        cast(Pooling, pooling),
    )


@final
@dataclass(frozen=True)
class ConvNet720(SearchSpace):
    """The space of all 720 designs; the truth is trained here, once."""

    name = "convnet720"
    protocol = SearchProtocol(
        "search-convnet720", 1, Schedule(epochs=200, decay=0.0), truth_epochs=100
    )
    quick_protocol = SearchProtocol(
        "search-convnet720-quick", 1, Schedule(epochs=60, decay=0.0), truth_epochs=5
    )
    truth_trained = True
    truth_most = 1.0
    truth_help = (
        "a truth.csv that an earlier `dcbench nas` left (columns architecture and test_accuracy, "
        "fractions)"
    )

    def identifiers(self) -> tuple[str, ...]:
        return tuple(map(str, grid()))

    def canonical(self, text: str) -> str:
        return str(parse(text))

    def build(self, identifier: str, spec: ImageSpec) -> ConvNet:
        return parse(identifier).build(spec)

    def twin(self, identifier: str) -> str:
        found = parse(identifier)
        pooling: Pooling = "none" if found.pooling == "none" else "max"
        return str(replace(found, activation="relu", normalisation="none", pooling=pooling))

    def least_macs_to_compile(self, identifier: str) -> float:
        """Compiling pays earlier with instance normalisation, which is slow in eager code."""
        if parse(identifier).normalisation == "instance":
            return LEAST_MACS_TO_COMPILE
        return super().least_macs_to_compile(identifier)

    def truth_column(self, dataset: str) -> str:
        return "test_accuracy"
