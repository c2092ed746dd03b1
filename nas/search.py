"""A whole search: its request, checked before any data is read; proxies, architectures, truth; a
record for each proxy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dcbench.datasets.loading import Loaded, load
from dcbench.datasets.places import Places
from dcbench.evaluation.protocol import SearchProtocol
from dcbench.execution.workers import each, result
from dcbench.experiments.context import Workspace
from dcbench.experiments.whole_command import CommandProgress
from dcbench.images import ImageSpec
from dcbench.nas.catalogue import find_space
from dcbench.nas.outcome import USUAL_TOP, TopShare, TrainedOnProxy, store, trained_truth
from dcbench.nas.proxies import Proxy, Request, make_proxies, open_artifacts, parse_requests, whole
from dcbench.nas.space import SearchSpace
from dcbench.nas.study import (
    ArchitectureStudy,
    DrawnArchitectures,
    Rows,
    announce,
    draw,
    estimate_seconds,
    matching,
    train_on,
)
from dcbench.nas.truth import Truth, read_truth
from dcbench.records import SearchRecord
from dcbench.run import Run
from dcbench.system.errors import OutOfRangeError
from dcbench.system.fields import within

USUAL_VALIDATION = 10_000  # images; a fifth of the training images if that is less
Done = list[tuple[SearchRecord, Path]]


@dataclass(frozen=True)
class Search:
    """The request of a search, the same for all proxies. Raises OutOfRangeError if a value is wrong
    in itself.
    """

    proxies: Sequence[Request]
    space: SearchSpace
    protocol: SearchProtocol
    dataset: str | None = None  # None: the data set of the first artifact
    # draw among architectures whose names match a pattern; among all if empty
    match: Sequence[str] = ()
    sample: int | None = None
    seeds: int = 1
    seed: int = 0
    validation: int | None = None
    top: float = USUAL_TOP
    # rank by the truth's validation or test accuracy; None: validation if known
    top_by: str | None = None
    truth: Path | None = None
    truth_column: str | None = None

    @classmethod
    def of(
        cls, words: Sequence[str], space: str, protocol: str | None, preset: str, **options: Any
    ) -> Search:
        """Make a search from names and numbers.

        Args:
            words: The proxies.
            space: Name of the search space.
            protocol: Name of a protocol; None: the preset's.
            preset: Name of a preset.
            options: ``epochs``, ``truth_epochs`` and fields; None is the default.
        """
        given = {name: value for name, value in options.items() if value is not None}
        chosen = find_space(space)
        epochs = (given.pop("epochs", None), given.pop("truth_epochs", None))
        trained = chosen.protocol_named(protocol, preset).with_epochs(*epochs)
        return cls(parse_requests(words), chosen, trained, **given)

    def __post_init__(self) -> None:
        if not self.proxies:
            raise OutOfRangeError("a search needs at least one proxy")
        least = {"sample": 1, "seeds": 1, "seed": 0, "validation": 1}
        for name, bound in least.items():
            within(name, getattr(self, name), bound)
        TopShare(self.top, self.top_by)
        size = len(matching(self.space, self.match))
        if self.sample is not None and self.sample > size:
            fitting = " that match" if self.match else ""
            raise OutOfRangeError(
                f"a sample of {self.sample} architectures was asked; {self.space.name} has "
                f"{size}{fitting}, wanted 1 to {size}"
            )
        if self.truth is None and not self.space.truth_trained:
            raise OutOfRangeError(
                f"the truth of {self.space.name} is not trained here; give --truth FILE: "
                f"{self.space.truth_help}"
            )
        if self.truth is None and self.truth_column is not None:
            raise OutOfRangeError(
                f"--truth-column {self.truth_column!r} names a column of a table, but no --truth "
                "FILE was given"
            )


def search_architectures(search: Search, places: Places, workspace: Workspace) -> Done:
    """Train what is missing and write a record for each proxy.

    Everything is checked before anything is trained.

    Returns:
        The records with their paths, in the order of the proxies.
    """
    dataset, artifacts = open_artifacts(search.proxies, search.dataset)
    loaded = _load(dataset, search, places, workspace)
    drawn = draw(search.space, loaded.spec, search.sample, search.seed, search.match)
    study = ArchitectureStudy(
        search.space, loaded, search.protocol, drawn, search.sample, search.seeds, search.seed
    )
    proxies = make_proxies(search.proxies, artifacts, loaded, Run(search.seed, workspace.machine))
    truth = table_of_truths(search, drawn, loaded.spec)
    reference = next((proxy for proxy in proxies if proxy.whole), whole(loaded))
    needed = proxies if truth is not None or reference in proxies else [*proxies, reference]
    announce(study, needed, workspace)
    for proxy in proxies:
        for warning in proxy.warnings:
            workspace.say(f"{proxy.label}: {warning}")
    top = TopShare(search.top, search.top_by)
    if truth is not None:
        top.chosen_by(truth, drawn.architectures)  # raises before anything is trained
    trained = _train(study, needed, workspace)
    truth = truth or trained_truth(TrainedOnProxy(study, reference, trained[reference], workspace))
    return [
        store(TrainedOnProxy(study, proxy, trained[proxy], workspace), truth, top)
        for proxy in proxies
    ]


def _load(dataset: str, search: Search, places: Places, workspace: Workspace) -> Loaded:
    validation = search.validation
    if validation is None:
        everything = load(dataset, places, progress=workspace.stoppable_progress)
        validation = min(USUAL_VALIDATION, len(everything.train) // 5)
    return load(dataset, places, holdout=validation, progress=workspace.stoppable_progress)


def table_of_truths(search: Search, drawn: DrawnArchitectures, spec: ImageSpec) -> Truth | None:
    """Read the table that the search names, if it names one. Raises DataError, FileFormatError, or
    MismatchError if it does not fit.
    """
    if search.truth is None:
        return None
    truth = read_truth(search.truth, search.space, spec.dataset, search.truth_column, spec.revision)
    truth.require(drawn.architectures, search.truth)
    return truth


def _train(
    study: ArchitectureStudy, proxies: Sequence[Proxy], workspace: Workspace
) -> dict[Proxy, Rows]:
    """Train the architectures on each proxy. The first error is raised when all others are
    trained.
    """
    progress = CommandProgress("proxy", workspace)
    for proxy in proxies:
        progress.add(proxy, 0.0, estimate_seconds(study, proxy, workspace))
    rows: dict[Proxy, Rows | Exception] = {}
    for proxy, outcome in each(
        lambda proxy: train_on(study, proxy, progress.workspace_of(proxy)),
        dict.fromkeys(proxies),
        workspace.workers,
    ):
        progress.end(proxy)
        rows[proxy] = outcome
    return {proxy: result(outcome) for proxy, outcome in rows.items()}
