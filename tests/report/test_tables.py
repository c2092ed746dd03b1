"""Tables from fixed records, word for word; what must never be mixed; what a hostile name must not
do.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import re
import runpy
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcbench.artifacts.importers.catalogue import LAYOUTS
from dcbench.records import StoredRecord, write_record
from dcbench.report import (
    Table,
    build_tables,
    summary_rows,
    tidy_frame,
    to_csv,
    to_latex,
    to_markdown,
    write_tables,
)
from dcbench.report.selection.comparable import comparable_groups
from dcbench.report.selection.method_variants import unnamed
from dcbench.report.tables.escapes import latex, markdown
from dcbench.studies.declarations import STUDIES
from dcbench.studies.declared_methods import declared_methods
from dcbench.studies.published import (
    PUBLISHED,
    SOURCES,
    published_result,
    published_results,
)
from dcbench.system.errors import StorageError, UnknownNameError
from tests.fixed_records import EXAMPLE, FOREIGN, HOSTILE, SETS, fixed, record, sets

ROOT = Path(__file__).parents[2]
SMALL = dataclasses.replace(
    STUDIES["table3"], methods=("random", "mmd", "dm", "datadam"), ipcs=(1, 10)
)


def only(records: Iterable[StoredRecord]) -> Table:
    (table,) = build_tables(records)
    return table


def cells(table: Table, column: int = 1) -> dict[str, str]:
    return {row[0].text: f"{row[column].text} {row[column].detail}".strip() for row in table.rows}


CAPTION = (
    "Test accuracy (%) on CIFAR-10, JPEG-75 (revision f40c4d4d956f) of networks trained on the synthetic set alone:"
    " mean ± standard deviation over 3 sets of 2 networks [95 % t interval over sets]."
    " Protocol quick, version 1: ConvNet, instance normalisation, 300 epochs, batch 256, learning rate 0.01"
    " (along a cosine to zero), momentum 0.9, weight decay 0.0005, augmentation DSA, bf16;"
    " accuracy after the last epoch, never the best. Preset quick: not the settings of the published methods."
)
MARKDOWN = """\

| method | IPC 1, measured | IPC 1, published | IPC 10, measured | IPC 10, published | IPC 10, difference |
| --- | ---: | ---: | ---: | ---: | ---: |
| Random | – | 14.4 ± 2.0 | 28.5 ± 1.0 [26.0, 31.0] rank 3 | 26.0 ± 1.2 | +2.5 [0.0, +5.0] |
| MMD | – | 22.7 ± 0.6 | – | 34.9 ± 0.3 | – |
| DM | – | 26.0 ± 0.8 | <ins>44.8 ± 0.4†</ins> [43.8, 45.7] rank 2 (1–2) | 48.9 ± 0.6 | −4.1 [−5.1, −3.2] |
| DataDAM | – | 32.0 ± 1.2 | **45.2 ± 0.3** [44.5, 45.9] rank 1 (1–2) | 54.2 ± 0.8 | −9.0 [−9.7, −8.3] |

- Bold: highest mean, underlined: second.
- †: not told apart from the highest by a t-test over sets (Holm, 5 %), which finds differences of 2.5 to 3.8 points with 80 % power.
- Rank: the place by mean; a–b: the middle 95 % of its places when every mean is drawn from its t distribution over sets (from 3 sets on).
- Difference: measured minus published, in points [95 % t interval over the measured sets; the printed value counts as exact].
- Published by Sajedi et al., DataDAM, ICCV 2023, supplement, Table 3: Random (no augmentation, 100 networks); MMD (100 networks); \
DataDAM (100 networks; the released code keeps the best checkpoint on test).
- Published by Li et al., PAD, arXiv 2408.03360, Table 1: DM (DSA, 1,000 epochs, last epoch).
- Published values are of the original CIFAR-10; they are neither pooled with, tested against nor ranked with what was measured here.
- Space of the images: normalised.
"""
LATEX = r"""
\label{tab:cifar10-quick-convnet-dsa-KEY}
\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%
\begin{tabular}{lrrrrr}
\toprule
 & \multicolumn{2}{c}{IPC 1} & \multicolumn{3}{c}{IPC 10} \\
\cmidrule(lr){2-3} \cmidrule(lr){4-6}
method & measured & published & measured & published & difference \\
\midrule
Random & \textendash{} & 14.4 $\pm$ 2.0 & 28.5 $\pm$ 1.0 {\scriptsize {[}26.0, 31.0] rank 3} & 26.0 $\pm$ 1.2
    & +2.5 {\scriptsize {[}0.0, +5.0]} \\
MMD & \textendash{} & 22.7 $\pm$ 0.6 & \textendash{} & 34.9 $\pm$ 0.3 & \textendash{} \\
DM & \textendash{} & 26.0 $\pm$ 0.8 & \underline{44.8 $\pm$ 0.4}$\dagger$ {\scriptsize {[}43.8, 45.7] rank 2 (1\textendash{}2)}
    & 48.9 $\pm$ 0.6 & $-$4.1 {\scriptsize {[}$-$5.1, $-$3.2]} \\
DataDAM & \textendash{} & 32.0 $\pm$ 1.2 & \textbf{45.2 $\pm$ 0.3} {\scriptsize {[}44.5, 45.9] rank 1 (1\textendash{}2)}
    & 54.2 $\pm$ 0.8 & $-$9.0 {\scriptsize {[}$-$9.7, $-$8.3]} \\
\bottomrule
\end{tabular}}
\par\smallskip
\begin{minipage}{\linewidth}\footnotesize
""".replace("\n    &", " &")

SHORT_CAPTION = (
    "Test accuracy (%) on CIFAR-10, JPEG-75 of networks (ConvNet) trained on each synthetic set by protocol quick, bf16, DSA:"
    " mean ± standard deviation over 3 sets of 2 networks; bold: highest mean, underlined: second;"
    " †: not told apart from the highest by a t-test over sets (Holm, 5 %),"
    " which finds differences of 2.5 to 3.8 points with 80 % power."
)
COMPACT_MARKDOWN = """\

| method | IPC 10, measured | IPC 10, published |
| --- | ---: | ---: |
| *Selection* |  |  |
| Random | 28.5 ± 1.0 | 26.0 ± 1.2 |
| *Matching* |  |  |
| DM | <ins>44.8 ± 0.4†</ins> | 48.9 ± 0.6 |
| DataDAM | **45.2 ± 0.3** | 54.2 ± 0.8 |
"""
COMPACT_LATEX = r"""
\label{tab:cifar10-quick-convnet-dsa-KEY}
\par\medskip
\small\setlength{\tabcolsep}{3pt}
\begin{tabular*}{\textwidth}{@{\extracolsep{\fill}}lrr@{}}
\toprule
 & \multicolumn{2}{c}{IPC 10} \\
\cmidrule(lr){2-3}
method & measured & published \\
\midrule
\multicolumn{3}{@{}l}{\textit{Selection}} \\
Random & 28.5 $\pm$ 1.0 & 26.0 $\pm$ 1.2 \\
\addlinespace
\multicolumn{3}{@{}l}{\textit{Matching}} \\
DM & \underline{44.8 $\pm$ 0.4}\rlap{$\dagger$} & 48.9 $\pm$ 0.6 \\
DataDAM & \textbf{45.2 $\pm$ 0.3} & 54.2 $\pm$ 0.8 \\
\bottomrule
\end{tabular*}
\end{table}
"""


def test_a_compact_table_word_for_word(tmp_path: Path) -> None:
    (table,) = build_tables(fixed(), SMALL, "compact")
    assert to_markdown(table) == SHORT_CAPTION + "\n" + COMPACT_MARKDOWN
    head, body = to_latex(table).replace(table.name.rpartition("-")[2], "KEY").split("\n\\label", 1)
    assert head == "\\begin{table}[htbp]\n\\centering\n\\caption{" + latex(SHORT_CAPTION) + "}"
    assert f"\n\\label{body}" == COMPACT_LATEX
    fragment, notes = write_tables([table], "latex", tmp_path)
    assert notes.name == f"{fragment.stem}-notes.tex"
    said = notes.read_text(encoding="utf-8")
    assert said.startswith(
        rf"\paragraph{{Notes on Table~\ref{{tab:{table.name}}}.}} Data: CIFAR-10"
    )
    assert "Space of the images: normalised." in said


def test_a_compact_table_has_the_main_row_of_each_method_and_the_whole_data_last() -> None:
    table = build_tables(
        [
            *sets("whole", [(0.8, 0.82)], ipc=None),
            *sets("datadam", SETS["datadam"]),
            *sets(
                "datadam", SETS["dm"], fields={**EXAMPLE["fields"], "power": 1.0}, artifact_hash="b"
            ),
            *sets("dcvae", SETS["random"]),
            *sets("random", SETS["random"]),
            *sets("of-a-stranger", SETS["random"]),
        ],
        style="compact",
        published="none",
    )[0]
    assert [row[0].text for row in table.rows] == [
        "Random",
        "DC-VAE",
        "DataDAM",
        "of-a-stranger",
        "Whole",
    ]
    assert table.groups == (
        "Selection",
        "Generative models",
        "Matching",
        "Other methods",
        "Whole data",
    )
    assert [column.full_title for column in table.columns] == ["method", "IPC 10", "no budget"]


def test_settings_of_one_method_alone_are_all_in_a_compact_table() -> None:
    other = {**EXAMPLE["fields"], "power": 1.0}
    (table,) = build_tables(
        [
            *sets("datadam", SETS["datadam"]),
            *sets("datadam", SETS["dm"], fields=other, artifact_hash="b"),
        ],
        style="compact",
    )
    assert [row[0].text for row in table.rows] == ["DataDAM", "DataDAM (p 1)"]


def test_all_that_was_published_stands_in_a_table_of_its_own() -> None:
    own, printed = build_tables(fixed(), style="compact", published="all")
    assert not any(
        "published" in column.full_title
        for column in build_tables(fixed(), published="none")[0].columns
    )
    assert any("published" in column.full_title for column in own.columns)
    rows = {
        (row[0].text, row[-1].text.split(",")[0]): [cell.text for cell in row[1:5]]
        for row in printed.rows
    }
    assert rows["Random", "Cui et al."] == ["15.4", "31.0", "50.6", "–"]
    assert rows["MTT", "Wang et al."][0] == "46.3 ± 0.8"
    assert rows["Whole", "Sajedi et al."][-1] == "84.8 ± 0.1"
    assert len(printed.rows) > 25


def test_markdown_of_a_study_word_for_word() -> None:
    (table,) = build_tables(fixed(), SMALL)
    assert to_markdown(table) == CAPTION + "\n" + MARKDOWN


def test_latex_of_a_study_word_for_word() -> None:
    (table,) = build_tables(fixed(), SMALL)
    text = to_latex(table).replace(table.name.rpartition("-")[2], "KEY")
    head, body = text.split("\n\\label", 1)
    body, notes = f"\n\\label{body}".split("Bold:", 1)
    assert head == "\\begin{table}[htbp]\n\\centering\n\\caption{" + latex(CAPTION) + "}"
    assert body == LATEX
    assert notes.endswith("Space of the images: normalised.\\par\n\\end{minipage}\n\\end{table}\n")


def test_the_order_of_the_records_does_not_matter() -> None:
    assert build_tables(fixed()[::-1], SMALL) == build_tables(fixed(), SMALL)


def test_without_a_study_only_what_was_measured_has_a_row() -> None:
    table = only(fixed())
    assert [column.full_title for column in table.columns] == [
        "method",
        *(f"IPC 10, {each}" for each in ("measured", "published", "difference")),
    ]
    assert list(cells(table)) == ["Random", "DM", "DataDAM"]


def test_csv_holds_the_figures_as_fractions() -> None:
    (table,) = build_tables(fixed(), SMALL)
    rows = list(csv.DictReader(io.StringIO(to_csv(table))))
    found = {(row["method"], row["ipc"], row["source"]): row for row in rows}
    assert len(found) == len(rows) == 14  # DM was printed too, and differs at IPC 10
    measured = found["DataDAM", "10", "measured"]
    assert float(measured["mean"]) == pytest.approx(0.452)
    assert float(measured["ci95_sets_low"]) == pytest.approx(0.44542, abs=1e-4)
    assert (measured["sets"], measured["networks_fewest"], measured["rank"]) == ("3", "2", "1")
    assert (measured["rank_low"], measured["rank_high"]) == ("1", "2")
    assert [found[name, "10", "measured"]["tied"] for name in ("DM", "Random")] == ["True", "False"]
    assert float(found["DataDAM", "1", "published"]["mean"]) == 0.32
    assert found["DataDAM", "1", "published"]["sets"] == ""
    difference = found["DataDAM", "10", "difference"]
    assert float(difference["mean"]) == pytest.approx(0.452 - 0.542)
    assert float(difference["ci95_sets_low"]) == pytest.approx(0.44542 - 0.542, abs=1e-4)


def test_no_records_give_no_table() -> None:
    assert build_tables([]) == []
    assert summary_rows([]) == []
    assert tidy_frame([]).empty


def test_published_values_stand_beside_cifar10_and_convnets_alone() -> None:
    for changes in ({"dataset": "digits"}, {"network": "alexnet"}):
        table = only(sets("datadam", SETS["datadam"], **changes))
        assert [column.full_title for column in table.columns] == ["method", "IPC 10"]
        assert not any("ublished:" in note for note in table.notes)


def test_two_protocols_never_share_a_table() -> None:
    other = {**EXAMPLE["protocol"], "name": "paper"}
    tables = build_tables([*fixed(), *sets("random", SETS["random"], protocol=other)])
    assert [cells(table).keys() for table in tables] == [{"Random"}, {"Random", "DM", "DataDAM"}]
    assert ["Protocol paper" in table.caption for table in tables] == [True, False]
    assert len({table.name for table in tables}) == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"dataset_revision": "other"},
        {"network": "alexnet"},
        {"augment": "none"},
        {"protocol": {**EXAMPLE["protocol"], "version": 2}},
        {"protocol": {**EXAMPLE["protocol"], "precision": "fp32"}},
    ],
)
def test_what_cannot_be_compared_stands_apart(changes: dict[str, Any]) -> None:
    tables = build_tables([*sets("dm", SETS["dm"]), *sets("datadam", SETS["datadam"], **changes)])
    assert [len(table.rows) for table in tables] == [1, 1]
    assert not any(row[1].emphasis for table in tables for row in table.rows)
    assert tables[0].caption != tables[1].caption
    assert (
        len(summary_rows([*sets("dm", SETS["dm"]), *sets("dm", SETS["datadam"], **changes)])) == 2
    )


def test_a_teacher_is_described_in_words_and_only_where_nothing_shorter_tells_apart() -> None:
    records = sets("dm", SETS["dm"])
    for epochs in (5, 10):
        teacher = {"network": "convnet", "augment": "dsa", "epochs": epochs}
        labels = {**EXAMPLE["protocol"], "labels": "teacher", "teacher": teacher}
        records += sets("dm", SETS["dm"], protocol=labels)
    assert {group.judged_by for group in comparable_groups(records)} == {
        "quick",
        "quick, teacher labels, teacher (ConvNet, 5 epochs, augmentation DSA)",
        "quick, teacher labels, teacher (ConvNet, 10 epochs, augmentation DSA)",
    }
    alone = {group.judged_by for group in comparable_groups(records[:-3])}
    assert alone == {"quick", "quick, teacher labels"}


def test_who_chose_an_augmentation_makes_no_protocol() -> None:
    """A set that asks for none itself is trained alike where the user says so."""
    chosen = {**EXAMPLE["protocol"], "chosen": ["augment"]}
    assert (
        len(
            only(
                [
                    *sets("dm", SETS["dm"]),
                    *sets("mtt", SETS["dm"], protocol=chosen, protocol_hash="other"),
                ]
            ).rows
        )
        == 2
    )


def test_training_images_that_judge_stand_apart_and_beside_nothing_published() -> None:
    apart = {"protocol": {**EXAMPLE["protocol"], "judged_on": "holdout"}}
    tables = build_tables([*sets("dm", SETS["dm"]), *sets("dm", SETS["dm"], **apart)])
    (own,) = [
        table
        for table in tables
        if table.caption.startswith(
            "Accuracy on training images kept from distillation (%) on CIFAR-10"
        )
    ]
    assert len(tables) == 2
    assert not [column for column in own.columns if "published" in column.full_title]


def test_a_snapshot_is_named_by_its_step_and_stands_beside_nothing_published() -> None:
    early = {"artifact_hash": "datadam hash-step100", "changed": {"stopped_after": 100}}
    table = only([*sets("datadam", SETS["datadam"]), *sets("datadam", SETS["dm"], **early)])
    published = [column.full_title for column in table.columns].index("IPC 10, published")
    assert {
        label: text != "–"
        for label, text in cells(table, published).items()
        if label.startswith("DataDAM")
    } == {
        "DataDAM": True,
        "DataDAM (after 100 steps)": False,
    }
    alone = only(sets("datadam", SETS["dm"], **early))
    assert cells(alone, published)["DataDAM (after 100 steps)"] == "–"
    assert cells(alone, published)["DataDAM (published)"].startswith("54.2")
    assert "Fields changed from the preset: stopped_after=100." in alone.notes


def test_how_many_networks_there_are_makes_no_protocol() -> None:
    protocol = {**EXAMPLE["protocol"], "networks": 100}
    assert (
        len(
            build_tables(
                [*sets("dm", SETS["dm"]), *sets("datadam", SETS["datadam"], protocol=protocol)]
            )
        )
        == 1
    )


def test_one_set_is_shown_with_the_spread_of_its_networks() -> None:
    table = only(sets("dm", [(0.40, 0.42)]) + sets("random", [(0.30, 0.31)]))
    assert cells(table) == {"Random": "30.5 ± 0.7", "DM": "41.0 ± 1.4"}
    assert "over 2 networks trained on the one set made" in table.caption
    assert any("No test: each method needs 3 sets." in note for note in table.notes)


def test_one_network_of_one_set_has_no_spread() -> None:
    table = only(sets("dm", [(0.40,)]))
    assert cells(table) == {"DM": "40.0"}
    assert "the accuracy of the one network trained on the one set made" in table.caption
    assert not any("Bold" in note for note in table.notes)


def test_unequal_numbers_of_sets_and_networks_are_said_in_the_cell() -> None:
    table = only(
        [
            *sets("dm", SETS["dm"]),
            *sets("random", [(0.30, 0.31, 0.32)]),
            *sets("datadam", [(0.5,), (0.6, 0.6)]),
        ]
    )
    assert cells(table) == {
        "Random": "31.0 ± 1.0* 1\N{MULTIPLICATION SIGN}3",
        "DM": "44.8 ± 0.4 [43.8, 45.7] 3\N{MULTIPLICATION SIGN}2 rank 2",
        "DataDAM": "55.0 ± 7.1 [0.0, 100.0] 2\N{MULTIPLICATION SIGN}1\N{EN DASH}2",
    }
    assert any(note.startswith("*: one set only") for note in table.notes)
    assert any("No test: each method needs 3 sets." in note for note in table.notes)
    assert "over 2 to 3 sets of 1 to 3 networks; * one set, ± over its networks" in table.caption


def test_networks_of_other_evaluation_seeds_belong_to_their_set() -> None:
    table = only(
        [
            record("dm", [0.4], seed=0),
            record("dm", [0.5], seed=0, evaluation_seed=1),
            *sets("random", [(0.2, 0.2)]),
        ]
    )
    assert cells(table)["DM"].startswith("45.0 ± 7.1")
    assert "over 2 networks trained on the one set made" in table.caption


def test_bold_and_underlined_go_by_the_mean_and_a_dagger_by_a_test() -> None:
    near = [(0.500,), (0.520,), (0.480,)]
    far = [(0.501,), (0.5205,), (0.4807,)]
    noisy = [(0.47,), (0.49,), (0.53,)]

    def marks(*records: StoredRecord) -> dict[str, tuple[str, bool]]:
        rows = only(records).rows
        return {row[0].text: (row[1].emphasis, "†" in row[1].text) for row in rows}

    steady = marks(*sets("dm", near), *sets("datadam", far))
    assert steady == {"DM": ("underline", False), "DataDAM": ("bold", False)}
    unsure = marks(*sets("dm", near), *sets("datadam", noisy))
    assert unsure == {"DM": ("bold", False), "DataDAM": ("underline", True)}
    two = marks(*sets("dm", near[:2]), *sets("datadam", noisy[:2]))
    assert two == {"DM": ("bold", False), "DataDAM": ("underline", False)}


def test_each_budget_is_marked_on_its_own() -> None:
    table = only(
        [
            *sets("dm", SETS["dm"]),
            *sets("dm", SETS["random"], ipc=1),
            *sets("random", SETS["random"]),
        ]
    )
    marks = {
        (row[0].text, column.full_title): cell.emphasis
        for row in table.rows
        for column, cell in zip(table.columns, row, strict=True)
    }
    assert marks["DM", "IPC 1, measured"] == ""
    assert marks["DM", "IPC 10, measured"] == "bold"


def test_settings_of_one_method_have_rows_of_their_own() -> None:
    other = {**EXAMPLE["fields"], "power": 1.0}
    table = only(
        [
            *sets("datadam", SETS["datadam"]),
            *sets("datadam", SETS["dm"], fields=other, artifact_hash="b"),
        ]
    )
    assert list(cells(table)) == ["DataDAM", "DataDAM (p 1)"]
    # never beside an ablation
    assert [row[2].text for row in table.rows] == ["54.2 ± 0.8", "\N{EN DASH}"]


def test_presets_of_one_method_are_told_apart_by_name() -> None:
    other = {
        "fields": {**EXAMPLE["fields"], "power": 1.0, "iterations": 8000},
        "preset": "paper",
        "artifact_hash": "b",
    }
    table = only([*sets("datadam", SETS["datadam"]), *sets("datadam", SETS["dm"], **other)])
    assert list(cells(table)) == ["DataDAM", "DataDAM (preset quick)"]
    assert [row[2].text for row in table.rows] == ["54.2 ± 0.8", "\N{EN DASH}"]


def test_a_schedule_over_budgets_is_one_setting() -> None:
    other = {"fields": {**EXAMPLE["fields"], "iterations": 1000}, "ipc": 50, "artifact_hash": "b"}
    table = only([*sets("datadam", SETS["datadam"]), *sets("datadam", SETS["dm"], **other)])
    assert list(cells(table)) == ["DataDAM"]


def test_artifacts_that_no_known_setting_tells_apart_are_not_pooled() -> None:
    table = only(
        [
            *sets("dm", SETS["dm"], artifact_hash="a"),
            *sets("dm", SETS["datadam"], artifact_hash="b"),
        ]
    )
    assert list(cells(table)) == ["DM", "DM (artifact b)"]
    table = only(
        [
            *sets("dm", SETS["dm"], artifact_hash="a"),
            *sets("dm", SETS["datadam"], artifact_hash="b", ipc=50),
        ]
    )
    # of two budgets too: a method's file was changed between them
    assert list(cells(table)) == ["DM", "DM (artifact b)"]


def test_a_copied_artifact_is_no_other_setting() -> None:
    first, second = sets("dm", [(0.4,), (0.5,)])
    copied = dataclasses.replace(
        second, record=dataclasses.replace(second.record, distillation=None)
    )
    assert list(cells(only([first, copied]))) == ["DM"]


def foreign(method: str, accuracy: float, **changes: Any) -> StoredRecord:
    content = str(accuracy).ljust(12, "0")
    return record(
        method,
        [accuracy],
        **{**FOREIGN, "artifact_sha256": content, "artifact_hash": content, **changes},
    )


def test_foreign_sets_that_were_given_one_name_are_sets_of_one_method() -> None:
    theirs = [foreign("theirs", accuracy) for accuracy in (0.45, 0.47, 0.46)]
    table = only([*sets("dm", SETS["dm"]), *theirs])
    assert [text.split(" [")[0] for text in cells(table).values()] == [
        "44.8 ± 0.4†",
        "46.0 ± 1.0",
    ]
    assert list(cells(table)) == ["DM", "theirs (foreign)"]
    assert "Made by other code, under conditions not known here: theirs (foreign)." in table.notes
    assert [row["sets"] for row in summary_rows([*sets("dm", SETS["dm"]), *theirs])] == [3, 3]


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
def test_foreign_sets_without_a_name_of_their_own_are_never_pooled(layout: str) -> None:
    several = [
        foreign(layout, 0.46),
        foreign(layout, 0.66, recipe={"lr": 0.02}),
        foreign(layout, 0.56),
    ]
    table = only(several)
    rows = [row for row in table.rows if row[1].text[0].isdigit()]
    assert [re.sub(r".*\(foreign, (.*)\)", r"\1", row[0].text) for row in rows] == [
        *(
            "set 0.460000, recipe none",
            "set 0.560000, recipe none",
            "set 0.660000, recipe lr 0.02",
        ),
    ]
    assert [row[1].text for row in rows] == ["46.0", "56.0", "66.0"]
    assert any("Sets without a method's name" in note for note in table.notes)
    assert [row["sets"] for row in summary_rows(several)] == [1, 1, 1]
    assert all(unnamed(stored.record) for stored in several)


def test_one_foreign_set_needs_no_checksum() -> None:
    twice = [
        foreign("mtt", 0.46),
        foreign("mtt", 0.48, artifact_sha256="0.4600000000", evaluation_seed=1),
    ]
    assert list(cells(only(twice))) == ["MTT (published)", "MTT (foreign)"]


def test_sets_that_ask_for_different_recipes_are_no_replicates() -> None:
    table = only(
        [
            foreign("theirs", 0.46),
            foreign("theirs", 0.66, recipe={"lr": 0.02}),
            foreign("theirs", 0.68, recipe={"lr": 0.02}),
        ]
    )
    assert list(cells(table)) == ["theirs (foreign)", "theirs (foreign, recipe none)"]
    assert [row[1].text for row in table.rows] == ["67.0 ± 1.4", "46.0*"]
    single = 0.019999999552965164  # as a file of float32 holds 0.02
    table = only(
        [
            foreign("theirs", 0.66, recipe={"lr": 0.02}),
            foreign("theirs", 0.68, recipe={"lr": single}),
        ]
    )
    assert list(cells(table)) == ["theirs (foreign)"]
    assert "Trained with settings that the set itself asks for: lr=0.02." in table.notes
    learned = [
        record("mtt", [0.4], seed=seed, recipe={"lr": rate})
        for seed, rate in enumerate((0.011, 0.012))
    ]
    assert list(cells(only(learned))) == ["MTT"]  # ours learned them, as it did its images


def test_no_interval_of_accuracies_leaves_what_they_can_be() -> None:
    table = only([*sets("random", [(0.10,), (0.14,)]), *sets("datadam", [(0.9,), (0.99,)])])
    assert [row[1].detail for row in table.rows] == ["[0.0, 37.4]", "[37.3, 100.0]"]
    assert table.rows[0][3].detail == "[\N{MINUS SIGN}26.0, +11.4]"  # less the printed 26.0
    figures = [
        row for row in csv.DictReader(io.StringIO(to_csv(table))) if row["source"] == "measured"
    ]
    assert [(row["ci95_sets_low"][:4], row["ci95_sets_high"][:4]) for row in figures] == [
        ("0.0", "0.37"),
        ("0.37", "1.0"),
    ]


def test_what_has_no_budget_stands_in_a_column_of_its_own() -> None:
    table = only(
        [*sets("whole", [(0.8, 0.82)], ipc=None), *sets("dm", [(0.4, 0.42)], dataset_note="")]
    )
    assert [column.group or column.title for column in table.columns] == [
        "method",
        *["IPC 10"] * 3,
        *["no budget"] * 3,
    ]


def test_a_recipe_and_what_else_sets_a_row_apart_is_said() -> None:
    changes = {
        "recipe": {"lr": 0.02},
        "holdout": "10000, seed 0",
        "warnings": ["accuracy at chance"],
    }
    distillation = {**EXAMPLE["distillation"], "resumed_elsewhere": True}
    table = only(
        [
            *sets("dm", SETS["dm"], **changes, distillation=distillation),
            *sets("random", SETS["random"]),
        ]
    )
    said = "\n".join(table.notes)
    assert "Trained with settings that the set itself asks for: lr=0.02 (DM)." in said
    assert "Part of the training data that the method never saw: 10000, seed 0 (DM)." in said
    assert "Warning: accuracy at chance (DM)." in said
    assert "Continued half-way on another machine or setting: DM." in said


def test_fields_that_are_not_the_preset_s_are_named() -> None:
    assert not any("changed" in note for note in only(sets("dm", SETS["dm"], ipc=1)).notes)
    short = sets("dm", SETS["dm"], changed={"momentum": 0.0, "iterations": 3})
    assert "Fields changed from the preset: iterations=3, momentum=0.0." in only(short).notes
    other = sets("dm", SETS["dm"], ipc=1, budget_images=10, changed={"iterations": 1})
    usual = sets("dm", SETS["dm"], ipc=1, budget_images=10)
    for others, said in (
        (other, "iterations=1 (DM at IPC 1); iterations=3, momentum=0.0 (DM at IPC 10)"),
        (usual, "iterations=3, momentum=0.0 (DM at IPC 10)"),
    ):
        assert f"Fields changed from the preset: {said}." in only([*others, *short]).notes


def test_seeds_that_gave_the_same_images_are_named() -> None:
    """They are a sample of what the method gives, so the figures stay; where their spread is from
    is said.
    """
    same = [
        record("herding", accuracies, seed=seed, content=str(seed // 2))
        for seed, accuracies in enumerate(SETS["dm"])
    ]
    said = "Seeds that gave the same images, so that only networks differ: Herding (2 sets)."
    assert said in only([*same, *sets("random", SETS["random"])]).notes
    assert summary_rows(same) == summary_rows(sets("herding", SETS["dm"]))
    assert not any("same images" in note for note in only(sets("herding", SETS["dm"])).notes)


def test_the_projects_records_and_yours_are_labelled() -> None:
    theirs = sets("random", SETS["random"], origin="measured")
    assert "Measured by: the project." in only(theirs).notes
    mine = sets("dm", SETS["dm"][:2])
    assert "Measured by: the project (Random); you (DM)." in only([*theirs, *mine]).notes
    assert set(tidy_frame([*theirs, *mine])["origin"]) == {"measured", "yours"}


def test_the_summary_is_what_run_prints() -> None:
    rows = summary_rows(fixed())
    assert [row["method"] for row in rows] == ["datadam", "dm", "random"]
    assert list(rows[0]) == [
        "method",
        "dataset",
        "ipc",
        "sets",
        "mean",
        "std_sets",
        "std_networks",
        "ci95_sets",
    ]
    assert rows[0]["mean"] == pytest.approx(0.452)
    assert rows[0]["std_sets"] == pytest.approx(0.002646, abs=1e-6)
    assert rows[0]["std_networks"] == pytest.approx(0.007071, abs=1e-6)
    assert rows[0]["ci95_sets"] == pytest.approx([0.44543, 0.45857], abs=1e-5)
    single = summary_rows([record("dm", [0.4])])
    assert json.loads(json.dumps(single, allow_nan=False))[0]["ci95_sets"] is None


def test_rows_of_the_summary_are_told_apart_by_conditions_and_variant() -> None:
    protocol = {**EXAMPLE["protocol"], "precision": "fp32"}
    exactly = {"protocol": protocol, "protocol_hash": "exact", "precision": "fp32"}
    other = {"fields": {**EXAMPLE["fields"], "power": 1.0}, "artifact_hash": "b"}
    foreign_ones = [foreign("mtt", 0.4), foreign("mtt", 0.5)]
    found = [
        *sets("dm", SETS["dm"]),
        *sets("dm", SETS["dm"], **other),
        *sets("dm", SETS["dm"], **exactly),
        *foreign_ones,
    ]
    others = [
        *sets("dm", SETS["dm"], network="alexnet"),
        *sets("dm", SETS["dm"], augment="none", preset="paper"),
    ]
    rows = summary_rows([*found, *others], told_apart=True)
    told = [
        (
            row["method"],
            row["network"],
            row["augment"],
            row["precision"],
            row["preset"],
            row["variant"],
        )
        for row in rows
    ]
    assert sorted(told, key=str) == [
        ("dm", "alexnet", "dsa", "bf16", "quick", ""),
        ("dm", "convnet", "dsa", "bf16", "quick", "power=1.0"),
        ("dm", "convnet", "dsa", "bf16", "quick", "power=4.0"),
        ("dm", "convnet", "dsa", "fp32", "quick", ""),
        ("dm", "convnet", "none", "bf16", "paper", ""),
        ("mtt", "convnet", "dsa", "bf16", None, "foreign, checksum=0.400000"),
        ("mtt", "convnet", "dsa", "bf16", None, "foreign, checksum=0.500000"),
    ]
    (exact,) = (row for row in rows if row["precision"] == "fp32")
    assert (exact["protocol"], exact["protocol_hash"]) == (protocol, "exact")


def test_every_key_of_the_summary_is_described() -> None:
    text = (ROOT / "docs" / "guides" / "tables-for-a-paper.md").read_text(encoding="utf-8")
    assert [
        key for key in summary_rows(fixed(), told_apart=True)[0] if f"`{key}`" not in text
    ] == []


def test_the_tidy_frame_has_a_row_for_each_network() -> None:
    found = tidy_frame([*fixed(), record("mine", [0.1], **FOREIGN)])
    assert len(found) == 19
    assert sorted(found.loc[found["method"] == "dm", "accuracy"]) == pytest.approx(
        [0.44, 0.441, 0.447, 0.45, 0.451, 0.457]
    )
    assert str(found["seed"].dtype) == "Int64"
    assert found["accuracy"].dtype == float
    assert list(found.columns) == list(tidy_frame([]).columns)


def test_the_frame_s_example_averages_as_the_tables_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    precisely: dict[str, Any] = {
        "protocol": {**EXAMPLE["protocol"], "precision": "fp32"},
        "protocol_hash": "fp32",
    }
    distilled = {
        "artifact_hash": "fp32",
        "distillation": {**EXAMPLE["distillation"], "precision": "fp32"},
    }
    theirs = [
        foreign(name, own, recipe=recipe)
        for name in ("dm", "theirs")
        for own, recipe in ((0.5, {}), (0.7, {}), (0.6, {"lr": 1.0}))
    ]
    measured = [
        *fixed(),
        *sets("dm", SETS["random"], **precisely),
        *sets("dm", SETS["datadam"], **precisely, **distilled),
        *theirs,
    ]
    for place, stored in enumerate(measured):
        write_record(tmp_path / "results" / str(place) / "record.json", stored.record)
    monkeypatch.chdir(tmp_path)
    code = (
        (ROOT / "docs" / "guides" / "tables-for-a-paper.md")
        .read_text(encoding="utf-8")
        .split("```python\n")[1]
        .split("```")[0]
    )
    (tmp_path / "example.py").write_text(code, encoding="utf-8")
    found = runpy.run_path(str(tmp_path / "example.py"))["means"].reset_index().to_dict("records")
    expected = [
        (row["method"], row["sets"], round(row["mean"], 9)) for row in summary_rows(measured)
    ]
    assert sorted((row["method"], row["count"], round(row["mean"], 9)) for row in found) == sorted(
        expected
    )
    assert len(expected) == 10


def test_tables_are_written_whole(tmp_path: Path) -> None:
    tables = build_tables([*fixed(), *sets("random", SETS["random"], dataset="digits")])
    for fmt, ending in (("markdown", ".md"), ("latex", ".tex"), ("csv", ".csv")):
        paths = write_tables(tables, fmt, tmp_path / fmt)
        assert [path.suffix for path in paths] == [ending] * 2
        assert sorted((tmp_path / fmt).iterdir()) == sorted(paths)
    with pytest.raises(UnknownNameError, match="did you mean 'markdown'"):
        write_tables(tables, "markdwn", tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot write"):
        write_tables(tables, "csv", tmp_path / "file" / "below")


COMMANDS = (
    "begin end centering caption label resizebox ifdim width linewidth else fi toprule midrule bottomrule cmidrule multicolumn"
    " textbf underline scriptsize footnotesize par smallskip textbackslash textasciicircum textasciitilde textless textgreater"
    " textbar textendash char"
    " pm times div dagger leq geq neq infty to dots"
)


def hostile_table(name: str) -> Table:
    protocol = {**EXAMPLE["protocol"], "name": name, "optimizer": name, name: name}
    changes: dict[str, Any] = {
        **{
            "dataset": name,
            "dataset_note": name,
            "network": name,
            "augment": name,
            "preset": name,
            "space": name,
            "holdout": name,
        },
        **{"protocol": protocol, "warnings": [name], "recipe": {name: name}},
    }
    return only(
        [
            *sets(name, [(0.4, 0.5), (0.5, 0.5)], **changes),
            *sets("dm", [(0.4, 0.5), (0.5, 0.6)], **changes),
        ]
    )


def unescaped(text: str, character: str) -> bool:
    return re.search(rf"(?<!\\)(?:\\\\)*{re.escape(character)}", text) is not None


def test_letters_and_signs_of_settings_are_set_in_latex() -> None:
    assert latex("λ 0.1, ω ≥ 2 … “x”") == r"$\lambda$ 0.1, $\omega$ $\geq$ 2 \dots{} ``x''"


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_set_and_not_executed_in_latex(name: str) -> None:
    text = to_latex(hostile_table(name))
    assert set(re.findall(r"\\([A-Za-z]+)", text)) <= set(COMMANDS.split())
    assert "^" not in text
    assert "~" not in text
    assert not re.search(r"[^\x00-\xff]", text)
    bare = re.sub(r"\\[{}&#%_\\]", "", text)
    assert bare.count("{") == bare.count("}")
    assert bare.count("$") % 2 == 0
    for line in re.sub(r"\\\\$", "", text, flags=re.MULTILINE).splitlines():
        assert not re.match(r"[\[*]", line)
    assert len(re.findall(r"\\begin\{", text)) == len(re.findall(r"\\end\{", text)) == 3


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_stays_in_its_cell_in_markdown(name: str) -> None:
    table = hostile_table(name)
    lines = to_markdown(table).splitlines()
    start = lines.index("") + 1
    assert all(
        line.startswith("| ") and len(re.findall(r"(?<!\\)\|", line)) == 3
        for line in lines[start : start + 4]
    )
    assert len(lines) == start + 4 + 1 + len(table.notes)
    text = "\n".join(lines).replace("<ins>", "").replace("</ins>", "").replace("**", "")
    assert not any(unescaped(text, character) for character in "`*<_~")
    assert not re.search(r"(?<!\\)\]\(", text)
    assert "\x1b" not in text
    assert "\u202e" not in text


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_does_not_leave_the_folder(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "out"
    (path,) = write_tables([hostile_table(name)], "latex", folder)
    assert path.parent == folder
    assert re.fullmatch(r"[a-z0-9-]+\.tex", path.name)
    rows = list(csv.DictReader(io.StringIO(to_csv(hostile_table(name)))))
    assert len(rows) == 2


@settings(deadline=None, max_examples=100)
@given(st.text())
def test_no_text_escapes(text: str) -> None:
    bare = re.sub(r"\\[{}&#%_]", "", latex(text))
    assert bare.count("{") == bare.count("}")
    assert "\n" not in latex(text)
    assert not unescaped(markdown(text), "|")
    assert "\n" not in markdown(text)


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
@pytest.mark.slow
def test_the_latex_compiles_in_an_article(tmp_path: Path) -> None:
    """A compact table with published values at two budgets stays within the text."""
    budgets = [stored for ipc in (1, 10) for stored in sets("datadam", SETS["datadam"], ipc=ipc)]
    compact = build_tables([*budgets, *sets("dcvae", SETS["dm"][:1])], style="compact")
    tables = [*build_tables(fixed(), SMALL), *map(hostile_table, HOSTILE)]
    first = len(write_tables(compact, "latex", tmp_path))
    names = [path.name for path in write_tables([*compact, *tables], "latex", tmp_path)]
    packages = r"\usepackage{booktabs,graphicx}"
    inputs = "\n".join(rf"\input{{{name}}}\clearpage" for name in names)
    begin = rf"\documentclass{{article}}{packages}\begin{{document}}"
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "main.tex"]
    for text in (inputs, "\n".join(rf"\input{{{name}}}" for name in names[:first])):
        (tmp_path / "main.tex").write_text(rf"{begin}{text}\end{{document}}", encoding="utf-8")
        done = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, errors="replace", check=False
        )
        assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout


def test_table_3_is_as_printed() -> None:
    table = [result for result in published_results() if result.source == "table3"]
    assert [result.method for result in table] == [
        "random",
        "dcvae",
        "cgan",
        "biggan",
        "gmmn",
        "mmd",
        "datadam",
    ]
    values = {str(ipc): [result.values[ipc] for result in table] for ipc in (1, 10, 50)}
    printed = {
        ipc: [f"{100 * v.mean:.1f}±{100 * (v.std or 0):.1f}" for v in own]
        for ipc, own in values.items()
    }
    assert printed == {
        "1": ["14.4±2.0", "15.7±2.1", "16.3±1.4", "15.8±1.2", "16.1±2.0", "22.7±0.6", "32.0±1.2"],
        "10": ["26.0±1.2", "29.8±1.0", "27.9±1.1", "31.0±1.4", "32.2±1.3", "34.9±0.3", "54.2±0.8"],
        "50": ["43.4±1.0", "44.0±0.8", "43.8±0.9", "46.2±0.9", "45.3±1.0", "50.9±0.3", "67.0±0.4"],
    }


def test_tables_4_and_5_are_as_printed() -> None:
    table4, table5 = PUBLISHED["table4"], PUBLISHED["table5"]
    assert [value.mean for value in table4.rows[0].values.values()] == [
        0.889,
        0.872,
        0.872,
        0.836,
        0.89,
        0.889,
        0.892,
    ]
    assert [value.mean for value in table4.rows[1].values.values()] == [
        0.44,
        0.57,
        0.51,
        0.36,
        0.69,
        0.64,
        1.0,
    ]
    assert [value.mean for value in table4.rows[2].values.values()] == [
        33.0,
        31.2,
        32.2,
        30.7,
        34.8,
        37.1,
        5168.9,
    ]
    assert [value.mean for value in table4.rows[3].values.values()] == [
        500,
        500,
        500,
        500,
        500,
        50_000,
        50_000,
    ]
    found = table4.value("correlation, all 720", "datadam")
    assert found is not None
    assert found.mean == 0.72
    assert table4.value("correlation, all 720", "random") is None
    assert [value.mean for value in table5.rows[0].values.values()] == [
        -0.06,
        -0.19,
        -0.37,
        -0.37,
        -0.5,
        -0.09,
        0.07,
        0.7487,
    ]
    assert [value.mean for value in table5.rows[1].values.values()] == [
        0.919,
        0.8644,
        0.7354,
        0.9216,
        0.9291,
        0.7354,
        0.9396,
        0.935,
    ]


def test_each_study_of_printed_numbers_names_the_published_table_of_its_dataset() -> None:
    published = [study for study in STUDIES.values() if study.published]
    assert {study.published for study in published} == {"table3", "table4", "table5"}
    for study in published:
        name = study.published
        printed = [r.dataset for r in published_results() if r.source == name]
        assert (PUBLISHED[name].dataset if name in PUBLISHED else printed[0]) == study.dataset


def test_what_was_published_is_of_known_sources_and_stands_first_as_the_setting_follows() -> None:
    results = published_results()
    assert {result.source for result in results} <= set(SOURCES)
    assert len({(r.method, r.dataset, r.network, r.source, r.judged) for r in results}) == len(
        results
    )
    assert {
        "random",
        "herding",
        "k-center",
        "dc",
        "dsa",
        "dm",
        "cafe",
        "kip",
        "mtt",
        "datadam",
    } <= {result.method for result in results}
    for augment, first in (("dsa", 0.316), ("none", 0.303), ("autoaugment", 0.303)):
        cafe = published_result("cafe", "cifar10", "convnet", augment)
        assert cafe is not None
        assert cafe.values[1].mean == first
    assert published_result("cafe", "cifar10", "resnet18", "dsa") is None
    for preset, source in (("paper", "poster"), ("own", "ncfm"), ("quick", "ncfm")):
        mtt = published_result("mtt", "cifar10", "convnet", "dsa", preset)
        assert mtt is not None
        assert mtt.source == source


def test_every_method_that_dcbench_has_is_printed_under_its_name() -> None:
    """So that what a paper printed of it stands beside what was measured."""
    known = {one.title.lower(): name for name, one in declared_methods().items()}
    printed = {result.method for result in published_results()}
    assert [name for name in printed if known.get(name.lower(), name) != name] == []
    for method, augment, accuracy in (
        ("rded", "flip+cutmix", 0.502),
        ("idc", "colour-and-warp+cutmix", 0.675),
        ("forgetting", "none", 0.233),
    ):
        found = published_result(method, "cifar10", "convnet", augment)
        assert found is not None
        assert found.values[10].mean == accuracy
