"""``dcbench compare``: two methods, presets or folders side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dcbench.cli.completion import completing
from dcbench.cli.options import PATH, filters, results_folder, speaking

if TYPE_CHECKING:
    from dcbench.report.comparison import SideBySide


@click.command("compare")
@click.argument("first", shell_complete=completing("method"))
@click.argument("second", shell_complete=completing("method"))
@results_folder("Where the records of methods and presets are.")
@click.option("--out", type=PATH, help="A folder for the picture, its data and its caption.")
@filters("dataset", "ipc", "protocol", "network")
@speaking
def command(
    first: str, second: str, results: Path, out: Path | None, as_json: bool, **chosen: Any
) -> None:
    """Compare FIRST with SECOND wherever both were judged alike.

    Each is a method (dm), a preset (quick), both (dm/quick), or a folder with records. Sets with
    the same seeds are compared in pairs, others by Welch's test; p is corrected over the
    conditions.
    """
    from dcbench.cli.console import Console
    from dcbench.report.comparison import drawing, side_by_side
    from dcbench.report.selection.filters import Filters

    console = Console(as_json)
    rows = side_by_side(first, second, results, Filters.of(chosen))
    for row in rows:
        console.pairs(f"{row.labels[0]} minus {row.labels[1]}: {row.condition}", _words(row))
    written = [] if out is None else drawing(rows).save(out)
    for path in written:
        console.say(f"written: {path}")
    console.result(
        {"comparisons": [_described(row) for row in rows], "files": [str(path) for path in written]}
    )


def _words(row: SideBySide) -> list[tuple[str, str]]:
    from dcbench.report.formatting import bounds, percent, signed
    from dcbench.report.statistics.accuracies import FEWEST_SETS, SIGNIFICANCE

    test, means = row.test, [sum(own.values()) / len(own) for own in row.sets]
    told = "paired by seed" if test.paired else "Welch's test"
    detectable = test.detectable()
    lines = [
        ("accuracy", f"{percent(means[0])} and {percent(means[1])} %"),
        ("sets", f"{len(row.sets[0])} and {len(row.sets[1])}, {told}"),
        ("difference", f"{signed(test.difference)} points {bounds(test.ci95, signed)}".strip()),
    ]
    if row.p_holm is not None:
        better = f"{row.labels[0] if test.difference > 0 else row.labels[1]} is better"
        unknown = "not told apart; more seeds narrow the interval"
        lines.append(("verdict", better if row.p_holm < SIGNIFICANCE else unknown))
    if test.p_value is None:
        few = min(map(len, row.sets)) < FEWEST_SETS
        why = f"it takes {FEWEST_SETS} sets of both" if few else "all differences are equal"
        return [*lines, ("test", f"none: {why}")]
    lines.append(("p", f"{test.p_value:.3g}, after Holm {row.p_holm:.3g}"))
    if detectable is not None:
        found = f"the test finds differences of {percent(detectable)} points or more"
        lines.append(("80 % power", found))
    pairs = [gain for networks in row.networks.values() for gain in networks.values()]
    if pairs:
        above = sum(gain > 0 for gain in pairs)
        lines.append(("networks", f"the first is higher in {above} of {len(pairs)} pairs"))
    return lines


def _described(row: SideBySide) -> dict[str, Any]:
    test = row.test
    return {
        "first": row.labels[0],
        "second": row.labels[1],
        "dataset": row.group.dataset,
        "ipc": row.ipc,
        "protocol": dict(row.group.protocol),
        "network": row.group.network,
        "augment": row.group.augment,
        "sets": [{str(seed): mean for seed, mean in own.items()} for own in row.sets],
        "difference": test.difference,
        "ci95": None if test.ci95 is None else list(test.ci95),
        "paired": test.paired,
        "p_value": test.p_value,
        "p_holm": row.p_holm,
        "detectable": test.detectable(),
        "network_differences": {
            str(seed): {str(number): gain for number, gain in networks.items()}
            for seed, networks in row.networks.items()
        },
    }
