"""The tables that the paper's supplement printed, as plain data: CIFAR-10, none of it measured
here.

Values are fractions where the paper has percent; a deviation is over networks, as the paper's is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Unit = Literal["fraction", "correlation", "minutes", "images"]

_SOURCE = "Sajedi et al., DataDAM, ICCV 2023, supplement"
_CODE = {
    "Random": "random",
    "DC-VAE": "dcvae",
    "cGAN": "cgan",
    "BigGAN": "biggan",
    "GMMN": "gmmn",
    "MMD": "mmd",
    "DataDAM": "datadam",
    "DC": "dc",
    "DSA": "dsa",
    "DM": "dm",
    "CAFE": "cafe",
    "KIP": "kip",
    "MTT": "mtt",
    "Early-stopping": "early-stopping",
    "Whole": "whole",
}


@dataclass(frozen=True)
class PublishedValue:
    """One printed value with its printed deviation."""

    mean: float
    std: float | None = None


@dataclass(frozen=True)
class PublishedRow:
    """One printed row: a value for each method that has one."""

    name: str
    unit: Unit
    values: Mapping[str, PublishedValue]


@dataclass(frozen=True)
class PublishedSearch:
    """How the paper searched a space, as far as its supplement says (section 2.3)."""

    architectures: int
    ipc: int = 50
    networks: int | None = None  # of each architecture
    validation: int | None = None
    epochs: int | None = None  # of DC-BENCH, whose settings the paper says that it follows
    # accuracy of the whole data's best, if the epochs of the truth are not printed
    best: float | None = None
    top: str = ""  # by what its top share is chosen, if that is not the truth


@dataclass(frozen=True)
class PublishedTable:
    """A printed table: what it says, where it stands, what it was measured on."""

    name: str
    title: str
    source: str
    dataset: str
    network: str  # or the space that was searched
    methods: Mapping[str, str]  # our name of each column: the printed one
    rows: tuple[PublishedRow, ...]
    search: PublishedSearch | None = None

    def knows(self, method: str) -> bool:
        """Whether any value of the method is printed."""
        return any(method in row.values for row in self.rows)

    def value(self, row: str, method: str) -> PublishedValue | None:
        """The printed value, or nothing where the table has none."""
        values = next((candidate.values for candidate in self.rows if candidate.name == row), {})
        return values.get(method)


def _row(name: str, unit: Unit, methods: str, printed: str) -> PublishedRow:
    """A row as printed: ``mean`` or ``mean±std`` for each method, fractions in percent."""
    cells = zip(methods.split(), printed.split(), strict=True)
    return PublishedRow(name, unit, {_CODE[method]: _value(text, unit) for method, text in cells})


def _value(text: str, unit: Unit) -> PublishedValue:
    numbers = [float(part) for part in text.split("±")]
    if unit == "fraction":
        numbers = [round(number / 100, 6) for number in numbers]
    return PublishedValue(*numbers)


def _methods(printed: str) -> Mapping[str, str]:
    return {_CODE[title]: title for title in printed.split()}


_TABLE3 = "Random DC-VAE cGAN BigGAN GMMN MMD DataDAM"
_TABLE4 = "Random DSA DM CAFE DataDAM Early-stopping Whole"
_TABLE5 = "Random DC DSA DM KIP MTT DataDAM Whole"

PUBLISHED: Mapping[str, PublishedTable] = {
    "table3": PublishedTable(
        name="table3",
        title="test accuracy, mean ± standard deviation over 100 ConvNets",
        source=f"{_SOURCE}, Table 3",
        dataset="cifar10",
        network="convnet",
        methods=_methods(_TABLE3),
        rows=(
            _row(
                "1",
                "fraction",
                _TABLE3,
                "14.4±2.0 15.7±2.1 16.3±1.4 15.8±1.2 16.1±2.0 22.7±0.6 32.0±1.2",
            ),
            _row(
                "10",
                "fraction",
                _TABLE3,
                "26.0±1.2 29.8±1.0 27.9±1.1 31.0±1.4 32.2±1.3 34.9±0.3 54.2±0.8",
            ),
            _row(
                "50",
                "fraction",
                _TABLE3,
                "43.4±1.0 44.0±0.8 43.8±0.9 46.2±0.9 45.3±1.0 50.9±0.3 67.0±0.4",
            ),
        ),
    ),
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
        search=PublishedSearch(100, networks=5, validation=10_000, epochs=50),
    ),
}
