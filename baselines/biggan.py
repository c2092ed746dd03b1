"""BigGAN (Brock et al., ICLR 2019) with DiffAugment (Zhao et al., NeurIPS 2020).

The parts are BigGAN's; sizes and rates are those that both papers' authors use for CIFAR: batches
of 50, four turns of the discriminator for one of the generator, Adam at 2e-4, no attention.
Latents, shared embedding and orthogonal initial weights are as for ImageNet. Orthogonal
regularisation is left out, as for CIFAR. DiffAugment draws brightness, saturation and contrast, a
translation and a cutout for every image, one after the other: these are DSA's ``colour``, ``crop``
and ``cutout`` with the same ranges.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, final

import torch
import torch.nn.functional as F
from annotated_types import Ge, Gt, Lt
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from dcbench.distiller import register
from dcbench.families.adversarial import (
    Average,
    Game,
    Player,
    hinge_discriminator,
    hinge_generator,
    play,
)
from dcbench.families.generative import Generative, RealImages, begin, forward_macs, stages
from dcbench.images import ImageSpec, TrainSet
from dcbench.networks.residual import (
    Attention,
    Projection,
    Summed,
    UpBlock,
    raw_weight,
    residual_trunk,
)
from dcbench.run import Run
from dcbench.training.augment import OPERATIONS

STANDING_BATCHES = 16  # batches for the statistics of batch normalisation used in drawing


@register("biggan", title="BigGAN", paper="brock2019biggan")
@final
@dataclass(frozen=True)
class BigGAN(Generative):
    """Draws from a generator trained against a discriminator: BigGAN with augmentation of both
    images.

    D minimises E max(0, 1 - D(T(x), y)) + E max(0, 1 + D(T(G(z, y)), y)), G minimises -E D(T(G(z,
    y)), y); T augments, anew each time. What is drawn with is a moving average of G, its batch
    normalisation's statistics taken anew ("standing statistics").
    """

    iterations: Annotated[int, Ge(1)] = 250_000
    batch: Annotated[int, Ge(2)] = 50
    turns: Annotated[int, Ge(1)] = 4  # turns of the discriminator per turn of the generator
    lr: Annotated[float, Gt(0)] = 2e-4  # learning rate of both players
    width: Annotated[int, Ge(1)] = 256  # channels of every map
    # dimensions of z that each level of the generator gets
    latent_chunk: Annotated[int, Ge(1)] = 20
    # dimensions of the class embedding that all levels share
    embedding: Annotated[int, Ge(1)] = 128
    # in both players, where the map has half the image's side; for CIFAR both papers' code has none
    attention: bool = False
    # names of DSA's operations; Zhao et al.'s choice for CIFAR
    policy: Literal["crop-cutout", "colour-crop-cutout", "none"] = "crop-cutout"
    average: Annotated[float, Ge(0), Lt(1)] = 0.9999  # decay of the generator's moving average
    average_start: Annotated[int, Ge(0)] = 1000  # steps before the moving average begins
    # drawn latents stay within ± this; none: they are not truncated
    truncation: Annotated[float | None, Gt(0)] = None

    sampling = frozenset({"truncation"})
    presets = {
        "quick": {
            "iterations": 600,
            "batch": 64,
            "turns": 1,
            "lr": 5e-4,
            "width": 32,
            "attention": True,
        }
        | {"average": 0.99, "average_start": 100},
        "two-cores": {
            "iterations": 1600,
            "batch": 64,
            "turns": 1,
            "lr": 4e-4,
            "width": 64,
            "attention": True,
            "average": 0.995,
        },
    }
    tried_with = {"latent_chunk": 2, "embedding": 8}

    def sampler(self, spec: ImageSpec) -> nn.Module:
        return BigGANGenerator(spec, self)

    def latents(self, spec: ImageSpec, count: int, generator: torch.Generator) -> Tensor:
        z = torch.empty(count, self._z_size(spec))
        if self.truncation is None:
            return z.normal_(generator=generator)
        return nn.init.trunc_normal_(z, a=-self.truncation, b=self.truncation, generator=generator)

    def fit(self, train: TrainSet, run: Run) -> nn.Module:
        spec = train.spec
        generator = begin("generator", lambda: BigGANGenerator(spec, self).apply(_initialise), run)
        discriminator = begin(
            "discriminator", lambda: BigGANDiscriminator(spec, self).apply(_initialise), run
        )
        real = RealImages(train, run, spec.flips)
        G = run.machine.accelerate(generator)
        D = run.machine.accelerate(discriminator)

        def generated(source: torch.Generator) -> tuple[Tensor, Tensor]:
            z = torch.randn(self.batch, self._z_size(spec), generator=source)
            labels = real.draw_labels(self.batch, source)
            return self.augment(G(run.place(z), labels).float(), source), labels

        def discriminator_loss(source: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
            with torch.no_grad():
                fake, fake_labels = generated(source)
            images, labels = real.draw(self.batch, source)
            seen = torch.cat([self.augment(images, source), fake])
            both = D(seen, torch.cat([labels, fake_labels]))
            loss = hinge_discriminator(*both.float().chunk(2))
            return loss, {"adversarial": loss}

        def generator_loss(source: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
            loss = hinge_generator(D(*generated(source)).float())
            return loss, {"adversarial": loss}

        average = Average(generator, self.average, self.average_start)
        rates = (self.lr, (0.0, 0.999))
        players = (
            Player(generator, generator_loss, *rates),
            Player(discriminator, discriminator_loss, *rates),
        )
        game = Game(*players, self.turns, average)
        play(game, self.iterations, run, lambda step: self.show(average.network, train, run, step))
        return self._settled(average.network, real, run)

    def augment(self, images: Tensor, source: torch.Generator) -> Tensor:
        """T: the policy's operations one after the other, with parameters of each image's own."""
        for name in self.policy.split("-") if self.policy != "none" else ():
            images = OPERATIONS[name](images, torch.rand(len(images), 4, generator=source))
        return images

    @torch.no_grad()
    def _settled(self, generator: nn.Module, real: RealImages, run: Run) -> nn.Module:
        """Batch normalisation's means and variances over many batches of the averaged generator's
        own.
        """
        generator.train()
        for module in generator.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.reset_running_stats()
                module.momentum = None  # a plain mean over the batches
        for index in range(STANDING_BATCHES):
            source = run.generator("standing", index)
            z = torch.randn(self.batch, self._z_size(real.train.spec), generator=source)
            generator(run.place(z), real.draw_labels(self.batch, source))
        return generator

    def _z_size(self, spec: ImageSpec) -> int:
        return self.latent_chunk * (stages(spec)[1] + 1)

    def cost_macs(self, train: TrainSet, ipc: int) -> float:
        spec = train.spec
        images = torch.zeros(2, *spec.shape)
        z = torch.zeros(2, self._z_size(spec))
        labels = torch.zeros(2, dtype=torch.long)
        g = forward_macs(lambda: BigGANGenerator(spec, self), z, labels)
        d = forward_macs(lambda: BigGANDiscriminator(spec, self), images, labels)
        return self.iterations * self.batch * (self.turns * (g + 6 * d) + 3 * g + 2 * d)


def _initialise(module: nn.Module) -> None:
    """Orthogonal initial weights (Saxe et al. 2014)."""
    if isinstance(module, nn.Conv2d | nn.Linear | nn.Embedding):
        nn.init.orthogonal_(raw_weight(module))


@final
class BigGANGenerator(nn.Module):
    """(z, y) to values in [-1, 1]: the first chunk of z makes a small map, each further one goes to
    a doubling of it, with e(y).
    """

    def __init__(self, spec: ImageSpec, model: BigGAN) -> None:
        super().__init__()
        base, doublings = stages(spec)
        width, condition = model.width, model.latent_chunk + model.embedding
        self.small, self.chunk = (width, base, base), model.latent_chunk
        self.embedding = nn.Embedding(spec.classes, model.embedding)
        self.first = spectral_norm(nn.Linear(model.latent_chunk, width * base**2))
        self.blocks = nn.ModuleList([UpBlock(width, condition) for _ in range(doublings)])
        self.attention = Attention(width) if model.attention else nn.Identity()
        self.norm = nn.BatchNorm2d(width)
        self.last = spectral_norm(nn.Conv2d(width, spec.channels, 3, padding=1))

    def forward(self, z: Float[Tensor, "n latent"], labels: Tensor) -> Tensor:
        first, *chunks = z.split(self.chunk, 1)
        e = self.embedding(labels)
        values = self.first(first).view(-1, *self.small)
        for index, (block, chunk) in enumerate(zip(self.blocks, chunks, strict=True)):
            if index == len(self.blocks) - 1:  # the map has half the image's side
                values = self.attention(values)
            values = block(values, torch.cat([chunk, e], 1))
        return self.last(F.relu(self.norm(values))).tanh()  # type: ignore[no-any-return]


@final
class BigGANDiscriminator(nn.Module):
    """(x, y) to a logit: residual blocks, the sum over places, and the class by projection."""

    def __init__(self, spec: ImageSpec, model: BigGAN) -> None:
        super().__init__()
        first, *others = residual_trunk(spec.channels, model.width)
        self.features = nn.Sequential(
            first,
            Attention(model.width) if model.attention else nn.Identity(),
            *others,
            nn.ReLU(),
            Summed(),
        )
        self.logit = Projection(model.width, spec.classes)

    def forward(self, images: Tensor, labels: Tensor) -> Float[Tensor, " n"]:
        return self.logit(self.features(images), labels)  # type: ignore[no-any-return]
