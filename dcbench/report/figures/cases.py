"""A point of a figure: the accuracy of some records that were made alike, with its interval."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dcbench.records import EvaluationRecord
from dcbench.records.kinds import OfASet
from dcbench.report.boards import canonical
from dcbench.report.statistics import summarise, summarise_sets
from dcbench.report.words import one_line, title

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

FIGURES = ("mean", "ci95_low", "ci95_high", "interval_over", "sets", "networks")
INTERVALS = "bars: 95 % t intervals over sets, where there is one set over its networks (column interval_over of the data)"


def figures_of(sets: Mapping[Hashable, Sequence[float]]) -> dict[str, Any]:
    """Mean over sets and its interval over sets; of one set, the mean and interval over its networks. Fractions."""
    found = summarise_sets(list(sets.values()))
    interval = found.ci95_sets if found.sets > 1 else summarise(next(iter(sets.values()))).ci95
    low, high = interval or (None, None)
    over = "sets" if found.sets > 1 else "networks"
    counts = {"sets": found.sets, "networks": sum(map(len, sets.values()))}
    return {"mean": found.mean, "ci95_low": low, "ci95_high": high, "interval_over": over, **counts}


def by_set(records: Iterable[EvaluationRecord]) -> dict[Hashable, tuple[float, ...]]:
    """The networks' accuracies of each set."""
    found: dict[Hashable, tuple[float, ...]] = defaultdict(tuple)
    for record in records:
        found[record.seed, record.artifact_sha256 if record.foreign else ""] += record.accuracies
    return dict(found)


def labels(records: Sequence[OfASet]) -> list[str]:
    """The method of each record, with those of its fields that not all records of the method share."""
    found = []
    for record in records:
        own = [other for other in records if other.method == record.method]
        names = sorted({name for other in own for name in other.fields})
        varied = [name for name in names if len({canonical(other.fields.get(name)) for other in own}) > 1]
        parts = ["foreign"] if record.foreign else []
        parts += [f"{name}={plain(record.fields[name])}" for name in varied if name in record.fields]
        found.append(one_line(f"{title(record.method)} ({', '.join(parts)})" if parts else title(record.method)))
    return found


def plain(value: object) -> str:
    """A field's value as people write it."""
    return one_line(value if isinstance(value, str) else canonical(value))


def draw_points(panel: Axes, points: pd.DataFrame, look: Mapping[str, Any], label: str) -> None:
    """One series: columns ``x`` and the figures, percent on the axis; joined where the look has a line."""
    ordered = points.sort_values("x", kind="stable")
    mean = 100 * ordered["mean"].astype(float)
    reach = [
        (mean - 100 * ordered["ci95_low"].astype(float)).fillna(0.0).clip(lower=0.0),
        (100 * ordered["ci95_high"].astype(float) - mean).fillna(0.0).clip(lower=0.0),
    ]
    panel.errorbar(ordered["x"].astype(float), mean, yerr=reach, capsize=2, elinewidth=0.7, label=label, **look)
