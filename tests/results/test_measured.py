"""The project's own measurements: what the pages say of them is what the records hold, and the
orderings are real.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from dcbench.cli import main
from dcbench.records import StoredRecord, find_records
from dcbench.records.files import measured_by_the_project
from dcbench.report import build_tables, summary_rows, to_markdown
from dcbench.report.figures.ablations import ablation_drawings
from dcbench.report.figures.evaluation_conditions import condition_drawings
from dcbench.report.figures.traces import trace_drawings
from dcbench.report.formatting import title
from dcbench.report.statistics.accuracies import compare, summarise_sets
from dcbench.report.tables.searches import search_tables
from dcbench.studies.published import PublishedValue, published_result
from dcbench.system.wording import counted

ROOT = Path(__file__).parents[2]
MEASURED = find_records(ROOT / "results" / "measured")
STUDIES = ROOT / "results" / "measured" / "studies"
QUICK = [
    stored
    for stored in find_records(ROOT / "results" / "measured" / "cifar10").records
    if (stored.record.protocol["name"], stored.record.precision) == ("quick", "bf16")
]


def means(method: str, ipc: int) -> dict[object, float]:
    """Mean accuracy of each set of a method, by seed."""
    own = [
        stored.record
        for stored in QUICK
        if (stored.record.method, stored.record.ipc) == (method, ipc)
    ]
    return {record.seed: sum(record.accuracies) / len(record.accuracies) for record in own}


def test_every_record_is_read() -> None:
    assert MEASURED.records
    assert not MEASURED.problems
    assert not MEASURED.hidden
    stored = MEASURED.everything
    strange = [record.path for record in stored if record.origin != "measured"]
    assert not strange, "make measured lists records that are new or were changed"
    assert len(stored) <= len(measured_by_the_project())


def test_no_two_rows_of_the_summary_say_that_they_are_the_same() -> None:
    rows = summary_rows(MEASURED.records, told_apart=True)
    figures = ("sets", "mean", "std_sets", "std_networks", "ci95_sets")
    said = [str({key: value for key, value in row.items() if key not in figures}) for row in rows]
    assert len(set(said)) == len(said) > 50


# of the images that DataDAM's authors publish to start from, by IPC
AUTHORS = {1: "file:051a475b5c1b", 10: "file:08a0995c131d"}


def outcomes() -> Iterator[str]:
    """The README's table: each method judged as its published number was."""
    judged = {
        "random": ("Random", "no augmentation, 301 epochs"),
        "dm": ("DM, 1,000 steps", "DSA, 1,001 epochs"),
        "datadam": (
            "DataDAM, code's setting, authors' start, whitened at IPC 10",
            "the code's protocol",
        ),
    }
    sets: dict[tuple[str, int], dict[object, tuple[float, ...]]] = {}
    for folder in ("controls", "original"):
        for stored in find_records(ROOT / "results" / "measured" / folder).records:
            record = stored.record
            chosen = {
                "datadam": record.fields.get("init") == AUTHORS.get(record.ipc or 0)
                and (record.fields.get("iterations"), record.space)
                == {1: (100, "normalised"), 10: (1000, "zca")}[record.ipc or 0],
                "dm": True,
            }.get(record.method, folder == "controls")
            if chosen:
                assert record.ipc is not None
                sets.setdefault((record.method, record.ipc), {})[record.seed] = record.accuracies
    for method, (name, by) in judged.items():
        augment = "none" if by.startswith("no ") else "dsa"
        printed = published_result(method, "cifar10", "convnet", augment)
        assert printed is not None
        cells = [
            cell
            for ipc in (1, 10)
            for cell in (labels_cell(sets.get((method, ipc), {})), shown(printed.values[ipc]))
        ]
        yield f"| {name} | {by} | {' | '.join(cells)} |"


def shown(value: PublishedValue) -> str:
    assert value.std is not None
    return f"{100 * value.mean:.1f} ± {100 * value.std:.1f}"


def test_the_readme_shows_what_the_records_hold() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = list(outcomes())
    assert [row for row in rows if row not in readme] == []
    assert "not the published settings" in readme


def test_the_page_of_all_methods_shows_what_the_records_hold() -> None:
    page = (ROOT / "docs" / "results" / "cifar10.md").read_text(encoding="utf-8")
    (table,) = build_tables(QUICK, style="full")
    assert "\n".join(to_markdown(table).splitlines()[2 : 4 + len(table.rows)]) in page
    assert "JPEG-75" in page


@pytest.mark.parametrize(("ipc", "least", "most"), [(1, 0.13, 0.19), (10, 0.24, 0.33)])
def test_the_quick_protocol_starves_nobody(ipc: int, least: float, most: float) -> None:
    sets = means("random", ipc)
    assert len(sets) >= 3
    assert least <= sum(sets.values()) / len(sets) <= most


@pytest.mark.parametrize(
    ("method", "ipc", "margin"),
    [("datadam", 1, 0.05), ("datadam", 10, 0.10), ("dm", 1, 0.05), ("dm", 10, 0.10)],
)
def test_learned_sets_beat_random_ones(method: str, ipc: int, margin: float) -> None:
    difference = compare(means(method, ipc), means("random", ipc))
    assert difference.difference >= margin
    assert difference.ci95 is not None
    assert difference.ci95[0] > 0  # over sets, paired by seed


@pytest.mark.parametrize("stored", QUICK, ids=lambda stored: f"{stored.record.label}")
def test_records_are_whole(stored: StoredRecord) -> None:
    record = stored.record
    assert record.dataset_note == "JPEG-75"
    assert [result.network for result in record.networks] == list(range(5))
    assert summarise_sets([record.accuracies]).mean == pytest.approx(sum(record.accuracies) / 5)


def said(row: Mapping[Any, Any]) -> str:
    """A mean with its interval, where there is more than one network, as the page has it."""
    mean, low, high = (
        None if pd.isna(row[name]) else f"{100 * row[name]:.1f}"
        for name in ("mean", "ci95_low", "ci95_high")
    )
    return f"{mean} [{low}, {high}]" if low else f"{mean}"


def figures_of_the_studies() -> Iterator[tuple[str, str]]:
    """Each accuracy that the report draws of the studies, as (what was varied, its row on the
    page).
    """
    found = find_records(STUDIES)
    for drawing in ablation_drawings(found.records):
        if "-network-" not in drawing.name:  # stands in the table over networks
            yield from (
                (drawing.name, f"| {row['value']} | {said(row)} |")
                for row in drawing.data.to_dict("records")
            )
    for drawing in condition_drawings(found.records):
        if drawing.name.startswith("augmentations"):
            yield from (
                (drawing.name, f"| {row['condition']} | {said(row)} |")
                for row in drawing.data.to_dict("records")
            )
        else:
            for series, rows in drawing.data.groupby("series"):
                accuracies = " | ".join(
                    f"{100 * mean:.1f}" for mean in rows.sort_values("x")["mean"]
                )
                yield drawing.name, f"| {series} | {accuracies} |"
    for drawing in trace_drawings(found.traces, STUDIES):
        if drawing.name.startswith("trace"):
            yield from (
                (drawing.name, f"| {row['x']} | {said(row)} |")
                for row in drawing.data.to_dict("records")
            )


def test_the_page_of_the_studies_shows_what_the_records_hold() -> None:
    page = (ROOT / "docs" / "results" / "studies.md").read_text(encoding="utf-8")
    rows = list(figures_of_the_studies())
    assert len(rows) >= 20
    assert [(name, row) for name, row in rows if row not in page] == []


def test_the_page_of_protocols_shows_what_whitening_came_to() -> None:
    page = (ROOT / "docs" / "results" / "datadam.md").read_text(encoding="utf-8")
    records = [
        stored.record
        for stored in find_records(ROOT / "results" / "measured" / "whitening").records
    ]
    spaces = {"zca": "of normalised values", "zca-pixels": "of pixels"}
    assert {record.space for record in records} == set(spaces)
    for record in records:
        figures = summarise_sets([record.accuracies])
        steps = record.changed.get("stopped_after", record.fields["iterations"])
        assert figures.std_networks is not None
        accuracy = f"{100 * figures.mean:.1f} ± {100 * figures.std_networks:.1f}"
        assert (
            f"| {spaces[record.space]} | {steps:,} | {record.protocol['name']} | {accuracy} |"
            in page
        )


def test_the_page_of_the_original_images_shows_what_the_records_hold() -> None:
    page = (ROOT / "docs" / "results" / "original.md").read_text(encoding="utf-8")
    found = find_records(ROOT / "results" / "measured" / "original")
    rows = []
    for record in (stored.record for stored in found.records):
        steps = f"{record.fields['iterations']:,}" if "iterations" in record.fields else "–"
        accuracy = mean_and_spread(record.accuracies)
        judging = f"{record.protocol['name']} | {record.augment} | {accuracy}"
        seed = "–" if record.seed is None else record.seed
        rows.append(f"| {record.ipc} | {seed} | {steps} | {judging} | {len(record.networks)} |")
    assert [row for row in rows if row not in page] == []
    judged = sum(page.count(f"| {name} |") for name in ("lineage", "released", "quick"))
    assert judged == len(rows)
    points = [point for stored in found.traces for point in stored.record.points]
    assert points
    for point in points:
        mean = sum(network.accuracy for network in point.networks) / len(point.networks)
        assert f"{100 * mean:.1f} after {point.step:,}" in page


def test_the_page_of_the_original_images_shows_the_controls() -> None:
    page = (ROOT / "docs" / "results" / "original.md").read_text(encoding="utf-8")
    (table,) = build_tables(find_records(ROOT / "results/measured/controls").records, style="full")
    assert "\n".join(to_markdown(table).splitlines()[2 : 4 + len(table.rows)]) in page


def test_the_page_of_datadam_shows_each_start_and_number_of_steps() -> None:
    page = (ROOT / "docs" / "results" / "datadam.md").read_text(encoding="utf-8")
    found = find_records(ROOT / "results" / "measured" / "original")
    own = [
        (stored.record.fields["iterations"], stored.record.accuracies)
        for stored in found.records
        if stored.record.method == "datadam" and "iterations" in stored.record.fields
    ]
    own += [
        (point.step, tuple(network.accuracy for network in point.networks))
        for stored in found.traces
        if stored.record.method == "datadam"
        for point in stored.record.points
    ]
    assert len(own) >= 6
    for steps, accuracies in own:
        assert f"| {steps:,} | {mean_and_spread(accuracies)} |" in page


def test_the_page_of_datadam_shows_what_was_judged_on_held_out_images() -> None:
    page = (ROOT / "docs" / "results" / "datadam.md").read_text(encoding="utf-8")
    found = find_records(ROOT / "results" / "measured" / "holdout")
    spaces = {"normalised": "none", "zca": "ZCA"}
    records = [stored.record for stored in found.records]
    assert {record.holdout.partition(" ")[0] for record in records} == {"5000"}
    for record in records:
        rate = f"{record.fields['lr'] or 1:g}"
        own = [(record.fields["iterations"], record.accuracies)]
        own += [
            (point.step, tuple(network.accuracy for network in point.networks))
            for stored in found.traces
            if stored.record.artifact_hash == record.artifact_hash
            for point in stored.record.points
        ]
        for steps, accuracies in own:
            row = f"| {spaces[record.space]} | {rate} | {steps:,} | {mean_and_spread(accuracies)} |"
            assert row in page


def mean_and_spread(accuracies: tuple[float, ...]) -> str:
    """The mean of one set's networks ± their standard deviation, if there are several, in
    percent.
    """
    figures = summarise_sets([accuracies])
    spread = figures.std_networks
    return f"{100 * figures.mean:.1f}" + ("" if spread is None else f" ± {100 * spread:.1f}")


def label_rows() -> Iterator[str]:
    """The table of docs/results/labels.md: each method's sets with classes and with a teacher."""
    sets: dict[tuple[str, int], dict[str, dict[object, tuple[float, ...]]]] = {}
    for stored in find_records(ROOT / "results" / "measured" / "labels").records:
        record = stored.record
        assert record.seed is not None
        assert record.ipc is not None
        end = ", easy end" if record.fields.get("end") == "easy" else ""
        own = sets.setdefault((f"{title(record.method)}{end}", record.ipc), {})
        own.setdefault(record.labels, {})[record.seed] = record.accuracies
    for (name, ipc), by_labels in sorted(sets.items(), key=lambda item: (item[0][1], item[0][0])):
        cells = [labels_cell(by_labels.get(labels, {})) for labels in ("classes", "teacher")]
        means = {
            labels: {seed: sum(own) / len(own) for seed, own in by_seed.items()}
            for labels, by_seed in by_labels.items()
        }
        gain = "–"
        if len(means) > 1:
            seeds = means["classes"].keys() & means["teacher"].keys()
            both = [{seed: means[each][seed] for seed in seeds} for each in ("teacher", "classes")]
            found = compare(*both)
            gain = f"{100 * found.difference:+.1f}".replace("-", "−")
            if found.ci95:
                low, high = (f"{100 * end:+.1f}".replace("-", "−") for end in found.ci95)
                gain += f" [{low}, {high}]"
        yield f"| {name} | {ipc} | {' | '.join(cells)} | {gain} |"


def labels_cell(by_seed: Mapping[object, tuple[float, ...]]) -> str:
    if not by_seed:
        return "–"
    figures = summarise_sets(list(by_seed.values()))
    star = "" if figures.sets > 1 else r"\*"
    interval = ""
    if figures.shown_ci95_sets:
        low, high = (f"{100 * end:.1f}" for end in figures.shown_ci95_sets)
        interval = f" [{low}, {high}]"
    spread = f" ± {100 * figures.shown_std:.1f}" if figures.shown_std is not None else ""
    return f"{100 * figures.mean:.1f}{spread}{star}{interval} {counted(figures.sets, 'set')}"


def test_the_page_of_labels_shows_what_the_records_hold() -> None:
    page = (ROOT / "docs" / "results" / "labels.md").read_text(encoding="utf-8")
    rows = list(label_rows())
    assert len(rows) >= 8
    assert [row for row in rows if row not in page] == []
    records = [each.record for each in find_records(ROOT / "results/measured/labels").records]
    for taught in filter(None, {record.teacher_accuracy for record in records}):
        assert f"{100 * taught:.2f}" in page
    most = max(
        record.distillation.peak_memory_bytes or 0 for record in records if record.distillation
    )
    assert f"{most / 2**30:.1f} GiB" in page


def test_the_page_of_searches_shows_what_the_records_hold() -> None:
    page = (ROOT / "docs" / "results" / "searches.md").read_text(encoding="utf-8").splitlines()
    tables = [
        table for table in search_tables(MEASURED.searches) if table.columns[0].title == "figure"
    ]
    names, held = set(), set()
    for table in tables:
        places = [
            place
            for place, column in enumerate(table.columns)
            if column.full_title.endswith("measured")
        ]
        for name, *cells in table.rows:
            shown = " | ".join(
                f"{cells[place - 1].text} {cells[place - 1].detail}".strip() for place in places
            )
            names.add(f"| {name.text} |")
            held.add(f"| {name.text} | {shown} |")
    on_page = [line for line in page if any(line.startswith(name) for name in names)]
    assert len(on_page) >= 6 * len(tables) > 0
    assert [line for line in on_page if line not in held] == []


def test_the_rendered_searches_are_those_of_the_records(tmp_path: Path) -> None:
    kept = ROOT / "results" / "measured" / "cifar10" / "search"
    words = ("--results", str(kept), "--format", "markdown", "--style", "full")
    with pytest.raises(SystemExit) as ended:
        main(["report", *words, "--out", str(tmp_path)])
    assert ended.value.code == 0

    def told(folder: Path) -> dict[Path, str]:
        files = (*folder.rglob("*.md"), *folder.rglob("*.csv"))
        return {path.relative_to(folder): path.read_text(encoding="utf-8") for path in files}

    assert told(tmp_path) == told(kept / "report")
    assert len(told(tmp_path)) >= 4
