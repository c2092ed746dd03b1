"""``dcbench reproduce``: a table or figure of the paper, from making the sets to the figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from dcbench.cli.completion import completing
from dcbench.cli.options import PATH, CommaList, Common, common, download, resuming

if TYPE_CHECKING:
    from dcbench.cli.console import Console, TextTable
    from dcbench.records import EvaluationRecord
    from dcbench.reproduction.reproduce import Reproduction, StudyResults, WorkEstimate
    from dcbench.studies.declarations import Study


@click.command("reproduce")
@click.argument("name", metavar="STUDY", shell_complete=completing("study"))
@click.option(
    "--estimate",
    "only_estimate",
    is_flag=True,
    help="Print what the study will cost and do nothing; needs no data.",
)
@click.option(
    "--truth",
    type=PATH,
    help="For a search: table of test accuracies on the whole data; trained if not given.",
)
@click.option("--truth-column", help="Column of that table, if not the usual one.")
@download
@resuming
@click.option("--protocol", help="Only the study's own protocol, which its preset decides.")
@click.option(
    "--seed",
    "seeds",
    type=CommaList(int, 0),
    help="Only the study's own seeds, which its preset decides.",
)
@common(
    "Named settings of the study: paper, the published ones; quick, a part of it in minutes to "
    "tens of minutes on two cores.",
    "preset of a study",
)
def command(shared: Common, name: str, only_estimate: bool, **options: Any) -> None:
    """Reproduce STUDY and show its results: one of the paper's tables and figures (dcbench list
    shows them), or ./file.toml, a grid of your own.
    """
    from dcbench.studies.files import study_named

    study = study_named(name)
    shared = _with_preset_of(study, shared)
    study.plan(shared.preset)

    from dcbench.cli.console import Console
    from dcbench.reproduction.reproduce import Reproduction

    again = {name: options[name] for name in ("no_resume", "resume_elsewhere")}
    with Console(shared.as_json) as console, shared.workspace(console, **again) as workspace:
        reproduction = Reproduction(
            study,
            shared.preset,
            shared.places(options["download"]),
            workspace,
            options["truth"],
            options["truth_column"],
            only_estimate,
        )
        reproduction.refuse_other(options["protocol"], options["seeds"])
        reproduction.check()
        pieces = reproduction.estimate()
        _announce(console, reproduction, pieces)
        outcome = None if only_estimate else reproduction.reproduce()
    if outcome is not None:
        _show(console, reproduction, outcome)
    console.result(_json(reproduction, pieces, outcome))
    if outcome is not None and outcome.skipped:
        console.say(f"{outcome.skipped} skipped, for the reasons given above")
        raise click.exceptions.Exit(1)


def _with_preset_of(study: Study, shared: Common) -> Common:
    """Return ``shared`` with the study's preset, if the study has only one and the user
    named none.
    """
    source = click.get_current_context().get_parameter_source("preset")
    if source is click.core.ParameterSource.DEFAULT and len(study.plans) == 1:
        return replace(shared, preset=next(iter(study.plans)))
    return shared


def _announce(console: Console, reproduction: Reproduction, pieces: Sequence[WorkEstimate]) -> None:
    from dcbench.system.wording import counted, in_words

    study, machine = reproduction.study, reproduction.workspace.machine
    total = in_words(sum(piece.seconds for piece in pieces))
    console.say(
        f"{study.name} ({reproduction.preset}): {study.title}; on {reproduction.plan.dataset}, "
        f"varies {study.varies}"
    )
    console.say(
        f"about {total} here from the beginning ({machine.precision}, "
        f"{counted(machine.threads, 'thread')}); what is done is not done again"
    )
    for piece in pieces:
        console.say(f"  {piece.label}: {in_words(piece.seconds)}")


def _show(console: Console, reproduction: Reproduction, outcome: StudyResults) -> None:
    from dcbench.cli.nas import search_table
    from dcbench.cli.results import trace_table

    if outcome.evaluations:
        console.table(_with_fields([record for record, _, _ in outcome.evaluations]))
    for trace, path in outcome.traces:
        console.table(trace_table(trace))
        console.say(f"images at these steps: {path.parent}")
    for embedding, path in outcome.embeddings:
        figures = (
            f"KL divergence {embedding.kl_divergence:.2f}, {embedding.network} at "
            f"{100 * embedding.network_accuracy:.1f} %"
        )
        console.say(f"{embedding.label}: {len(embedding.points)} images placed, {figures}: {path}")
    if outcome.searches:
        console.table(search_table([record for record, _ in outcome.searches]))
    console.say(f"dcbench report --results {reproduction.workspace.out} renders all that is there")


def _with_fields(records: Sequence[EvaluationRecord]) -> TextTable:
    """Return the table of evaluations, with a column for each field that the study varies."""
    from dcbench.cli.results import evaluation_table
    from dcbench.distiller import defaults_of, find

    defaults = {record.method: defaults_of(find(record.method)) for record in records}
    fields = [{**defaults[record.method], **record.fields} for record in records]
    names = dict.fromkeys(name for own in fields for name in own)
    varied = [name for name in names if len({str(own[name]) for own in fields if name in own}) > 1]
    table = evaluation_table(records)
    rows = [
        [row[0], *(str(own.get(name, "–")) for name in varied), *row[1:]]
        for row, own in zip(table.rows, fields, strict=True)
    ]
    head = [table.head[0], *varied, *table.head[1:]]
    return replace(table, head=head, rows=rows, words=table.words + len(varied))


def _json(
    reproduction: Reproduction, pieces: Sequence[WorkEstimate], outcome: StudyResults | None
) -> dict[str, Any]:
    from dcbench.cli.results import run_json, trace_json
    from dcbench.experiments.run_grid import EvaluatedSet
    from dcbench.report.tables.searches import search_summary
    from dcbench.reproduction.reproduce import StudyResults

    made = outcome or StudyResults()
    return {
        "study": reproduction.study.name,
        "preset": reproduction.preset,
        "dataset": reproduction.plan.dataset,
        "data_found": reproduction.data_found,
        "estimate_seconds": sum(piece.seconds for piece in pieces),
        "pieces": [{"label": piece.label, "seconds": piece.seconds} for piece in pieces],
        "runs": [
            run_json(EvaluatedSet(*evaluation)) | {"fields": dict(evaluation[0].fields)}
            for evaluation in made.evaluations
        ],
        "traces": [trace_json(*traced) for traced in made.traces],
        "embeddings": [
            {
                "record": str(path),
                "method": record.method,
                "kl_divergence": record.kl_divergence,
                "images": len(record.points),
            }
            for record, path in made.embeddings
        ],
        "searches": [search_summary(record, path) for record, path in made.searches],
        "skipped": made.skipped,
    }
