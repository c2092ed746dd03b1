"""Generative baselines: train a model once, then draw images from it, class by class and seeded.

Generators work on values in [-1, 1]; the images enter the training set's space when they are drawn.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, TypeVar

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from dcbench.artifacts.pictures import as_png, grid
from dcbench.distiller import Distiller
from dcbench.images import ImageSpec, Space, SyntheticSet, TrainSet
from dcbench.networks.base import weights_of
from dcbench.run import Run
from dcbench.system.errors import DataError
from dcbench.system.files import write_bytes

Values = Float[Tensor, "n channels size size"]  # in [-1, 1]
Labels = Int64[Tensor, " n"]
Network = TypeVar("Network", bound=nn.Module)

LOGS, GRIDS = 500, 10  # most rows of a training's history, and most sheets of images
PER_CLASS = 10  # images on a sheet


@dataclass(frozen=True)
class Generative(Distiller):
    """Base of the methods that train a generator and draw ``ipc`` images of each class from it.

    One training serves every budget: the images of a smaller one are among those of a larger one.
    """

    protocols = {"two-cores": "quick"}
    # fields that only change the drawing: sets that differ in them share the training
    sampling: ClassVar[frozenset[str]] = frozenset()

    @abstractmethod
    def sampler(self, spec: ImageSpec) -> nn.Module:
        """The untrained network from (latents, labels) to values in [-1, 1]."""

    @abstractmethod
    def latents(
        self, spec: ImageSpec, count: int, generator: torch.Generator
    ) -> Float[Tensor, "count _"]:
        """Draw ``count`` inputs for the sampler."""

    @abstractmethod
    def fit(self, train: TrainSet, run: Run) -> nn.Module:
        """Train and return the sampler, on the run's device."""

    def image_steps(self, ipc: int) -> int:
        return 0  # its steps are the network's

    @property
    def trained_by(self) -> dict[str, Any]:
        """Return the fields that the training depends on."""
        return {key: value for key, value in asdict(self).items() if key not in self.sampling}

    def shared_macs(self, train: TrainSet, ipc: int) -> Mapping[str, float]:
        return {f"{self.name} {self.trained_by}": self.cost_macs(train, ipc)}

    def distill(self, train: TrainSet, ipc: int, run: Run) -> SyntheticSet:
        train.require(ipc)
        spec = {**self.trained_by, "version": self.version}
        trained = run.once(self.name, spec, lambda part: self._trained(train, part))
        run.history.extend(trained["history"])
        network = begin("sampler", lambda: self.sampler(train.spec), run)
        network.load_state_dict(trained["sampler"])
        drawn, labels = self.draw(network, train.spec, ipc, run)
        images = train.space.enter(as_pixels(drawn)).contiguous()
        return SyntheticSet(train.spec, images, labels, train.space)

    def _trained(self, train: TrainSet, run: Run) -> dict[str, Any]:
        network = self.fit(train, run)
        return {"sampler": weights_of(network), "history": [dict(row) for row in run.history]}

    @torch.no_grad()
    def draw(
        self, network: nn.Module, spec: ImageSpec, ipc: int, run: Run
    ) -> tuple[Values, Labels]:
        """Draw ``ipc`` images of each class, with labels. Each image's latents have a generator of
        their own.
        """
        training, parts = network.training, []
        network.eval()
        for label in range(spec.classes):
            sources = (run.generator("latent", label, index) for index in range(ipc))
            latents = torch.cat([self.latents(spec, 1, source) for source in sources])
            parts.append(network(run.place(latents), run.place(torch.full((ipc,), label))))
        network.train(training)
        return torch.cat(parts), torch.arange(spec.classes).repeat_interleave(ipc)

    def show(self, network: nn.Module, train: TrainSet, run: Run, step: int) -> None:
        """Save a picture of what ``network`` draws now, always from the same latents."""
        images, labels = self.draw(network, train.spec, PER_CLASS, run)
        keep_sheet(run, f"samples-{step + 1:07d}", train.spec, images, labels)


def keep_sheet(run: Run, name: str, spec: ImageSpec, images: Values, labels: Labels) -> None:
    """Write values in [-1, 1] as one picture into the run's folder, if it has one."""
    if run.folder is not None:
        sheet = grid(SyntheticSet(spec, as_pixels(images), labels.cpu(), Space()))
        write_bytes(run.folder / f"{name}.png", as_png(sheet))


def as_pixels(images: Values) -> Values:
    """Pixels in [0, 1] on the CPU."""
    return ((images.float().cpu() + 1) / 2).clamp(0, 1)


def due(step: int, total: int, times: int) -> bool:
    """Return whether to do something after ``step`` that is done at most ``times`` times in
    ``total`` steps.

    Always true after the last step.
    """
    return (step + 1) % math.ceil(total / times) == 0 or step + 1 == total


class RealImages:
    """The training images as values in [-1, 1], drawn with replacement, so that no order must be
    stored.
    """

    def __init__(self, train: TrainSet, run: Run, flips: bool = False) -> None:
        self.train = train.held_on(run.machine)
        self.run, self.flips = run, flips

    def at(self, indices: Int64[Tensor, " k"]) -> Values:
        """Return the images with these indices, on the run's device."""
        return self.run.place(self.train.images[indices].float() / 127.5 - 1)

    def draw(self, count: int, generator: torch.Generator) -> tuple[Values, Labels]:
        """Draw a batch with its labels; each image is mirrored with probability ½ if asked."""
        indices = torch.randint(len(self.train), (count,), generator=generator)
        images = self.at(indices)
        if self.flips:
            mirrored = self.run.place(torch.rand(count, 1, 1, 1, generator=generator) < 0.5)
            images = torch.where(mirrored, images.flip(3), images)
        return images, self.run.place(self.train.labels[indices])

    def draw_labels(self, count: int, generator: torch.Generator) -> Labels:
        """Draw labels as frequent as in the training set."""
        indices = torch.randint(len(self.train), (count,), generator=generator)
        return self.run.place(self.train.labels[indices])


def kept_units(
    rows: int, units: int, dropout: float, generator: torch.Generator
) -> Float[Tensor, "rows units"]:
    """Draw factors for dropout: 0 with probability ``dropout``, else 1 / (1 - dropout)."""
    return (torch.rand(rows, units, generator=generator) >= dropout).float() / (1 - dropout)


def begin(name: str, build: Callable[[], Network], run: Run) -> Network:
    """Build a network on the run's device, initialised by the run's generator ``name``.

    torch's layers draw from the global generator: its state is replaced meanwhile and restored.
    """
    with torch.random.fork_rng(devices=[]):
        torch.set_rng_state(run.generator("network", name).get_state())
        network = build()
    run.machine.place_network(network)
    return network


def stages(spec: ImageSpec) -> tuple[int, int]:
    """Find the side of the generator's smallest map, at most 8, and the doublings up to the image.

    Raises DataError if no such side leads to the image.
    """
    size, doublings = spec.size, 0
    while size % 2 == 0 and size > 4:
        size, doublings = size // 2, doublings + 1
    if doublings == 0 or size > 8:
        raise DataError(
            f"{spec.dataset}: a generator doubles a map of 3 to 8 pixels up to the image; "
            f"{spec.size} is no such size"
        )
    return size, doublings


def forward_macs(build: Callable[[], nn.Module], *example: Tensor) -> float:
    """Return the multiply-accumulates of the network that ``build`` makes, for one row of
    ``example``.
    """
    with torch.random.fork_rng(devices=[]):
        network = build()
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        network(*example)
    return counter.get_total_flops() / 2 / len(example[0])
