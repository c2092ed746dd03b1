"""Training of a generator against a discriminator, shared by the adversarial baselines: the loop,
losses, a moving average of weights, and a check for collapse.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Generic, final

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from dcbench.families.generative import GRIDS, LOGS, Network, due
from dcbench.run import Run, State, Stateful
from dcbench.system.errors import DivergedError

# from the randomness of a turn to the loss and its parts
Loss = Callable[[torch.Generator], tuple[Tensor, Mapping[str, Tensor]]]

COLLAPSED_LOSS, COLLAPSED_TURNS = 1e-3, 500


@final
class Player:
    """One of the two networks, with its optimizer (Adam) and its loss.

    The parts of the loss are logged by name; one of them is called ``adversarial``.
    """

    def __init__(
        self, network: nn.Module, loss: Loss, lr: float, betas: tuple[float, float]
    ) -> None:
        self.network, self.loss = network, loss
        self.optimizer = torch.optim.Adam(network.parameters(), lr=lr, betas=betas, fused=True)


@dataclass(frozen=True)
class Game:
    """A generator and a discriminator that train in turns: ``turns`` turns of the discriminator,
    then one of the generator; and the other state that changes in training.
    """

    generator: Player
    discriminator: Player
    turns: int = 1
    average: Average[Any] | None = None
    memory: State = field(default_factory=dict)

    def state(self) -> State:
        """Everything that a checkpoint must hold."""
        players: dict[str, Tensor | Stateful] = {
            "generator": self.generator.network,
            "generator_optimizer": self.generator.optimizer,
            "discriminator": self.discriminator.network,
            "discriminator_optimizer": self.discriminator.optimizer,
        }
        if self.average is not None:
            players["average"] = self.average.model
        return {**players, **self.memory}


def play(game: Game, iterations: int, run: Run, show: Callable[[int], None]) -> None:
    """Train for ``iterations`` rounds, resuming an interrupted run; ``show`` is called from time to
    time.

    Raises:
        DivergedError: If a loss is not finite, or if the discriminator has collapsed: its
            adversarial loss stays under 0.001 for 500 turns, so that the generator learns nothing.
    """
    ledger = Ledger()
    for step in run.steps(iterations, {**game.state(), "ledger": ledger}, "adversarial"):
        for turn in range(game.turns):
            source = run.generator("discriminator", step, turn)
            ledger.add("discriminator", take_turn(game.discriminator, source))
        with frozen(game.discriminator.network):
            ledger.add("generator", take_turn(game.generator, run.generator("generator", step)))
        if game.average is not None:
            game.average.update(game.generator.network, step)
        if due(step, iterations, LOGS) or ledger.broken:
            run.log(step, **ledger.means())
        ledger.check(step)
        if due(step, iterations, GRIDS):
            show(step)


def take_turn(player: Player, generator: torch.Generator) -> dict[str, float]:
    """One step of the player's optimizer; returns the parts of its loss."""
    player.optimizer.zero_grad()
    loss, parts = player.loss(generator)
    loss.backward()
    player.optimizer.step()
    return {name: float(value.detach()) for name, value in parts.items()}


@contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """Switch off gradients of the weights of ``network`` inside, where they are not needed."""
    network.requires_grad_(False)
    try:
        yield
    finally:
        network.requires_grad_(True)


@final
class Ledger:
    """Mean losses since they were last read, and how many turns the discriminator has learned
    nothing.
    """

    def __init__(self) -> None:
        self.sums: dict[str, float] = {}
        self.counts: dict[str, int] = {}
        self.idle = 0

    def add(self, player: str, parts: Mapping[str, float]) -> None:
        """Count a turn of one player."""
        for part, value in parts.items():
            name = f"{player}_{part}"
            self.sums[name] = self.sums.get(name, 0.0) + value
            self.counts[name] = self.counts.get(name, 0) + 1
        if player == "discriminator":
            self.idle = self.idle + 1 if parts["adversarial"] < COLLAPSED_LOSS else 0

    @property
    def broken(self) -> bool:
        """Return whether a loss is not finite."""
        return not all(map(math.isfinite, self.sums.values()))

    def means(self) -> dict[str, float]:
        """Return the means so far and start again."""
        means = {name: total / self.counts[name] for name, total in self.sums.items()}
        self.sums, self.counts = {}, {}
        return means

    def check(self, step: int) -> None:
        """Raise DivergedError if the discriminator has collapsed."""
        if self.idle >= COLLAPSED_TURNS:
            raise DivergedError(
                f"the discriminator collapsed: its loss was under {COLLAPSED_LOSS} for {self.idle} "
                f"turns up to step {step + 1}, so the generator has nothing to learn from"
            )

    def state_dict(self) -> dict[str, Any]:
        return {"sums": dict(self.sums), "counts": dict(self.counts), "idle": self.idle}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.sums = dict(state_dict["sums"])
        self.counts = dict(state_dict["counts"])
        self.idle = state_dict["idle"]


@final
class Average(Generic[Network]):
    """A moving average of a network's weights.

    For the first ``start`` steps it equals the network, because early weights are of little use.
    """

    def __init__(self, network: Network, decay: float, start: int = 0) -> None:
        self.model = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(decay))
        # a copy of ``network``
        self.network: Network = self.model.module  # type: ignore[assignment]
        self.start = start

    def update(self, network: Network, step: int) -> None:
        """θ̄ ← decay·θ̄ + (1 - decay)·θ; buffers are copied."""
        if step < self.start:
            self.model.n_averaged.zero_()
        self.model.update_parameters(network)


def hinge_discriminator(real: Float[Tensor, " n"], fake: Float[Tensor, " m"]) -> Float[Tensor, ""]:
    """E max(0, 1 - D(x)) + E max(0, 1 + D(G(z))) (Lim & Ye 2017; Miyato et al. 2018)."""
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


def hinge_generator(fake: Float[Tensor, " m"]) -> Float[Tensor, ""]:
    """-E D(G(z))."""
    return -fake.mean()
