"""cGAN: a generator and a discriminator that are both told the class (Mirza & Osindero, arXiv
1411.1784, 2014).

The paper's networks for MNIST are fully connected. Here the conditioning is the paper's (its
Section 4.1: what z, y and x are mapped to before they meet, the prior, the batch), while images are
made and seen by the strided convolutions of DCGAN (Radford et al., ICLR 2016), whose optimizer,
batch normalisation and initial weights come with them in place of SGD and a decaying rate. The
paper's dropout is a field: without it, on CIFAR-10, DCGAN's discriminator came to win, and the
images of a class became one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, final

import torch
import torch.nn.functional as F
from annotated_types import Ge, Gt, Lt
from jaxtyping import Float
from torch import Tensor, nn

from dcbench.distiller import register
from dcbench.families.adversarial import Game, Player, play
from dcbench.families.generative import (
    Generative,
    RealImages,
    begin,
    forward_macs,
    kept_units,
    stages,
)
from dcbench.images import ImageSpec, TrainSet
from dcbench.run import Run

# sizes of the discriminator; maxout of 5 pieces for y and of 4 for both
X_UNITS, Y_UNITS, JOINT_UNITS = 240, 50, 240


@register("cgan", title="cGAN", paper="mirza2014cgan")
@final
@dataclass(frozen=True)
class CGAN(Generative):
    """Draws from a generator trained against a discriminator, both told the class.

    min_G max_D E log D(x|y) + E log(1 - D(G(z|y)|y)) (Eq. 2); G ascends log D(G(z|y)|y), as in
    Goodfellow et al. (2014).
    """

    iterations: Annotated[int, Ge(1)] = 50_000  # the paper prints none: 100 epochs of CIFAR-10
    batch: Annotated[int, Ge(2)] = 100
    lr: Annotated[float, Gt(0)] = 2e-4  # DCGAN's, with its β₁
    beta1: Annotated[float, Ge(0), Lt(1)] = 0.5
    latent: Annotated[int, Ge(1)] = 100  # dimensions of z, uniform in the unit hypercube
    latent_units: Annotated[int, Ge(1)] = 200  # units that z is mapped to
    # units that y is mapped to; z and y together are mapped to the sum of both
    label_units: Annotated[int, Ge(1)] = 1000
    # channels of the largest map; each halving of the map doubles them
    width: Annotated[int, Ge(1)] = 64
    # dropout of the discriminator's channels and units; the paper's is 0.5, DCGAN has none
    dropout: Annotated[float, Ge(0), Lt(1)] = 0.0

    later = frozenset({"dropout"})

    presets = {
        "quick": {
            "iterations": 1200,
            "batch": 64,
            "lr": 5e-4,
            "latent_units": 100,
            "label_units": 100,
            "width": 32,
        },
        "two-cores": {
            "iterations": 6000,
            "batch": 64,
            "latent_units": 400,
            "label_units": 100,
            "dropout": 0.2,
        },
    }
    tried_with = {"latent_units": 8, "label_units": 8}

    def sampler(self, spec: ImageSpec) -> nn.Module:
        return CGANGenerator(spec, self)

    def latents(self, spec: ImageSpec, count: int, generator: torch.Generator) -> Tensor:
        return torch.rand(count, self.latent, generator=generator)

    def fit(self, train: TrainSet, run: Run) -> nn.Module:
        spec = train.spec
        generator = begin("generator", lambda: CGANGenerator(spec, self).apply(_initialise), run)
        discriminator = begin(
            "discriminator", lambda: CGANDiscriminator(spec, self.width).apply(_initialise), run
        )
        real = RealImages(train, run)
        G = run.machine.accelerate(generator)
        D = run.machine.accelerate(discriminator)

        def generated(source: torch.Generator) -> tuple[Tensor, Tensor]:
            labels = real.draw_labels(self.batch, source)
            return G(run.place(self.latents(spec, self.batch, source)), labels), labels

        def judged(images: Tensor, labels: Tensor, source: torch.Generator) -> Tensor:
            kept = None
            if self.dropout:
                units = kept_units(len(images), discriminator.units, self.dropout, source)
                kept = run.place(units)
            return D(images, labels, kept)  # type: ignore[no-any-return]

        def discriminator_loss(source: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
            with torch.no_grad():
                fake = generated(source)
            real_loss = -F.logsigmoid(judged(*real.draw(self.batch, source), source)).mean()
            loss = real_loss - F.logsigmoid(-judged(*fake, source)).mean()
            return loss, {"adversarial": loss}

        def generator_loss(source: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
            loss = -F.logsigmoid(judged(*generated(source), source)).mean()
            return loss, {"adversarial": loss}

        rates = (self.lr, (self.beta1, 0.999))
        players = (
            Player(generator, generator_loss, *rates),
            Player(discriminator, discriminator_loss, *rates),
        )
        game = Game(*players)
        play(game, self.iterations, run, lambda step: self.show(generator, train, run, step))
        return generator

    def cost_macs(self, train: TrainSet, ipc: int) -> float:
        images = torch.zeros(2, *train.spec.shape)
        z = torch.zeros(2, self.latent)
        labels = torch.zeros(2, dtype=torch.long)
        g = forward_macs(lambda: CGANGenerator(train.spec, self), z, labels)
        d = forward_macs(lambda: CGANDiscriminator(train.spec, self.width), images, labels)
        # D: one G, two D with backward; G: one G with backward, two of D
        return self.iterations * self.batch * (4 * g + 8 * d)


@torch.no_grad()
def _initialise(module: nn.Module) -> None:
    """N(0, 0.02) for weights, N(1, 0.02) for the scales of batch normalisation (Radford et al.,
    Section 4).
    """
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        module.weight.normal_(0, 0.02)
    elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
        module.weight.normal_(1, 0.02)


def _hidden(inputs: int, units: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, units, bias=False), nn.BatchNorm1d(units), nn.ReLU())


@final
class CGANGenerator(nn.Module):
    """(z, y) to values in [-1, 1]: z and y apart, then together, then doublings of a small map."""

    def __init__(self, spec: ImageSpec, model: CGAN) -> None:
        super().__init__()
        self.classes, self.joint = spec.classes, model.latent_units + model.label_units
        base, doublings = stages(spec)
        widths = [model.width * 2**power for power in reversed(range(doublings))]
        self.small = (widths[0], base, base)
        self.of_z = _hidden(model.latent, model.latent_units)
        self.of_y = _hidden(spec.classes, model.label_units)
        self.both = nn.Sequential(
            _hidden(self.joint, self.joint), _hidden(self.joint, widths[0] * base**2)
        )
        layers: list[nn.Module] = []
        for width, narrower in pairwise(widths):
            layers += [
                nn.ConvTranspose2d(width, narrower, 4, 2, 1, bias=False),
                nn.BatchNorm2d(narrower),
                nn.ReLU(),
            ]
        self.image = nn.Sequential(
            *layers, nn.ConvTranspose2d(widths[-1], spec.channels, 4, 2, 1), nn.Tanh()
        )

    def forward(self, z: Float[Tensor, "n latent"], labels: Tensor) -> Tensor:
        y = F.one_hot(labels, self.classes).to(z)
        joint = self.both(torch.cat([self.of_z(z), self.of_y(y)], 1))
        images: Tensor = self.image(joint.view(-1, *self.small))
        return images


@final
class Maxout(nn.Module):
    """Each unit is the largest of ``pieces`` linear ones (Goodfellow et al., ICML 2013)."""

    def __init__(self, inputs: int, units: int, pieces: int) -> None:
        super().__init__()
        self.linear, self.pieces = nn.Linear(inputs, units * pieces), pieces

    def forward(self, values: Tensor) -> Tensor:
        pieces = self.linear(values).unflatten(1, (-1, self.pieces))
        return pieces.amax(-1)  # type: ignore[no-any-return]


@final
class CGANDiscriminator(nn.Module):
    """(x, y) to a logit: x and y apart, then together."""

    def __init__(self, spec: ImageSpec, width: int) -> None:
        super().__init__()
        self.classes = spec.classes
        base, halvings = stages(spec)
        blocks = [nn.Sequential(nn.Conv2d(spec.channels, width, 4, 2, 1), nn.LeakyReLU(0.2))]
        for _ in range(halvings - 1):
            blocks.append(
                nn.Sequential(
                    nn.Conv2d(width, 2 * width, 4, 2, 1, bias=False),
                    nn.BatchNorm2d(2 * width),
                    nn.LeakyReLU(0.2),
                )
            )
            width *= 2
        self.blocks = nn.ModuleList(blocks)
        self.of_x = nn.Sequential(
            nn.Flatten(),
            nn.Linear(width * base**2, X_UNITS),
            nn.BatchNorm1d(X_UNITS),
            nn.LeakyReLU(0.2),
        )
        self.of_y = Maxout(spec.classes, Y_UNITS, 5)
        self.both, self.logit = Maxout(X_UNITS + Y_UNITS, JOINT_UNITS, 4), nn.Linear(JOINT_UNITS, 1)
        channels = (width >> power for power in reversed(range(halvings)))
        self.dropped = (*channels, X_UNITS, JOINT_UNITS)
        self.units = sum(self.dropped)

    def forward(
        self, images: Tensor, labels: Tensor, kept: Float[Tensor, "n units"] | None = None
    ) -> Float[Tensor, " n"]:
        """``kept``: what each channel and unit that may be dropped is multiplied with."""
        masks = iter([] if kept is None else kept.to(images).split(self.dropped, 1))
        x = images
        for block in self.blocks:
            x = _masked(block(x), masks)
        x = _masked(self.of_x(x), masks)
        y = F.one_hot(labels, self.classes).to(images)
        joint = _masked(self.both(torch.cat([x, self.of_y(y)], 1)), masks)
        logits: Tensor = self.logit(joint).flatten().float()
        return logits


def _masked(values: Tensor, masks: Iterator[Tensor]) -> Tensor:
    mask = next(masks, None)
    return values if mask is None else values * mask.view(*mask.shape, *[1] * (values.ndim - 2))
