"""Reproduce a study: estimate its cost, make its sets, and evaluate, trace, embed or search as its
plan says. Resumable throughout.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path

from dcbench.datasets.loading import DECLARED, Loaded, declared, why_absent
from dcbench.datasets.places import Places
from dcbench.evaluation.evaluate import evaluation_macs
from dcbench.evaluation.protocol import PROTOCOL_NAMES, Protocol
from dcbench.execution.workers import each, result
from dcbench.experiments.context import Cell, Workspace
from dcbench.experiments.distil import distil
from dcbench.experiments.embed import SetEmbedding, embedding_macs
from dcbench.experiments.evaluate import SetEvaluation, evaluate_set, record_path
from dcbench.experiments.grid import Grid, check_network
from dcbench.experiments.trace import Trace, require_steps
from dcbench.experiments.whole_command import CommandProgress, seconds_of
from dcbench.nas.catalogue import find_space
from dcbench.nas.search import Search, search_architectures, table_of_truths
from dcbench.nas.study import draw
from dcbench.networks.costs import training_macs
from dcbench.records import EmbeddingRecord, EvaluationRecord, SearchRecord, TraceRecord
from dcbench.studies.declarations import Plan, Study, StudyPart
from dcbench.system.errors import OutOfRangeError, UnknownNameError, in_one_line
from dcbench.training.mixing import augmentation_and_mix


@dataclass(frozen=True)
class WorkEstimate:
    """One piece of a study's work and its estimated time on this machine."""

    label: str
    seconds: float


@dataclass
class StudyResults:
    """The results of a study: its records and sets with their paths, and the number of skipped
    cells.
    """

    evaluations: list[tuple[EvaluationRecord, Path, Path | None]] = field(default_factory=list)
    traces: list[tuple[TraceRecord, Path]] = field(default_factory=list)
    embeddings: list[tuple[EmbeddingRecord, Path]] = field(default_factory=list)
    searches: list[tuple[SearchRecord, Path]] = field(default_factory=list)
    sets: list[Path] = field(default_factory=list)
    skipped: int = 0

    def add(self, other: StudyResults) -> None:
        """Add the results of another part of the study."""
        for name in ("evaluations", "traces", "embeddings", "searches", "sets"):
            getattr(self, name).extend(getattr(other, name))


@dataclass(frozen=True)
class Reproduction:
    """A study with one preset, in one workspace. ``truth`` is a table of a search space's true
    accuracies, if they are not trained here.
    """

    study: Study
    preset: str
    places: Places
    workspace: Workspace
    truth: Path | None = None
    truth_column: str | None = None
    # only estimate: then absent data is assumed to be as the catalogue says
    only_estimate: bool = False

    @property
    def plan(self) -> Plan:
        return self.study.plan(self.preset)

    def check(self) -> None:
        """Check the study's names and ranges without looking at any data.

        Raises:
            UnknownNameError, OutOfRangeError: If something is wrong.
        """
        for part in self.plan.parts:
            self._check_part(part)
        if self.plan.search is not None and not self.only_estimate:  # which needs no truths
            self._search([])
        if self.plan.search is None and self.truth is not None:
            raise OutOfRangeError(
                f"--truth is for studies that search over architectures; {self.study.name} does not"
            )

    def _check_part(self, part: StudyPart) -> None:
        distillers = self._grid(part).distillers().values()
        for name in part.networks:
            check_network(name)
        for name in part.augments:
            augmentation_and_mix(name)
        for distiller in distillers:
            for ipc in part.ipcs if self.plan.trace else ():
                require_steps(distiller, ipc, self.plan.trace[-1])

    def refuse_other(self, protocol: str | None, seeds: Sequence[int] | None) -> None:
        """Refuse a protocol or seeds other than the study's own.

        Raises:
            UnknownNameError, OutOfRangeError: If others are asked for.
        """
        own = self._protocol_names()
        made = sorted({seed for part in self.plan.parts for seed in part.seeds})
        if protocol is not None and protocol not in (known := {*PROTOCOL_NAMES, *own}):
            raise UnknownNameError("protocol", protocol, known)
        if protocol is not None and own and {protocol} != own:
            raise OutOfRangeError(
                f"{self.study.name} with --preset {self.preset} is judged by protocol "
                f"{', '.join(sorted(own))}, got --protocol {protocol};"
                " a study decides its protocol: choose another --preset, or dcbench run "
                f"--protocol {protocol} for sets of your own"
            )
        if seeds is not None and sorted(seeds) != made:
            words = [",".join(map(str, each)) for each in (made, seeds)]
            raise OutOfRangeError(
                f"{self.study.name} with --preset {self.preset} makes sets of --seed {words[0]}, "
                f"got --seed {words[1]};"
                f" a study decides its seeds: dcbench run --seed {words[1]} makes sets of your own"
            )

    def _protocol_names(self) -> set[str]:
        """Return the names of the protocols by which the study trains networks; none for an
        embedding.
        """
        if self.plan.search is not None:
            return {find_space(self.plan.search.space).protocol_named(None, self.preset).name}
        if self.plan.embedding is not None:
            return set()
        return {
            self._grid(part).protocol_of(distiller, name).name
            for part in self.plan.parts
            for name in part.protocols or (None,)
            for distiller in self._grid(part).distillers().values()
        }

    def estimate(self) -> list[WorkEstimate]:
        """Return the pieces of the whole study, including finished ones. Estimated from counted
        operations, to a factor of three.
        """
        pieces, counted = [], set[tuple[int, str]]()
        for part, cell in self._cells():
            pieces.append(WorkEstimate(_label(part, cell), sum(self._phases(part, cell, counted))))
        if self.plan.embedding is not None:
            _, cell = next(self._cells())
            pieces.append(
                WorkEstimate(
                    f"{self.plan.embedding.network} on the real data",
                    self._seconds(embedding_macs(self.plan.embedding, cell)),
                )
            )
        return pieces + self._search_pieces()

    def reproduce(self) -> StudyResults:
        """Do the whole study. A cell that fails is skipped with a message, unless it is the only
        one.
        """
        outcome = StudyResults()
        self._check_truth()  # before hours of work, not after
        wanted = list(self._cells())
        done: dict[int, StudyResults] = {}
        progress, counted = CommandProgress("set", self.workspace), set[tuple[int, str]]()
        for index, (part, cell) in enumerate(wanted):
            progress.add(index, *self._phases(part, cell, counted))
        for index, ended in each(
            lambda index: self._cell(*wanted[index], progress.workspace_of(index)),
            range(len(wanted)),
            self.workspace.workers,
        ):
            progress.end(index)
            if isinstance(ended, Exception) and len(wanted) > 1:
                self.workspace.say(f"{_label(*wanted[index])} skipped: {in_one_line(ended)}")
                outcome.skipped += 1
            else:
                done[index] = result(ended)
        for index in sorted(done):  # in the plan's order, not in the order they ended
            outcome.add(done[index])
        if self.plan.search is not None:
            outcome.searches += search_architectures(
                self._search(outcome.sets), self.places, self.workspace
            )
        return outcome

    def _check_truth(self) -> None:
        if self.truth is not None:
            search, spec = self._search([]), self._loaded.spec
            table_of_truths(search, draw(search.space, spec, search.sample, search.seed), spec)

    def _phases(
        self, part: StudyPart, cell: Cell, counted: set[tuple[int, str]]
    ) -> tuple[float, float]:
        """Estimate the seconds to make a cell's set and to evaluate it."""
        judged = sum(self._judging_macs(cell, each_one) for each_one in self._protocols(part, cell))
        return self._seconds(_distilling_macs(cell, counted)), self._seconds(judged)

    def _cell(self, part: StudyPart, cell: Cell, workspace: Workspace) -> StudyResults:
        """Do what the plan says with one cell."""
        plan, outcome = self.plan, StudyResults()
        if plan.trace:
            (protocol,) = self._protocols(part, cell)
            trace = Trace(cell, plan.trace, protocol, workspace)
            outcome.traces.append(trace.make_record(plan.ensemble or protocol.networks))
            return outcome
        distilled = distil(cell, workspace)
        if plan.embedding is not None:
            embedding = SetEmbedding(cell, distilled, plan.embedding, workspace)
            outcome.embeddings.append(embedding.make_record())
        for protocol in self._protocols(part, cell):
            networks = plan.ensemble or protocol.networks
            asked = (distilled, cell.loaded.test, protocol, cell.seed, networks)
            judged_with = cell.loaded.train, cell.loaded.folder
            record = evaluate_set(SetEvaluation(*asked, workspace, *judged_with))
            outcome.evaluations.append((record, record_path(distilled, record), distilled.path))
        if distilled.path is not None:
            outcome.sets.append(distilled.path)
        return outcome

    def _grid(self, part: StudyPart) -> Grid:
        holdout = self.plan.search.validation if self.plan.search else 0
        return Grid(
            part.methods,
            (self.plan.dataset,),
            part.ipcs,
            part.seeds,
            self.preset,
            part.fields,
            # whitening takes a minute and changes no count
            zca="off" if self.only_estimate else "auto",
            holdout=holdout,
        )

    def _cells(self) -> Iterator[tuple[StudyPart, Cell]]:
        for part in self.plan.parts:
            cells = self._grid(part).cells_of(self.plan.dataset, self._whitened, self.places)
            yield from ((part, cell) for cell in cells)

    @property
    def _loaded(self) -> Loaded:
        """The data set, as the first cell has it."""
        return self._whitened(self._grid(self.plan.parts[0]).usual_zca(self.plan.dataset))

    @cached_property
    def _whitened(self) -> Callable[[str], Loaded]:
        """A function that loads the data set with a given whitening, once for each."""
        return cache(self._load)

    def _load(self, zca: str) -> Loaded:
        """Load the data set. For an estimate the catalogue's numbers of images are enough, and
        nothing is decoded.
        """
        grid, name = self._grid(self.plan.parts[0]), self.plan.dataset
        counted = declared(name, holdout=grid.holdout) if self.only_estimate else None
        if counted is None:
            return grid.load(name, self.places, self.workspace, zca)
        absence = why_absent(name, self.places)
        if absence:
            numbers = f"{len(counted.train)} images to train on and {len(counted.test)} to test"
            self.workspace.say(f"{absence}; estimated all the same, for {numbers}")
        return counted if absence else replace(counted, source="found, not read")

    @property
    def data_found(self) -> bool:
        """Whether the data set was found, not just assumed for an estimate."""
        return self._loaded.source != DECLARED

    def _protocols(self, part: StudyPart, cell: Cell) -> list[Protocol]:
        """Return the protocols that evaluate a set of this part; none for an embedding or a
        search.
        """
        if self.plan.embedding is not None or self.plan.search is not None:
            return []
        return [
            self._grid(part).protocol_of(cell.distiller, name).with_options(network, None, augment)
            for name in part.protocols or (None,)
            for network in part.networks or (None,)
            for augment in part.augments or (None,)
        ]

    def _judging_macs(self, cell: Cell, protocol: Protocol) -> float:
        """Return the multiply-accumulates of evaluating one cell by one protocol, at each step of a
        trace.
        """
        spec = cell.loaded.spec
        times = (self.plan.ensemble or protocol.networks) * max(1, len(self.plan.trace))
        images = cell.ipc * spec.classes
        return times * evaluation_macs(protocol, spec, images, len(cell.loaded.test))

    def _search(self, sets: list[Path]) -> Search:
        wanted = self.plan.search
        if wanted is None:
            raise OutOfRangeError(f"{self.study.name} searches over no architectures")
        sized = f"random:{self.plan.parts[0].ipcs[0]}"
        words = [
            *map(str, sets),
            *(sized if proxy == "random" else proxy for proxy in wanted.proxies),
        ]
        return Search.of(
            words,
            wanted.space,
            None,
            self.preset,
            dataset=self.plan.dataset,
            sample=wanted.sample,
            seeds=wanted.seeds,
            validation=wanted.validation,
            top=wanted.top,
            truth=self.truth,
            truth_column=self.truth_column,
        )

    def _search_pieces(self) -> list[WorkEstimate]:
        """Return the pieces of a search: every architecture on every proxy, and on the whole data
        if the truth is trained here.
        """
        wanted = self.plan.search
        if wanted is None:
            return []
        space, loaded = find_space(wanted.space), self._loaded
        protocol = space.protocol_named(None, self.preset)
        forward = sum(draw(space, loaded.spec, wanted.sample, seed=0).macs.values()) * wanted.seeds
        budget = self.plan.parts[0].ipcs[0] * loaded.spec.classes
        sizes = {"early-stopping": budget, "whole": len(loaded.train)}
        proxies = {
            str(label): budget for label in ["random", *(own.label for _, own in self._cells())]
        }
        proxies |= {name: sizes[name] for name in wanted.proxies if name in sizes}
        pieces = []
        for name, images in proxies.items():
            schedule = (protocol.on_the_whole() if name == "whole" else protocol).schedule
            tested = wanted.validation + (len(loaded.test) if name == "whole" else 0)
            operations = training_macs(forward, images, schedule.epochs, tested)
            pieces.append(WorkEstimate(f"architectures on {name}", self._seconds(operations)))
        return pieces

    def _seconds(self, operations: float) -> float:
        return seconds_of(operations, self.workspace.machine)


def _distilling_macs(cell: Cell, counted: set[tuple[int, str]]) -> float:
    """Return the multiply-accumulates of making the cell's set. Shared work is counted once: what
    is in ``counted`` is left out, the rest is added to it.
    """
    what = (cell.loaded.train, cell.ipc)
    shared = {
        (cell.seed, name): operations
        for name, operations in cell.distiller.shared_macs(*what).items()
    }
    spared = sum(operations for work, operations in shared.items() if work in counted)
    counted.update(shared)
    return cell.distiller.cost_macs(*what) - spared


def _label(part: StudyPart, cell: Cell) -> str:
    """Describe a cell and what its part changes."""
    return " ".join([cell.label, *(f"{name}={value}" for name, value in part.fields.items())])
