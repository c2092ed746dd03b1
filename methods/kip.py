"""KIP: kernel inducing points (Nguyen, Chen & Lee, ICLR 2021; Nguyen, Novak, Xiao & Lee, NeurIPS
2021).

The images whose kernel ridge regression predicts the training labels best. The kernel here is the
conjugate kernel of finite ConvNets: inner products of last features at initialisation, averaged
over networks drawn anew at every step. It is the random-feature estimate of the NNGP kernel (Loo et
al., "Efficient Dataset Distillation Using Random Feature Approximation", NeurIPS 2022), which costs
first-order passes only.

The infinite-width kernels by which the papers learn their sets are out of scope. With pooling, such
a kernel follows all pairs of pixels of all pairs of images, a million values for each pair and
layer at 32×32: another program than one that trains networks, and the papers spread it over many
accelerators. A neural tangent kernel of finite networks has a row as long as the network has
weights. So these sets stand beside no published figure of KIP. DataDAM's supplement (section 1.3)
takes a 128-kernel ConvNet where KIP has 1,024: that is the network that is trained on KIP's sets,
not the kernel that learns them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, final

import torch
import torch.nn.functional as F
from annotated_types import Ge, Gt
from jaxtyping import Float, Int64
from torch import Tensor

from dcbench.distiller import Distiller, register
from dcbench.families.selection import Initialisation, first_images, start_macs
from dcbench.images import SyntheticSet, TrainSet, class_weights
from dcbench.networks.base import initialise
from dcbench.networks.catalogue import PerImageNormalisation, build_network
from dcbench.networks.costs import network_macs, widest_activation
from dcbench.run import Run, State
from dcbench.system.errors import DivergedError

MOST_IMAGES = 10_000  # their kernel, in float64, takes 800 MB


def conjugate_kernel(
    left: Float[Tensor, "networks n d"], right: Float[Tensor, "networks m d"]
) -> Float[Tensor, "n m"]:
    """K(x, x') = mean over networks of ⟨f(x), f(x')⟩ / d, f the last features, in float64."""
    networks, _, d = left.shape
    products: Tensor = torch.einsum("knd,kmd->nm", left.double(), right.double()) / (networks * d)
    return products


def ridge_prediction(
    K_ts: Float[Tensor, "targets support"],
    K_ss: Float[Tensor, "support support"],
    y_s: Float[Tensor, "support classes"],
    ridge: float,
) -> Float[Tensor, "targets classes"]:
    """K_ts (K_ss + λ I)⁻¹ y_s with λ = ridge · tr(K_ss) / n, by Cholesky; λ grows tenfold until the
    factor exists.
    """
    scale = K_ss.diagonal().mean()
    jitter = ridge * scale
    identity = torch.eye(len(K_ss), dtype=K_ss.dtype, device=K_ss.device)
    for _ in range(10):
        factor, failed = torch.linalg.cholesky_ex(K_ss + jitter * identity)
        if not failed:
            return K_ts @ torch.cholesky_solve(y_s, factor)
        jitter = 10 * torch.maximum(jitter, 1e-12 * scale)
    raise DivergedError(
        "kip: the synthetic images' kernel has no Cholesky factor; try a larger ridge"
    )


def centred(labels: Int64[Tensor, " n"], classes: int) -> Float[Tensor, "n classes"]:
    """One-hot labels less 1/classes, in float64."""
    return F.one_hot(labels, classes).double() - 1 / classes


@register("kip", title="KIP", paper="nguyen2021kip")
@final
@dataclass(frozen=True)
class KIP(Distiller):
    """Learns images whose kernel ridge regression predicts the labels of real images.

    L(X_s, y_s) = ½ mean over real images of ‖y_t - K_ts (K_ss + λ I)⁻¹ y_s‖² (ICLR 2021, section
    3), labels centred one-hot.
    """

    iterations: Annotated[int, Ge(1)] = 10000
    lr: Annotated[float, Gt(0)] = 0.04  # Adam's learning rate for images and learned labels
    learn_labels: bool = False
    ridge: Annotated[float, Ge(0)] = 1e-6  # λ as a share of the kernel's mean diagonal
    real_batch: Annotated[int, Ge(1)] = 5000  # real images per step, of all classes together
    # networks to average the kernel over, drawn anew at each step
    networks: Annotated[int, Ge(1)] = 4
    init: Initialisation = "random"
    network: str = "convnet"
    normalisation: PerImageNormalisation = "none"  # as in the papers' ConvNets

    # The networks that judge the set are normalised, and so are those of its kernel.
    presets = {
        "quick": {"iterations": 500, "real_batch": 1000, "networks": 2, "normalisation": "instance"}
    }
    tried_with = {"networks": 1}

    def refuses(self, train: TrainSet, ipc: int) -> str:
        support = ipc * train.spec.classes
        if support > MOST_IMAGES:
            return (
                f"its kernel matrix would be {support}×{support}, at most {MOST_IMAGES} images fit"
            )
        return ""

    def distill(self, train: TrainSet, ipc: int, run: Run) -> SyntheticSet:
        train.require(ipc)
        classes = train.spec.classes
        images = run.place(first_images(self.init, train, ipc, run)).requires_grad_()
        hard = torch.arange(classes).repeat_interleave(ipc)
        labels = run.place(centred(hard, classes)).requires_grad_(self.learn_labels)
        parameters = [images, labels] if self.learn_labels else [images]
        optimizer = torch.optim.Adam(parameters, lr=self.lr)
        regression = Regression(self, train, run)
        state: State = {"images": images, "labels": labels, "optimizer": optimizer}
        for step in run.steps(self.iterations, state):
            optimizer.zero_grad()
            run.log(step, loss=regression.accumulate_gradient(images, labels, step))
            optimizer.step()
        learned = class_weights(labels.detach().cpu()) if self.learn_labels else hard
        return SyntheticSet(train.spec, images.detach().cpu().contiguous(), learned, train.space)

    def cost_macs(self, train: TrainSet, ipc: int) -> float:
        per_step = self.networks * (min(self.real_batch, len(train)) + 4 * ipc * train.spec.classes)
        network = network_macs(self.network, train.spec, self.normalisation)
        choosing = sum(self.shared_macs(train, ipc).values())
        return choosing + self.iterations * per_step * network

    def shared_macs(self, train: TrainSet, ipc: int) -> Mapping[str, float]:
        return start_macs(self.init, train)


class Regression:
    """The state of one distillation: the network whose features make the kernel."""

    def __init__(self, method: KIP, train: TrainSet, run: Run) -> None:
        self.method, self.train, self.run = method, train.held_on(run.machine), run
        network = build_network(method.network, train.spec, method.normalisation)
        network.requires_grad_(False)
        run.machine.place_network(network)
        self.network = network
        self.chunk = run.machine.chunk(widest_activation(network, train.spec.shape))
        self._features = run.machine.accelerate(lambda images: network.observe(images).features)

    def accumulate_gradient(self, images: Tensor, labels: Tensor, step: int) -> float:
        """Add the loss's gradient to ``images.grad`` and that of learned labels; returns the loss.

        The features are seen twice, first without a graph and then, against the loss's gradient in
        them, a chunk at a time.
        """
        order = torch.randperm(len(self.train), generator=self.run.generator("real", step))
        target = order[: self.method.real_batch]
        with torch.no_grad():
            f_t = self._features_of(self.train.values(target), step)
            f_s = self._features_of(images, step)
        f_s.requires_grad_()
        y_t = self.run.place(centred(self.train.labels[target], self.train.spec.classes))
        prediction = ridge_prediction(
            conjugate_kernel(f_t, f_s), conjugate_kernel(f_s, f_s), labels, self.method.ridge
        )
        loss = 0.5 * (y_t - prediction).square().sum(1).mean()
        loss.backward()
        assert f_s.grad is not None  # noqa: S101 - backward has just made it
        for index, pull in enumerate(f_s.grad):
            self._draw_network(step, index)
            for part, rows in zip(images.split(self.chunk), pull.split(self.chunk), strict=True):
                self._features(self.run.place(part)).float().backward(rows)
        return float(loss.detach())

    def _features_of(self, images: Tensor, step: int) -> Float[Tensor, "networks n d"]:
        """Last features of ``images`` in each network of this step."""
        rows = []
        for index in range(self.method.networks):
            self._draw_network(step, index)
            parts = map(self.run.place, images.split(self.chunk))
            rows.append(torch.cat([self._features(part).float() for part in parts]))
        return torch.stack(rows)

    def _draw_network(self, step: int, index: int) -> None:
        initialise(self.network, self.run.generator("network", step, index))
