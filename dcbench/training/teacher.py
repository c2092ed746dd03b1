"""Teachers: networks trained once on the whole training set, whose answers serve as labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any

import torch
from annotated_types import Ge, Gt
from jaxtyping import Float
from torch import Tensor

from dcbench.images import ImageSpec, TrainSet
from dcbench.networks.base import Network, initialise, weights_of
from dcbench.networks.catalogue import build_network
from dcbench.networks.convnet import Normalisation
from dcbench.networks.costs import network_macs, training_macs
from dcbench.run import Run
from dcbench.system.errors import MismatchError
from dcbench.system.fields import check_fields
from dcbench.training.augment import augmentation
from dcbench.training.trainer import Schedule, Trainer


@dataclass(frozen=True)
class TeacherSettings:
    """How a teacher is trained: by SGD with momentum and a cosine schedule, with augmentation.

    ``seed`` belongs to the teacher: sets of all seeds have the same teacher.
    """

    network: str = "convnet"
    normalisation: Normalisation = "instance"
    epochs: Annotated[int, Ge(1)] = 30
    lr: Annotated[float, Gt(0)] = 0.01
    batch: Annotated[int, Ge(1)] = 256
    augment: str = "dsa"
    seed: Annotated[int, Ge(0)] = 0

    def __post_init__(self) -> None:
        check_fields(self, "teacher")

    def macs(self, train: TrainSet) -> float:
        """Return the multiply-accumulates of training the teacher."""
        per_image = network_macs(self.network, train.spec, self.normalisation)
        return training_macs(per_image, len(train), self.epochs)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, eq=False)
class Teacher:
    """A trained network and the specification of the images that it was trained on."""

    network: Network
    spec: ImageSpec

    def require(self, spec: ImageSpec) -> None:
        """Raise MismatchError if the teacher was trained on other images or classes than those of
        ``spec``.
        """
        ours = (self.spec.dataset, self.spec.shape, self.spec.class_names)
        if ours != (spec.dataset, spec.shape, spec.class_names):
            raise MismatchError(
                f"the teacher was trained on {self.spec.dataset} ({_in_words(self.spec)}), and the "
                f"set is of {spec.dataset} ({_in_words(spec)}); train a teacher on that data"
            )

    def answers(self, run: Run) -> Callable[[Tensor], Float[Tensor, "n classes"]]:
        """Return a function from images to the teacher's logits, on the run's machine, without a
        graph.
        """
        run.machine.place_network(self.network)
        self.network.eval()
        logits = run.machine.accelerate(self.network)

        @torch.no_grad()
        def answer(images: Tensor) -> Tensor:
            answers: Tensor = logits(images).float()
            return answers

        return answer


def _in_words(spec: ImageSpec) -> str:
    return f"{spec.channels}×{spec.size}×{spec.size} in {spec.classes} classes"


def trained_teacher(settings: TeacherSettings, train: TrainSet, run: Run) -> Teacher:
    """Train the teacher, or load it if it is stored (``run.once``).

    Training is resumable. The teacher is stored with the other shared work of the data set.
    """
    machine = run.machine.decide(settings.macs(train))
    shared = replace(run, machine=machine, seed=settings.seed)
    network = build_network(settings.network, train.spec, settings.normalisation)
    held = train.held_on(machine)

    def build(part: Run) -> dict[str, Tensor]:
        initialise(network, part.generator("network"))
        schedule = Schedule(settings.epochs, settings.lr, settings.batch, decay=0.0)
        augment = augmentation(settings.augment, train.space, train.spec.flips)
        Trainer(network, machine).train(held.values, held.labels, schedule, part, augment)
        return weights_of(network)

    spec = {name: value for name, value in settings.to_json().items() if name != "seed"}
    network.load_state_dict(shared.once("teacher", spec, build))
    return Teacher(network, train.spec)
