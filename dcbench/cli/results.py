"""Show evaluated sets as JSON and as tables."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from dcbench.cli.console import Console, TextTable
from dcbench.cli.options import RESULTS
from dcbench.records import EvaluationRecord, TraceRecord
from dcbench.system.layout import evaluated_set_folder

if TYPE_CHECKING:
    from dcbench.experiments.run_grid import EvaluatedSet

_SET = ("method", "dataset", "dataset_revision", "ipc", "seed", "preset", "protocol")
_COST = (
    "evaluate_seconds",
    "epoch_seconds",
    "compile_seconds",
    "peak_memory_bytes",
    "engine",
    "precision",
)
NONE = "–"
MOST_WITHOUT_INTERVAL = 2  # networks
Figure = TypeVar("Figure", int, float)


def evaluation_json(scored: EvaluatedSet) -> dict[str, Any]:
    """Return one entry of ``evaluate --json``."""
    plain = scored.record.to_json()
    return _measured(scored) | {key: plain[key] for key in ("network", "augment")}


def run_json(scored: EvaluatedSet) -> dict[str, Any]:
    """Return one entry of ``run --json``: that of ``evaluate`` and what the distillation took."""
    record = scored.record
    made = record.to_json()["distillation"] or {}
    compiling = _known(made.get("compile_seconds"), record.compile_seconds)
    held = _known(made.get("peak_memory_bytes"), record.peak_memory_bytes)
    return {
        **_measured(scored),
        "distill_seconds": made.get("distill_seconds"),
        "step_seconds": made.get("step_seconds"),
        "compile_seconds": sum(compiling) if compiling else None,
        "peak_memory_bytes": max(held, default=None),
        **({"trace": trace_json(*scored.trace)} if scored.trace else {}),
    }


def trace_json(trace: TraceRecord, path: Path) -> dict[str, Any]:
    """Return the path of a trace's record, and every accuracy at each step."""
    return {
        "record": str(path),
        "points": [
            {"step": point.step, "accuracies": list(point.accuracies)} for point in trace.points
        ],
    }


def _known(*figures: Figure | None) -> list[Figure]:
    return [figure for figure in figures if figure is not None]


def _measured(scored: EvaluatedSet) -> dict[str, Any]:
    from dcbench.report.statistics.accuracies import summarise

    plain = scored.record.to_json()
    figures = summarise(scored.record.accuracies)
    return {
        **{key: plain[key] for key in _SET},
        "synthetic": None if scored.synthetic is None else str(scored.synthetic),
        "record": str(scored.path),
        "accuracies": list(scored.record.accuracies),
        "mean": figures.mean,
        "std": figures.std,
        "ci95": None if figures.ci95 is None else list(figures.ci95),
        **{key: plain[key] for key in _COST},
    }


def evaluation_table(records: Sequence[EvaluationRecord]) -> TextTable:
    """Return a table of the sets' accuracies in percent. What all rows share is in the title."""
    from dcbench.report.formatting import protocol_title

    shared, own = _sorted_out(
        {
            "dataset": [f"{record.dataset} {record.dataset_note}".strip() for record in records],
            "network": [record.network for record in records],
            "augment": [record.augment for record in records],
            "protocol": [protocol_title(record.protocol) for record in records],
            "networks": [str(len(record.networks)) for record in records],
        }
    )
    columns = {
        "method": [record.method for record in records],
        **{
            name: own[name] for name in ("dataset", "network", "augment", "protocol") if name in own
        },
        "IPC": [_or_none(record.ipc) for record in records],
        "seed": [_or_none(record.seed) for record in records],
        **{name: own[name] for name in ("networks",) if name in own},
        **_accuracies(records),
        **_times(records),
    }
    said = [f"on {shared['dataset']}"] if "dataset" in shared else []
    said += [_networks_each(shared["networks"])] if "networks" in shared else []
    said += [", ".join(shared[name] for name in ("network", "augment") if name in shared)]
    said += [f"protocol {shared['protocol']}"] if "protocol" in shared else []
    optional = ("protocol", "augment", "network", "networks", "distilled in", "evaluated in")
    words = 1 + sum(name in own for name in ("dataset", "network", "augment", "protocol"))
    return TextTable(
        f"Accuracy {'; '.join(filter(None, said))}", list(columns), _rows(columns), optional, words
    )


def trace_table(trace: TraceRecord) -> TextTable:
    """Return a table of a set's accuracy at each step, in percent."""
    from dcbench.report.statistics.accuracies import summarise

    rows = []
    for point in trace.points:
        figures = summarise(point.accuracies)
        spread = "" if figures.std is None else f" ± {100 * figures.std:.1f}"
        accuracy, networks = f"{100 * figures.mean:.1f}{spread}", str(len(point.networks))
        rows.append([str(point.step), accuracy, networks, point.image])
    title = f"Accuracy over the steps of {trace.label}"
    head = ["step", "accuracy %", "networks", "image"]
    return TextTable(title, head, rows, ("image", "networks"), 0)


def summary_table(summary: Sequence[dict[str, Any]]) -> TextTable:
    """Return the table of accuracies over sets, in percent."""
    shared, own = _sorted_out({"dataset": [row["dataset"] for row in summary]})
    columns = {
        "method": [row["method"] for row in summary],
        **own,
        "IPC": [_or_none(row["ipc"]) for row in summary],
        "sets": [str(row["sets"]) for row in summary],
        "mean": [f"{100 * row['mean']:.1f}" for row in summary],
        "95 % interval": [_interval(row["ci95_sets"]) for row in summary],
        "std of sets": [_percent(row["std_sets"]) for row in summary],
        "std of networks": [_percent(row["std_networks"]) for row in summary],
    }
    where = f" on {shared['dataset']}" if shared else ""
    title, words = f"Accuracy{where}, over sets", 1 + len(own)
    return TextTable(title, list(columns), _rows(columns), ("std of networks",), words)


def show_places(console: Console, done: Iterable[EvaluatedSet], out: Path) -> None:
    """Print where results are stored: the output folder, and below it the folders of the sets, one
    line for all seeds.
    """
    folders: dict[Path, list[str]] = defaultdict(list)
    done = list(done)
    kept = "in each folder synthetic.pt, images.png, evaluations"
    if all(scored.synthetic is None for scored in done):
        kept = "evaluations"
    elif any(scored.synthetic is None for scored in done):
        kept = f"{kept}; of the whole data evaluations alone"
    for scored in done:
        folder = evaluated_set_folder(scored.path) or scored.path.parent
        if folder.name not in folders[folder.parent]:
            folders[folder.parent].append(folder.name)
    console.say(f"Kept in {out} ({kept}):")
    for folder, names in folders.items():
        place = folder.relative_to(out) if folder.is_relative_to(out) else folder
        numbers = ",".join(name.removeprefix("seed") for name in names)
        console.say(f"  {place}/{names[0] if len(names) == 1 else f'seed{{{numbers}}}'}")
    if out != Path(RESULTS):
        console.say(f"table: {shlex.join(['dcbench', 'report', '--results', str(out)])}")


def show_warnings(console: Console, records: Iterable[EvaluationRecord]) -> None:
    """Print warnings that users should know before they trust the figures."""
    for record in records:
        for warning in record.warnings:
            console.say(f"{record.label}: {warning}")


def _sorted_out(columns: dict[str, list[str]]) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Split off what all rows share; return it and the columns in which rows differ."""
    shared = {name: values[0] for name, values in columns.items() if len(set(values)) == 1}
    return shared, {name: values for name, values in columns.items() if name not in shared}


def _networks_each(count: str) -> str:
    return f"{count} network{'' if count == '1' else 's'} each"


def _accuracies(records: Sequence[EvaluationRecord]) -> dict[str, list[str]]:
    from dcbench.report.statistics.accuracies import summarise

    figures = [summarise(record.accuracies) for record in records]
    spreads = ["" if each.std is None else f" ± {100 * each.std:.1f}" for each in figures]
    return {
        "accuracy %": [
            f"{100 * each.mean:.1f}{spread}" for each, spread in zip(figures, spreads, strict=True)
        ],
        # of two networks it reaches from one end of the scale to the other, or is empty
        "95 % interval": [
            _interval(each.ci95 if len(record.networks) > MOST_WITHOUT_INTERVAL else None)
            for each, record in zip(figures, records, strict=True)
        ],
    }


def _times(records: Sequence[EvaluationRecord]) -> dict[str, list[str]]:
    from dcbench.system.wording import in_words

    made = [record.distillation for record in records]
    return {
        "distilled in": [NONE if cost is None else in_words(cost.distill_seconds) for cost in made],
        "evaluated in": [in_words(record.evaluate_seconds) for record in records],
    }


def _rows(columns: dict[str, list[str]]) -> list[list[str]]:
    return [list(row) for row in zip(*columns.values(), strict=True)]


def _or_none(value: int | None) -> str:
    return NONE if value is None else str(value)


def _percent(fraction: float | None) -> str:
    return NONE if fraction is None else f"{100 * fraction:.1f}"


def _interval(bounds: Sequence[float] | None) -> str:
    from dcbench.report.statistics.accuracies import clipped

    shown = clipped(None if bounds is None else (bounds[0], bounds[1]))
    return NONE if shown is None else f"{100 * shown[0]:.1f} to {100 * shown[1]:.1f}"
