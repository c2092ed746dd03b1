"""Ablations: one field of a method varied, all else the same. Found from the records by their
fields, whichever field it is.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dcbench.records import EvaluationRecord, StoredRecord
from dcbench.report.figures.cases import FIGURES, INTERVALS, draw_points, figures_of
from dcbench.report.figures.drawing import COLUMN_INCHES, Drawing, legend_below, look, panels, tidy
from dcbench.report.formatting import (
    accuracy_words,
    canonical,
    named,
    one_line,
    plain,
    protocol_words,
    title,
)
from dcbench.report.selection.comparable import Board, boards, in_order
from dcbench.report.selection.frames import frame
from dcbench.report.selection.variants import DEFAULT, by_set, settings_of
from dcbench.studies.declarations import comparable

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLUMNS = ("ipc", "series", "value", "x", *FIGURES)
_SCALE = " (scale "
_WIDE = 8  # numbers whose ends differ by this factor stand on a logarithmic axis


@dataclass(frozen=True)
class Ablation:
    """The records of one method in which ``field`` has several values and the rest is the same, in
    groups of one budget and rest.
    """

    board: Board
    method: str
    field: str
    # budget, rest: value: records
    groups: Mapping[tuple[int | None, str], Mapping[str, tuple[EvaluationRecord, ...]]]


def ablations(records: Iterable[StoredRecord]) -> list[Ablation]:
    """Every field of every method that was varied alone."""
    found = []
    for board in boards(records):
        own = [stored.record for stored in board.records if not stored.record.foreign]
        for method in sorted({record.method for record in own}):
            members = [record for record in own if record.method == method]
            for field in sorted({name for record in members for name in record.fields}):
                groups = _groups(members, field)
                if groups:
                    found.append(Ablation(board, method, field, groups))
    return found


def ablation_drawings(records: Iterable[StoredRecord]) -> list[Drawing]:
    """A figure for each field that was varied, a panel for each budget."""
    return [_drawing(ablation) for ablation in ablations(records)]


def _groups(
    records: Sequence[EvaluationRecord], field: str
) -> dict[tuple[int | None, str], dict[str, tuple[EvaluationRecord, ...]]]:
    found: dict[tuple[int | None, str], dict[tuple[str, str], list[EvaluationRecord]]] = (
        defaultdict(lambda: defaultdict(list))
    )
    for record, rest in zip(records, _rests(records, field), strict=True):
        found[record.ipc, rest][_value(record, field), record.artifact_hash].append(record)
    varied = {
        key: cases
        for key, cases in found.items()
        if len({_own(record, field) for own in cases.values() for record in own}) > 1
    }
    return {key: _by_value(cases) for key, cases in varied.items()}


def _by_value(
    cases: Mapping[tuple[str, str], Sequence[EvaluationRecord]],
) -> dict[str, tuple[EvaluationRecord, ...]]:
    """The cases by their values; the hash speaks where one value has several artifacts that nothing
    else tells apart.
    """
    artifacts = Counter(value for value, _ in cases)
    return {
        value if artifacts[value] == 1 else canonical(f"{_read(value)} (artifact {made})"): tuple(
            own
        )
        for (value, made), own in cases.items()
    }


def _rests(records: Sequence[EvaluationRecord], field: str) -> list[str]:
    """Whatever else decides each record's images, as JSON."""
    compared = [comparable(record.method, record.fields, field) for record in records]
    others = [
        {name: value for name, value in fields.items() if name != field} for fields in compared
    ]
    return [
        canonical(own)
        for own in settings_of(
            [replace(record, fields=rest) for record, rest in zip(records, others, strict=True)]
        )
    ]


def _own(record: EvaluationRecord, field: str) -> str:
    return canonical(record.fields.get(field, DEFAULT))


def _value(record: EvaluationRecord, field: str) -> str:
    """The field's value as JSON; with its factor, where that counts as the default's: the same
    value may stand there with the default's.
    """
    if comparable(record.method, record.fields, field) is record.fields:
        return _own(record, field)
    return canonical(f"{record.fields[field]}{_SCALE}{record.fields['scale']:g})")


def ablation_data(ablation: Ablation) -> pd.DataFrame:
    """One row for each value of the field in each group; ``x`` is where it stands."""
    values = sorted({value for cases in ablation.groups.values() for value in cases}, key=_order)
    numeric = all(_number(value) is not None for value in values)
    places = {
        value: _number(value) if numeric else float(place) for place, value in enumerate(values)
    }
    names = _series([rest for _, rest in ablation.groups])
    rows = [
        {
            "ipc": ipc,
            "series": names[rest],
            "value": _read(value),
            "x": places[value],
            **figures_of(by_set(own)),
        }
        for (ipc, rest), cases in ablation.groups.items()
        for value, own in cases.items()
    ]
    return frame(
        sorted(
            rows, key=lambda row: (row["ipc"] is None, row["ipc"] or 0, row["series"], row["x"])
        ),
        _COLUMNS,
    )


def _series(rests: Sequence[str]) -> dict[str, str]:
    """What tells the groups apart besides the budget; settings that all groups share are not said."""
    read: dict[str, dict[str, str]] = {rest: json.loads(rest) for rest in rests}
    names = sorted({name for each in read.values() for name in each})
    varied = [name for name in names if len({each.get(name) for each in read.values()}) > 1]
    return {
        rest: ", ".join(f"{name}={plain(each[name])}" for name in varied if name in each)
        for rest, each in read.items()
    }


def _drawing(ablation: Ablation) -> Drawing:
    data, board = ablation_data(ablation), ablation.board
    caption = (
        f"{title(ablation.method)} with its field {one_line(ablation.field)} varied and all else the same, on {title(board.dataset)}:"
        f" {accuracy_words(board.protocol)} by protocol {one_line(str(board.protocol.get('name', '')))}"
        f" ({protocol_words(board.protocol, board.network, board.augment)}); {INTERVALS}."
    )
    if any(_SCALE in value for value in data["value"]):
        caption += " Where a scale is said, the factor before the loss is one with which the first step goes as far as the default's."
    if DEFAULT in set(data["value"]):
        caption += (
            f" {DEFAULT.capitalize()}: the record is silent on the field, which is at its default."
        )
    name = named(
        "ablation",
        board.dataset,
        ablation.method,
        ablation.field,
        str(board.protocol.get("name", "")),
        board.key,
    )
    return Drawing(name, caption, data, lambda: _draw(data, ablation.field))


def _draw(data: pd.DataFrame, field: str) -> Figure:
    budgets = in_order(
        None if ipc is None else int(ipc)
        for ipc in data["ipc"].astype(object).where(data["ipc"].notna(), None)
    )
    figure, axes = panels(len(budgets), 2.3, COLUMN_INCHES * (1 if len(budgets) < 3 else 2))
    series = list(dict.fromkeys(data["series"]))
    for panel, ipc in zip(axes, budgets, strict=True):
        own = data[data["ipc"].isna() if ipc is None else data["ipc"] == ipc]
        for number, name in enumerate(series):
            points = own[own["series"] == name]
            if not points.empty:
                draw_points(
                    panel,
                    points,
                    look(number, len(series))
                    | ({} if _is_numeric(data) else {"linestyle": "none"}),
                    name,
                )
        panel.set_title("no budget" if ipc is None else f"IPC {ipc}")
        _mark(panel, data)
        panel.set_xlabel(one_line(field))
        tidy(panel)
    axes[0].set_ylabel("accuracy (%)")
    if any(series):
        handles, names = axes[0].get_legend_handles_labels()
        legend_below(figure, handles, names, 1)
    return figure


def _mark(panel: Axes, data: pd.DataFrame) -> None:
    """The values themselves stand on the axis."""
    places = data.drop_duplicates("x").sort_values("x")
    low, high = float(places["x"].min()), float(places["x"].max())
    if _is_numeric(data):
        if low > 0 and high / low >= _WIDE:
            panel.set_xscale("log")
    else:
        panel.set_xlim(low - 0.5, high + 0.5)
    panel.set_xticks(places["x"].astype(float), labels=list(places["value"]), minor=False)
    panel.minorticks_off()


def _is_numeric(data: pd.DataFrame) -> bool:
    return all(_number(str(value)) is not None for value in data["value"])


def _order(value: str) -> tuple[bool, float, str]:
    """The default first, then by number, then by name."""
    return _read(value) != DEFAULT, _number(value) or 0.0, _read(value)


def _number(value: str) -> float | None:
    try:
        return float(value)
    except ValueError:
        return None


def _read(value: str) -> str:
    """A field's value out of its JSON."""
    return plain(value[1:-1]) if value[:1] == '"' else plain(value)
