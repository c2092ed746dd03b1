"""NAS-Bench-201 (Dong & Yang, ICLR 2020): cells of four nodes and six edges, an operation of five
on each; 15,625 architectures.

An architecture is written ``|op~0|+|op~0|op~1|+|op~0|op~1|op~2|``: for each node after the first,
its operations and the nodes that they come from.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise, product
from pathlib import Path
from typing import Any, Protocol, final, runtime_checkable

import torch
from torch import Tensor, nn

from dcbench.evaluation.protocol import SearchProtocol
from dcbench.images import ImageSpec
from dcbench.nas.space import SearchSpace
from dcbench.networks.base import Network, Observation
from dcbench.system.errors import DataError, MismatchError, OutOfRangeError
from dcbench.system.files import write_bytes
from dcbench.training.trainer import Schedule

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
# each edge's node and source, in the order of the string
EDGES = ((1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2))
NODES = 4
BENCHMARK_CELLS = 5  # cells per stage in the networks of the published accuracies
# the benchmark's names of our data sets
TRUTH_COLUMNS = {"cifar10": "cifar10_test_200ep", "cifar100": "cifar100_test_200ep"}
_CONVERTED = {column: dataset for dataset, column in TRUTH_COLUMNS.items()} | {
    "imagenet16_120_test_200ep": "ImageNet16-120"
}

_PATTERN = re.compile(r"\|(\w+)~0\|\+\|(\w+)~0\|(\w+)~1\|\+\|(\w+)~0\|(\w+)~1\|(\w+)~2\|", re.ASCII)


@final
@dataclass(frozen=True)
class CellDesign:
    """An operation for each of ``EDGES``."""

    operations: tuple[str, ...]

    def __str__(self) -> str:
        nodes = [
            [f"{self.operations[edge]}~{source}|" for edge, source in self.edges_into(node)]
            for node in range(1, NODES)
        ]
        return "+".join("|" + "".join(terms) for terms in nodes)

    @staticmethod
    def edges_into(node: int) -> list[tuple[int, int]]:
        """Return number and source of each edge that ends in ``node``."""
        return [(edge, source) for edge, (end, source) in enumerate(EDGES) if end == node]


def cells() -> tuple[CellDesign, ...]:
    """Return all 15,625 cells."""
    return tuple(map(CellDesign, product(OPERATIONS, repeat=len(EDGES))))


def parse(text: str) -> CellDesign:
    """Return the cell that ``str`` wrote as ``text``. Raises OutOfRangeError, which says what is
    wrong.
    """
    found = _PATTERN.fullmatch(text)
    if found is None:
        raise OutOfRangeError(
            f"malformed architecture {text!r:.160}; wanted |op~0|+|op~0|op~1|+|op~0|op~1|op~2|"
        )
    unknown = [operation for operation in found.groups() if operation not in OPERATIONS]
    if unknown:
        raise OutOfRangeError(
            f"unknown operation {unknown[0]!r:.40} in architecture {text!r:.160}; known: "
            f"{', '.join(OPERATIONS)}"
        )
    return CellDesign(found.groups())


def _normalised_convolution(
    channels: int, width: int, kernel: int, stride: int = 1
) -> nn.Sequential:
    """ReLU, convolution, BatchNorm: the order that the whole benchmark uses."""
    convolution = nn.Conv2d(channels, width, kernel, stride, padding=kernel // 2, bias=False)
    return nn.Sequential(nn.ReLU(), convolution, nn.BatchNorm2d(width))


def _operation(name: str, channels: int) -> nn.Module:
    if name == "nor_conv_1x1":
        return _normalised_convolution(channels, channels, 1)
    if name == "nor_conv_3x3":
        return _normalised_convolution(channels, channels, 3)
    if name == "avg_pool_3x3":
        return nn.AvgPool2d(3, 1, 1, count_include_pad=False)
    return nn.Identity()


class _CellBlock(nn.Module):
    """A cell: every node after the first is the sum of its edges."""

    def __init__(self, cell: CellDesign, channels: int) -> None:
        super().__init__()
        self.cell = cell
        self.edges = nn.ModuleList([_operation(name, channels) for name in cell.operations])

    def forward(self, images: Tensor) -> Tensor:
        values = [images]
        for node in range(1, NODES):
            terms = [
                self.edges[edge](values[source])
                for edge, source in self.cell.edges_into(node)
                if self.cell.operations[edge] != "none"
            ]
            values.append(reduce(torch.add, terms) if terms else torch.zeros_like(images))
        return values[-1]


class _ReductionBlock(nn.Module):
    """Two convolutions beside a pooled shortcut: half the size, twice the channels."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            _normalised_convolution(channels, width, 3, 2), _normalised_convolution(width, width, 3)
        )
        self.shortcut = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(channels, width, 1, bias=False))

    def forward(self, images: Tensor) -> Tensor:
        return self.shortcut(images) + self.convolutions(images)  # type: ignore[no-any-return]


@final
class CellNetwork(Network):
    """The network around the cells: a stem, three stages of ``per_stage`` cells at c, 2c and 4c
    channels, a reduction between stages, a linear layer.

    Taps are the outputs of the ReLU after each stage; those of the last stage are after its
    BatchNorm and before the pooling.
    """

    def __init__(
        self,
        cell: CellDesign,
        shape: tuple[int, int, int],
        classes: int,
        *,
        per_stage: int = BENCHMARK_CELLS,
        channels: int = 16,
    ) -> None:
        super().__init__()
        if shape[1] % 4:
            raise OutOfRangeError(
                "a network of NAS-Bench-201 halves its images twice and needs a multiple of 4 "
                f"pixels, got {shape[1]}"
            )
        self.stem = nn.Sequential(
            nn.Conv2d(shape[0], channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
        )
        widths = (channels, 2 * channels, 4 * channels)
        cells = ([_CellBlock(cell, width) for _ in range(per_stage)] for width in widths)
        self.stages = nn.ModuleList([nn.Sequential(*stage) for stage in cells])
        self.reductions = nn.ModuleList([_ReductionBlock(*pair) for pair in pairwise(widths)])
        self.norm = nn.BatchNorm2d(widths[-1])
        self.classifier = nn.Linear(widths[-1], classes)

    def observe(self, images: Tensor) -> Observation:
        values, taps = self.stem(images), []
        for stage, reduction in zip(self.stages[:-1], self.reductions, strict=True):
            values = stage(values)
            taps.append(torch.relu(values))
            values = reduction(values)
        last = torch.relu(self.norm(self.stages[-1](values)))
        features = last.mean((2, 3))
        return Observation(self.classifier(features), features, (*taps, last))


@final
@dataclass(frozen=True)
class NASBench201(SearchSpace):
    """The space of all cells, with ``per_stage`` cells a stage: one, as in DC-BENCH's runs on
    proxies. The truth is the benchmark's table.
    """

    per_stage: int = 1
    channels: int = 16

    name = "nasbench201"
    # DC-BENCH's numbers, except its gradient clipping and the last learning rate (0.001 there, 0
    # here).
    protocol = SearchProtocol(
        "search-nasbench201",
        1,
        Schedule(epochs=50, lr=0.025, batch=64, weight_decay=3e-4, decay=0.0),
        truth_epochs=50,
    )
    quick_protocol = SearchProtocol(
        "search-nasbench201-quick",
        1,
        Schedule(epochs=30, lr=0.025, batch=64, weight_decay=3e-4, decay=0.0),
        truth_epochs=5,
    )
    truth_trained = False
    truth_most = 100.0
    truth_help = (
        "a CSV or parquet table with columns arch and cifar10_test_200ep (percent), made once from "
        "the files of the nats-bench package: "
        "dcbench.nas.nasbench201.convert(nats_bench.create(None, 'tss', fast_mode=True), "
        "'nasbench201.csv')"
    )

    def identifiers(self) -> tuple[str, ...]:
        return tuple(map(str, cells()))

    def canonical(self, text: str) -> str:
        return str(parse(text))

    def build(self, identifier: str, spec: ImageSpec) -> CellNetwork:
        sizes = {"per_stage": self.per_stage, "channels": self.channels}
        return CellNetwork(parse(identifier), spec.shape, spec.classes, **sizes)

    def twin(self, identifier: str) -> str:
        operations = parse(identifier).operations
        convolutions = sorted(name for name in operations if name.startswith("nor_conv"))
        rest = ["none"] * (len(EDGES) - len(convolutions))
        return str(CellDesign((*convolutions, *rest)))

    def refuses(self, identifier: str, spec: ImageSpec) -> str:
        """Return why images are impossible. All architectures take the same images, so one is tried
        for all.
        """
        return super().refuses(str(CellDesign(("none",) * len(EDGES))), spec)

    def truth_column(self, dataset: str) -> str:
        if dataset not in TRUTH_COLUMNS:
            raise MismatchError(
                f"NAS-Bench-201 knows no accuracies on {dataset}, only on "
                f"{', '.join(TRUTH_COLUMNS)} and ImageNet16-120; "
                "say with --truth-column which column of the table is meant"
            )
        return TRUTH_COLUMNS[dataset]


@runtime_checkable
class Benchmark(Protocol):
    """The interface that ``convert`` needs of the object that ``nats_bench.create(path, 'tss')``
    returns.
    """

    meta_archs: Sequence[str]

    def get_more_info(
        self, index: int, dataset: str, *, hp: str, is_random: bool
    ) -> Mapping[str, Any]: ...


def convert(api: Benchmark, path: str | Path) -> None:
    """Write the benchmark's table of truths from the nats-bench package's object: percent, mean
    over the benchmark's seeds.

    The user calls this explicitly, because the package reads pickles, which can execute any code:
    read only files that you trust. Raises DataError if an architecture has no accuracy,
    StorageError if the disk refuses.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["index", "arch", *_CONVERTED])
    for index, arch in enumerate(api.meta_archs):
        published = [_published_accuracy(api, index, dataset) for dataset in _CONVERTED.values()]
        writer.writerow([index, str(parse(arch)), *published])
    write_bytes(Path(path), text.getvalue().encode())


def _published_accuracy(api: Benchmark, index: int, dataset: str) -> float:
    found = api.get_more_info(index, dataset, hp="200", is_random=False).get("test-accuracy")
    if found is None:
        raise DataError(
            f"the benchmark has no test accuracy of {api.meta_archs[index]} on {dataset}"
        )
    return round(float(found), 4)
