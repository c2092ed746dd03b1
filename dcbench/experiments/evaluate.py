"""Evaluate a finished set: train the networks that are missing and write the record."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

from dcbench.artifacts.pictures import as_png, grid
from dcbench.evaluation.evaluate import (
    evaluation_macs,
    labels_for,
    networks_abreast,
    require_network,
)
from dcbench.evaluation.protocol import Protocol
from dcbench.execution.provenance import circumstances
from dcbench.execution.task import Shared
from dcbench.execution.workers import pieces
from dcbench.experiments.context import StoredSet, Workspace, shared_context
from dcbench.experiments.rows import Row, append_row, intact_row
from dcbench.experiments.tasks import Teaching, TrainNetworks
from dcbench.images import TestSet, TrainSet
from dcbench.networks.catalogue import NETWORKS, find_network
from dcbench.records import EvaluationRecord, NetworkScore, write_record
from dcbench.records.kinds import STOPPED
from dcbench.run import fingerprint
from dcbench.system.errors import MismatchError, UnknownNameError
from dcbench.system.fields import within
from dcbench.system.files import read_lines, write_bytes
from dcbench.system.layout import (
    NETWORK_ROWS,
    PICTURE,
    RECORD,
    evaluation_folder,
    shared_folder,
)
from dcbench.system.wording import counted, in_words
from dcbench.training.augment import AUGMENTATIONS
from dcbench.training.mixing import augmentation_and_mix
from dcbench.training.supervision import loss_for

LEAST_ABOVE_CHANCE = 1.2  # warn below so many times the accuracy of guessing

# the fields of a line of networks.jsonl, besides its checksum
_KINDS: Mapping[str, tuple[type, ...]] = {
    "network": (int,),
    "accuracy": (float,),
    "loss": (float, type(None)),
    "seconds": (float,),
    "epoch_seconds": (float,),
    "compile_seconds": (float, type(None)),  # older lines say 0 where nothing was compiled
    "engine": (str,),
    "threads": (int,),
    "device": (str,),
    "device_name": (str,),
    "peak_memory_bytes": (int, type(None)),
    "artifact": (str,),
    "code": (str,),
    "torch": (str,),
    "class_accuracies": (list,),
    "calibration_error": (float, type(None)),
    "teacher_accuracy": (float, type(None)),
}
_LATER = {"class_accuracies", "calibration_error", "teacher_accuracy"}
_UNSAID = {"code", "torch", *_LATER}  # in older lines
# fields that a record copies from a set's provenance, with their values where that lacks them
_ORIGIN: Mapping[str, Any] = {
    "method": "foreign",
    "paper": None,
    "title": "",
    "method_version": None,
    "fields": {},
    "changed": {},
    "preset": None,
    "ipc": None,
    "seed": None,
    "holdout": "",
}


@dataclass(frozen=True)
class SetEvaluation:
    """The evaluation of one set: by one protocol, on one test set, with one seed."""

    distilled: StoredSet
    test: TestSet
    protocol: Protocol
    seed: int
    networks: int  # how many networks are wanted, counted from network 0
    workspace: Workspace
    train: TrainSet | None = None  # the training images of the protocol's teacher, if it has one
    data_folder: str = ""  # of data of one's own, as the command named it

    def __post_init__(self) -> None:
        within("networks", self.networks, 1)

    @cached_property
    def asked(self) -> dict[str, Any]:
        """What changes a network's accuracy, as plain values; what the set itself asks for is in
        the record's recipe. The protocol hash covers it.
        """
        recipe, protocol = self.distilled.synthetic.recipe, self._own_protocol
        plain = {**protocol.to_json(), "precision": self.workspace.machine.precision}
        kept = [name for name in protocol.chosen if recipe.get(name, plain[name]) != plain[name]]
        return {**plain, "chosen": kept} if kept else plain

    @cached_property
    def judged(self) -> Protocol:
        """The protocol, with what the set's recipe changes in it."""
        return self._own_protocol.with_recipe(self.distilled.synthetic.recipe)

    @cached_property
    def _own_protocol(self) -> Protocol:
        classes = self.distilled.synthetic.labels.ndim == 1
        return self.protocol.on_classes() if classes else self.protocol

    @property
    def teaching(self) -> Teaching | None:
        """Return what a task needs to train or load the protocol's teacher; None if it has none.

        The teacher sees the real images in the set's space.
        """
        if self.judged.labels != "teacher" or self.train is None:
            return None
        synthetic, out = self.distilled.synthetic, self.workspace.out.absolute()
        same = self.train.space == synthetic.space
        train = self.train if same else replace(self.train, space=synthetic.space)
        shared = shared_folder(out, train.spec.dataset)
        context = shared_context(train)
        return Teaching(Shared.of(train), shared, context, self.workspace.resumption)

    @property
    def folder(self) -> Path:
        return _evaluation_folder(self.distilled, fingerprint(self.asked), self.seed)


def evaluate_set(set_evaluation: SetEvaluation) -> EvaluationRecord:
    """Train the networks that are missing, write the record of all, and return it.

    The returned record has the ``networks`` that were asked for, even if more are stored: what a
    command prints does not depend on earlier commands.
    """
    check(set_evaluation)
    folder, workspace = set_evaluation.folder, set_evaluation.workspace
    with workspace.alone(folder):
        if not workspace.resumption.resume:
            for name in (NETWORK_ROWS, RECORD):
                (folder / name).unlink(missing_ok=True)
        rows = train_missing(set_evaluation)
        write_record(folder / RECORD, _record(set_evaluation, rows))
    picture = set_evaluation.distilled.folder / PICTURE
    # for a set that was made elsewhere
    if set_evaluation.distilled.path is not None and not picture.exists():
        write_bytes(picture, as_png(grid(set_evaluation.distilled.synthetic)))
    wanted = [row for row in rows if row["network"] < set_evaluation.networks]
    return _record(set_evaluation, wanted)


def record_path(distilled: StoredSet, record: EvaluationRecord) -> Path:
    """Return the path of the record that ``evaluate_set`` wrote."""
    return _evaluation_folder(distilled, record.protocol_hash, record.evaluation_seed) / RECORD


def _evaluation_folder(distilled: StoredSet, protocol_hash: str, seed: int) -> Path:
    own = seed == distilled.provenance.get("seed")
    return evaluation_folder(distilled.folder, protocol_hash, None if own else seed)


def check(set_evaluation: SetEvaluation) -> None:
    """Check before any training that networks can be trained on the set and that a record can hold
    it.

    Raises:
        MismatchError, FileFormatError: If not.
    """
    judged = set_evaluation.judged
    with _recipe_knows("network", judged.network, NETWORKS):
        find_network(judged.network)
    with _recipe_knows("augmentation", judged.augment, AUGMENTATIONS):
        augmentation_and_mix(judged.augment)
    require_network(judged, set_evaluation.test.spec)
    labels = labels_for(set_evaluation.distilled.synthetic, judged)
    loss_for(judged.loss, labels, judged.labels == "teacher")
    nothing = {key: kinds[0]() for key, kinds in _KINDS.items()}
    nothing |= {"threads": 1, "engine": "none", "device": "none", "torch": "none"}
    distilled = set_evaluation.distilled
    without_origin = replace(set_evaluation, distilled=replace(distilled, provenance={}))
    record = _record(without_origin, [nothing])
    known = (*_ORIGIN, "artifact_hash")
    origin = {key: value for key, value in distilled.provenance.items() if key in known}
    EvaluationRecord.from_json(record.to_json() | origin, distilled.path or distilled.folder)


@contextmanager
def _recipe_knows(kind: str, name: str, known: Iterable[str]) -> Iterator[None]:
    """Turn an UnknownNameError into a MismatchError that names the set's recipe."""
    try:
        yield
    except UnknownNameError as error:
        raise MismatchError(
            f"the set's own recipe asks for the {kind} {name!r}, which is unknown here; "
            f"known: {', '.join(known)}"
        ) from error


def train_missing(set_evaluation: SetEvaluation) -> list[Row]:
    """Train the networks that are missing; return the rows of all networks. The caller holds the
    folder's lock.
    """
    lines, workspace = set_evaluation.folder / NETWORK_ROWS, set_evaluation.workspace
    rows = _trained_before(set_evaluation)
    missing = [index for index in range(set_evaluation.networks) if index not in rows]
    bar, total = f"{set_evaluation.distilled.label}: networks", len(rows) + len(missing)

    def keep(trained_together: list[Row]) -> None:
        for row in trained_together:
            append_row(lines, row)
            rows[row["network"]] = row
        workspace.progress(bar, len(rows), total)

    if missing:
        tasks = _prepare(set_evaluation, missing, rows)
        workspace.progress(bar, len(rows), total)
        workspace.execute_tasks(tasks, keep)
    return [rows[index] for index in sorted(rows)]


def _trained_before(set_evaluation: SetEvaluation) -> dict[int, Row]:
    return {
        row["network"]: row
        for row in map(_intact, read_lines(set_evaluation.folder / NETWORK_ROWS))
        if row and row["artifact"] == set_evaluation.distilled.sha256
    }


def missing_seconds(set_evaluation: SetEvaluation) -> float:
    """Estimate how long the missing networks take to train."""
    before, machine = _trained_before(set_evaluation), set_evaluation.workspace.machine
    missing = sum(index not in before for index in range(set_evaluation.networks))
    images, test = len(set_evaluation.distilled.synthetic), set_evaluation.test
    macs = missing * evaluation_macs(set_evaluation.judged, test.spec, images, len(test))
    return machine.decide(macs).estimate_seconds(macs)


def _intact(line: Mapping[str, Any]) -> Row | None:
    """Return the row of a line; None if the line is damaged, and its network is trained again."""
    row = intact_row(line, checked=False)
    if row is None or not set(_KINDS) - _UNSAID <= set(row) <= set(_KINDS):
        return None
    typed = all(type(row[key]) in _KINDS[key] for key in row)
    finite = all(math.isfinite(value) for value in row.values() if isinstance(value, float))
    fractions = all(one is None or type(one) is float for one in row.get("class_accuracies", []))
    return row if typed and finite and fractions else None


def _prepare(
    set_evaluation: SetEvaluation, missing: Sequence[int], rows: Mapping[int, Row]
) -> list[TrainNetworks]:
    """Return the tasks that train the missing networks, and say how long they may take."""
    distilled = set_evaluation.distilled
    test = set_evaluation.test
    workspace = set_evaluation.workspace
    trained, judged = distilled.synthetic.in_training, set_evaluation.judged
    abreast = networks_abreast(trained, judged, workspace.machine)
    # each trained in one
    passes = [tuple(group) for _, group in groupby(missing, lambda index: index // abreast)]
    macs = evaluation_macs(judged, test.spec, len(trained), len(test))
    macs *= len(passes) * abreast
    fresh = machine = workspace.machine.decide(macs)
    # the choice was made when the first network was trained
    if rows and workspace.machine.engine == "auto":
        machine = replace(machine, engine=next(iter(rows.values()))["engine"])
    seconds = machine.estimate_seconds(macs)
    if seconds > 20:
        how = f"{machine.precision}, {machine.engine}"
        networks = counted(len(missing), "network")
        estimate = f"training {networks} takes about {in_words(seconds)} here ({how}"
        if (machine.engine, fresh.engine) == ("eager", "compiled"):  # few were asked for first
            compiled = in_words(fresh.estimate_seconds(macs))
            estimate += f" like those there are; with --engine compiled about {compiled}"
        workspace.say(f"{distilled.label}: {estimate})")
    task = TrainNetworks(
        distilled.label,
        machine,
        distilled.sha256,
        Shared.of(distilled.synthetic),
        Shared.of(test),
        judged,
        set_evaluation.seed,
        networks=(),
        teaching=set_evaluation.teaching,
    )
    return [
        replace(task, networks=tuple(piece)) for piece in pieces(passes, machine, workspace.workers)
    ]


def about(distilled: StoredSet, test: TestSet) -> dict[str, Any]:
    """Return a record's fields about a set and the data it was judged on."""
    origin, synthetic = distilled.provenance, distilled.synthetic
    made_as, step = origin.get("artifact_hash", distilled.sha256[:12]), distilled.step
    known = {key: origin.get(key, silent) for key, silent in _ORIGIN.items()}
    return {
        **known,
        "changed": known["changed"] if step is None else {**known["changed"], STOPPED: step},
        "dataset": test.spec.dataset,
        "dataset_revision": test.spec.revision,
        "dataset_note": test.note,
        "budget_images": len(synthetic),
        "space": synthetic.space.name,
        # a snapshot is not the finished set: the record says its step
        "artifact_hash": made_as if step is None else f"{made_as}-step{step}",
        "artifact_sha256": distilled.sha256,
        "content": synthetic.content_hash,
    }


def network_scores(rows: Sequence[Row]) -> tuple[NetworkScore, ...]:
    """Return the networks' scores as a trace stores them."""
    return tuple(
        NetworkScore(row["network"], row["accuracy"], row["loss"], row["seconds"]) for row in rows
    )


def detailed_scores(rows: Sequence[Row]) -> tuple[NetworkScore, ...]:
    """Return the networks' scores as an evaluation stores them, with accuracies by class."""
    return tuple(
        replace(
            score,
            class_accuracies=tuple(row.get("class_accuracies", ())),
            calibration_error=row.get("calibration_error"),
        )
        for score, row in zip(network_scores(rows), rows, strict=True)
    )


def _record(set_evaluation: SetEvaluation, rows: Sequence[Row]) -> EvaluationRecord:
    distilled, test, protocol = set_evaluation.distilled, set_evaluation.test, set_evaluation.asked
    return EvaluationRecord(
        **about(distilled, test),
        network=set_evaluation.judged.network,
        augment=set_evaluation.judged.augment,
        protocol=protocol,
        protocol_hash=fingerprint(protocol),
        evaluation_seed=set_evaluation.seed,
        recipe=dict(distilled.synthetic.recipe),
        networks=detailed_scores(rows),
        distillation=distilled.cost,
        evaluate_seconds=sum(row["seconds"] for row in rows),
        epoch_seconds=statistics.median(row["epoch_seconds"] for row in rows),
        compile_seconds=_most(rows, "compile_seconds"),
        peak_memory_bytes=_most(rows, "peak_memory_bytes"),
        labels=_learned(set_evaluation),
        data_folder=set_evaluation.data_folder,
        teacher_accuracy=rows[0].get("teacher_accuracy"),
        **circumstances(rows, protocol["precision"]),
        warnings=tuple(_warnings(set_evaluation, rows)),
    )


def _most(rows: Sequence[Row], figure: str) -> Any:
    return max((row[figure] for row in rows if row[figure] is not None), default=None)


def _learned(set_evaluation: SetEvaluation) -> str:
    """Return what the networks learned: classes, weights (soft labels) or a teacher's answers."""
    if set_evaluation.judged.labels == "teacher":
        return "teacher"
    labels = labels_for(set_evaluation.distilled.synthetic, set_evaluation.judged)
    return "classes" if labels.ndim == 1 else "weights"


def diverged(rows: Sequence[Row]) -> Iterator[str]:
    """Return a warning if some networks' loss was not finite at the end."""
    count = sum(row["loss"] is None for row in rows)
    if count:
        yield (
            f"{count} of {len(rows)} networks diverged: their loss was not finite at the end; "
            "their accuracy counts all the same"
        )


def _warnings(set_evaluation: SetEvaluation, rows: Sequence[Row]) -> Iterator[str]:
    # from an import, or a distillation that ran out of memory
    doubts = set_evaluation.distilled.provenance.get("warnings")
    yield from doubts if isinstance(doubts, list) else ()
    yield from diverged(rows)
    threads = sorted({row["threads"] for row in rows})
    if len(threads) > 1:
        yield (
            f"networks were trained with {' and '.join(map(str, threads))} threads, which changes "
            "rounding; networks.jsonl says which"
        )
    chance = 1 / set_evaluation.test.spec.classes
    mean = statistics.fmean(row["accuracy"] for row in rows)
    if mean < LEAST_ABOVE_CHANCE * chance:
        foreign = "layout" in set_evaluation.distilled.provenance
        yield (
            f"chance-level accuracy ({100 * mean:.1f} %, chance is {100 * chance:.1f} %), which "
            "says nothing about the method: too few steps, epochs or images"
            + (", or a space, labels or network that the set was not made for" if foreign else "")
        )
