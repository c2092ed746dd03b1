"""Two methods, presets or folders side by side: what is compared, and with which test."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from dcbench.evaluation.protocol import PROTOCOLS
from dcbench.records import StoredRecord, write_record
from dcbench.report import build_tables
from dcbench.report.comparison import drawing, side_by_side
from dcbench.report.formatting import USUAL_EPOCHS
from dcbench.system.errors import DataError
from tests.commandline import ask, done
from tests.fixed_records import EXAMPLE, SETS, fixed, sets

PAPER: dict[str, Any] = {
    "preset": "paper",
    "fields": {**EXAMPLE["fields"], "iterations": 8000},
    "artifact_hash": "paper",
}


def written(folder: Path, *records: list[StoredRecord]) -> Path:
    for number, stored in enumerate(own for each in records for own in each):
        write_record(folder / str(number) / "record.json", stored.record)
    return folder


def test_sets_with_the_same_seeds_are_compared_in_pairs_and_networks_by_number(
    tmp_path: Path,
) -> None:
    (row,) = side_by_side("datadam", "dm", written(tmp_path, fixed()))
    means = [[float(np.mean(own)) for own in SETS[name]] for name in ("datadam", "dm")]
    wanted = stats.ttest_rel(means[0], means[1])
    assert row.labels == ("DataDAM", "DM")
    assert row.test.paired
    assert row.test.difference == pytest.approx(0.452 - 0.447667, abs=1e-6)
    assert row.test.p_value == pytest.approx(wanted.pvalue)
    assert row.p_holm == pytest.approx(wanted.pvalue)  # of one condition
    assert {
        (seed, number): round(gain, 6)
        for seed, networks in row.networks.items()
        for number, gain in networks.items()
    } == {
        (seed, number): round(SETS["datadam"][seed][number] - SETS["dm"][seed][number], 6)
        for seed in range(3)
        for number in range(2)
    }
    assert len(drawing([row]).data) == 6
    assert drawing([row]).figure().axes[0].get_yticklabels()[0].get_text() == row.condition


def test_the_main_row_of_each_method_is_compared_and_p_is_corrected_over_conditions(
    tmp_path: Path,
) -> None:
    other = {"fields": {**EXAMPLE["fields"], "power": 1.0}, "artifact_hash": "b"}
    root = written(
        tmp_path,
        fixed(),
        sets("datadam", SETS["random"], **other),
        sets("datadam", SETS["random"], ipc=1),
        sets("dm", SETS["dm"], ipc=1),
        sets("dm", SETS["dm"], augment="none", protocol_hash="none"),
    )
    rows = side_by_side("datadam", "dm", root)
    assert [(row.ipc, row.labels[0]) for row in rows] == [(1, "DataDAM"), (10, "DataDAM")]
    p_values = [row.test.p_value or 0 for row in rows]
    assert [row.p_holm for row in rows] == pytest.approx(
        [min(1, 2 * p_values[0]), max(min(1, 2 * p_values[0]), p_values[1])]
    )


def test_presets_and_folders_are_sides(tmp_path: Path) -> None:
    root = written(tmp_path / "results", fixed(), sets("datadam", SETS["dm"], **PAPER))
    (row,) = side_by_side("datadam/paper", "datadam/quick", root)
    assert row.test.difference == pytest.approx(0.447667 - 0.452, abs=1e-6)
    assert [own.labels for own in side_by_side("paper", "quick", root)] == [row.labels]
    theirs = written(tmp_path / "theirs", sets("dm", SETS["random"], artifact_hash="theirs"))
    (beside,) = side_by_side(str(theirs), "dm", root)
    assert beside.test.difference == pytest.approx(0.285 - 0.447667, abs=1e-6)


def test_two_folders_may_hold_the_same_method_settings_and_seeds(tmp_path: Path) -> None:
    ours = written(tmp_path / "ours", sets("dm", SETS["dm"], content="a"))
    theirs = written(tmp_path / "theirs", sets("dm", SETS["random"], content="b"))
    (row,) = side_by_side(str(ours), str(theirs), tmp_path)
    assert row.labels == (f"DM ({ours})", f"DM ({theirs})")
    assert row.test.paired
    assert row.test.difference == pytest.approx(0.447667 - 0.285, abs=1e-6)


def test_no_record_counts_on_both_sides(tmp_path: Path) -> None:
    root = written(tmp_path / "results", fixed())
    theirs = written(root / "their-lab", sets("dm", SETS["random"], content="theirs"))
    for sides in ((str(root), str(theirs)), (str(theirs), "dm")):
        with pytest.raises(DataError, match=f"{theirs} lies inside {root}, so its records"):
            side_by_side(*sides, root)
    again = tmp_path / "results" / "their-lab" / ".."
    with pytest.raises(DataError, match="are the same records"):
        side_by_side(str(root), str(again), root)
    own = written(root / "digits", sets("dm", SETS["dm"], content="own"))
    (row,) = side_by_side(str(own), str(theirs), root)
    assert row.test.difference == pytest.approx(0.447667 - 0.285, abs=1e-6)


def test_what_cannot_be_compared_is_refused_in_one_line(tmp_path: Path) -> None:
    root = written(tmp_path, fixed(), sets("mmd", SETS["dm"], dataset="digits"))
    with pytest.raises(DataError, match="'nope' is no folder, and no method or preset"):
        side_by_side("nope", "dm", root)
    with pytest.raises(DataError, match="never judged alike"):
        side_by_side("mmd", "dm", root)
    with pytest.raises(DataError, match="dm and dm are the same records"):
        side_by_side("dm", "dm", root)


def test_the_command_says_difference_test_and_power_and_draws(tmp_path: Path) -> None:
    root = written(tmp_path / "results", fixed())
    asked = ("compare", "datadam", "random", "--results", root)
    said = done(*asked).out
    for words in (
        "DataDAM minus Random: CIFAR-10, JPEG-75, IPC 10, quick",
        "paired by seed",
        "80 % power",
        "6 of 6 pairs",
        "DataDAM is better",
    ):
        assert words in said
    answer = done(*asked, "--out", tmp_path / "out", "--json")
    (found,) = answer.json["comparisons"]
    assert found["difference"] == pytest.approx(0.452 - 0.285, abs=1e-6)
    assert found["network_differences"]["0"]["1"] == pytest.approx(0.455 - 0.29)
    assert sorted(path.suffix for path in (tmp_path / "out").iterdir()) == [
        ".csv",
        ".pdf",
        ".png",
        ".tex",
    ]
    assert ask("compare", "datadam", "nope", "--results", root).code == 1


def test_the_command_compares_the_chosen_budgets_only(tmp_path: Path) -> None:
    small = (sets(name, SETS[name], ipc=1) for name in ("datadam", "random"))
    asked = ("compare", "datadam", "random", "--results", written(tmp_path, fixed(), *small))
    assert [row["ipc"] for row in done(*asked, "--json").json["comparisons"]] == [1, 10]
    (found,) = done(*asked, "--ipc", "1", "--json").json["comparisons"]
    assert found["ipc"] == 1
    assert found["p_holm"] == found["p_value"]  # of the one condition that is compared
    assert "no record has --ipc 7; there are 1 and 10" in ask(*asked, "--ipc", "7").line


def test_no_two_conditions_or_tables_are_called_alike(tmp_path: Path) -> None:
    shorter = {"protocol": {**EXAMPLE["protocol"], "epochs": 20}}
    warmer = {"protocol": {**EXAMPLE["protocol"], "lr": 0.05}}
    copies = [{"dataset_revision": letter * 12} for letter in "ef"]
    changes: tuple[dict[str, Any], ...] = ({}, *copies, shorter, warmer)
    records = [
        own
        for number, change in enumerate(changes)
        for method in ("datadam", "dm")
        for own in sets(method, SETS[method], protocol_hash=str(number) * 12, **change)
    ]
    rows = side_by_side("datadam", "dm", written(tmp_path, records))
    said = [row.condition for row in rows]
    assert len(set(said)) == len(said) == len(changes)
    assert any("20 epochs" in each and "revision" not in each for each in said)
    assert all("CIFAR-10, JPEG-75" in each for each in said)
    assert all(any(f"revision {letter * 12}" in each for each in said) for letter in "ef")
    assert any("learning rate 0.05" in each for each in said)
    # whether or not records note which copy they are of
    silent = [replace(own, record=replace(own.record, dataset_note="")) for own in records]
    for noted in (records, silent):
        captions = [table.caption for table in build_tables(noted, style="compact")]
        assert len({caption.partition(":")[0] for caption in captions}) == len(changes)


def test_usual_epochs_are_those_of_the_protocols() -> None:
    declared = {
        name: {protocol.schedule.epochs, protocol.epochs_without_augmentation} - {None}
        for name, protocol in PROTOCOLS.items()
    }
    assert {name: set(epochs) for name, epochs in USUAL_EPOCHS.items()} == declared
