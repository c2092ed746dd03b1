"""Two methods, presets or folders side by side: paired differences under each condition."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dcbench.records import RecordsFound, StoredRecord, find_records
from dcbench.report.figures import plotting
from dcbench.report.formatting import budget_label, file_name, one_line, title
from dcbench.report.selection.comparable import (
    ComparableGroup,
    Entry,
    comparable_groups,
    ordered_budgets,
)
from dcbench.report.selection.dataframes import frame
from dcbench.report.selection.filters import Filters
from dcbench.report.selection.method_variants import set_key
from dcbench.report.statistics.accuracies import MeanDifference, compare, holm
from dcbench.system.errors import DataError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLUMNS = ("condition", "seed", "network", "difference")


@dataclass(frozen=True)
class SideBySide:
    """Two rows under one condition at one budget. Differences are of the first minus the second."""

    group: ComparableGroup
    ipc: int | None
    labels: tuple[str, str]
    test: MeanDifference
    p_holm: float | None  # over all conditions compared
    sets: tuple[Mapping[Hashable, float], Mapping[Hashable, float]]  # mean accuracy by seed
    # of networks with one number, of sets with one seed: the same start, judged alike
    networks: Mapping[Hashable, Mapping[int, float]]

    @property
    def condition(self) -> str:
        """Data, budget, protocol and network in words."""
        group = self.group
        budget = budget_label(self.ipc)
        where = [group.data, budget, group.judged_by, title(group.network)]
        augment = "" if group.augment == "none" else title(group.augment)
        return ", ".join(filter(None, [*where, augment, str(group.protocol.get("precision", ""))]))


def side_by_side(
    first: str, second: str, results: Path, filters: Filters | None = None
) -> list[SideBySide]:
    """Compare two sides wherever both were measured alike.

    Args:
        first: a method of the records below ``results``, a preset, both (``dm/quick``), or a folder
            of records.
        second: likewise.
        results: the folder with records.
        filters: choose among the records; all of them if None.

    Raises:
        DataError: if a side names no record, the two share no condition, or one folder lies inside
            the other.
    """
    folders = [Path(name) if Path(name).is_dir() else results for name in (first, second)]
    _require_apart(*folders)
    found = [(filters or Filters())(find_records(folder)) for folder in folders]
    everything = {stored.path: stored for own in found for stored in own.records}
    sides = [
        {stored.path for stored in _side(name, own, results)}
        for name, own in zip((first, second), found, strict=True)
    ]
    if {path.resolve() for path in sides[0]} == {path.resolve() for path in sides[1]}:
        raise DataError(f"{first} and {second} are the same records; name two different sides")
    groups = comparable_groups(everything.values())
    rows = [row for group in groups for row in _rows(group, sides, (first, second))]
    if not rows:
        raise DataError(
            f"{first} and {second} were never judged alike: no data, protocol, network and budget"
            f" has records of both; `dcbench report --results {folders[0]} --style full` shows what"
            " there is"
        )
    tested = [place for place, row in enumerate(rows) if row.test.p_value is not None]
    adjusted = holm([rows[place].test.p_value or 0.0 for place in tested])
    values = dict(zip(tested, adjusted, strict=True))
    return [replace(row, p_holm=values.get(place)) for place, row in enumerate(rows)]


def _require_apart(one: Path, other: Path) -> None:
    """Raise DataError if one folder lies inside the other: its records would count on both
    sides.
    """
    for inner, outer in ((one, other), (other, one)):
        if outer.resolve() in inner.resolve().parents:
            raise DataError(
                f"{inner} lies inside {outer}, so its records would count on both sides; name two "
                f"folders beside each other, such as {outer / 'cifar10'} and {inner}"
            )


def _side(name: str, found: RecordsFound, results: Path) -> list[StoredRecord]:
    """The records that a side names among those of its folder."""
    if Path(name).is_dir():
        return list(found.records)
    method, _, preset = name.partition("/")
    wanted = [
        own
        for own in found.records
        if (own.record.method == method and preset in ("", own.record.preset))
        or (not preset and own.record.preset == name)
    ]
    if not wanted:
        known = sorted({own.record.method for own in found.records})
        presets = sorted({own.record.preset for own in found.records if own.record.preset})
        raise DataError(
            f"{name!r} is no folder, and no method or preset of the records below {results};"
            f" there are {one_line(', '.join([*known, *presets]))}, and METHOD/PRESET"
        )
    return wanted


def _rows(
    group: ComparableGroup, sides: Sequence[set[Path]], names: Sequence[str]
) -> list[SideBySide]:
    """One for each method that both sides have (or the one method of each) and budget; of several
    rows of a method on one side, its main row.
    """
    found: list[dict[str, Entry]] = []
    for side, name in zip(sides, names, strict=True):
        own = [part for entry in group.entries if (part := _of_side(entry, side, name))]
        own.sort(key=lambda entry: (not entry.main, entry.unfinished))  # stable
        found.append({entry.method: entry for entry in reversed(own)})
    pairs = [(name, name) for name in sorted(found[0].keys() & found[1].keys())]
    if not pairs and len(found[0]) == len(found[1]) == 1:
        pairs = [(next(iter(found[0])), next(iter(found[1])))]
    return [
        _row(group, ipc, found[0][one], found[1][other])
        for one, other in pairs
        if found[0][one].records != found[1][other].records
        for ipc in ordered_budgets(found[0][one].ipcs & found[1][other].ipcs)
    ]


def _of_side(entry: Entry, side: set[Path], name: str) -> Entry | None:
    """The part of a row that one side has; its label says whose it is if the other has the rest."""
    own = tuple(stored for stored in entry.records if stored.path in side)
    if len(own) == len(entry.records):
        return entry
    return replace(entry, records=own, label=f"{entry.label} ({name})") if own else None


def _row(group: ComparableGroup, ipc: int | None, one: Entry, other: Entry) -> SideBySide:
    first, second = one.means(ipc), other.means(ipc)
    networks = _paired(one.at(ipc), other.at(ipc))
    labels = one.label, other.label
    return SideBySide(group, ipc, labels, compare(first, second), None, (first, second), networks)


def _paired(
    first: Sequence[StoredRecord], second: Sequence[StoredRecord]
) -> dict[Hashable, dict[int, float]]:
    """The differences of networks with the same number, of sets with the same seed."""

    def numbered(side: Sequence[StoredRecord]) -> dict[tuple[Hashable, int], dict[int, float]]:
        return {
            (set_key(own.record), own.record.evaluation_seed): {
                network.network: network.accuracy for network in own.record.networks
            }
            for own in side
        }

    one, other = numbered(first), numbered(second)
    found: dict[Hashable, dict[int, float]] = {}
    for key in sorted(one.keys() & other.keys(), key=str):
        own = {n: one[key][n] - other[key][n] for n in sorted(one[key].keys() & other[key].keys())}
        found.setdefault(key[0], {}).update(own)
    return found


def drawing(rows: Sequence[SideBySide]) -> plotting.Drawing:
    """The difference of every pair of networks as a dot, the mean over sets and its interval."""
    data = frame(
        [
            {"condition": row.condition, "seed": str(seed), "network": number, "difference": gain}
            for row in rows
            for seed, networks in row.networks.items()
            for number, gain in networks.items()
        ],
        _COLUMNS,
    )
    one, other = rows[0].labels
    said = (
        f"{one} minus {other}: a dot for each pair of networks with the same number of sets with"
        " the same seed; diamonds: the difference of the means over sets with its 95 % t interval."
    )
    name = file_name("compare", one, other)
    return plotting.Drawing(name, said, data, partial(_draw, rows))


def _draw(rows: Sequence[SideBySide]) -> Figure:
    height = 0.9 + 0.45 * len(rows)
    figure, (panel,) = plotting.panels(1, height, plotting.PAGE_INCHES)
    look: dict[str, Any] = {"linestyle": "none", "color": "black", "marker": "D", "capsize": 3}
    for place, row in enumerate(rows):
        dots = [gain for networks in row.networks.values() for gain in networks.values()]
        panel.plot(
            100 * np.array(dots),
            [place - 0.2] * len(dots),
            "o",
            color="0.6",
            markersize=3,
            alpha=0.7,
        )
        low, high = row.test.ci95 or (row.test.difference, row.test.difference)
        middle = 100 * row.test.difference
        reach = [[middle - 100 * low], [100 * high - middle]]
        panel.errorbar([middle], [place], xerr=reach, **look)
    panel.axvline(0, color="0.4", linewidth=0.8)
    panel.set_yticks(range(len(rows)), labels=[row.condition for row in rows])
    panel.set_ylim(len(rows) - 0.5, -0.5)
    one, other = rows[0].labels
    panel.set_xlabel(f"accuracy of {one} minus that of {other} (points)")
    plotting.tidy(panel)
    return figure
