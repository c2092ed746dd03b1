"""Searches in the report: measured beside published, differences, scatter plots; what may not share
a table.
"""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from dcbench.cli.nas import search_table
from dcbench.nas import convnet720
from dcbench.records import (
    ArchitectureScore,
    RecordsFound,
    SearchRecord,
    SearchRun,
    StoredSearch,
    Versions,
    find_records,
    write_record,
)
from dcbench.report import Table, to_csv, to_latex, to_markdown
from dcbench.report.figures import write_figures
from dcbench.report.figures.search_scatter import search_drawings
from dcbench.report.statistics import rankings
from dcbench.report.tables.searches import (
    rank_figures,
    search_groups,
    search_summary,
    search_tables,
)
from dcbench.system.errors import FileFormatError
from tests.fixed_records import measured_by_the_project

README = Path(__file__).parents[2] / "results" / "README.md"
COUNT = 60
TRUTH = [round(0.4 + 0.5 * value, 4) for value in np.random.RandomState(0).rand(COUNT).tolist()]
PROTOCOL = {
    "name": "search-convnet720",
    "version": 1,
    "epochs": 60,
    "lr": 0.01,
    "batch": 256,
    "augment": "dsa",
    "precision": "bf16",
}


def noisy(seed: int, spread: float) -> list[float]:
    noise = np.random.RandomState(seed).normal(0, spread, COUNT)
    return [
        round(min(1.0, max(0.0, 0.7 * accuracy + error)), 4)
        for accuracy, error in zip(TRUTH, noise.tolist(), strict=True)
    ]


def search(proxy: str, accuracies: Sequence[float], **changes: Any) -> StoredSearch:
    runs = [
        (SearchRun(0, accuracy, 0.5, 2.0, ""), SearchRun(1, accuracy, 0.5, 2.0, ""))
        for accuracy in accuracies
    ]
    scores = [
        ArchitectureScore(f"a{place}", 1e6, truth, own)
        for place, (truth, own) in enumerate(zip(TRUTH, runs, strict=False))
        if place < len(runs)
    ]
    value: dict[str, Any] = {
        "space": "convnet720",
        "space_fields": {},
        "space_size": 720,
        "excluded": (),
        "match": (),
        "sample": 60,
        "search_seed": 0,
        "seeds": 2,
        "top": 0.2,
        "top_by": "test",
        "proxy": proxy,
        "proxy_ipc": 10,
        "proxy_seed": 0,
        "proxy_preset": "quick",
        "proxy_fields": {},
        "proxy_hash": f"{proxy} hash",
        "proxy_holdout": "",
        "image_space": "normalised",
        "recipe": {},
        "storage_images": 100,
        "storage_bytes": 1_229_600,
        "dataset": "cifar10",
        "dataset_revision": "f40c4d4d956f",
        "dataset_note": "JPEG-75",
        "validation_images": 2000,
        "validation_seen_by_proxy": False,
        "protocol": PROTOCOL,
        "protocol_hash": "abc",
        "iterations": 60,
        "truth": {
            "source": "trained",
            "protocol": PROTOCOL | {"epochs": 5},
            "seeds": 1,
            "images": 48_000,
        },
        "architectures": tuple(scores),
        "seconds": 120.0,
        "engine": "eager",
        "precision": "bf16",
        "threads": 2,
        "device": "cpu",
        "device_name": "a processor",
        "versions": Versions("0", "2", "3"),
        "code": "",
        "created": "2026-01-31T12:00:00+00:00",
        "warnings": (),
    }
    return StoredSearch(Path(f"{proxy}/record.json"), SearchRecord(**{**value, **changes}))


def three() -> list[StoredSearch]:
    return [
        search("datadam", noisy(1, 0.03)),
        search("random", noisy(2, 0.2)),
        search("dm", noisy(3, 0.08)),
    ]


def row(table: Table, title: str) -> dict[str, str]:
    (cells,) = (cells for cells in table.rows if cells[0].text == title)
    return {
        column.full_title: f"{cell.text} {cell.detail}".strip()
        for column, cell in zip(table.columns, cells, strict=True)
    }


def test_measured_stands_beside_published() -> None:
    table, differences = search_tables(three())
    printed = [column.full_title for column in table.columns]
    assert printed == [
        *(
            "figure",
            "Random, measured",
            "Random, published",
            "DM, measured",
            "DM, published",
            "DataDAM, measured",
            "DataDAM, published",
        ),
        *("DSA, published", "CAFE, published", "Early-stopping, published", "Whole, published"),
    ]
    best = row(table, "test accuracy of the best (%)")
    order = sorted(range(COUNT), key=lambda place: noisy(1, 0.03)[place])
    assert best["DataDAM, measured"] == f"{100 * TRUTH[order[-1]]:.1f}"
    assert best["DataDAM, published"] == "89.0"
    correlation = row(table, "Spearman, all")
    expected = stats.spearmanr(noisy(1, 0.03), TRUTH).statistic
    assert correlation["DataDAM, measured"].startswith(f"{expected:.2f} [")
    assert correlation["DataDAM, published"] == "–"  # 0.72 is of all 720, which these are not
    assert row(table, "Spearman, top 20 %")["CAFE, published"] == "0.36"
    assert row(table, "time (min)")["Whole, published"] == "5168.9"
    assert (
        row(table, "time (min)")["DM, measured"],
        row(table, "images stored")["DM, measured"],
    ) == ("2.0", "100")
    assert [cells[0].text for cells in differences.rows] == [
        "Random minus DM",
        "Random minus DataDAM",
        "DM minus DataDAM",
    ]
    assert row(differences, "Random minus DataDAM")["all"].startswith("−")


def test_a_compact_table_has_a_row_for_each_proxy() -> None:
    """As the paper's Table 5."""
    (table,) = search_tables(three(), compact=True)
    (full, _) = search_tables(three())
    assert [column.full_title for column in table.columns] == [
        "proxy",
        *("performance (%), measured", "performance (%), published"),
        *("correlation, top 20 %, measured", "correlation, top 20 %, published"),
        *("correlation, all", "time (min), measured", "time (min), published"),
    ]
    assert [cells[0].text for cells in table.rows] == ["Random", "DM", "DataDAM"]
    best = row(table, "DataDAM")
    assert best["performance (%), published"] == "89.0"
    assert row(full, "Spearman, all")["DataDAM, measured"].startswith(best["correlation, all"])
    assert table.caption.count(". ") == 0
    assert table.notes == (full.caption, *full.notes)
    mine = search("mine", noisy(1, 0.03), proxy_title="My own")
    assert [cells[0].text for cells in search_tables([mine], compact=True)[0].rows] == ["My own"]


def test_the_conditions_are_said() -> None:
    (drawn_among, *_) = search_tables([search("dm", noisy(1, 0.1), match=("*-w32-*", "*-w64-*"))])
    assert (
        "60 of the 720 architectures of convnet720, drawn with seed 0 among those named *-w32-* and *-w64-*,"
        in drawn_among.caption
    )
    (all_of_them, *_) = search_tables(
        [search("dm", noisy(1, 0.1), match=("*-w32-*",), sample=None)]
    )
    assert (
        "60 of the 720 architectures of convnet720, all those named *-w32-*," in all_of_them.caption
    )
    seen = search("dm", noisy(3, 0.08), validation_seen_by_proxy=True, warnings=("looks odd",))
    table = search_tables([*three()[:2], seen])[0]
    for words in (
        "60 of the 720 architectures",
        "JPEG-75",
        "ours, for the paper gives none",
        "60 epochs",
        "48000 real images for 5 epochs",
        "2000",
    ):
        assert words in table.caption, words
    said = " ".join(table.notes)
    for words in (
        "Unlike the paper: architectures 60 (paper: 720); IPC 10 (paper: 50);",
        "presets of the sets quick (paper: its own settings)",
        "data JPEG-75 (paper: the original)",
        f"best accuracy of the truth {100 * max(TRUTH):.1f} % after 5 epochs (paper: 89.2 %)",
        "top 20 % by truth (paper: validation accuracy)",
        "(validation_seen_by_proxy): DM.",
        "Warning: looks odd (DM).",
        "top 20 % by truth: 12 architectures",
        "Table 4",
    ):
        assert words in said, words


def test_the_second_space_stands_beside_the_fifth_table() -> None:
    truth = {
        "source": "table",
        "file": "nasbench201.csv",
        "column": "cifar10_test_200ep",
        "sha256": "x",
        "rows": 15_625,
    }
    changes: dict[str, Any] = {
        "space": "nasbench201",
        "space_size": 15_625,
        "truth": truth,
        "space_fields": {"per_stage": 1, "channels": 16},
    }
    table = search_tables([search("datadam", noisy(1, 0.03), **changes)])[0]
    assert row(table, "Spearman, all")["DataDAM, published"] == "0.07"
    assert row(table, "test accuracy of the best (%)")["MTT, published"] == "73.5"
    assert "column cifar10_test_200ep in nasbench201.csv" in table.caption
    assert "(per stage 1, channels 16)" in table.caption


def test_other_data_is_not_set_beside_the_papers() -> None:
    table = search_tables([search("datadam", noisy(1, 0.03), dataset="digits")])[0]
    assert [column.full_title for column in table.columns] == ["figure", "DataDAM"]


def test_what_was_not_done_alike_shares_no_table() -> None:
    base = search("dm", noisy(3, 0.08))
    others = [
        search("random", noisy(2, 0.2), search_seed=1),
        search("random", noisy(2, 0.2), validation_images=100),
        search("random", noisy(2, 0.2), dataset_revision="other"),
        search("random", noisy(2, 0.2), protocol=PROTOCOL | {"lr": 0.1}),
        search("random", noisy(2, 0.2)[:50]),
    ]
    assert [len(search_groups([base, other])) for other in others] == [2] * len(others)
    assert len(search_groups([base, search("random", noisy(2, 0.2))])) == 1


def test_the_whole_data_stands_beside_proxies_trained_for_other_epochs() -> None:
    reference = search(
        "whole", TRUTH, protocol=PROTOCOL | {"epochs": 5}, proxy_ipc=None, proxy_seed=None
    )
    (group,) = search_groups([*three(), reference])
    assert group.labels == ("Random", "DM", "DataDAM", "Whole")
    table = search_tables([*three(), reference])[0]
    assert row(table, "Spearman, all")["Whole, measured"] == "1.00 [1.00, 1.00]"
    assert "60 epochs (Random, DM, DataDAM) and 5 epochs (Whole)" in table.caption
    assert any("the networks whose test accuracy is the truth" in note for note in table.notes)
    assert [group.labels for group in search_groups([reference])] == [("Whole",)]


def test_sets_of_one_method_are_told_apart() -> None:
    sets = [
        search("dm", noisy(seed, 0.08), proxy_seed=seed, proxy_hash=str(seed)) for seed in range(2)
    ]
    (group,) = search_groups([*sets, search("random", noisy(5, 0.2))])
    assert group.labels == ("Random", "DM (seed 0)", "DM (seed 1)")
    twins = [search("dm", noisy(seed, 0.08), proxy_hash=f"{seed}abcdefghi") for seed in range(2)]
    assert search_groups(twins)[0].labels == ("DM (0abcdefg)", "DM (1abcdefg)")


def test_a_foreign_set_stands_apart_and_beside_nothing_published() -> None:
    theirs = search(
        "datadam", noisy(1, 0.03), proxy_preset=None, proxy_seed=None, proxy_hash="theirs"
    )
    table, _ = search_tables(
        [
            theirs,
            search(
                "early-stopping", noisy(2, 0.1), proxy_preset=None, proxy_seed=None, proxy_ipc=None
            ),
        ]
    )
    titles = [column.full_title for column in table.columns]
    assert titles[1:4] == [
        "DataDAM (foreign)",
        "Early-stopping, measured",
        "Early-stopping, published",
    ]
    assert "DataDAM, published" in titles
    ours = search("datadam", noisy(3, 0.03))
    assert search_groups([theirs, ours])[0].labels == ("DataDAM", "DataDAM (foreign)")
    more = search("datadam", noisy(4, 0.1), proxy_preset=None, proxy_seed=None, proxy_hash="others")
    assert search_groups([theirs, more])[0].labels == (
        "DataDAM (foreign, others)",
        "DataDAM (foreign, theirs)",
    )
    assert [line[0] for line in search_table([ours.record, theirs.record]).rows] == [
        "datadam",
        "datadam (foreign)",
    ]


def test_all_formats_say_the_same() -> None:
    table = search_tables(three())[0]
    rows = list(csv.DictReader(io.StringIO(to_csv(table))))
    (found,) = (
        entry
        for entry in rows
        if entry["figure"] == "Spearman, all" and entry["column"] == "DataDAM, measured"
    )
    assert float(found["value"]) == pytest.approx(stats.spearmanr(noisy(1, 0.03), TRUTH).statistic)
    assert float(found["ci95_low"]) < float(found["value"]) < float(found["ci95_high"])
    assert "| Spearman, all |" in to_markdown(table)
    assert r"\multicolumn{2}{c}{DataDAM}" in to_latex(table)


def test_hostile_names_stay_in_their_cells() -> None:
    table = search_tables([search("a|b\n$x$ \\input{/etc/passwd}", noisy(1, 0.03))])[0]
    assert "\\input" not in to_latex(table)
    assert (
        len(
            {line.count(" | ") for line in to_markdown(table).splitlines() if line.startswith("| ")}
        )
        == 1
    )


def test_few_architectures_have_no_top() -> None:
    table, differences = search_tables(
        [search("dm", noisy(3, 0.08)[:9]), search("random", noisy(2, 0.2)[:9])]
    )
    assert row(table, "Spearman, top 20 %")["DM, measured"] == "–"
    assert row(differences, "Random minus DM")["top 20 %"] == "–"
    assert any("too few for a correlation, which takes 10" in note for note in table.notes)


def test_the_top_share_may_be_the_best_by_validation_accuracy() -> None:
    """As in the paper: other architectures, and other groups, than the best by test accuracy."""
    found = search("dm", noisy(3, 0.08))
    validated = tuple(
        dataclasses.replace(score, truth_validation=1 - TRUTH[place])
        for place, score in enumerate(found.record.architectures)
    )
    other = dataclasses.replace(found.record, top_by="validation", architectures=validated)
    worst = sorted(range(COUNT), key=lambda place: TRUTH[place])[:12]
    figures = rank_figures(other)
    pairs = [found.record.ranked[f"a{place}"] for place in worst]
    expected = rankings.spearman([one for one, _ in pairs], [truth for _, truth in pairs])
    assert figures.spearman_top.value == pytest.approx(expected)
    assert figures.spearman == rank_figures(found.record).spearman
    assert other.identity != found.record.identity
    tables = search_tables([found, StoredSearch(Path("other/record.json"), other)])
    assert len(tables) == 2
    notes = ["\n".join(table.notes) for table in tables]
    assert sum("top 20 % by truth (paper: validation accuracy)" in each for each in notes) == 1
    assert sum("The top 20 % by validation accuracy" in each for each in notes) == 1
    unsaid = dataclasses.replace(other, architectures=found.record.architectures)
    assert "truth_validation is not said" in unsaid.refuse()


def test_scatter_plots_are_drawn_with_their_figures(tmp_path: Path) -> None:
    paths = write_figures(RecordsFound((), (), tuple(three())), tmp_path, tmp_path / "figures")
    assert [path.suffix for path in paths] == [".pdf", ".png", ".csv", ".tex"] * 2
    rows = list(csv.DictReader(paths[2].read_text(encoding="utf-8").splitlines()))
    assert len(rows) == 3 * COUNT
    best = {
        entry["architecture"] for entry in rows if entry["top"] == "True" and entry["proxy"] == "DM"
    }
    assert best == {
        f"a{place}" for place in sorted(range(COUNT), key=lambda place: TRUTH[place])[-12:]
    }
    assert len(paths[6].read_text(encoding="utf-8").splitlines()) == 1 + 3 * 12


def test_every_architecture_of_a_panel_is_drawn_and_no_other() -> None:
    everything, top = search_drawings(three())
    for drawing in (everything, top):
        for panel, (_, own) in zip(
            drawing.figure().axes, drawing.data.groupby("proxy", sort=False), strict=True
        ):
            shown = np.concatenate(
                [np.asarray(scatter.get_offsets()) for scatter in panel.collections]
            )
            wanted = 100 * own[["proxy_accuracy", "truth"]].to_numpy(float)
            assert sorted(map(tuple, shown.round(6).tolist())) == sorted(
                map(tuple, wanted.round(6).tolist())
            )


def test_no_words_of_a_scatter_plot_lie_on_others() -> None:
    for drawing in search_drawings(three()):
        figure = drawing.figure()
        figure.draw_without_rendering()
        axis = figure.get_supxlabel()
        words = [
            *(text for text in figure.texts if text.get_text()),
            *figure.legends,  # of the figure of all architectures
            *(panel.title for panel in figure.axes),
        ]
        assert axis == "accuracy on validation images, trained on the proxy (%)"
        boxes = [each.get_window_extent() for each in words]
        assert not any(first.overlaps(second) for first, second in combinations(boxes, 2))


def test_a_record_from_before_patterns_meant_all_architectures() -> None:
    value = search("dm", noisy(1, 0.1)).record.to_json()
    older = {key: entry for key, entry in value.items() if key != "match"}
    assert SearchRecord.from_json({**older, "format_version": 1}).to_json() == value
    with pytest.raises(FileFormatError, match="field match is missing"):
        SearchRecord.from_json(older)


def test_a_search_record_survives_the_disk_and_counts_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = search("dm", noisy(3, 0.08)).record
    write_record(tmp_path / "a" / "record.json", record)
    write_record(
        tmp_path / "d" / "record.json",
        dataclasses.replace(record, created="2026-02-01T00:00:00"),
    )
    measured_by_the_project(tmp_path / "d" / "record.json", monkeypatch)
    write_record(tmp_path / "c" / "record.json", dataclasses.replace(record, search_seed=1))
    found = find_records(tmp_path)
    assert (found.records, found.problems) == ((), ())
    assert [(stored.path.parent.name, stored.origin) for stored in found.searches] == [
        ("c", "yours"),
        ("d", "measured"),
    ]
    assert found.searches[0].record == dataclasses.replace(record, search_seed=1)


def test_a_wrong_field_of_a_search_is_refused_by_name() -> None:
    plain = search("dm", noisy(3, 0.08)).record.to_json()
    twice = {**plain, "architectures": plain["architectures"][:1] * 2}
    for wrong, complaint in (
        (twice, "names an architecture twice"),
        ({**plain, "seeds": 0}, "field seeds must be at least 1"),
        ({**plain, "surprise": 1}, "unknown field 'surprise'"),
        ({**plain, "architectures": []}, "field architectures must not be empty"),
    ):
        with pytest.raises(FileFormatError, match=complaint):
            SearchRecord.from_json(wrong)


def test_every_field_of_a_search_is_described() -> None:
    text = (
        README.read_text(encoding="utf-8").split("## The record of a search")[1].split("\n## ")[0]
    )
    names = [
        field.name
        for kind in (SearchRecord, ArchitectureScore, SearchRun)
        for field in dataclasses.fields(kind)
    ]
    assert [name for name in names if f"`{name}`" not in text] == []


def other_than_the_paper(table: Table) -> str:
    return next((note for note in table.notes if note.startswith("Unlike the paper")), "")


def named(names: Sequence[str], proxy: str = "dm", **changes: Any) -> StoredSearch:
    """A search over architectures of these names."""
    stored = search(proxy, noisy(1, 0.1)[: len(names)], **changes)
    scores = [
        dataclasses.replace(score, architecture=name)
        for score, name in zip(stored.record.architectures, names, strict=True)
    ]
    return dataclasses.replace(
        stored, record=dataclasses.replace(stored.record, architectures=tuple(scores))
    )


def test_values_of_the_grid_that_were_not_drawn_are_said() -> None:
    grid = [str(each) for each in convnet720.grid()]
    narrow = [name for name in grid if "-w256-" not in name][::11]
    (table,) = search_tables([named(narrow)])
    assert (
        f"architectures {len(narrow)} (paper: 720); never drawn width 256 (paper: nothing);"
        in other_than_the_paper(table)
    )
    few = [name for name in grid if name.startswith("d1-w32-relu-group-")]
    (table,) = search_tables([named(few)])
    missing = (
        "never drawn depth 2, 3 and 4, width 64, 128 and 256, activation sigmoid and leaky-relu"
    )
    assert f"{missing}, normalisation none, batch, layer and instance" in other_than_the_paper(
        table
    )
    (table,) = search_tables([named(grid[::13])])
    assert "never drawn" not in other_than_the_paper(table)


def test_a_short_search_of_nasbench201_says_what_the_paper_has() -> None:
    table_truth = {"source": "table", "file": "t.csv", "column": "c", "sha256": "0", "rows": 15625}
    asked: dict[str, Any] = {
        "space": "nasbench201",
        "space_size": 15625,
        "truth": table_truth,
        "seeds": 1,
    }
    (table,) = search_tables([search("dm", noisy(1, 0.1), **asked)])
    said = other_than_the_paper(table)
    for words in (
        "architectures 60 (paper: 100);",
        "networks of each 1 (paper: 5);",
        "validation images 2000 (paper: 10000);",
        "training on a proxy, as DC-BENCH 60 epochs (paper: 50 epochs);",
        "mixture of all five operations",
    ):
        assert words in said
    assert "truth" not in said
    as_printed = {
        "proxy_ipc": 50,
        "proxy_preset": "paper",
        "seeds": 5,
        "validation_images": 10_000,
        "dataset_note": "",
    }
    runs = tuple(SearchRun(0, 0.1, 0.5, 1.0, "") for _ in range(5))
    scores = tuple(ArchitectureScore(f"a{place}", 1e6, 0.9, runs) for place in range(100))
    full = search(
        "dm",
        [],
        **{**asked, **as_printed, "protocol": PROTOCOL | {"epochs": 50}, "architectures": scores},
    )
    assert other_than_the_paper(search_tables([full])[0]) == ""


def test_a_summary_has_no_nan() -> None:
    constant = search_summary(search("dm", [0.1] * COUNT).record, Path("record.json"))
    assert (
        constant["spearman"],
        constant["spearman_ci95"],
        constant["kendall"],
        constant["spearman_top"],
    ) == (None, None, None, None)
    assert constant["top1_accuracy"] == pytest.approx(np.mean(TRUTH))
