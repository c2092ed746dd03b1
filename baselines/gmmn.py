"""GMMN: a generator trained to match all moments, by maximum mean discrepancy (Li, Swersky & Zemel,
ICML 2015).

The paper's model is unconditional. Here the generator is told the class beside its noise, and the
discrepancy is taken class by class and averaged: p(x|y) is matched instead of p(x). The paper's
optimizer is SGD at rates found by search and not printed; here Adam.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, final

import torch
import torch.nn.functional as F
from annotated_types import Ge, Gt
from jaxtyping import Float
from torch import Tensor, nn

from dcbench.distiller import register
from dcbench.families.generative import (
    GRIDS,
    LOGS,
    Generative,
    RealImages,
    begin,
    due,
    forward_macs,
    kept_units,
)
from dcbench.images import ImageSpec, SyntheticSet, TrainSet
from dcbench.networks.base import weights_of
from dcbench.run import Run, State
from dcbench.system.errors import OutOfRangeError
from dcbench.system.wording import counted

Points = Float[Tensor, "classes n d"]
ENCODER_DROPOUT = (0.2, 0.5)  # dropout of the encoder's input and hidden layer


def mixture_kernel(
    x: Points, y: Float[Tensor, "classes m d"], bandwidths: Sequence[float]
) -> Float[Tensor, "classes n m"]:
    """k(x, y) = Σ_q exp(-‖x - y‖² / 2σ_q²) (Section 5)."""
    squares = x.square().sum(2)[:, :, None] + y.square().sum(2)[:, None, :]
    distances = squares - 2 * x @ y.transpose(1, 2)
    parts = [(-distances.clamp(min=0) / (2 * sigma**2)).exp() for sigma in bandwidths]
    return torch.stack(parts).sum(0)


def squared_mmd(
    x: Points, y: Float[Tensor, "classes m d"], bandwidths: Sequence[float]
) -> Float[Tensor, " classes"]:
    """L_MMD² = mean k(x, x') - 2 mean k(x, y) + mean k(y, y') over all pairs (Eq. 3), class by
    class.
    """
    pairs = ((x, x), (x, y), (y, y))
    xx, xy, yy = (mixture_kernel(*pair, bandwidths).mean((1, 2)) for pair in pairs)
    return xx - 2 * xy + yy


@register("gmmn", title="GMMN", paper="li2015gmmn")
@final
@dataclass(frozen=True)
class GMMN(Generative):
    """Draws from a generator trained to match all moments of each class's images.

    min over the generator of √L_MMD² between its images and real ones, or (``autoencoder``) between
    its codes and those of real ones. The square root keeps the gradient alive as the discrepancy
    vanishes (Section 5).
    """

    iterations: Annotated[int, Ge(1)] = 40_000
    # real images per class (at most the smallest class) and as many generated: 1,000, as published
    batch: Annotated[int, Ge(1)] = 100
    lr: Annotated[float, Gt(0)] = 1e-3
    latent: Annotated[int, Ge(1)] = 10  # dimensions of the noise, uniform in [-1, 1]
    # units of the last hidden layer; the layers before have a 16th, a quarter and a quarter of it
    width: Annotated[int, Ge(16)] = 1024
    # σ of the kernels that are summed, for MNIST: others' grow with the root of the image's size
    bandwidths: str = "2,5,10,20,40,80"
    autoencoder: bool = False  # GMMN+AE: match codes, and decode what was generated
    code_bandwidths: str = "1"  # σ of the kernels for codes, of any size
    code: Annotated[int, Ge(1)] = 32  # units of the autoencoder's code
    code_width: Annotated[int, Ge(1)] = 1024  # units of the autoencoder's hidden layers
    # steps of the autoencoder's training, in batches of 100 at the same rate
    code_iterations: Annotated[int, Ge(1)] = 20_000

    presets = {
        "quick": {"iterations": 3000, "batch": 50, "lr": 3e-3, "width": 512},
        "two-cores": {"iterations": 4000},
    }
    tried_with = {"code_width": 16, "code_iterations": 2}

    def sampler(self, spec: ImageSpec) -> nn.Module:
        return Sampler(spec, self)

    def latents(self, spec: ImageSpec, count: int, generator: torch.Generator) -> Tensor:
        return torch.rand(count, self.latent, generator=generator) * 2 - 1

    def distill(self, train: TrainSet, ipc: int, run: Run) -> SyntheticSet:
        smallest = min(len(members) for members in train.by_class)
        if smallest < self.batch:
            run.warn(
                f"trained on {counted(smallest, 'real image')} of each class a step, as many as "
                f"the smallest has, not {self.batch}"
            )
        return super().distill(train, ipc, run)

    def fit(self, train: TrainSet, run: Run) -> nn.Module:
        sampler = begin("sampler", lambda: Sampler(train.spec, self), run)
        targets = self._targets(sampler, train, run)
        sigmas = self.sigmas(train.spec)
        count = min(self.batch, *(len(members) for members in train.by_class))
        labels = run.place(torch.arange(train.spec.classes).repeat_interleave(count))
        optimizer = torch.optim.Adam(sampler.generator.parameters(), lr=self.lr, fused=True)
        generate = run.machine.accelerate(sampler.generator)
        state: State = {"generator": sampler.generator, "optimizer": optimizer}
        for step in run.steps(self.iterations, state, "moments"):
            source = run.generator("step", step)
            classes = range(train.spec.classes)
            real = torch.stack([targets[train.draw(label, count, source)] for label in classes])
            noise = run.place(self.latents(train.spec, len(labels), source))
            generated = generate(noise, labels).float()
            mmd = squared_mmd(run.place(real), generated.view_as(real), sigmas)
            loss = mmd.clamp(min=1e-12).sqrt().mean()
            late = step >= self.iterations / 4  # as in the published code
            optimizer.param_groups[0]["lr"] = self.lr / 10 if late else self.lr
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if due(step, self.iterations, LOGS):
                run.log(step, mmd=float(loss.detach()))
            if due(step, self.iterations, GRIDS):
                self.show(sampler, train, run, step)
        return sampler

    @torch.no_grad()
    def _targets(self, sampler: Sampler, train: TrainSet, run: Run) -> Float[Tensor, "n d"]:
        """Return what is matched: the training images' pixels, or their codes; in that case the
        sampler gets its decoder.
        """
        real = RealImages(train, run)
        parts = (_pixels(real, indices) for indices in torch.arange(len(train)).split(1000))
        if sampler.autoencoder is None:
            return torch.cat(list(parts))
        spec = {
            "version": self.version,
            **{key: getattr(self, key) for key in ("code", "code_width", "code_iterations", "lr")},
        }
        sampler.autoencoder.load_state_dict(
            run.once("gmmn-autoencoder", spec, lambda part: self._train_autoencoder(train, part))
        )
        run.machine.place_network(sampler)
        return torch.cat([sampler.autoencoder.encode(part) for part in parts])

    @torch.enable_grad()
    def _train_autoencoder(self, train: TrainSet, run: Run) -> dict[str, Tensor]:
        """Cross-entropy between pixels and their reconstructions, with dropout in the encoder
        (Section 4); all layers at once.
        """
        network = begin("autoencoder", lambda: GMMNAutoencoder(train.spec, self), run)
        real = RealImages(train, run)
        optimizer = torch.optim.Adam(network.parameters(), lr=self.lr, fused=True)
        state: State = {"network": network, "optimizer": optimizer}
        for step in run.steps(self.code_iterations, state, "autoencoder"):
            source = run.generator("step", step)
            pixels = _pixels(real, torch.randint(len(train), (100,), generator=source))
            masks = [
                run.place(kept_units(100, units, rate, source))
                for units, rate in zip(network.encoder_sizes, ENCODER_DROPOUT, strict=True)
            ]
            decoded = network.decode(network.encode(pixels, masks))
            loss = F.binary_cross_entropy(decoded, pixels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if due(step, self.code_iterations, LOGS):
                run.log(step, cross_entropy=float(loss.detach()))
        return weights_of(network)

    def outputs(self, spec: ImageSpec) -> int:
        """How many values the generator makes: a code's or an image's."""
        return self.code if self.autoencoder else spec.channels * spec.size**2

    def sigmas(self, spec: ImageSpec) -> list[float]:
        """The kernels' bandwidths for these images, or their codes; raises OutOfRangeError."""
        if self.autoencoder:
            return _numbers(self.code_bandwidths)
        return [sigma * (self.outputs(spec) / 28**2) ** 0.5 for sigma in _numbers(self.bandwidths)]

    def cost_macs(self, train: TrainSet, ipc: int) -> float:
        classes, outputs = train.spec.classes, self.outputs(train.spec)
        noise, labels = torch.zeros(2, self.latent), torch.zeros(2, dtype=torch.long)
        sizes = ((self.latent, classes), outputs, self.width)
        generator = forward_macs(lambda: GMMNGenerator(*sizes), noise, labels)
        count = min(self.batch, *(len(members) for members in train.by_class))
        kernels = 5 * count * count * outputs  # three forward, two of them backward
        return self.iterations * classes * (3 * count * generator + kernels)


def _numbers(text: str) -> list[float]:
    """The positive numbers that ``text`` lists; raises OutOfRangeError."""
    try:
        numbers = [float(word) for word in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) <= 0:
        raise OutOfRangeError(
            f"gmmn: bandwidths must be positive numbers with commas between them, got {text!r}"
        )
    return numbers


def _pixels(real: RealImages, indices: Tensor) -> Float[Tensor, "k d"]:
    return ((real.at(indices) + 1) / 2).flatten(1)


@final
class GMMNGenerator(nn.Module):
    """(noise, y) to pixels or codes in [0, 1]: four layers of rectifiers and one of sigmoids
    (Figure 1).
    """

    def __init__(self, inputs: tuple[int, int], outputs: int, width: int) -> None:
        super().__init__()
        self.classes = inputs[1]
        sizes = [sum(inputs), width // 16, width // 4, width // 4, width]
        hidden = [layer for pair in pairwise(sizes) for layer in (nn.Linear(*pair), nn.ReLU())]
        self.layers = nn.Sequential(*hidden, nn.Linear(width, outputs), nn.Sigmoid())

    def forward(
        self, noise: Float[Tensor, "n latent"], labels: Tensor
    ) -> Float[Tensor, "n outputs"]:
        made: Tensor = self.layers(torch.cat([noise, F.one_hot(labels, self.classes).to(noise)], 1))
        return made


@final
class GMMNAutoencoder(nn.Module):
    """Pixels to a code in [0, 1] and back, all sigmoids."""

    def __init__(self, spec: ImageSpec, model: GMMN) -> None:
        super().__init__()
        pixels = spec.channels * spec.size**2
        self.encoder_sizes = (pixels, model.code_width)
        sizes = (pixels, model.code_width, model.code)
        self.encoder = nn.ModuleList([nn.Linear(*pair) for pair in pairwise(sizes)])
        self.decoder = nn.ModuleList([nn.Linear(*pair) for pair in pairwise(sizes[::-1])])

    def encode(self, pixels: Tensor, masks: Sequence[Tensor] | None = None) -> Tensor:
        """The code; ``masks`` drop inputs of each layer."""
        values = pixels
        for index, layer in enumerate(self.encoder):
            values = layer(values if masks is None else values * masks[index]).sigmoid()
        return values

    def decode(self, code: Tensor) -> Tensor:
        """Pixels of a code."""
        for layer in self.decoder:
            code = layer(code).sigmoid()
        return code


@final
class Sampler(nn.Module):
    """(noise, y) to values in [-1, 1], through the decoder where there is one."""

    def __init__(self, spec: ImageSpec, model: GMMN) -> None:
        super().__init__()
        self.shape = spec.shape
        self.autoencoder = GMMNAutoencoder(spec, model) if model.autoencoder else None
        self.generator = GMMNGenerator(
            (model.latent, spec.classes), model.outputs(spec), model.width
        )

    def forward(self, noise: Tensor, labels: Tensor) -> Tensor:
        made: Tensor = self.generator(noise, labels)
        pixels = made if self.autoencoder is None else self.autoencoder.decode(made)
        return pixels.view(-1, *self.shape) * 2 - 1
