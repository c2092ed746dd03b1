"""The results of a search: a record for each proxy, and a table of the truth for other searches."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dcbench.execution.provenance import circumstances
from dcbench.experiments.context import Workspace
from dcbench.nas.proxies import Proxy
from dcbench.nas.study import ArchitectureStudy, Row, Rows, kept_rows
from dcbench.nas.truth import VALIDATION_COLUMN, Truth, write_truth
from dcbench.records import ArchitectureScore, SearchRecord, SearchRun, write_record
from dcbench.records.search import CHOSEN_BY
from dcbench.run import fingerprint
from dcbench.system.errors import MismatchError, OutOfRangeError, require_known
from dcbench.system.layout import TRUTH, search_record

USUAL_TOP = 0.2  # the default, which a record's path leaves out


@dataclass(frozen=True, eq=False)
class TrainedOnProxy:
    """The architectures that were trained on one proxy."""

    study: ArchitectureStudy
    proxy: Proxy
    rows: Rows
    workspace: Workspace

    def by_architecture(self) -> Mapping[str, list[Row]]:
        """Return the rows of each architecture drawn, by seed."""
        drawn, seeds = self.study.drawn.architectures, range(self.study.seeds)
        return {name: [self.rows[name, seed] for seed in seeds] for name in drawn}


def trained_truth(outcome: TrainedOnProxy) -> Truth:
    """Return the mean test accuracy of networks trained on the whole data.

    All architectures ever trained there, by this search or others, are written to a table beside
    the rows (``truth.csv``).
    """
    study = outcome.study
    spec, protocol = study.loaded.spec, study.asked(outcome.proxy, outcome.workspace.machine)
    folder = study.folder(outcome.proxy, outcome.workspace)
    everything = _means({**kept_rows(folder), **outcome.rows}.values())
    table = ((name, *everything[name]) for name in sorted(everything))
    write_truth(folder / TRUTH, (spec.dataset, spec.revision), table)
    origin = {
        "source": "trained",
        "protocol": protocol,
        "seeds": study.seeds,
        "images": len(study.loaded.train),
    }
    own = _means(row for rows in outcome.by_architecture().values() for row in rows)
    validation = {name: validated for name, (_, validated, _) in own.items()}
    return Truth({name: tested for name, (tested, _, _) in own.items()}, origin, validation)


def _means(rows: Iterable[Row]) -> dict[str, tuple[float, float, int]]:
    """Return test and validation accuracy of each architecture, and over how many networks."""
    tested: dict[str, list[Row]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: (row["architecture"], row["seed"])):
        if row["test_accuracy"] is not None:
            tested[row["architecture"]].append(row)
    return {
        name: (_mean("test_accuracy", own), _mean("accuracy", own), len(own))
        for name, own in tested.items()
    }


def _mean(figure: str, rows: Sequence[Row]) -> float:
    return float(sum(row[figure] for row in rows) / len(rows))


@dataclass(frozen=True)
class TopShare:
    """The share of the best architectures, which gets a correlation of its own."""

    share: float = USUAL_TOP
    # rank by the truth's validation or test accuracy; None: validation if known
    by: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.share, float | int) or not 0 < self.share <= 1:
            raise OutOfRangeError(f"top must be a share above 0 and at most 1, got {self.share!r}")
        if self.by is not None:
            require_known("value of --top-by", self.by, CHOSEN_BY)

    def chosen_by(self, truth: Truth, architectures: Iterable[str]) -> str:
        """Return which accuracy ranks the architectures. Raises MismatchError if validation is
        asked for and not known.
        """
        known = all(name in truth.validation for name in architectures if name in truth.accuracies)
        if self.by == "validation" and not known:
            raise MismatchError(
                f"--top-by validation: the truth has no {VALIDATION_COLUMN} of each architecture "
                "drawn; choose --top-by test, or a table that has that column"
            )
        return self.by or ("validation" if known else "test")


def store(outcome: TrainedOnProxy, truth: Truth, top: TopShare) -> tuple[SearchRecord, Path]:
    """Write the record of one proxy. Its path depends on which architectures were drawn and what
    they are compared with.
    """
    record = _record(outcome, truth, top)
    compared = {
        "architectures": sorted(outcome.study.drawn.architectures),
        "truth": dict(truth.origin),
        "seeds": outcome.study.seeds,
    }
    if top.share != USUAL_TOP:
        compared["top"] = top.share
    if record.top_by != "test":  # of which older paths say nothing
        compared["top_by"] = record.top_by
    folder = outcome.study.folder(outcome.proxy, outcome.workspace)
    path = search_record(folder, len(record.architectures), record.seeds, fingerprint(compared))
    write_record(path, record)
    return record, path


def _record(outcome: TrainedOnProxy, truth: Truth, top: TopShare) -> SearchRecord:
    study, proxy, machine = outcome.study, outcome.proxy, outcome.workspace.machine
    spec, train, asked = study.loaded.spec, study.loaded.train, study.asked(outcome.proxy, machine)
    rows = [row for own in outcome.by_architecture().values() for row in own]
    schedule = study.judged(proxy).schedule
    return SearchRecord(
        space=study.space.name,
        space_fields=dict(study.space.fields),
        space_size=len(study.space.identifiers()),
        excluded=study.drawn.excluded,
        match=study.drawn.match,
        sample=study.sample,
        search_seed=study.seed,
        seeds=study.seeds,
        top=top.share,
        top_by=top.chosen_by(truth, study.drawn.architectures),
        proxy=proxy.name,
        proxy_ipc=proxy.ipc,
        proxy_seed=proxy.seed,
        proxy_preset=proxy.preset,
        proxy_fields=dict(proxy.fields),
        proxy_title=proxy.title,
        proxy_hash=proxy.content,
        proxy_holdout=proxy.holdout,
        image_space=proxy.space.name,
        recipe=dict(proxy.recipe),
        storage_images=proxy.storage_images,
        storage_bytes=proxy.storage_bytes,
        dataset=spec.dataset,
        dataset_revision=spec.revision,
        dataset_note=study.loaded.note,
        validation_images=len(study.validation),
        validation_seen_by_proxy=proxy.holdout != train.holdout,
        protocol=asked,
        protocol_hash=fingerprint(asked),
        iterations=schedule.epochs * -(-proxy.images_per_epoch // schedule.batch),
        truth=dict(truth.origin),
        architectures=_scores(outcome, truth),
        seconds=sum(row["seconds"] for row in rows),
        **circumstances(rows, machine.precision),
        warnings=proxy.warnings,
    )


def _scores(outcome: TrainedOnProxy, truth: Truth) -> tuple[ArchitectureScore, ...]:
    macs, found = outcome.study.drawn.macs, outcome.by_architecture()
    return tuple(
        ArchitectureScore(
            architecture,
            macs[architecture],
            truth.accuracies.get(architecture),
            tuple(map(_run, found[architecture])),
            truth.validation.get(architecture),
        )
        for architecture in sorted(found)
    )


def _run(row: Row) -> SearchRun:
    return SearchRun(row["seed"], row["accuracy"], row["loss"], row["seconds"], row["failure"])
