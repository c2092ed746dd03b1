"""DC-VAE: an autoencoder with two contradistinctive losses (Parmar et al., CVPR 2021).

One tells instances apart: a reconstruction must be nearer to its own input than to other images, in
the discriminator's features. One tells sets apart: reconstructions and samples must pass for real
images. The networks follow the published code for 32×32: AutoGAN's decoder with skips across
scales, and for encoder and discriminator the trunk of SNGAN. In that code the decoder's last block
has no 1×1 convolution, its second upsamples bilinearly, and the logit sees what instances are
compared in, not the trunk's features; instances are compared once in five turns, with a slow copy
of the discriminator and in steps of their own, not in every turn of either player. λ = 1e-6 weighs
the KL *summed* over 64 images, in two steps that are one here: 128 times as much of a mean over
images. The paper's model is unconditional. Here the decoder is told the class beside z and the
discriminator by projection: samples must pass for their class's images.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, final

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
from dcbench.families.generative import (
    PER_CLASS,
    Generative,
    RealImages,
    begin,
    forward_macs,
    keep_sheet,
    stages,
)
from dcbench.images import ImageSpec, TrainSet
from dcbench.networks.residual import Projection, SkippingBlocks, Summed, raw_weight, residual_trunk
from dcbench.run import Run

# features of unit length, one tensor per compared layer
Features = tuple[Float[Tensor, "n k"], ...]


def instance_loss(
    anchor: Tensor, positive: Tensor, negatives: Float[Tensor, "m k"], temperature: float
) -> Float[Tensor, ""]:
    """-log e^h(x, x̂) / (e^h(x, x̂) + Σ_j e^h(x_j, x̂)), a mean over reconstructions x̂.

    h is the cosine of features over the temperature τ.
    """
    cosines = torch.cat([(anchor * positive).sum(1, keepdim=True), anchor @ negatives.T], 1)
    logits = cosines / temperature
    return F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long, device=logits.device))


def divergence(mean: Float[Tensor, "n d"], log_variance: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
    """KL(q(z|x) ‖ N(0, I)) = ½ Σ (σ² - log σ² - 1 + μ²), a mean over images."""
    return 0.5 * (log_variance.exp() - log_variance - 1 + mean.square()).sum(1).mean()


@register("dcvae", title="DC-VAE", paper="parmar2021dcvae")
@final
@dataclass(frozen=True)
class DCVAE(Generative):
    """Draws from the decoder of an autoencoder that is trained against a discriminator.

    min over encoder and decoder, max over D of L_GAN, with L_instance minimised by all three, + λ
    KL. L_GAN is the hinge loss, as in AutoGAN, on reconstructions and on samples of z ~ N(0, I).
    """

    iterations: Annotated[int, Ge(1)] = 125_000  # 800 epochs of CIFAR-10
    batch: Annotated[int, Ge(2)] = 64  # the discriminator's batch; the other player's is twice that
    turns: Annotated[int, Ge(1)] = 5  # turns of the discriminator per turn of encoder and decoder
    lr: Annotated[float, Gt(0)] = 2e-4
    latent: Annotated[int, Ge(1)] = 128
    # channels of the decoder; encoder and discriminator have half as many
    width: Annotated[int, Ge(2)] = 256
    # dimensions of the features in which instances are compared
    features: Annotated[int, Ge(1)] = 16
    # other images that an instance is told from: those of the latest batches
    negatives: Annotated[int, Ge(1)] = 8192
    temperature: Annotated[float, Gt(0)] = 0.07  # τ
    instance: Annotated[float, Ge(0)] = 1.0  # weight of L_instance
    kl: Annotated[float, Ge(0)] = 1.28e-4  # λ
    # decay of the decoder's moving average, which samples are drawn from
    average: Annotated[float, Ge(0), Lt(1)] = 0.999

    presets = {
        "quick": {
            "iterations": 900,
            "batch": 32,
            "turns": 1,
            "lr": 5e-4,
            "latent": 16,
            "width": 32,
            "average": 0.99,
        }
        | {"negatives": 512, "instance": 0.1, "kl": 0.01},
        "two-cores": {
            "iterations": 2400,
            "batch": 32,
            "turns": 2,
            "lr": 5e-4,
            "width": 64,
            "kl": 1e-3,
            "average": 0.99,
        },
    }
    tried_with = {"negatives": 16}

    def sampler(self, spec: ImageSpec) -> nn.Module:
        return Decoder(spec, self)

    def latents(self, spec: ImageSpec, count: int, generator: torch.Generator) -> Tensor:
        return torch.randn(count, self.latent, generator=generator)

    def fit(self, train: TrainSet, run: Run) -> nn.Module:
        return Contest(self, train, run).fit()

    def cost_macs(self, train: TrainSet, ipc: int) -> float:
        spec = train.spec
        images = torch.zeros(2, *train.spec.shape)
        labels = torch.zeros(2, dtype=torch.long)
        e = forward_macs(lambda: DCVAEAutoencoder(spec, self).encoder, images)
        g = forward_macs(lambda: Decoder(spec, self), torch.zeros(2, self.latent), labels)
        d = forward_macs(lambda: DCVAEDiscriminator(spec, self), images, labels)
        per_image = self.turns * (e + 2 * g + 9 * d) + 2 * (3 * e + 6 * g + 5 * d)
        return self.iterations * self.batch * per_image


@final
class Contest:
    """One training: the networks, their losses, and the memory of features that instances are told
    from.
    """

    def __init__(self, model: DCVAE, train: TrainSet, run: Run) -> None:
        self.model, self.train, self.run, self.real = model, train, run, RealImages(train, run)
        self.autoencoder = begin(
            "autoencoder", lambda: DCVAEAutoencoder(train.spec, model).apply(_initialise), run
        )
        self.discriminator = begin(
            "discriminator", lambda: DCVAEDiscriminator(train.spec, model).apply(_initialise), run
        )
        networks = (self.autoencoder.encoder, self.autoencoder.decoder, self.discriminator)
        self.encode, self.decode, self.judge = map(run.machine.accelerate, networks)
        size = (2, model.negatives, model.features)
        source = run.generator("memory")
        self.memory = run.place(F.normalize(torch.randn(size, generator=source), dim=2))
        # the place in the memory that is taken next
        self.oldest = torch.zeros((), dtype=torch.long)

    def fit(self) -> nn.Module:
        """Play; returns the averaged decoder."""
        average, rates = Average(self.autoencoder, self.model.average), (self.model.lr, (0.0, 0.9))
        players = (
            Player(self.autoencoder, self.autoencoder_loss, *rates),
            Player(self.discriminator, self.discriminator_loss, *rates),
        )
        memory = {"memory": self.memory, "oldest": self.oldest}
        game = Game(*players, self.model.turns, average, memory)
        play(game, self.model.iterations, self.run, lambda step: self._show(average.network, step))
        return average.network.decoder

    def discriminator_loss(self, source: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """D tells real images from reconstructions and samples, and learns features that tell
        instances apart.
        """
        images, labels = self.real.draw(self.model.batch, source)
        with torch.no_grad():
            reconstructions, _, _ = self._reconstruct(images, labels, source)
            samples, sample_labels = self._sample(len(images), source)
        seen = torch.cat([images, reconstructions, samples])
        logits, features = self.judge(seen, torch.cat([labels, labels, sample_labels]))
        of_images, of_reconstructions, _ = zip(*(layer.chunk(3) for layer in features), strict=True)
        adversarial = hinge_discriminator(logits[: len(images)], logits[len(images) :])
        instance = self._instance(of_reconstructions, of_images)
        self._remember(of_images)
        parts = {"adversarial": adversarial, "instance": instance}
        return adversarial + self.model.instance * instance, parts

    def autoencoder_loss(self, source: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Reconstructions and samples pass for real, reconstructions are told for what they
        reconstruct, and z stays near its prior.
        """
        images, labels = self.real.draw(2 * self.model.batch, source)
        reconstructions, mean, log_variance = self._reconstruct(images, labels, source)
        samples, sample_labels = self._sample(len(images), source)
        logits, features = self.judge(
            torch.cat([reconstructions, samples]), torch.cat([labels, sample_labels])
        )
        with torch.no_grad():
            _, of_images = self.judge(images, labels)
        adversarial, kl = hinge_generator(logits), divergence(mean, log_variance)
        instance = self._instance(tuple(layer[: len(images)] for layer in features), of_images)
        parts = {
            "adversarial": adversarial,
            "instance": instance,
            "kl": kl,
            "squared_error": F.mse_loss(reconstructions, images),
        }
        return adversarial + self.model.instance * instance + self.model.kl * kl, parts

    def _reconstruct(
        self, images: Tensor, labels: Tensor, source: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        mean, log_variance = self.encode(images).float().chunk(2, 1)
        noise = self.run.place(torch.randn(mean.shape, generator=source))
        z = mean + (0.5 * log_variance).exp() * noise
        return self.decode(z, labels).float(), mean, log_variance

    def _sample(self, count: int, source: torch.Generator) -> tuple[Tensor, Tensor]:
        labels = self.real.draw_labels(count, source)
        z = self.run.place(self.model.latents(self.train.spec, count, source))
        return self.decode(z, labels).float(), labels

    def _instance(self, anchors: Features, positives: Features) -> Tensor:
        layers = zip(anchors, positives, self.memory.clone(), strict=True)
        losses = [instance_loss(*layer, self.model.temperature) for layer in layers]
        return torch.stack(losses).mean()

    def _remember(self, features: Features) -> None:
        latest = torch.stack(features)[:, -self.model.negatives :].detach()
        places = (int(self.oldest) + torch.arange(latest.shape[1])) % self.model.negatives
        self.memory[:, places] = latest
        self.oldest.copy_((self.oldest + len(places)) % self.model.negatives)

    @torch.no_grad()
    def _show(self, networks: DCVAEAutoencoder, step: int) -> None:
        """A sheet of samples, and one of training images, five of a class, each before its
        reconstruction.
        """
        networks.eval()
        self.model.show(networks.decoder, self.train, self.run, step)
        chosen = torch.cat([members[: PER_CLASS // 2] for members in self.train.by_class])
        images, labels = self.real.at(chosen), self.run.place(self.train.labels[chosen])
        reconstructions = networks.decoder(networks.encoder(images).chunk(2, 1)[0], labels)
        pairs = torch.stack([images, reconstructions], 1).flatten(0, 1)
        name = f"reconstructions-{step + 1:07d}"
        keep_sheet(self.run, name, self.train.spec, pairs, labels.repeat_interleave(2))


def _initialise(module: nn.Module) -> None:
    """Xavier's uniform weights for convolutions (AutoGAN)."""
    if isinstance(module, nn.Conv2d):
        nn.init.xavier_uniform_(raw_weight(module))


@final
class Decoder(nn.Module):
    """(z, y) to values in [-1, 1]."""

    def __init__(self, spec: ImageSpec, model: DCVAE) -> None:
        super().__init__()
        base, doublings = stages(spec)
        self.classes, self.small = spec.classes, (model.width, base, base)
        self.first = nn.Linear(model.latent + spec.classes, model.width * base**2)
        last = (
            nn.BatchNorm2d(model.width),
            nn.ReLU(),
            nn.Conv2d(model.width, spec.channels, 3, padding=1),
            nn.Tanh(),
        )
        self.blocks = nn.Sequential(SkippingBlocks(model.width, doublings), *last)

    def forward(self, z: Float[Tensor, "n latent"], labels: Tensor) -> Tensor:
        told = torch.cat([z, F.one_hot(labels, self.classes).to(z)], 1)
        return self.blocks(self.first(told).view(-1, *self.small))  # type: ignore[no-any-return]


@final
class DCVAEAutoencoder(nn.Module):
    """The two that play against the discriminator together."""

    def __init__(self, spec: ImageSpec, model: DCVAE) -> None:
        super().__init__()
        trunk = residual_trunk(spec.channels, model.width // 2)
        parameters = nn.Linear(model.width // 2, 2 * model.latent, bias=False)
        # x to mean and log variance, side by side
        self.encoder = nn.Sequential(*trunk, nn.ReLU(), Summed(), spectral_norm(parameters))
        self.decoder = Decoder(spec, model)


@final
class DCVAEDiscriminator(nn.Module):
    """(x, y) to a logit, and the features of the first block and of the last layer in which
    instances are compared.
    """

    def __init__(self, spec: ImageSpec, model: DCVAE) -> None:
        super().__init__()
        width = model.width // 2
        self.first, *others = residual_trunk(spec.channels, width)
        self.others = nn.Sequential(*others, nn.ReLU(), Summed())
        self.logit = Projection(width, spec.classes)
        self.early = nn.Sequential(
            nn.Conv2d(width, 1, 1),
            nn.Flatten(),
            nn.Linear((spec.size // 2) ** 2, model.features, bias=False),
        )
        self.late = spectral_norm(nn.Linear(width, model.features, bias=False))

    def forward(self, images: Tensor, labels: Tensor) -> tuple[Float[Tensor, " n"], Features]:
        first = self.first(images)
        summed = self.others(first)
        compared = (self.early(first), self.late(summed))
        features = tuple(F.normalize(part.float(), dim=1) for part in compared)
        return self.logit(summed, labels).float(), features
