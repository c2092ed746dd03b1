"""The Python face: what the commands do, as functions for notebooks and scripts.

Every function computes what the command of its name computes: the same seed, machine and fields
give the same bits. Nothing is stored unless ``out`` names a folder; with it, what is stored is what
the commands store there, and interrupted work goes on. Errors are ``DcbenchError`` with the
command line's one-line messages; doubts are warnings. ``import dcbench`` imports nothing of this:
the names are looked up when they are used.

Keywords that several functions share:
    data_root: The folder that holds data sets; ``DCBENCH_DATA`` or ``./data`` if None.
    download: Whether to fetch a data set that is not there.
    out: The folder to store results in; None stores nothing.
    progress: True for a bar on standard error, or a function of what is done, how much of it is
        done, and how much there is; None tells nobody.
    device, threads, precision, engine: As the options of the commands.
    executor: A ``concurrent.futures.Executor`` of processes; None computes in this process.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from dcbench.artifacts.artifact import Artifact, artifact_of, read_artifact, write_artifact
from dcbench.artifacts.exporting import export_set
from dcbench.artifacts.importers.catalogue import find_layout
from dcbench.artifacts.importers.importing import (
    ImportedSet,
    import_set,
    interpret_set,
    open_space,
    provenance_of,
)
from dcbench.artifacts.importers.layout import VALUE_SPACES, FileLayout, ForeignSet, ImportOptions
from dcbench.datasets import catalogue, hub
from dcbench.datasets.loading import Loaded, load
from dcbench.datasets.places import Places
from dcbench.distiller import Distiller, fields_of, find
from dcbench.evaluation.protocol import PROTOCOL_NAMES, LabelSource, Protocol
from dcbench.execution.processes import workers_that_fit
from dcbench.execution.workers import Workers
from dcbench.experiments.context import StoredSet, Workspace
from dcbench.experiments.distil import distil, reopen
from dcbench.experiments.grid import Grid
from dcbench.experiments.run_grid import Judging
from dcbench.experiments.stored_sets import judge_stored, protocol_of_set, require_known_data
from dcbench.images import Space, SyntheticSet
from dcbench.records import EvaluationRecord, RecordsFound, SearchRecord, find_records
from dcbench.run import Resumption
from dcbench.system.errors import DataError, MismatchError, OutOfRangeError, UnknownNameError
from dcbench.system.fields import within
from dcbench.system.files import disk_time
from dcbench.system.layout import ARTIFACT, foreign_set_folder
from dcbench.system.machine import EXACT, resolve
from dcbench.system.progress import Progress, silent

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from dcbench.report.statistics.accuracies import Summary

PathLike = str | os.PathLike[str]
Method = str | type[Distiller] | Distiller
SetLike = Artifact | SyntheticSet | PathLike
BAR = 30  # signs of a bar
_IN_PYTHON = FileLayout("python", "tensors", "pixels", lambda *_: _nothing_read())
_log = logging.getLogger("dcbench")


def _nothing_read() -> ForeignSet:
    raise MismatchError("tensors are not read from a file")


@dataclass(frozen=True)
class Evaluation:
    """What networks trained on a set score. A notebook shows it as a table."""

    record: EvaluationRecord
    path: Path | None = None  # of the record; None where nothing was stored

    @property
    def accuracies(self) -> tuple[float, ...]:
        """One for each network, as fractions."""
        return self.record.accuracies

    @property
    def mean(self) -> float:
        """The mean of the accuracies."""
        return self._summary.mean

    @property
    def std(self) -> float | None:
        """Their standard deviation (n - 1), over networks given this set; None of a single one."""
        return self._summary.std

    @property
    def ci95(self) -> tuple[float, float] | None:
        """The 95 % t interval of the mean over networks, given this set."""
        return self._summary.ci95

    @property
    def warnings(self) -> tuple[str, ...]:
        """What one should know before one believes the figures."""
        return self.record.warnings

    @property
    def _summary(self) -> Summary:
        from dcbench.report.statistics.accuracies import summarise

        return summarise(self.accuracies)

    def frame(self) -> pd.DataFrame:
        """One row for people; accuracies in percent."""
        import pandas as pd

        from dcbench.report.statistics.accuracies import clipped

        record, low_high = self.record, clipped(self.ci95)
        interval = (
            "" if low_high is None else "{:.1f} to {:.1f}".format(*(100 * x for x in low_high))
        )
        row = {
            "method": record.method,
            "dataset": record.dataset,
            "IPC": record.ipc,
            "seed": record.seed,
            "network": record.network,
            "networks": len(self.accuracies),
            "protocol": record.protocol.get("name"),
            "accuracy %": round(100 * self.mean, 1),
            "± networks": None if self.std is None else round(100 * self.std, 1),
            "95 % interval": interval,
        }
        return pd.DataFrame([row])

    def __repr__(self) -> str:
        spread = "" if self.std is None else f" ± {100 * self.std:.1f}"
        networks = f"{len(self.accuracies)} × {self.record.network}"
        return f"Evaluation({self.record.label}: {100 * self.mean:.1f}{spread} %, {networks})"

    def _repr_html_(self) -> str:
        return str(self.frame().to_html(index=False, na_rep=""))


@dataclass(frozen=True)
class ArchitectureRanking:
    """How architectures rank on a proxy, beside their truth."""

    record: SearchRecord
    path: Path | None = None  # of the record; None where nothing was stored

    @property
    def summary(self) -> dict[str, Any]:
        """Correlations, the proxy's best and its regret, as ``dcbench nas --json`` has them."""
        from dcbench.report.tables.searches import search_summary

        found = search_summary(self.record, self.path or Path())
        return found if self.path else {**found, "record": None}

    def frame(self) -> pd.DataFrame:
        """A row for each architecture: its accuracy on the proxy, and the truth."""
        import pandas as pd

        rows = [vars(score) | {"runs": len(score.runs)} for score in self.record.architectures]
        return pd.DataFrame(rows)


class ArchitectureRankings(list[ArchitectureRanking]):
    """The rankings of several proxies. A notebook shows them as a table."""

    def frame(self) -> pd.DataFrame:
        """A row for each proxy: correlations, its best architecture and the regret."""
        import pandas as pd

        return pd.DataFrame([ranking.summary for ranking in self])

    def _repr_html_(self) -> str:
        return str(self.frame().to_html(index=False, na_rep=""))


def load_dataset(
    name_or_path: PathLike,
    *,
    zca: str = "off",
    holdout: int = 0,
    data_root: PathLike | None = None,
    download: bool = False,
    progress: Progress | bool | None = None,
) -> Loaded:
    """A data set that dcbench knows: ``train`` for methods, ``test`` for the evaluation.

    Args:
        name_or_path: Its name (``dcbench list``), or the folder of that name which holds it.
        zca: Whitening: ``off``, ``on`` (of normalised values), ``pixels`` (as MTT does).
        holdout: Images of the training set to keep apart, stratified.
        data_root: See above; and so the others.

    Raises:
        UnknownNameError: If there is no such data set.
        DataError: If it is not found, damaged, or too small for the holdout.
    """
    name, root = _name_and_root(name_or_path, data_root)
    catalogue.find(name)
    within("holdout", holdout, 0)
    if zca not in ("off", "on", "pixels"):
        raise UnknownNameError("value of zca", zca, ("off", "on", "pixels"))
    whitening = {"zca": zca != "off", "of_pixels": zca == "pixels"}
    with _told(progress) as (report, _):
        return load(
            name, usual_places(root, download), **whitening, holdout=holdout, progress=report
        )


def distill(
    method: Method,
    dataset: Loaded | PathLike = "digits",
    *,
    ipc: int = 1,
    preset: str = "paper",
    seed: int = 0,
    fields: Mapping[str, Any] | None = None,
    zca: str = "auto",
    holdout: int = 0,
    data_root: PathLike | None = None,
    download: bool = False,
    out: PathLike | None = None,
    resume: bool = True,
    progress: Progress | bool | None = None,
    device: str = "auto",
    threads: int | None = None,
    precision: str = "auto",
    engine: str = "auto",
    executor: Executor | None = None,
) -> Artifact:
    """Make a synthetic set; what ``dcbench run`` makes before it evaluates.

    Args:
        method: A name (``dcbench list``), ``./file.py:Class``, a class with ``@dcbench.register``,
            or such a class's object with its fields.
        dataset: A name, a folder, or what ``load_dataset`` returned, in whose space it is made.
        ipc: Images per class.
        preset: Named settings of the method.
        seed: Of all randomness.
        fields: Hyper-parameters that differ from the preset's.
        zca: Whitening of a data set that is named: ``auto`` (on for CIFAR with preset paper),
            ``on``, ``pixels``, ``off``.
        holdout: Images of a named data set to keep from distillation.
        resume: Whether to go on with what is in ``out``.

    Raises:
        UnknownNameError: For a method, preset, field or data set that does not exist.
        OutOfRangeError: For a value out of its range.
        MismatchError: If the method cannot run on this data.
        DivergedError: If its loss is not finite.
    """
    name, own = _name_and_fields(method)
    _require_whole(ipc=(ipc, 1), seed=(seed, 0), holdout=(holdout, 0))
    named, root = _name_and_root(dataset, data_root)
    settings = {**own, **(fields or {})}
    grid = Grid((name,), (named,), (ipc,), (seed,), preset, settings, zca, holdout)
    grid.distillers()
    places = usual_places(root, download)
    with _Conditions(
        out, progress, device, threads, precision, engine, executor, resume
    ).workspace() as workspace:

        def loaded(whitened: str) -> Loaded:
            if isinstance(dataset, Loaded):
                return dataset
            return grid.load(named, places, workspace, whitened)

        (cell,) = grid.cells_of(named, loaded, places)
        made = distil(cell, workspace)
    path = None if out is None else made.path
    return Artifact(made.synthetic, made.provenance, made.sha256, path, made.cost)


def evaluate(
    images: SetLike | Any,
    labels: Any = None,
    *,
    dataset: Loaded | PathLike | None = None,
    space: str | Space = "pixels",
    name: str = "given",
    protocol: str = "paper",
    network: str | None = None,
    networks: int | None = None,
    epochs: int | None = None,
    augment: str | None = None,
    label_source: LabelSource | None = None,
    seed: int | None = None,
    data_root: PathLike | None = None,
    download: bool = False,
    out: PathLike | None = None,
    resume: bool = True,
    progress: Progress | bool | None = None,
    device: str = "auto",
    threads: int | None = None,
    precision: str = "auto",
    engine: str = "auto",
    executor: Executor | None = None,
) -> Evaluation:
    """Train networks on a set and test them; what ``dcbench evaluate`` does.

    Args:
        images: A set (from ``distill`` or ``read_set``), an artifact's path, or tensors or arrays
            N×C×H×W or N×H×W×C.
        labels: Of tensors: N classes, or N×K weights.
        dataset: Of tensors: what they are images of. Of a set, if given: what it must be made of.
        space: Of tensors: where their values live; ``pixels`` (in [0, 1], or bytes, to be
            normalised), ``raw``, ``normalised``, ``zca``, ``zca-pixels``, or a ``Space``.
        name: Of tensors: the method's name in tables.
        protocol: How networks are trained (``dcbench list``); ``own`` is the method's own paper's.
        network: The architecture, if not the protocol's.
        networks: How many, if not the protocol's number.
        epochs: Of each, if not the protocol's.
        augment: The augmentation, if not the protocol's.
        label_source: What networks learn, as ``--labels``.
        seed: Of the networks; that of the set's distillation, or 0, if None.

    Raises:
        FileFormatError: If tensors or the file are no set of such images.
        MismatchError: If the set does not fit the data.
        UnknownNameError, OutOfRangeError: For words and numbers that mean nothing.
    """
    judging = Judging(None, network, networks, epochs, augment, label_source)
    judging.check(prefix="")
    if protocol not in PROTOCOL_NAMES:
        raise UnknownNameError("protocol", protocol, PROTOCOL_NAMES)
    _require_whole(seed=(0 if seed is None else seed, 0))
    wanted, root = (None, data_root) if dataset is None else _name_and_root(dataset, data_root)
    places = usual_places(root, download)

    def protocols(one: StoredSet) -> list[Protocol]:
        return [judging.applied_to(protocol_of_set(one, protocol))]

    def data(one: str) -> Loaded:
        return (
            dataset if isinstance(dataset, Loaded) else load(wanted or one, places, progress=report)
        )

    with _Conditions(
        out, progress, device, threads, precision, engine, executor, resume
    ).workspace() as workspace:
        report = workspace.stoppable_progress
        if labels is not None or not isinstance(
            images, Artifact | SyntheticSet | str | os.PathLike
        ):
            images = _of_tensors(images, labels, (dataset, space, name), places)
        stored = _stored(images, name, workspace, kept=out is not None)
        require_known_data(stored, wanted)
        (scored,) = judge_stored([stored], protocols, data, workspace, networks=networks, seed=seed)
    for warning in scored.record.warnings:
        warnings.warn(f"{scored.record.label}: {warning}", stacklevel=2)
    return Evaluation(scored.record, None if out is None else scored.path)


def search(
    proxy: SetLike | list[SetLike] | tuple[SetLike, ...],
    space: str = "convnet720",
    *,
    dataset: str | None = None,
    match: Sequence[str] = (),
    sample: int | None = None,
    seeds: int = 1,
    seed: int = 0,
    validation: int | None = None,
    epochs: int | None = None,
    truth_epochs: int | None = None,
    top: float = 0.2,
    truth: PathLike | None = None,
    truth_column: str | None = None,
    protocol: str | None = None,
    preset: str = "paper",
    data_root: PathLike | None = None,
    download: bool = False,
    out: PathLike | None = None,
    resume: bool = True,
    progress: Progress | bool | None = None,
    device: str = "auto",
    threads: int | None = None,
    precision: str = "auto",
    engine: str = "auto",
    executor: Executor | None = None,
) -> ArchitectureRankings:
    """Rank architectures on a proxy and compare with the truth; what ``dcbench nas`` does.

    Args:
        proxy: A set, an artifact's path, ``random[:IPC]``, ``early-stopping`` or ``whole``; or a
            list of such. There is a ranking for each.
        space: The search space: ``convnet720`` or ``nasbench201``.
        dataset: If not the sets' own.
        match: Patterns of names that architectures are drawn among; all if empty.
        sample: How many architectures; all if None.
        seeds: Networks of each architecture.
        seed: Of the draw, of random's images and of the networks.
        validation: Training images to rank by; 10,000, or a fifth of a smaller set, if None.
        epochs: On the proxy, if not the protocol's.
        truth_epochs: On the whole data, if not the protocol's.
        top: The share of the best that is ranked by itself.
        truth: A table of true accuracies; trained here if None and the space is trained here.
        truth_column: Its column, if not the usual one.
        protocol: How networks are trained, if not as the preset says.
        preset: ``paper`` or ``quick``.

    Raises:
        UnknownNameError, OutOfRangeError: For words and numbers that mean nothing.
        MismatchError: If a set does not fit the data.
    """
    from dcbench.nas.catalogue import find_space
    from dcbench.nas.proxies import parse_requests
    from dcbench.nas.search import Search, search_architectures

    chosen = find_space(space)
    proxies = proxy if isinstance(proxy, list | tuple) else [proxy]
    trained_by = chosen.protocol_named(protocol, preset).with_epochs(epochs, truth_epochs)
    with _Conditions(
        out, progress, device, threads, precision, engine, executor, resume
    ).workspace() as workspace:
        words = [_proxy_word(each, workspace, kept=out is not None) for each in proxies]
        asked = Search(
            parse_requests(words),
            chosen,
            trained_by,
            dataset=dataset,
            match=tuple(match),
            sample=sample,
            seeds=seeds,
            seed=seed,
            validation=validation,
            top=top,
            truth=None if truth is None else Path(truth),
            truth_column=truth_column,
        )
        done = search_architectures(asked, usual_places(data_root, download), workspace)
    stored = out is not None
    return ArchitectureRankings(
        ArchitectureRanking(record, path if stored else None) for record, path in done
    )


def check(
    method: Method,
    *,
    fields: Mapping[str, Any] | None = None,
    progress: Progress | bool | None = None,
    threads: int | None = None,
    precision: str = "auto",
) -> pd.DataFrame:
    """Try whether a method keeps the contract, on tiny sets of real digits, as ``dcbench check``
    does: a row for each check, its ``outcome`` passed, failed or skipped, and why.

    Args:
        method: As of ``distill``.
        fields: Fields, where the method would otherwise take too long.

    Raises:
        UnknownNameError, OutOfRangeError: For a method or field that does not exist, or its value.
    """
    import pandas as pd

    from dcbench.conformance.checks import CHECKS, verdict
    from dcbench.conformance.trial_runs import Candidate, samples, small

    name, own = _name_and_fields(method)
    distiller = small(find(name), {**own, **(fields or {})})
    conditions = _Conditions(None, progress, EXACT, threads, precision, "auto", None)
    with conditions.workspace() as workspace:
        sets = samples(load("digits", usual_places()).train)
        candidate = Candidate(distiller, sets, workspace.machine.decide(0.0))
        rows = []
        for done, one in enumerate(CHECKS):
            workspace.progress(f"{name}: checks", done, len(CHECKS))
            rows.append(vars(verdict(one, candidate)))
        workspace.progress(f"{name}: checks", len(CHECKS), len(CHECKS))
    return pd.DataFrame(rows)


def read_set(
    path: PathLike,
    layout: str | None = None,
    *,
    dataset: str | None = None,
    space: str = "auto",
    name: str | None = None,
    data_root: PathLike | None = None,
    download: bool = False,
) -> Artifact:
    """A synthetic set from a file, executing nothing; what ``dcbench import`` makes of it.

    Args:
        path: An artifact; or, with ``layout``, another project's file, a folder of pictures, or
            ``hf://owner/name@COMMIT/path``.
        layout: Whose layout it is (``dcbench list``); None for an artifact of ours.
        dataset: Of a foreign set: what its images are images of.
        space: Of a foreign set: where its values live; ``auto`` is the layout's usual.
        name: Of a foreign set: the method's name in tables; the layout's if None.

    Raises:
        FileFormatError: If the file is damaged, hostile or of another layout.
        UnknownNameError, OutOfRangeError: For words that mean nothing.
    """
    if layout is None:
        return read_artifact(path)
    chosen = find_layout(layout)
    if dataset is None:
        raise OutOfRangeError(
            f"a set in the layout {layout} does not say what its images are of: name it with dataset"
        )
    declared, places = catalogue.find(dataset), usual_places(data_root, download)
    _require_space(space, "auto")
    address = os.fspath(path)
    source = hub.parse(address) if hub.is_address(address) else None
    file = hub.kept(source, places.cache_root) if source else Path(path)
    kind: Any = chosen.usual_space(file, declared.channels) if space == "auto" else space
    spec, own = open_space(dataset, kind, places)
    imported = import_set(file, chosen, spec, own, pixels=kind == "pixels", options=ImportOptions())
    for doubt in imported.warnings:
        warnings.warn(f"{path}: {doubt}", stacklevel=2)
    origin = hub.origin(source, file) if source else {}
    known = provenance_of(replace(imported, notes={**imported.notes, **origin}), name or layout)
    return artifact_of(imported.synthetic, known)


def write_set(synthetic: SetLike, path: PathLike, format_name: str | None = None) -> Path:
    """Write a set to ``path``: as an artifact of ours, or for other programs as ``dcbench export``
    does; returns the path.

    Args:
        synthetic: A set, or an artifact's path.
        path: The file or folder; a folder must not be there yet.
        format_name: ``safetensors``, ``npz``, ``folder`` or ``parquet``; None for an artifact.

    Raises:
        UnknownNameError: If there is no such format.
        MismatchError: If the format cannot hold the set.
        StorageError: If ``path`` cannot be written.
    """
    artifact = _artifact(synthetic, "given")
    if format_name is None:
        return artifact.save(path)
    exported = export_set(artifact, Path(path), format_name)
    for warning in exported.warnings:
        warnings.warn(f"{path}: {warning}", stacklevel=2)
    return exported.path


def read_results(folder: PathLike = "results") -> pd.DataFrame:
    """A row for each network of every evaluation stored below ``folder``; accuracies are fractions.

    Raises:
        DataError: If there is none. Records that cannot be read are warnings.
    """
    from dcbench.report import tidy_frame

    return tidy_frame(_found(folder).records)


def write_report(
    folder: PathLike = "results", out: PathLike = "report", format_name: str = "html"
) -> list[Path]:
    """Write tables, figures and the page of all records below ``folder``; returns the files.

    Args:
        folder: Where the records are.
        out: The folder for the files.
        format_name: ``html`` (one page), ``latex``, ``markdown`` or ``csv``.

    Raises:
        UnknownNameError: If there is no such format.
        DataError: If there are no records. Records that cannot be read are warnings.
    """
    from dcbench.report import FORMATS, build_tables, write_tables
    from dcbench.report.figures import write_figures
    from dcbench.report.page import write_page
    from dcbench.report.tables.searches import search_tables

    if format_name not in (*FORMATS, "html"):
        raise UnknownNameError("format", format_name, (*FORMATS, "html"))
    found, results, target = _found(folder), Path(folder), Path(out)
    if format_name == "html":
        return [write_page(found, results, target)]
    tables = [*build_tables(found.records), *search_tables(found.searches)]
    return [
        *write_tables(tables, format_name, target),
        *write_figures(found, results, target / "figures"),
    ]


def show(synthetic: SetLike) -> Figure:
    """A figure of a set's images, a row for each class (several of more than ten images),
    whitening undone.
    """
    import matplotlib.pyplot as plt

    from dcbench.artifacts.pictures import grid

    artifact = _artifact(synthetic, "given")
    sheet = grid(artifact.synthetic).permute(1, 2, 0).numpy()
    height, width, _ = sheet.shape
    figure, axes = plt.subplots(figsize=(max(2.0, width / 60), max(1.0, height / 60)))
    axes.imshow(sheet)
    names = artifact.synthetic.spec.class_names
    axes.set_yticks([(row + 0.5) * height / len(names) for row in range(len(names))], names)
    axes.set_xticks([])
    axes.tick_params(length=0)
    plt.close(figure)  # else a notebook shows it twice
    return figure


def usual_places(data_root: PathLike | None = None, download: bool = False) -> Places:
    """Where data is looked for, and where decoded data is kept: ``DCBENCH_DATA`` or ``./data``, and
    ``DCBENCH_CACHE`` or the user's folder of caches.

    Raises:
        StorageError: If there is no folder for the cache.
    """
    from dcbench.system.errors import StorageError

    named = os.environ.get("DCBENCH_CACHE")
    try:
        usual = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "dcbench"
    except RuntimeError as error:  # an unknown user without HOME, as in a container
        if not named:
            raise StorageError(
                "no home folder to keep decoded data in; name a folder: DCBENCH_CACHE=FOLDER"
            ) from error
    root = Path(os.environ.get("DCBENCH_DATA", "data") if data_root is None else data_root)
    return Places(root, Path(named) if named else usual, download)


@dataclass(frozen=True)
class _Conditions:
    """Where and how a function works."""

    out: PathLike | None
    progress: Progress | bool | None
    device: str
    threads: int | None
    precision: str
    engine: str
    executor: Executor | None
    resume: bool = True

    @contextmanager
    def workspace(self) -> Iterator[Workspace]:
        """The folder and the machine, while the function works; afterwards torch has as many
        threads as before.
        """
        before = torch.get_num_threads()
        machine = resolve(self.device, self.threads, self.precision, self.engine)
        try:
            with _folder(self.out) as folder, _told(self.progress) as (report, say):
                since = 0.0 if self.resume else disk_time(folder)
                place = Workspace(
                    folder, machine, report, say, resumption=Resumption(self.resume, since)
                )
                if self.executor is None:
                    yield place
                else:
                    count = getattr(self.executor, "_max_workers", None) or workers_that_fit(
                        machine
                    )
                    with Workers(self.executor, count) as workers:
                        yield replace(place, workers=workers)
        finally:
            torch.set_num_threads(before)


@contextmanager
def _folder(out: PathLike | None) -> Iterator[Path]:
    """The folder to work in; one that is removed afterwards if nothing is to be stored."""
    if out is not None:
        yield Path(out)
    else:
        with tempfile.TemporaryDirectory(prefix="dcbench-") as folder:
            yield Path(folder)


@contextmanager
def _told(progress: Progress | bool | None) -> Iterator[tuple[Progress, Any]]:
    """Who hears of progress, and of messages."""
    if progress is True:
        bar = _Bar()
        try:
            yield bar.draw, bar.say
        finally:
            bar.clear()
    else:
        yield progress or silent, _log.info


class _Bar:
    """One line on standard error that is drawn anew, in a terminal as in a notebook."""

    def __init__(self) -> None:
        self.width, self.drawn = 0, 0.0

    def draw(self, text: str, done: int, total: int) -> None:
        """Draw it, at most ten times a second."""
        if done < total and time.monotonic() - self.drawn < 0.1:
            return
        self.drawn = time.monotonic()
        full = BAR * done // max(total, 1)
        line = f"{text} [{'#' * full}{'.' * (BAR - full)}] {done}/{total}"
        sys.stderr.write("\r" + line.ljust(self.width))
        sys.stderr.flush()
        self.width = len(line)

    def say(self, message: str) -> None:
        """Write a line above it."""
        self.clear()
        sys.stderr.write(f"{message}\n")

    def clear(self) -> None:
        """Remove it."""
        if self.width:
            sys.stderr.write("\r" + " " * self.width + "\r")
            sys.stderr.flush()
            self.width = 0


def _name_and_root(
    dataset: Loaded | PathLike, data_root: PathLike | None
) -> tuple[str, PathLike | None]:
    """A data set's name and the data root; the folder of a known one says both, and one's own data
    is named by its folder.
    """
    if isinstance(dataset, Loaded):
        return dataset.spec.dataset, data_root
    path = Path(dataset)
    known = catalogue.DATASETS
    folder = os.fspath(dataset) not in known and path.name in known and path.is_dir()
    return (path.name, path.parent) if folder else (os.fspath(dataset), data_root)


def _name_and_fields(method: Method) -> tuple[str, dict[str, Any]]:
    """A method's name and the fields that its object says; raises MismatchError for a class that is
    not the one registered under its name.
    """
    if isinstance(method, str):
        return method, {}
    kind = method if isinstance(method, type) else type(method)
    name = getattr(kind, "name", None)
    if name is None:
        raise MismatchError(f"{kind.__qualname__} has no name: wanted @dcbench.register before it")
    if find(name) is not kind:
        raise MismatchError(
            f"{name!r} was registered anew since this {kind.__qualname__} was made; make it again"
        )
    return name, {} if isinstance(method, type) else fields_of(method)


def _require_whole(**values: tuple[Any, int]) -> None:
    """Raises OutOfRangeError unless each value is a whole number, at least so large."""
    for name, (value, least) in values.items():
        if type(value) is not int:
            raise OutOfRangeError(f"{name} must be a whole number, got {value!r}")
        within(name, value, least)


def _require_space(name: str, *more: str) -> None:
    if name not in (*more, *VALUE_SPACES):
        raise UnknownNameError("space", name, (*more, *VALUE_SPACES))


def _of_tensors(
    images: Any,
    labels: Any,
    about: tuple[Loaded | PathLike | None, str | Space, str],
    places: Places,
) -> Artifact:
    """Tensors or arrays as an artifact in memory; warns of what looks wrong with them."""
    dataset, space, name = about
    if labels is None:
        raise OutOfRangeError("images without labels: wanted evaluate(images, labels, dataset=…)")
    if dataset is None:
        raise OutOfRangeError(
            "images do not say what they are images of: wanted dataset, a name such as 'digits'"
        )
    named, _ = _name_and_root(dataset, None)
    catalogue.find(named)
    if isinstance(space, str):
        _require_space(space)
        kind: Any = space
        spec, own = open_space(named, kind, places)
    else:
        kind, own, spec = space.kind, space, open_space(named, "raw", places)[0]
    given = ForeignSet(_tensor("images", images), _tensor("labels", labels))
    imported = interpret_set(given, _IN_PYTHON, spec, own, pixels=kind == "pixels")
    return artifact_of(imported.synthetic, provenance_of(imported, name))


def _tensor(what: str, given: Any) -> torch.Tensor:
    try:
        return torch.as_tensor(given).detach().cpu()
    except (TypeError, ValueError, RuntimeError) as error:
        raise OutOfRangeError(
            f"{what} must be a tensor, an array or lists of numbers, got {type(given).__name__}"
        ) from error


def _artifact(given: SetLike, name: str) -> Artifact:
    if isinstance(given, Artifact):
        return given
    if isinstance(given, SyntheticSet):
        imported = ImportedSet(given, _IN_PYTHON.name, ())
        return artifact_of(given, provenance_of(imported, name))
    return read_artifact(given)


def _stored(given: SetLike, name: str, workspace: Workspace, *, kept: bool) -> StoredSet:
    """A set with the folder for its evaluations: its own if they are kept, else one of the
    workspace's.
    """
    path = given.path if isinstance(given, Artifact) else None
    if isinstance(given, str | os.PathLike):
        path = Path(given)
    if path is not None and path.is_file():
        found = reopen(path, workspace)
        same = not isinstance(given, Artifact) or found.sha256 == given.sha256
        if kept and same:
            return found
        given = (
            given
            if not same
            else Artifact(found.synthetic, found.provenance, found.sha256, path, found.cost)
        )
    artifact = _artifact(given, name)
    folder = foreign_set_folder(workspace.out, artifact.synthetic.spec.dataset, artifact.sha256)
    own = folder / ARTIFACT if kept else None
    if own is not None:
        write_artifact(own, artifact.synthetic, artifact.provenance)
    return StoredSet(
        artifact.synthetic, artifact.provenance, artifact.sha256, folder, own, artifact.cost
    )


def _proxy_word(given: SetLike, workspace: Workspace, *, kept: bool) -> str:
    """What ``dcbench nas --proxy`` takes: a path, or a built-in proxy's name."""
    if isinstance(given, str | os.PathLike):
        return os.fspath(given)
    artifact = _artifact(given, "given")
    if artifact.path is not None and artifact.path.is_file():
        return str(artifact.path)
    folder = foreign_set_folder(workspace.out, artifact.synthetic.spec.dataset, artifact.sha256)
    return str(artifact.save(folder / ARTIFACT))


def _found(folder: PathLike) -> RecordsFound:
    """The records below a folder; raises DataError if there are none."""
    found = find_records(Path(folder))
    for problem in found.problems:
        warnings.warn(f"passed over: {problem}", stacklevel=3)
    if not any((found.records, found.searches, found.traces, found.embeddings)):
        raise DataError(f"no records below {folder}; make some with out={os.fspath(folder)!r}")
    return found
