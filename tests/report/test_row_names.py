"""Names of rows: short, of what differs from the method's main row, and never the same twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcbench.records import StoredRecord, find_records
from dcbench.report import build_tables
from dcbench.report.figures import draw_figures
from dcbench.report.figures.ablations import ablation_drawings
from dcbench.report.figures.evaluation_conditions import condition_drawings
from dcbench.report.formatting import short_hash
from dcbench.report.selection.comparable import comparable_groups
from dcbench.report.selection.row_names import distinct, labels
from dcbench.report.tables.accuracies import Style
from dcbench.studies.declared_methods import declared_methods
from tests.fixed_records import EXAMPLE, FOREIGN, HOSTILE, record, sets

MEASURED = Path(__file__).parents[2] / "results" / "measured"
DATADAM: dict[str, Any] = {"power": 4.0, "balance": 0.01, "iterations": 250, "real_batch": 256}


def datadam(seeds: int = 1, **changes: Any) -> list[StoredRecord]:
    """Sets of DataDAM with some fields changed, each setting with an artifact of its own."""
    own: dict[str, Any] = {
        key: changes.pop(key) for key in ("preset", "space", "changed") if key in changes
    }
    fields = DATADAM | changes
    hashed = short_hash(str(sorted((fields | own).items(), key=str)))
    return sets("datadam", [(0.4,)] * seeds, fields=fields, artifact_hash=hashed, **own)


def names(*records: list[StoredRecord]) -> list[str]:
    (group,) = comparable_groups([stored for own in records for stored in own])
    return [entry.label for entry in group.entries]


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"iterations": 500}, "500 steps"),
        ({"iterations": 8000}, "8,000 steps"),
        ({"balance": 0.1}, "λ 0.1"),
        ({"power": 1.0}, "p 1"),
        ({"loss": "mae", "scale": 5.0}, "mae loss, scale 5"),
        ({"loss": "cosine"}, "cosine loss"),
        ({"init": "k-center"}, "from K-Center"),
        ({"network": "alexnet"}, "made with AlexNet"),
        ({"space": "zca"}, "ZCA"),
        ({"space": "zca-pixels"}, "ZCA of pixels"),
        ({"changed": {"stopped_after": 1000}}, "after 1,000 steps"),
        ({"iterations": 100, "real_batch": 64, "balance": 1.0}, "100 steps, 64 real images, λ 1"),
    ],
)
def test_a_row_is_called_by_what_differs_from_the_main_row(
    changes: dict[str, Any], name: str
) -> None:
    assert names(datadam(), datadam(**changes)) == ["DataDAM", f"DataDAM ({name})"]


def test_of_a_user_s_method_the_main_row_has_the_defaults() -> None:
    def pairs(weight: float, changed: dict[str, float]) -> list[StoredRecord]:
        own = {"fields": {"weight": weight}, "artifact_hash": f"{weight} hash", "changed": changed}
        return sets("pairs", [(0.4,), (0.5,)], **own)

    other = [pairs(0.0, {"weight": 0.0}), pairs(0.9, {"weight": 0.9})]
    assert names(pairs(0.7, {}), *other) == ["pairs", "pairs (weight 0)", "pairs (weight 0.9)"]


def test_a_user_s_method_is_called_by_the_title_that_it_registered() -> None:
    """The newest of its records knows it; a record cannot rename one of the project's methods."""
    old = sets("pairs", [(0.4,)], created="2026-01-01T00:00:00+00:00", title="Old")
    new = [record("pairs", (0.5,), seed=1, title="Pairs of images")]
    fields = {**EXAMPLE["fields"], "lr": 3.0}
    other = [record("pairs", (0.6,), fields=fields, artifact_hash="b", changed={"lr": 3.0})]
    ours = sets("dm", [(0.3,)], title="DataDAM")
    assert names(old, new, other, ours) == ["DM", "Pairs of images", "Pairs of images (lr 3)"]


def test_a_hash_is_in_a_name_only_where_nothing_else_tells_rows_apart() -> None:
    twins = [datadam(loss="mae"), datadam(loss="mae")]
    twins[1] = [record("datadam", (0.4,), fields=DATADAM | {"loss": "mae"}, artifact_hash="edited")]
    first = twins[0][0].record.artifact_hash
    assert names(datadam(), datadam(balance=0.1), *twins) == [
        "DataDAM",
        *sorted(f"DataDAM (mae loss, artifact {name})" for name in (first, "edited")),
        "DataDAM (λ 0.1)",
    ]


def test_the_preset_that_most_methods_have_is_the_main_one() -> None:
    """Though paper has more sets of this method."""
    others = [*sets("dm", [(0.3,)]), *sets("random", [(0.2,)])]  # of preset quick
    mine = [*datadam(3, preset="paper", iterations=8000), *datadam()]
    assert names(others, mine) == ["DataDAM", "DataDAM (preset paper)", "DM", "Random"]
    assert names(datadam(3, preset="paper", iterations=8000), datadam()) == [
        "DataDAM",
        "DataDAM (preset quick)",
    ]


def test_of_one_preset_the_row_with_the_preset_s_own_fields_is_the_main_one() -> None:
    """However many sets an ablation has; the record is silent on what was changed."""
    assert names(datadam(5, iterations=100), datadam()) == ["DataDAM", "DataDAM (100 steps)"]


def test_a_field_that_came_later_is_called_by_the_default_s_name() -> None:
    """The older record is silent on it."""
    later: dict[str, Any] = {"loss": "mse", "components": "mmd"}
    assert names(datadam(2, iterations=100), datadam(iterations=100, **later), datadam()) == [
        "DataDAM",
        "DataDAM (100 steps)",
        "DataDAM (100 steps, components mmd)",
    ]
    assert "default" not in "".join(names(datadam(), datadam(loss="mae")))


def test_what_a_method_s_file_declares_is_read_without_importing_it() -> None:
    known = declared_methods()["datadam"]
    assert (known.title, known.group, known.letters) == (
        "DataDAM",
        "matching",
        {"power": "p", "balance": "λ"},
    )
    assert known.preset("quick")["iterations"] == 250
    assert known.preset("paper")["iterations"] == 8000  # a field of its family
    groups = {name: method.group for name, method in declared_methods().items()}
    assert {name for name, group in groups.items() if group == "selection"} >= {
        "random",
        "herding",
        "k-center",
    }
    assert {name for name, group in groups.items() if group == "generative"} == {
        "biggan",
        "cgan",
        "dcvae",
        "gmmn",
    }
    assert (groups["whole"], groups["mmd"], groups["kip"]) == ("whole", "matching", "matching")


def test_a_name_is_never_cut_before_the_difference() -> None:
    note = "x" * 200
    first, second = names(
        datadam(2), datadam(note=f"{note}a", iterations=10), datadam(note=f"{note}b", iterations=10)
    )[1:]
    assert first != second
    assert max(map(len, (first, second))) < 90


def test_a_number_makes_equal_names_differ_from_all_others() -> None:
    assert distinct(["a", "a", "a (2)", "b", "a"]) == ["a", "a (3)", "a (2)", "b", "a (4)"]


# what tells the points of a figure apart; a series with the name of another would have two at one
POINT = {"series", "ipc", "condition", "value", "x"}
words = st.sampled_from(["datadam", "dm", "DM", "dm\u200b", "foreign", "mtt", *HOSTILE])
values = st.one_of(
    st.none(), st.booleans(), st.integers(0, 9), st.floats(0, 1), st.text(max_size=60)
)
settings_of_sets = st.dictionaries(
    st.sampled_from(["power", "iterations", "note", "a b", "a_b", "preset", "λ"]),
    values,
    max_size=3,
)
made = st.builds(
    lambda method, title, fields, preset, space, theirs, content: record(
        method,
        [0.4],
        **{
            "fields": fields,
            "artifact_hash": f"{sorted(fields.items(), key=str)}"[:60],
            "preset": preset,
            "title": title,
            "space": space,
            **({**FOREIGN, "artifact_sha256": content} if theirs else {}),
        },
    ),
    words,
    st.sampled_from(["", "DM", "Mine", *HOSTILE]),
    settings_of_sets,
    st.sampled_from(["quick", "paper"]),
    st.sampled_from(["zca", "normalised"]),
    st.booleans(),
    st.sampled_from(["1e5", "123456789", "abc"]),
)


@settings(deadline=None, max_examples=25)
@given(st.lists(made, min_size=1, max_size=8))
def test_no_two_rows_of_a_table_have_the_same_name(records: list[StoredRecord]) -> None:
    style: Style
    for style in ("full", "compact"):
        for table in build_tables(records, style=style):
            shown = [row[0].text for row in table.rows]
            assert len(set(shown)) == len(shown)
    rows = {
        (label, own.record.method, own.record.foreign)
        for label, own in zip(labels([own.record for own in records]), records, strict=True)
    }
    assert len({label for label, *_ in rows}) == len(rows)
    for drawing in (*ablation_drawings(records), *condition_drawings(records)):
        assert not drawing.data.duplicated(list(POINT & set(drawing.data))).any()


def test_no_two_rows_or_entries_of_a_legend_have_the_same_name_in_what_was_measured() -> None:
    found = find_records(MEASURED)
    style: Style
    for style in ("full", "compact"):
        for table in build_tables(found.records, style=style):
            shown = [row[0].text for row in table.rows]
            assert len(set(shown)) == len(shown)
            assert not any("..." in name for name in shown)
    for drawing in draw_figures(found, MEASURED):
        if "mean" in drawing.data:
            assert not drawing.data.duplicated(list(POINT & set(drawing.data))).any()
        if "title" in drawing.data:
            assert drawing.data["title"].is_unique
        if drawing.name.startswith(("storage", "embedding")):
            figure = drawing.figure()
            for legend in figure.legends:
                shown = [text.get_text() for text in legend.get_texts()]
                assert len(set(shown)) == len(shown) <= 10
            named = [text.get_text() for text in figure.axes[0].texts]
            assert sorted(named) == sorted(set(named))


def test_the_main_row_is_called_by_its_title_alone() -> None:
    assert names(sets("dm", [(0.4,)], fields=EXAMPLE["fields"])) == ["DM"]
