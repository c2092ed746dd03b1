"""Numbers that papers printed, as plain data; none of them was measured here.

``published.csv`` has the accuracies of every method, with who printed them and how they were
judged. The tables of searches stand below. Values are fractions where papers have percent; a
deviation is over networks.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal

Unit = Literal["fraction", "correlation", "minutes", "images"]

_SOURCE = "Sajedi et al., DataDAM, ICCV 2023, supplement"


@dataclass(frozen=True)
class PublishedValue:
    """One printed accuracy with its printed standard deviation."""

    mean: float
    std: float | None = None


# the papers that printed the values
SOURCES: Mapping[str, str] = {
    "table3": f"{_SOURCE}, Table 3",
    "poster": "Sajedi et al., DataDAM, ICCV 2023, poster, Tables 1-3",
    "ncfm": "Wang et al., NCFM, CVPR 2025",
    "autopalette": "Yuan et al., AutoPalette, NeurIPS 2024, Table 1",
    "pad": "Li et al., PAD, arXiv 2408.03360, Table 1",
    "dc-bench": "Cui et al., DC-BENCH, NeurIPS 2022, leaderboard",
    "kip": "Nguyen et al., KIP, NeurIPS 2021",
    "infoutil": "Wang et al., InfoUtil, arXiv 2601.21296, Table 1",
    "idc": "Kim et al., IDC, ICML 2022, repository",
}


_OF_PAPER = ("table3", "poster")  # the paper whose settings a preset of that name follows


@dataclass(frozen=True)
class PublishedResult:
    """The accuracies of one method on one data set, as one paper prints them."""

    method: str  # dcbench's name of the method; the printed name if dcbench lacks it
    dataset: str
    network: str
    source: str  # a name in SOURCES
    augment: str  # in evaluation; empty if dcbench lacks it or the paper does not say
    judged: str  # in a few words
    values: Mapping[int | None, PublishedValue]  # by IPC; None: all training images


@cache
def published_results() -> tuple[PublishedResult, ...]:
    """Return every printed accuracy. Among several results of a method on one data set, the one
    whose settings our method follows comes first.
    """
    text = files("dcbench.studies").joinpath("published.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(io.StringIO(text))
    return tuple(
        PublishedResult(values=dict(map(_of_budget, row.pop("accuracies").split())), **row)
        for row in rows
    )


def published_result(
    method: str, dataset: str, network: str, augment: str, preset: str = ""
) -> PublishedResult | None:
    """Return the printed result to show beside a measured accuracy.

    For the preset ``paper`` it is the DataDAM paper's; otherwise the method's own paper's, with the
    same augmentation in evaluation if there is one.
    """
    alike = [
        result
        for result in published_results()
        if (result.method, result.dataset, result.network) == (method, dataset, network)
    ]
    likeness = [
        (preset == "paper" and result.source not in _OF_PAPER, result.augment != augment)
        for result in alike
    ]
    return alike[likeness.index(min(likeness))] if alike else None


def _of_budget(printed: str) -> tuple[int | None, PublishedValue]:
    ipc, _, text = printed.partition(":")
    return None if ipc == "all" else int(ipc), _value(text, "fraction")


@dataclass(frozen=True)
class PublishedRow:
    """One printed row: a value for each method that has one."""

    name: str
    unit: Unit
    values: Mapping[str, PublishedValue]


@dataclass(frozen=True)
class PublishedSearch:
    """The settings of the paper's search over a space, as far as its supplement (section
    2.3) says.
    """

    architectures: int
    ipc: int = 50
    networks: int | None = None  # networks of each architecture
    validation: int | None = None
    epochs: int | None = None  # DC-BENCH's, which the paper says it follows
    # accuracy of the best architecture on the whole data, if the truth's epochs are not printed
    best: float | None = None
    top: str = ""  # what chooses its top share, if not the truth
    remark: str = ""  # why its figures are not comparable with ours


@dataclass(frozen=True)
class PublishedTable:
    """A printed table: its content, its source, and the data it was measured on."""

    name: str
    title: str
    source: str
    dataset: str
    network: str  # or the search space
    methods: Mapping[str, str]  # printed name by our name of each column
    rows: tuple[PublishedRow, ...]
    search: PublishedSearch | None = None

    def value(self, row: str, method: str) -> PublishedValue | None:
        """Return the printed value; None if the table lacks it."""
        values = next((candidate.values for candidate in self.rows if candidate.name == row), {})
        return values.get(method)


def _row(name: str, unit: Unit, methods: str, printed: str) -> PublishedRow:
    """Parse a printed row: ``mean`` or ``mean±std`` for each method, in percent."""
    cells = zip(methods.split(), printed.split(), strict=True)
    return PublishedRow(name, unit, {method.lower(): _value(text, unit) for method, text in cells})


def _value(text: str, unit: Unit) -> PublishedValue:
    numbers = [float(part) for part in text.split("±")]
    if unit == "fraction":
        numbers = [round(number / 100, 6) for number in numbers]
    return PublishedValue(*numbers)


def _methods(printed: str) -> Mapping[str, str]:
    """Return the printed names by ours, which are the same in small letters."""
    return {title.lower(): title for title in printed.split()}


_TABLE4 = "Random DSA DM CAFE DataDAM Early-stopping Whole"
_TABLE5 = "Random DC DSA DM KIP MTT DataDAM Whole"

PUBLISHED: Mapping[str, PublishedTable] = {
    "table4": PublishedTable(
        name="table4",
        title="search over 720 ConvNets, IPC 50; the top 20 % are 144 architectures",
        source=f"{_SOURCE}, Table 4",
        dataset="cifar10",
        network="convnet720",
        methods=_methods(_TABLE4),
        rows=(
            _row("performance", "fraction", _TABLE4, "88.9 87.2 87.2 83.6 89.0 88.9 89.2"),
            _row(
                "correlation, top 20 %",
                "correlation",
                _TABLE4,
                "0.44 0.57 0.51 0.36 0.69 0.64 1.00",
            ),
            _row("time", "minutes", _TABLE4, "33.0 31.2 32.2 30.7 34.8 37.1 5168.9"),
            _row("storage", "images", _TABLE4, "500 500 500 500 500 50000 50000"),
            _row("correlation, all 720", "correlation", "DataDAM", "0.72"),
        ),
        search=PublishedSearch(720, best=0.892, top="validation accuracy"),
    ),
    "table5": PublishedTable(
        name="table5",
        title="NAS-Bench-201, 100 random architectures, IPC 50, five seeds each",
        source=f"{_SOURCE}, Table 5",
        dataset="cifar10",
        network="nasbench201",
        methods=_methods(_TABLE5),
        rows=(
            _row(
                "spearman",
                "correlation",
                _TABLE5,
                "-0.06 -0.19 -0.37 -0.37 -0.50 -0.09 0.07 0.7487",
            ),
            _row("top-1", "fraction", _TABLE5, "91.9 86.44 73.54 92.16 92.91 73.54 93.96 93.5"),
        ),
        search=PublishedSearch(
            100,
            networks=5,
            validation=10_000,
            epochs=50,
            remark=(
                "DC-BENCH's public code for this table trains a mixture of all five operations"
                " instead of the drawn architecture, on sets in the order of their classes, which"
                " likely explains correlations near and below zero: they compare with none here."
                " Its whole data are 10 epochs on 40,000 images."
            ),
        ),
    ),
}
