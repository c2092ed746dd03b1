"""An embedding: t-SNE of a set's images among real images, by their features in a network trained
on the real data.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, final

import sklearn
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from dcbench.evaluation.evaluate import accuracy_of, all_values, evaluation_macs
from dcbench.evaluation.protocol import Protocol
from dcbench.execution.provenance import circumstances, ran_on
from dcbench.execution.task import Channel, Shared, Task
from dcbench.experiments.context import Cell, StoredSet, Workspace
from dcbench.experiments.evaluate import about
from dcbench.experiments.tasks import conditions
from dcbench.networks.base import initialise, weights_of
from dcbench.networks.catalogue import build_network
from dcbench.networks.costs import widest_activation
from dcbench.records import EmbeddedImage, EmbeddingRecord, read_record, write_record
from dcbench.run import Run, fingerprint
from dcbench.studies.declarations import Embedding
from dcbench.system.errors import FileFormatError, MismatchError
from dcbench.system.layout import embedding_record, shared_folder
from dcbench.system.machine import Machine
from dcbench.system.wording import in_words
from dcbench.training.augment import augmentation
from dcbench.training.trainer import Schedule, Trainer, in_chunks


def embedding_protocol(plan: Embedding) -> Protocol:
    """Return the protocol that trains the network on the real data: with BatchNorm, as ResNet-18
    was published. This is our choice: the paper does not say.
    """
    schedule = Schedule(epochs=plan.epochs, lr=0.05, batch=128, decay=0.0)
    return Protocol("embedding", 1, schedule, plan.network, "batch", augment="dsa", networks=1)


def embedding_macs(plan: Embedding, cell: Cell) -> float:
    """Return the multiply-accumulates of training the network; features and t-SNE cost little
    beside it.
    """
    loaded = cell.loaded
    epoch_images = plan.epoch_images or len(loaded.train)
    return evaluation_macs(embedding_protocol(plan), loaded.spec, epoch_images, len(loaded.test))


@dataclass(frozen=True)
class _Features:
    """The trained network's feature function on one machine, and the network's test accuracy."""

    observe: Callable[[Tensor], Tensor]
    widest: int  # number of values in the largest activation of one image
    accuracy: float
    machine: Machine


@dataclass(frozen=True)
class SetEmbedding:
    """The embedding of one finished set among real images, as ``plan`` says."""

    cell: Cell
    distilled: StoredSet
    plan: Embedding
    workspace: Workspace

    @cached_property
    def asked(self) -> dict[str, Any]:
        """The protocol that trains the network, as plain values."""
        return {
            **embedding_protocol(self.plan).to_json(),
            "epoch_images": self.plan.epoch_images,
            "precision": self.workspace.machine.precision,
        }

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The settings of t-SNE."""
        images = len(self.distilled.synthetic) + sum(len(rows) for rows in self._real_rows)
        return {
            # the bound of van der Maaten's code
            "perplexity": min(self.plan.perplexity, (images - 1) / 3),
            "init": "pca",
            "learning_rate": "auto",
            "max_iter": 1000,
            "real_per_class": self.plan.real_per_class,
            "scikit-learn": str(sklearn.__version__),
        }

    def make_record(self) -> tuple[EmbeddingRecord, Path]:
        """Return the record and its path; compute the embedding first if there is no record."""
        artifact = self.distilled.sha256
        identity = {"protocol": self.asked, "settings": self.settings, "artifact": artifact}
        path = embedding_record(self.distilled.folder, fingerprint(identity))
        with self.workspace.alone(path.parent):
            found = _read(path) if self.workspace.resumption.resume else None
            if found is None:
                made: list[EmbeddingRecord] = []
                self.workspace.execute_tasks([self._task()], made.append)
                found = made[-1]
                write_record(path, found)
        return found, path

    def _task(self) -> Embed:
        workspace = self.workspace
        machine = workspace.machine.decide(embedding_macs(self.plan, self.cell))
        # in the worker: an absolute path, as its current folder may be another; the channel
        # replaces this workspace's progress and messages
        elsewhere = Workspace(workspace.out.absolute(), machine, resumption=workspace.resumption)
        asked = Shared.of(replace(self, workspace=elsewhere))
        return Embed(self.cell.label, machine, asked)

    def make(self) -> EmbeddingRecord:
        """Train the network if it is not stored yet, and compute the embedding."""
        features = self._trained()
        clock = time.monotonic()
        synthetic, train = self.distilled.synthetic, self.cell.loaded.train
        real = torch.cat(self._real_rows)
        rows = [
            in_chunks(features.observe, values, count, features.machine, features.widest)
            for values, count in (
                (lambda part: train.values(real[part]), len(real)),
                (synthetic.images.__getitem__, len(synthetic)),
            )
        ]
        self.workspace.say(
            f"{self.cell.label}: t-SNE of {len(real)} real and {len(synthetic)} synthetic images"
        )
        places, divergence = self._places(torch.cat(rows))
        labels = torch.cat([train.labels[real], synthetic.hard_labels]).tolist()
        return EmbeddingRecord(
            **about(self.distilled, self.cell.loaded.test),
            class_names=self.cell.loaded.spec.class_names,
            network=self.plan.network,
            network_seed=0,
            network_accuracy=features.accuracy,
            protocol=self.asked,
            protocol_hash=fingerprint(self.asked),
            embedding_seed=0,
            settings=self.settings,
            kl_divergence=divergence,
            points=tuple(
                EmbeddedImage(x, y, label, index >= len(real))
                for index, ((x, y), label) in enumerate(zip(places, labels, strict=True))
            ),
            seconds=time.monotonic() - clock,
            **circumstances([ran_on(features.machine)], features.machine.precision),
            warnings=(),
        )

    @cached_property
    def _real_rows(self) -> list[Int64[Tensor, " k"]]:
        # the same real images for every set
        train, run = self.cell.loaded.train, Run(0, self.workspace.machine)
        classes = range(train.spec.classes)
        return [
            train.draw(label, self.plan.real_per_class, run.generator("embedded", label))
            for label in classes
        ]

    def _places(self, features: Float[Tensor, "n d"]) -> tuple[list[list[float]], float]:
        from sklearn.manifold import TSNE

        known = ("perplexity", "init", "learning_rate", "max_iter")
        settings = {name: self.settings[name] for name in known}
        tsne = TSNE(2, random_state=0, **settings)  # type: ignore[no-untyped-call]
        return tsne.fit_transform(features.numpy()).tolist(), float(tsne.kl_divergence_)

    def _trained(self) -> _Features:
        """Return the network that all embeddings of this data and protocol share. It is trained
        once; training can be interrupted and resumed.
        """
        loaded = self.cell.loaded
        protocol = embedding_protocol(self.plan)
        workspace = self.workspace
        if self.distilled.synthetic.space.fingerprint != loaded.train.space.fingerprint:
            raise MismatchError(
                f"{self.cell.label}: the set's space is not that of the real images, so their "
                "features cannot be compared"
            )
        cost = embedding_macs(self.plan, self.cell)
        machine = workspace.machine.decide(cost)
        network = build_network(protocol.network, loaded.spec, protocol.normalisation)
        trainer = Trainer(network, machine, self.plan.epoch_images)

        def build(part: Run) -> dict[str, Any]:
            workspace.say(
                f"training {self.plan.network} on the real data takes about "
                f"{in_words(machine.estimate_seconds(cost))} here"
            )
            train = loaded.train.held_on(machine)
            initialise(network, part.generator("network"))
            augment = augmentation(protocol.augment, loaded.train.space, loaded.spec.flips)
            trainer.train(train.values, train.labels, protocol.schedule, part, augment)
            network.eval()
            accuracy = accuracy_of(trainer, all_values(loaded.test), loaded.test.labels)
            return {"weights": weights_of(network), "accuracy": accuracy}

        run = Run(
            0,
            machine,
            shared=shared_folder(workspace.out, loaded.spec.dataset),
            context=self.cell.context,
            progress=lambda name, done, total: workspace.progress(
                f"{self.plan.network} on {loaded.spec.dataset}: {name}", done, total
            ),
            stop=workspace.stop,
            resumption=workspace.resumption,
        )
        kept = run.once("embedding-network", self.asked, build)
        network.load_state_dict(kept["weights"])
        machine.place_network(network)
        network.eval()
        observe = machine.accelerate(lambda images: network.observe(images).features)
        return _Features(
            observe, widest_activation(network, loaded.spec.shape), kept["accuracy"], machine
        )


@final
@dataclass(frozen=True)
class Embed(Task):
    """The task that computes an embedding and puts its record."""

    label: str
    machine: Machine
    asked: Shared[SetEmbedding]

    @property
    def spec(self) -> Mapping[str, Any]:
        return {"embedding": self.label, **conditions(self.machine)}

    def execute(self, channel: Channel) -> None:
        asked = channel.fetch(self.asked)
        heard = replace(
            asked.workspace, progress=channel.progress, say=channel.say, stop=channel.stopped
        )
        channel.put(replace(asked, workspace=heard).make())


def _read(path: Path) -> EmbeddingRecord | None:
    try:
        record = read_record(path)
    except FileFormatError:
        return None
    return record if isinstance(record, EmbeddingRecord) else None
