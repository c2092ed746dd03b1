"""Tables of truths: what is read, what is refused by name, and the one made from the benchmark's
own package.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from dcbench.nas import nasbench201
from dcbench.nas.catalogue import SPACES
from dcbench.nas.truth import read_truth, write_truth
from dcbench.system.errors import DataError, FileFormatError, MismatchError
from tests.reference.cells import unique_string

CELLS = SPACES["nasbench201"].identifiers()
CONVNETS = SPACES["convnet720"].identifiers()
PUBLISHED = (
    Path(os.environ.get("DCBENCH_DATA") or Path(__file__).parents[2] / "shared" / "data")
    / "nasbench201.csv"
)


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def cells(*accuracies: object) -> str:
    rows = (f"{place},{CELLS[place]},{accuracy},7.5\n" for place, accuracy in enumerate(accuracies))
    return "index,arch,cifar10_test_200ep,cifar100_test_200ep\n" + "".join(rows)


def test_percent_becomes_fractions_and_the_column_follows_the_data(tmp_path: Path) -> None:
    table = write(tmp_path / "table.csv", cells(85.5, 10, 94.3733))
    truth = read_truth(table, SPACES["nasbench201"], "cifar10")
    assert truth.accuracies == {CELLS[0]: 0.855, CELLS[1]: 0.1, CELLS[2]: pytest.approx(0.943733)}
    assert truth.origin["column"] == "cifar10_test_200ep"
    assert read_truth(table, SPACES["nasbench201"], "cifar100").accuracies[CELLS[0]] == 0.075
    assert (
        read_truth(table, SPACES["nasbench201"], "cifar10", "cifar100_test_200ep").accuracies[
            CELLS[0]
        ]
        == 0.075
    )


def test_parquet_says_the_same(tmp_path: Path) -> None:
    import pandas as pd

    table = write(tmp_path / "table.csv", cells(85.5, 10, 94.3733))
    pd.read_csv(table).to_parquet(tmp_path / "table.parquet")
    space = SPACES["nasbench201"]
    assert (
        read_truth(tmp_path / "table.parquet", space, "cifar10").accuracies
        == read_truth(table, space, "cifar10").accuracies
    )


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    write_truth(
        tmp_path / "truth.csv",
        ("digits", "abc"),
        [(CONVNETS[0], 0.25, 0.5, 2), (CONVNETS[1], 1.0, 0.5, 2)],
    )
    truth = read_truth(tmp_path / "truth.csv", SPACES["convnet720"], "digits")
    assert truth.accuracies == {CONVNETS[0]: 0.25, CONVNETS[1]: 1.0}
    assert (
        read_truth(
            tmp_path / "truth.csv", SPACES["convnet720"], "digits", "validation_accuracy"
        ).accuracies[CONVNETS[1]]
        == 0.5
    )
    with pytest.raises(MismatchError, match="truth on 'digits', but the search is on 'mnist'"):
        read_truth(tmp_path / "truth.csv", SPACES["convnet720"], "mnist")
    assert (
        read_truth(tmp_path / "truth.csv", SPACES["convnet720"], "digits", revision="abc") == truth
    )
    with pytest.raises(
        MismatchError, match="row 2: truth on revision abc of digits, but the search is on abd"
    ):
        read_truth(tmp_path / "truth.csv", SPACES["convnet720"], "digits", revision="abd")
    with pytest.raises(
        DataError, match=f"lacks 1 of the 2 architectures drawn, first {CONVNETS[2]}"
    ):
        truth.require([CONVNETS[0], CONVNETS[2]], tmp_path / "truth.csv")


HEAD = "arch,cifar10_test_200ep\n"
WRONG: Mapping[str, tuple[str, str]] = {
    "twice": (
        cells(85) + f"9,{CELLS[0]},85,7\n",
        r"row 3: architecture \|none~0\|.* stands there twice",
    ),
    "missing": (cells("", 85), "cifar10_test_200ep is '', wanted a number"),
    "a word": (cells("good"), "is 'good', wanted a number"),
    "not a number": (cells("nan"), "is 'nan', wanted 0 to 100"),
    "too large": (cells(85, 101.5), r"row 3: .* is '101\.5', wanted 0 to 100"),
    "below nothing": (cells(-1), "is '-1', wanted 0 to 100"),
    "fractions": (cells(0.85, 0.1), "seems to hold fractions; wanted percent"),
    "malformed": (HEAD + "|none~0|,85\n", r"row 2: malformed architecture '\|none~0\|'"),
    "another space": (
        HEAD + "d3-w128-relu-instance-average,85\n",
        "malformed architecture 'd3-w128",
    ),
    "no such column": (
        f"arch,accuracy\n{CELLS[0]},85\n",
        "no column cifar10_test_200ep; it has arch, accuracy; --truth-column",
    ),
    "no architectures": ("name,cifar10_test_200ep\nx,85\n", "no column architecture or arch"),
    "ragged": (HEAD + f"{CELLS[0]}\n", "row 2: not as many entries as the head has"),
    "empty": ("", "has no rows"),
    "head alone": (HEAD, "has no rows"),
    "open quote": (HEAD + f'"{CELLS[0]},85\n', "not a readable CSV table"),
}


@pytest.mark.parametrize(("content", "complaint"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_table_is_refused_by_the_item(tmp_path: Path, content: str, complaint: str) -> None:
    table = write(tmp_path / "table.csv", content)
    with pytest.raises(FileFormatError, match=complaint) as refused:
        read_truth(table, SPACES["nasbench201"], "cifar10")
    assert str(table) in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["table.csv", "table.parquet"])
def test_a_file_of_another_kind_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\x80\x04\x95\xff\xfe\x00PAR1")
    with pytest.raises(FileFormatError, match=f"{name} is not a readable"):
        read_truth(tmp_path / name, SPACES["nasbench201"], "cifar10")


def test_a_missing_file_says_where_one_comes_from(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no such file: .*gone\.csv; wanted .*nats-bench"):
        read_truth(tmp_path / "gone.csv", SPACES["nasbench201"], "cifar10")


class FakeBenchmark:
    """As much of nats-bench's object as its documentation promises: ``meta_archs`` and
    ``get_more_info``.
    """

    meta_archs: Sequence[str] = CELLS[:3]

    def get_more_info(
        self, index: int, dataset: str, *, hp: str, is_random: bool
    ) -> Mapping[str, Any]:
        assert (hp, is_random) == ("200", False)
        shift = {"cifar10": 90.0, "cifar100": 70.0, "ImageNet16-120": 40.0}[dataset]
        return {"train-accuracy": 99.0, "test-accuracy": shift + index}


def test_the_benchmarks_own_object_becomes_such_a_table(tmp_path: Path) -> None:
    nasbench201.convert(FakeBenchmark(), tmp_path / "table.csv")
    space = SPACES["nasbench201"]
    assert read_truth(tmp_path / "table.csv", space, "cifar10").accuracies == {
        CELLS[0]: 0.9,
        CELLS[1]: 0.91,
        CELLS[2]: 0.92,
    }
    assert (
        read_truth(
            tmp_path / "table.csv", space, "cifar10", "imagenet16_120_test_200ep"
        ).accuracies[CELLS[2]]
        == 0.42
    )


def test_a_benchmark_with_a_gap_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing: Callable[..., Mapping[str, Any]] = lambda *_, **__: {"train-accuracy": 99.0}  # noqa: E731
    monkeypatch.setattr(FakeBenchmark, "get_more_info", nothing)
    with pytest.raises(DataError, match="no test accuracy of"):
        nasbench201.convert(FakeBenchmark(), tmp_path / "table.csv")
    assert not (tmp_path / "table.csv").exists()


@pytest.mark.skipif(not PUBLISHED.is_file(), reason=f"no {PUBLISHED}")
def test_the_published_table_is_whole_and_isomorphs_score_alike() -> None:
    truth = read_truth(PUBLISHED, SPACES["nasbench201"], "cifar10")
    truth.require(CELLS, PUBLISHED)
    assert len(truth.accuracies) == 15_625
    assert max(truth.accuracies.values()) == pytest.approx(0.943733)
    by_class: dict[str, list[float]] = {}
    for cell in nasbench201.cells():
        by_class.setdefault(unique_string(cell), []).append(truth.accuracies[str(cell)])
    spreads = [max(values) - min(values) for values in by_class.values() if len(values) > 1]
    # one network trained several times; all in all they span 0.84
    assert sorted(spreads)[len(spreads) // 2] < 0.01
