"""Ablations: one field of a method varied, all else the same. They are found from the fields of the
records, whichever field it is.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dcbench.records import EvaluationRecord, StoredRecord
from dcbench.report.figures import plotting
from dcbench.report.formatting import (
    accuracy_words,
    budget_label,
    file_name,
    one_line,
    plain,
    protocol_clause,
    protocol_name,
    title,
)
from dcbench.report.grouping import grouped
from dcbench.report.selection.comparable import ComparableGroup, comparable_groups, ordered_budgets
from dcbench.report.selection.dataframes import budgets, frame
from dcbench.report.selection.method_variants import DEFAULT, fields_of, settings_of
from dcbench.report.selection.row_names import distinct, setting_words, value_words
from dcbench.studies.declarations import comparable
from dcbench.studies.declared_methods import declared_methods

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLUMNS = ("ipc", "series", "value", "x", *plotting.FIGURES)
_SCALE = " (scale "
_WIDE = 8  # numbers whose ends differ by this factor stand on a logarithmic axis

# the settings besides the varied field, sorted
_Rest = tuple[tuple[str, str], ...]
_ByValue = Mapping[str, Sequence[EvaluationRecord]]


@dataclass(frozen=True)
class Ablation:
    """Records of one method in which ``field`` has several values while the rest is the same."""

    comparable: ComparableGroup
    method: str
    field: str
    groups: Mapping[tuple[int | None, _Rest], _ByValue]  # of one budget and rest each


def ablations(records: Iterable[StoredRecord]) -> list[Ablation]:
    """Every field of every method that was varied alone."""
    found = []
    for group in comparable_groups(records):
        own = [stored.record for stored in group.records if not stored.record.foreign]
        for method, members in sorted(grouped(own, lambda record: record.method).items()):
            for field in sorted({name for record in members for name in fields_of(record)}):
                groups = _groups(members, field)
                if groups:
                    found.append(Ablation(group, method, field, groups))
    return found


def ablation_drawings(records: Iterable[StoredRecord]) -> list[plotting.Drawing]:
    """A figure for each field that was varied, a panel for each budget."""
    return [_drawing(ablation) for ablation in ablations(records)]


def _groups(
    records: Sequence[EvaluationRecord], field: str
) -> dict[tuple[int | None, _Rest], _ByValue]:
    found: dict[tuple[int | None, _Rest], list[EvaluationRecord]] = defaultdict(list)
    for record, rest in zip(records, _rests(records, field), strict=True):
        found[record.ipc, rest].append(record)
    return {
        key: _by_value(own, field)
        for key, own in found.items()
        if len({_value(record, field) for record in own}) > 1
    }


def _rests(records: Sequence[EvaluationRecord], field: str) -> list[_Rest]:
    """The settings that decide each record's images, besides the field."""
    others = []
    for record in records:
        compared = comparable(record.method, fields_of(record), field)
        fields = {name: value for name, value in compared.items() if name != field}
        others.append(replace(record, fields=fields))
    return [tuple(sorted(settings.items())) for settings in settings_of(others)]


def _value(record: EvaluationRecord, field: str) -> str:
    value = fields_of(record).get(field, DEFAULT)
    return "none" if value is None else plain(value)


def _shown_value(record: EvaluationRecord, field: str) -> str:
    """The field's value; with its scale, if that counts as the default's, because the same value
    may occur with the default scale too.
    """
    fields = fields_of(record)
    if comparable(record.method, fields, field) is fields:
        return _value(record, field)
    return plain(f"{fields[field]}{_SCALE}{fields['scale']:g})")


def _by_value(records: Sequence[EvaluationRecord], field: str) -> _ByValue:
    """The records of each value; a value of several artifacts is shown with their hashes."""
    cases = grouped(records, lambda record: (_shown_value(record, field), record.artifact_hash))
    artifacts = Counter(value for value, _ in cases)
    return {
        value if artifacts[value] == 1 else plain(f"{value} (artifact {made})"): own
        for (value, made), own in cases.items()
    }


def _data(ablation: Ablation) -> pd.DataFrame:
    """One row for each value of the field in each group; ``x`` is its place on the axis."""
    values = sorted({value for cases in ablation.groups.values() for value in cases}, key=_order)
    numbers = [_number(value) for value in values]
    places = {
        value: float(place) if None in numbers else number
        for place, (value, number) in enumerate(zip(values, numbers, strict=True))
    }
    names = _series(ablation.method, {rest for _, rest in ablation.groups})
    rows = [
        {"ipc": ipc, "series": names[rest], "value": value, "x": places[value]}
        | plotting.accuracy_figures(own)
        for (ipc, rest), cases in ablation.groups.items()
        for value, own in cases.items()
    ]
    rows.sort(key=lambda row: (row["ipc"] is None, row["ipc"] or 0, row["series"], row["x"]))
    return frame(rows, _COLUMNS)


def _series(method: str, rests: Iterable[_Rest]) -> dict[_Rest, str]:
    """A name for each rest: the settings that not all share."""
    read = {rest: dict(rest) for rest in sorted(rests)}
    names = sorted({name for settings in read.values() for name in settings})
    varied = [name for name in names if len({each.get(name) for each in read.values()}) > 1]
    said = [
        ", ".join(setting_words(method, name, own.get(name, DEFAULT)) for name in varied)
        for own in read.values()
    ]
    return dict(zip(read, distinct(said), strict=True))


def _drawing(ablation: Ablation) -> plotting.Drawing:
    data, group = _data(ablation), ablation.comparable
    protocol = group.protocol
    caption = (
        f"{title(ablation.method)} with its field {one_line(ablation.field)} varied and all else"
        f" the same, on {group.data}: {accuracy_words(protocol)}"
        f" {protocol_clause(protocol, group.network, group.augment)}; {plotting.INTERVALS}."
    )
    if any(_SCALE in value for value in data["value"]):
        caption += (
            " Where a scale is said, the factor before the loss is one with which the first step"
            " goes as far as the default's."
        )
    # of networks that distil: which network judges
    judge = f", judged by {title(group.network)}" if ablation.field == "network" else ""
    parts = [group.dataset, ablation.method, ablation.field, protocol_name(protocol), group.key]
    return plotting.Drawing(
        file_name("ablation", *parts), caption, data, lambda: _draw(data, _axis(ablation), judge)
    )


def _axis(ablation: Ablation) -> str:
    """The field's name, and its letter in the paper."""
    known, name = declared_methods().get(ablation.method), one_line(ablation.field)
    letter = known.letters.get(ablation.field) if known else None
    return f"{name.replace('_', ' ')} {letter}" if letter else name.replace("_", " ")


def _draw(data: pd.DataFrame, name: str, judge: str) -> Figure:
    ipcs = budgets(data)
    shown = ordered_budgets(ipcs)
    figure, axes = plotting.panels(
        len(shown), 2.3, plotting.COLUMN_INCHES * (1 if len(shown) < 3 else 2)
    )
    series = list(dict.fromkeys(data["series"]))
    numeric = all(_number(value) is not None for value in data["value"])
    for panel, ipc in zip(axes, shown, strict=True):
        own = data[[each == ipc for each in ipcs]]
        for number, label in enumerate(series):
            points = own[own["series"] == label]
            if not points.empty:
                look = plotting.look(number, len(series))
                plotting.draw_points(panel, points, look, label, joined=numeric)
        panel.set_title(f"{budget_label(ipc)}{judge}")
        _mark(panel, data, numeric)
        panel.set_xlabel(name)
        plotting.tidy(panel)
    axes[0].set_ylabel("accuracy (%)")
    if len(series) > plotting.MOST_IN_LEGEND:
        plotting.label_series(axes[-1], own, series)
    elif any(series):
        plotting.legend_below(figure, *axes[0].get_legend_handles_labels())
    return figure


def _mark(panel: Axes, data: pd.DataFrame, numeric: bool) -> None:
    """Label the axis with the field's values."""
    places = data.drop_duplicates("x").sort_values("x")
    low, high = float(places["x"].min()), float(places["x"].max())
    if not numeric:
        panel.set_xlim(low - 0.5, high + 0.5)
    elif low > 0 and high / low >= _WIDE:
        panel.set_xscale("log")
    labels = [title(value_words(value)) for value in places["value"]]
    panel.set_xticks(places["x"].astype(float), labels=labels, minor=False)
    panel.minorticks_off()


def _order(value: str) -> tuple[bool, float, str]:
    """By number, then by name; what no record and no file says first."""
    return value != DEFAULT, _number(value) or 0.0, value


def _number(value: str) -> float | None:
    try:
        return float(value)
    except ValueError:
        return None
