"""Protocols: how the networks that evaluate a set, or the architectures of a search, are
trained.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, ClassVar, Literal

from dcbench.networks.catalogue import normalisation_in
from dcbench.networks.convnet import Normalisation
from dcbench.system.errors import OutOfRangeError, require_known
from dcbench.system.fields import within
from dcbench.training.supervision import CROSS_ENTROPY, Loss
from dcbench.training.teacher import TeacherSettings
from dcbench.training.trainer import Schedule

JudgedOn = Literal["test", "holdout"]
JUDGED_ON: tuple[JudgedOn, ...] = ("test", "holdout")
# hard: the likeliest class of each image; stored: what the set says; teacher: a trained network's
# answers to the images as they are trained on
LabelSource = Literal["hard", "stored", "teacher"]
LABEL_SOURCES: tuple[LabelSource, ...] = ("hard", "stored", "teacher")


@dataclass(frozen=True)
class Protocol:
    """How the networks that evaluate a set are trained. Every record stores it.

    ``version`` is raised by hand when the numbers of a named protocol change.
    """

    name: str
    version: int
    schedule: Schedule
    network: str = "convnet"
    normalisation: Normalisation = "instance"
    augment: str = "dsa"
    # how many networks by default; a network's accuracy does not depend on it
    networks: int = 100
    epochs_without_augmentation: int | None = None  # if they differ from the schedule's
    # holdout: training images held out from distillation, to choose settings by
    judged_on: JudgedOn = "test"
    # which of network and augment the user chose: a set's recipe does not replace these
    chosen: tuple[str, ...] = ()
    labels: LabelSource = "stored"
    loss: Loss = CROSS_ENTROPY
    mix_share: float = 1.0  # share of the batches that are mixed, if the augmentation mixes
    teacher: TeacherSettings = field(default_factory=TeacherSettings)

    # fields added later: left out of hashes and records while they have their defaults
    later: ClassVar[frozenset[str]] = frozenset({"labels", "loss", "mix_share"})

    def with_options(
        self,
        network: str | None = None,
        epochs: int | None = None,
        augment: str | None = None,
        labels: LabelSource | None = None,
    ) -> Protocol:
        """Return this protocol with the user's changes.

        With hard labels the loss is cross-entropy, whatever the protocol's loss.

        Raises:
            OutOfRangeError: If a value is out of range.
        """
        if epochs is not None and epochs < 1:
            raise OutOfRangeError(f"epochs must be at least 1, got {epochs}")
        asked = {"augment": augment, "network": network}
        named = {name for name, value in asked.items() if value is not None}
        chosen = tuple(sorted({*self.chosen, *named}))
        changed = replace(
            self,
            network=network or self.network,
            normalisation=normalisation_in(network or self.network, self.normalisation),
            augment=augment or self.augment,
            chosen=chosen,
            labels=labels or self.labels,
            loss=CROSS_ENTROPY if labels == "hard" else self.loss,
        )
        if changed.augment == "none" and epochs is None:
            epochs = self.epochs_without_augmentation
        if epochs is None:
            return changed
        return replace(changed, schedule=_stretched(self.schedule, epochs))

    def with_recipe(self, recipe: Mapping[str, Any]) -> Protocol:
        """Return this protocol with what the set's recipe asks for (``lr``, ``batch``, ``augment``,
        ``network``), except what the user chose.
        """
        unchosen = {"augment", "network"} - set(self.chosen)
        asked = {key: value for key, value in recipe.items() if key in unchosen}
        asked_network = asked.get("network", self.network)
        return replace(
            self,
            schedule=_asked_by(recipe, self.schedule),
            normalisation=normalisation_in(asked_network, self.normalisation),
            **asked,
        )

    def on_classes(self) -> Protocol:
        """Return this protocol for a set whose labels are classes."""
        return replace(self, labels="stored") if self.labels == "hard" else self

    def to_json(self) -> dict[str, Any]:
        """Return everything that changes a network's accuracy, as plain values. The number of
        networks does not.
        """
        unsaid = {"networks", "epochs_without_augmentation", "chosen"}
        if self.judged_on == "test":
            unsaid.add("judged_on")  # as older records have it
        if self.labels != "teacher":
            unsaid.add("teacher")
        plain = _plain(self, unsaid)
        return plain if "loss" not in plain else plain | self.loss.to_json()


@dataclass(frozen=True)
class SearchProtocol:
    """How the architectures of a search are trained, the same for every proxy. Every record stores
    it.

    ``version`` is raised by hand when the numbers of a named protocol change.
    """

    name: str
    version: int
    schedule: Schedule
    truth_epochs: int  # epochs on the whole data, each with far more steps
    augment: str = "dsa"

    def with_epochs(self, epochs: int | None, truth_epochs: int | None) -> SearchProtocol:
        """Return this protocol with the user's numbers of epochs. Raises OutOfRangeError."""
        within("epochs", epochs, 1)
        within("truth epochs", truth_epochs, 1)
        schedule = self.schedule if epochs is None else replace(self.schedule, epochs=epochs)
        return replace(self, schedule=schedule, truth_epochs=truth_epochs or self.truth_epochs)

    def on_the_whole(self) -> SearchProtocol:
        """Return this protocol for training on the whole data."""
        return replace(self, schedule=replace(self.schedule, epochs=self.truth_epochs))

    def with_recipe(self, recipe: Mapping[str, Any]) -> SearchProtocol:
        """Return this protocol with what the set's recipe asks for, except its network."""
        schedule = _asked_by(recipe, self.schedule)
        return replace(self, schedule=schedule, augment=recipe.get("augment", self.augment))

    def to_json(self, precision: str) -> dict[str, Any]:
        """Return what changes a network's accuracy on a proxy, as plain values: without the epochs
        on the whole data.
        """
        return _plain(self, {"truth_epochs"}) | {"precision": precision}


def _asked_by(recipe: Mapping[str, Any], schedule: Schedule) -> Schedule:
    """Return ``schedule`` with the learning rate and batch size of the set's recipe."""
    return replace(schedule, **{key: recipe[key] for key in ("lr", "batch") if key in recipe})


def _plain(protocol: Protocol | SearchProtocol, unsaid: Collection[str]) -> dict[str, Any]:
    """Return a protocol and its schedule as one flat mapping, without ``unsaid`` fields and without
    fields added later that have their defaults.
    """
    plain = asdict(protocol)
    plain |= plain.pop("schedule")
    usual = _later_and_usual(protocol) | _later_and_usual(protocol.schedule)
    return {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in plain.items()
        if key not in unsaid and key not in usual
    }


def _later_and_usual(declaration: Protocol | SearchProtocol | Schedule) -> set[str]:
    """Return the fields of ``declaration`` that were added later and have their defaults."""
    later: Collection[str] = getattr(declaration, "later", ())
    return {
        each.name
        for each in fields(declaration)
        if each.name in later and getattr(declaration, each.name) == each.default
    }


def _stretched(schedule: Schedule, epochs: int) -> Schedule:
    """Return ``schedule`` over another number of epochs; a single decay stays at the same share of
    it.
    """
    if schedule.decay_after is None:
        return replace(schedule, epochs=epochs)
    return replace(
        schedule, epochs=epochs, decay_after=round(schedule.decay_after * epochs / schedule.epochs)
    )


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        # DataDAM's Table 2. Epochs and batch are not printed there: past 150 epochs the rate is
        # below 1e-5.
        Protocol("paper", 1, Schedule(epochs=300, decay=0.5, decay_every=15)),
        # DC, DM, DC-BENCH: `range(E + 1)` epochs, the rate divided once, with a fresh optimizer.
        Protocol(
            "lineage",
            1,
            Schedule(epochs=1001, decay=0.1, decay_after=501, fresh_momentum=True),
            epochs_without_augmentation=301,
        ),
        # What DataDAM's released code does: BatchNorm, batches of 64, the rate divided after epoch
        # 901 of 1,801.
        Protocol(
            "released",
            1,
            Schedule(epochs=1801, batch=64, decay=0.1, decay_after=901, fresh_momentum=True),
            normalisation="batch",
        ),
        # Minutes on two cores; its teacher is the one of RDED's preset quick.
        Protocol(
            "quick",
            1,
            Schedule(epochs=300, decay=0.0),
            teacher=TeacherSettings(normalisation="batch", epochs=5),
            networks=5,
        ),
        # DATM (Guo et al., ICLR 2024), its code: DC's schedule, the set's own soft labels and rate.
        Protocol(
            "datm",
            1,
            Schedule(epochs=1001, decay=0.1, decay_after=501, fresh_momentum=True),
            networks=5,
        ),
        # IDC (Kim et al., ICML 2022), its code on CIFAR: batches of 64, half of them cut and mixed,
        # the rate ×0.2 at two thirds and at five sixths.
        Protocol(
            "idc",
            1,
            Schedule(epochs=1000, batch=64, decay=0.2, decay_at=(2 / 3, 5 / 6)),
            augment="colour-and-warp+cutmix",
            mix_share=0.5,
            networks=5,
        ),
        # SRe2L (Yin et al., NeurIPS 2023), its code on ImageNet: a ResNet-18 taught by another one
        # with temperature 20. Its code keeps the best test epoch; ours is the last.
        Protocol(
            "sre2l",
            1,
            Schedule(300, 0.001, 1024, weight_decay=0.01, decay=0.0, optimizer="adamw"),
            network="resnet18",
            normalisation="batch",
            augment="resized-crop+cutmix",
            labels="teacher",
            loss=Loss("kl", 20.0),
            teacher=TeacherSettings("resnet18", "batch", epochs=200, lr=0.1, batch=128),
            networks=3,
        ),
        # RDED (Sun et al., CVPR 2024), its code on CIFAR at IPC 10 with ConvNet-3: batches of 50
        # (100 at IPC 50), images whole (factor 1; of four patches: shuffled-patches+cutmix), the
        # cosine stopped half-way. Its code spares biases and scales the weight decay and keeps the
        # best late test epoch; ours does neither.
        # The teacher's training is not published in the code: ours.
        Protocol(
            "rded",
            1,
            Schedule(
                300,
                0.001,
                50,
                weight_decay=0.01,
                decay=0.0,
                optimizer="adamw",
                cosine_over=2.0,
            ),
            normalisation="batch",
            augment="flip+cutmix",
            labels="teacher",
            loss=Loss("kl", 20.0),
            teacher=TeacherSettings(normalisation="batch"),
            networks=3,
        ),
        # DD-Ranking (Li et al., 2025), the defaults of its evaluator of soft labels: KL, CutMix,
        # 300 epochs, the rate constant, for the length of its steps is left unsaid. Its code takes
        # the best test epoch and the best of five rates on test; ours is the last epoch at its
        # default rate.
        Protocol(
            "dd-ranking",
            1,
            Schedule(epochs=300),
            augment="cutmix",
            labels="teacher",
            loss=Loss("kl"),
            networks=5,
        ),
        # The whole data set, for reference: the same network and augmentation, fewer passes over
        # far more images.
        Protocol("whole", 1, Schedule(epochs=100, decay=0.0), networks=5),
        Protocol("whole-quick", 1, Schedule(epochs=10, decay=0.0), networks=2),
    )
}


OWN = "own"  # not a protocol: each set is evaluated as its method's own paper does
PROTOCOL_NAMES = (*PROTOCOLS, OWN)  # the values of --protocol


def find_protocol(name: str) -> Protocol:
    """Return the protocol called ``name``. Raises UnknownNameError."""
    require_known("protocol", name, PROTOCOLS)
    return PROTOCOLS[name]
