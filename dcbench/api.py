"""The Python face: what the commands do, as functions for notebooks and scripts.

Every function computes what the command of its name computes: the same seed, machine and fields
give the same bits. Nothing is stored unless ``out`` names a folder; with it, what is stored is what
the commands store there, and interrupted work goes on. Errors are ``DcbenchError`` with the
command line's one-line messages; doubts are warnings. ``import dcbench`` imports nothing of this:
the names are looked up when they are used.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from dcbench.artifacts.artifact import Artifact, artifact_of, read_artifact, write_artifact
from dcbench.artifacts.exporting import export_set
from dcbench.artifacts.importers.description import Description
from dcbench.artifacts.importers.importing import local_file, provenance_of, read_foreign
from dcbench.datasets import catalogue
from dcbench.datasets.loading import Loaded, load
from dcbench.distiller import find
from dcbench.experiments.distil import distil
from dcbench.experiments.grid import Grid
from dcbench.experiments.presets import SPACES, whitening
from dcbench.experiments.run_grid import Judging, evaluate_all
from dcbench.experiments.stored_sets import StoredJudging, plan_evaluations
from dcbench.images import Space
from dcbench.interface.keywords import (
    Conditions,
    DataKeywords,
    ForeignKeywords,
    PathLike,
    SearchKeywords,
    TrainingKeywords,
    WorkKeywords,
    separate,
    takes,
)
from dcbench.interface.progress_bar import told
from dcbench.interface.results import ArchitectureRanking, ArchitectureRankings, Evaluation
from dcbench.interface.sets import (
    Method,
    SetLike,
    Tensors,
    as_artifact,
    as_proxy,
    as_stored,
    is_set,
    name_and_fields,
)
from dcbench.records import RecordsFound, find_records
from dcbench.system.errors import DataError, OutOfRangeError, require_known
from dcbench.system.fields import within
from dcbench.system.machine import EXACT
from dcbench.system.progress import Progress

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from dcbench.report.tables.accuracies import Style
    from dcbench.report.tables.layout import Shown


@takes(DataKeywords)
def load_dataset(
    name_or_path: PathLike,
    *,
    zca: str = "off",
    holdout: int = 0,
    progress: Progress | bool | None = None,
    **keywords: Unpack[DataKeywords],
) -> Loaded:
    """A data set that dcbench knows: ``train`` for methods, ``test`` for the evaluation.

    Args:
        name_or_path: Its name (``dcbench list``), or the folder of that name which holds it.
        zca: Whitening: ``off``, ``on`` (of normalised values), ``pixels`` (as MTT does).
        holdout: Images of the training set to keep apart, stratified.
        progress: As of ``distill``.
        keywords: Where data sets are: see ``DataKeywords``.

    Raises:
        UnknownNameError: If there is no such data set.
        DataError: If it is not found, damaged, or too small for the holdout.
    """
    conditions, _ = separate(keywords, DataKeywords, load_dataset)
    name, conditions = _named(name_or_path, conditions)
    catalogue.find(name)
    _require_whole(holdout=(holdout, 0))
    require_known("value of zca", zca, SPACES)
    with told(progress) as (report, _):
        return load(name, conditions.places, **whitening(zca), holdout=holdout, progress=report)


@takes(WorkKeywords, DataKeywords)
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
    **keywords: Unpack[WorkKeywords],
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
        keywords: Where and how: see ``WorkKeywords``.

    Raises:
        UnknownNameError: For a method, preset, field or data set that does not exist.
        OutOfRangeError: For a value out of its range.
        MismatchError: If the method cannot run on this data.
        DivergedError: If its loss is not finite.
    """
    conditions, _ = separate(keywords, WorkKeywords, distill)
    name, own = name_and_fields(method)
    _require_whole(ipc=(ipc, 1), seed=(seed, 0), holdout=(holdout, 0))
    named, conditions = _named(dataset, conditions)
    settings = {**own, **(fields or {})}
    grid = Grid((name,), (named,), (ipc,), (seed,), preset, settings, zca, holdout)
    grid.distillers()
    places = conditions.places
    if isinstance(dataset, Loaded) and (zca != "auto" or holdout):
        raise OutOfRangeError(
            "zca and holdout are of a data set that is named; give load_dataset them"
        )
    with conditions.workspace() as workspace:

        def loaded(whitened: str) -> Loaded:
            if isinstance(dataset, Loaded):
                if (given := dataset.train.space.name) != (usual := SPACES[whitened]):
                    warnings.warn(
                        f"{named} was loaded {given}, and {name} with preset {preset} is made "
                        f"{usual}; load_dataset({named!r}, zca={whitened!r}) does that",
                        stacklevel=4,
                    )
                return dataset
            return grid.load(named, places, workspace, whitened)

        (cell,) = grid.cells_of(named, loaded, places)
        made = distil(cell, workspace)
    path = None if conditions.out is None else made.path
    return Artifact(made.synthetic, made.provenance, made.sha256, path, made.cost)


@takes(TrainingKeywords, WorkKeywords, DataKeywords)
def evaluate(
    images: SetLike | Any,
    labels: Any = None,
    *,
    dataset: Loaded | PathLike | None = None,
    space: str | Space = "pixels",
    name: str = "given",
    protocol: str = "paper",
    seed: int | None = None,
    **keywords: Unpack[TrainingKeywords],
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
        seed: Of the networks; that of the set's distillation, or 0, if None.
        keywords: What differs from the protocol, where and how: see ``TrainingKeywords`` and
            ``WorkKeywords``.

    Raises:
        FileFormatError: If tensors or the file are no set of such images.
        MismatchError: If the set does not fit the data.
        UnknownNameError, OutOfRangeError: For words and numbers that mean nothing.
    """
    conditions, changes = separate(keywords, TrainingKeywords, evaluate)
    judging = Judging(labels=changes.pop("label_source", None), **changes)
    wanted = None
    if dataset is not None:
        wanted, conditions = _named(dataset, conditions)
    asked, places = StoredJudging(protocol, [judging], wanted, seed), conditions.places
    asked.check(prefix="")
    given: SetLike = images
    if labels is not None or not is_set(images):
        given = Tensors(images, labels, wanted, space, name).artifact(places)
    with conditions.workspace() as workspace:

        def data(named: str) -> Loaded:
            if isinstance(dataset, Loaded):
                return dataset
            return load(named, places, progress=workspace.stoppable_progress)

        stored = as_stored(given, name, workspace, kept=conditions.out is not None)
        planned = plan_evaluations([stored], asked, data, workspace)
        if stored.path is not None and not stored.path.is_file():
            write_artifact(stored.path, stored.synthetic, stored.provenance)
        (scored,) = evaluate_all(planned, workspace)
    for warning in scored.record.warnings:
        warnings.warn(f"{scored.record.label}: {warning}", stacklevel=2)
    return Evaluation(scored.record, None if conditions.out is None else scored.path)


@takes(SearchKeywords, WorkKeywords, DataKeywords)
def search(
    proxy: SetLike | list[SetLike] | tuple[SetLike, ...],
    space: str = "convnet720",
    *,
    dataset: PathLike | None = None,
    sample: int | None = None,
    seeds: int = 1,
    seed: int = 0,
    protocol: str | None = None,
    preset: str = "paper",
    **keywords: Unpack[SearchKeywords],
) -> ArchitectureRankings:
    """Rank architectures on a proxy and compare with the truth; what ``dcbench nas`` does.

    Args:
        proxy: A set, an artifact's path, ``random[:IPC]``, ``early-stopping`` or ``whole``; or a
            list of such. There is a ranking for each.
        space: The search space: ``convnet720`` or ``nasbench201``.
        dataset: If not the sets' own.
        sample: How many architectures; all if None.
        seeds: Networks of each architecture.
        seed: Of the draw, of random's images and of the networks.
        protocol: How networks are trained, if not as the preset says.
        preset: ``paper`` or ``quick``.
        keywords: What is compared, where and how: see ``SearchKeywords`` and ``WorkKeywords``.

    Raises:
        UnknownNameError, OutOfRangeError: For words and numbers that mean nothing.
        MismatchError: If a set does not fit the data.
    """
    from dcbench.nas.search import Search, search_architectures

    conditions, options = separate(keywords, SearchKeywords, search)
    named, conditions = (None, conditions) if dataset is None else _named(dataset, conditions)
    options |= {"dataset": named, "sample": sample, "seeds": seeds, "seed": seed}
    if options.get("truth") is not None:
        options["truth"] = Path(options["truth"])
    if isinstance(options.get("match"), str):
        options["match"] = [options["match"]]
    proxies = proxy if isinstance(proxy, list | tuple) else [proxy]
    with conditions.workspace() as workspace:
        known = [as_proxy(each, workspace) for each in proxies]
        asked = Search.of([word for word, _ in known], space, protocol, preset, **options)
        for word, artifact in known:
            if artifact is not None:
                artifact.save(word)
        done = search_architectures(asked, conditions.places, workspace)
    stored = conditions.out is not None
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
        progress: As of ``distill``, and so the others.
        threads: Processor threads.
        precision: ``auto``, ``fp32`` or ``bf16``.

    Raises:
        UnknownNameError, OutOfRangeError: For a method or field that does not exist, or its value.
    """
    import pandas as pd

    from dcbench.conformance.checks import verdicts
    from dcbench.conformance.trial_runs import Candidate, samples, small

    name, own = name_and_fields(method)
    distiller = small(find(name), {**own, **(fields or {})})
    conditions = Conditions(progress=progress, device=EXACT, threads=threads, precision=precision)
    with conditions.workspace() as workspace:
        sets = samples(load("digits", conditions.places).train)
        candidate = Candidate(distiller, sets, workspace.machine.decide(0.0))
        return pd.DataFrame(map(vars, verdicts(candidate, workspace.progress)))


@takes(ForeignKeywords, DataKeywords)
def read_set(
    path: PathLike,
    layout: str | None = None,
    *,
    dataset: str | None = None,
    space: str = "auto",
    name: str | None = None,
    **keywords: Unpack[ForeignKeywords],
) -> Artifact:
    """A synthetic set from a file, executing nothing; what ``dcbench import`` makes of it.

    Args:
        path: An artifact; or, with ``layout``, another project's file or a folder of pictures. A
            file on the hub is ``hf://owner/name@COMMIT/path``.
        layout: Whose layout it is (``dcbench list``); None for an artifact of ours.
        dataset: Of a foreign set: what its images are images of.
        space: Of a foreign set: where its values live; ``auto`` is the layout's usual.
        name: Of a foreign set: the method's name in tables; the layout's if None.
        keywords: What else is known of it, and where data sets are: see ``ForeignKeywords`` and
            ``DataKeywords``.

    Raises:
        FileFormatError: If the file is damaged, hostile or of another layout.
        UnknownNameError, OutOfRangeError: For words that mean nothing.
    """
    conditions, options = separate(keywords, ForeignKeywords, read_set)
    if layout is None:
        if options or (dataset, space, name) != (None, "auto", None):
            raise OutOfRangeError(
                "dataset, space, name and what else is known are of another project's set; say its "
                "layout, or leave them out"
            )
        return read_artifact(local_file(path, conditions.places))
    said = Description(layout, dataset, space, name, **options)
    said.check(prefix="")
    imported = read_foreign(path, said, conditions.places)
    for doubt in imported.warnings:
        warnings.warn(f"{path}: {doubt}", stacklevel=2)
    return artifact_of(imported.synthetic, provenance_of(imported, said.method))


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
    artifact = as_artifact(synthetic)
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
    folder: PathLike = "results",
    out: PathLike = "report",
    format_name: str = "html",
    style: Style | None = None,
    published: Shown = "own",
) -> list[Path]:
    """Write the files of ``dcbench report``: tables, figures or the page of all records below
    ``folder``; returns their paths.

    Args:
        folder: Where the records are.
        out: The folder for the files.
        format_name: ``html`` (one page), ``latex``, ``markdown`` or ``csv``.
        style: Of tables, ``compact`` or ``full``; full for the page and CSV if None.
        published: The published values beside measured ones: ``own``, ``all`` or ``none``.

    Raises:
        UnknownNameError: If there is no such format, style or choice of published values.
        DataError: If there are no records. Records that cannot be read are warnings.
    """
    from dcbench.report.files import REPORT_FORMATS, SHOWN, STYLES, Report

    require_known("format", format_name, REPORT_FORMATS)
    require_known("style", style or "full", STYLES)
    require_known("published", published, SHOWN)
    report = Report(_found(folder), Path(folder), format_name, style, published)
    return report.write(Path(out))


def show(synthetic: SetLike) -> Figure:
    """A figure of a set's images, a row for each class (several of more than ten images),
    whitening undone.
    """
    from dcbench.artifacts.pictures import figure

    return figure(as_artifact(synthetic).synthetic)


def _named(dataset: Loaded | PathLike, conditions: Conditions) -> tuple[str, Conditions]:
    """A data set's name, and the conditions with its data root; the folder of a known one says
    both, and one's own data is named by its folder.
    """
    if isinstance(dataset, Loaded):
        return dataset.spec.dataset, conditions
    path, name = Path(dataset), os.fspath(dataset)
    if isinstance(dataset, os.PathLike) and name not in catalogue.DATASETS:
        name = str(path.absolute())  # a path has lost the ./ that tells a folder from a name
    if name not in catalogue.DATASETS and path.name in catalogue.DATASETS and path.is_dir():
        return path.name, replace(conditions, data_root=path.parent)
    return name, conditions


def _require_whole(**values: tuple[Any, int]) -> None:
    """Raises OutOfRangeError unless each value is a whole number, at least so large."""
    for name, (value, least) in values.items():
        if type(value) is not int:
            raise OutOfRangeError(f"{name} must be a whole number, got {value!r}")
        within(name, value, least)


def _found(folder: PathLike) -> RecordsFound:
    """The records below a folder; raises DataError if there are none."""
    found = find_records(Path(folder))
    for warning in found.warnings:
        warnings.warn(warning, stacklevel=3)
    if not found.everything:
        raise DataError(f"no records below {folder}; make some with out={os.fspath(folder)!r}")
    return found
