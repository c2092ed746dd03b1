"""The loop of two players: turns, average, alarm, and going on where it stopped; and the hinge
loss.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from dcbench.families.adversarial import (
    COLLAPSED_TURNS,
    Average,
    Game,
    Ledger,
    Loss,
    Player,
    frozen,
    hinge_discriminator,
    hinge_generator,
    play,
    take_turn,
)
from dcbench.run import Run
from dcbench.system.errors import DivergedError
from tests.reference import generative as slow


def linear(value: float) -> nn.Linear:
    layer = nn.Linear(1, 1, bias=False)
    nn.init.constant_(layer.weight, value)
    return layer


def toy(losses: tuple[Loss, Loss] | None = None, turns: int = 2) -> Game:
    """G wants its weight where D's is, D wants the opposite; both see noise from their turn's
    generator.
    """
    generator, discriminator = linear(0.3), linear(-0.5)

    def difference(source: torch.Generator) -> Tensor:
        return (
            (generator.weight - discriminator.weight + torch.rand(1, 1, generator=source))
            .square()
            .mean()
        )

    def generator_loss(source: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        loss = difference(source)
        return loss, {"adversarial": loss}

    def discriminator_loss(source: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        loss = (difference(source) - 1).square()
        memory.add_(loss.detach())
        return loss, {"adversarial": loss, "twice": 2 * loss}

    memory = torch.zeros(())
    of_generator, of_discriminator = losses or (generator_loss, discriminator_loss)
    rates = (1e-2, (0.5, 0.9))
    players = (
        Player(generator, of_generator, *rates),
        Player(discriminator, of_discriminator, *rates),
    )
    return Game(*players, turns, Average(generator, 0.9, start=2), {"memory": memory})


def content(game: Game) -> list[Tensor]:
    assert game.average is not None
    memory = game.memory["memory"]
    assert isinstance(memory, Tensor)
    return [
        *game.generator.network.parameters(),
        *game.discriminator.network.parameters(),
        *game.average.model.parameters(),
        memory,
    ]


def constant(value: float, network: nn.Module) -> Loss:
    """A loss that is always the same."""

    def loss(source: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        total = 0 * next(network.parameters()).sum() + value
        return total, {"adversarial": total}

    return loss


def silent(step: int) -> None:
    """Shows nothing."""


def test_hinge_losses_equal_their_definition() -> None:
    real, fake = [0.3, 1.7, -2.0], [-1.5, 0.4, 0.9, -0.2]
    assert float(hinge_discriminator(torch.tensor(real), torch.tensor(fake))) == pytest.approx(
        slow.hinge_discriminator(real, fake)
    )
    assert float(hinge_generator(torch.tensor(fake))) == pytest.approx(-sum(fake) / 4)


def test_the_discriminator_takes_its_turns_before_the_generator_s(run: Run) -> None:
    game, order = toy(), ""

    def noting(player: str, loss: Loss) -> Loss:
        def noted(source: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
            nonlocal order
            order += player
            total, parts = loss(source)
            return total, dict(parts)

        return noted

    game.generator.loss = noting("g", game.generator.loss)
    game.discriminator.loss = noting("d", game.discriminator.loss)
    play(replace(game, turns=3), 2, run, silent)
    assert order == "dddgdddg"


def test_a_turn_moves_its_own_player_alone(run: Run) -> None:
    game = toy()
    before = [tensor.clone() for tensor in content(game)]
    with frozen(game.discriminator.network):
        parts = take_turn(game.generator, run.generator("turn"))
        assert not any(
            parameter.requires_grad for parameter in game.discriminator.network.parameters()
        )
    moved = [not torch.equal(*pair) for pair in zip(before, content(game), strict=True)]
    assert moved == [True, False, False, False]
    assert game.discriminator.network.weight.requires_grad
    assert parts == {"adversarial": pytest.approx(float(parts["adversarial"]))}


@pytest.mark.parametrize("start", [0, 3, 20])
def test_the_average_equals_its_recursion(start: int) -> None:
    network = linear(0.0)
    average, values = Average(network, 0.8, start), [0.5, -1.0, 2.0, 4.0, -3.0, 0.25, 1.0]
    for step, value in enumerate(values):
        nn.init.constant_(network.weight, value)
        average.update(network, step)
    assert float(average.network.weight.detach()) == pytest.approx(
        slow.moving_average(values, 0.8, start)
    )


@pytest.mark.parametrize("middle", [1, 4])
def test_an_interrupted_game_ends_in_the_same_bits(middle: int, run: Run, tmp_path: Path) -> None:
    """Networks, optimizers, average, whatever else the game remembers, and the losses' history."""
    undisturbed, whole = toy(), replace(run, history=[])
    play(undisturbed, 9, whole, silent)
    stops = iter([False] * (middle - 1) + [True])
    first = replace(run, folder=tmp_path, stop=lambda: next(stops))
    with pytest.raises(KeyboardInterrupt):
        play(toy(), 9, first, silent)
    resumed, second = toy(), replace(run, folder=tmp_path, history=[])
    play(resumed, 9, second, silent)
    assert all(
        torch.equal(*pair) for pair in zip(content(undisturbed), content(resumed), strict=True)
    )
    assert second.history == whole.history
    assert set(whole.history[0]) == {
        "step",
        "discriminator_adversarial",
        "discriminator_twice",
        "generator_adversarial",
    }


def test_sheets_are_shown_ten_times_at_most_and_at_the_end(run: Run) -> None:
    shown: list[int] = []
    play(toy(), 43, run, shown.append)
    assert shown == [4, 9, 14, 19, 24, 29, 34, 39, 42]


def test_a_loss_that_is_not_a_number_stops_at_its_step(run: Run) -> None:
    game, turns = toy(), iter(range(100))
    bad, good = constant(float("nan"), game.generator.network), game.generator.loss

    def sometimes_bad(source: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        total, parts = (bad if next(turns) == 6 else good)(source)
        return total, dict(parts)

    game.generator.loss = sometimes_bad
    with pytest.raises(DivergedError, match="generator_adversarial became nan at step 7"):
        play(game, 5000, run, silent)  # so long that losses are not logged at every step


def test_a_collapsed_discriminator_stops(run: Run) -> None:
    """It tells real from generated at no cost: after 500 turns on end nothing more can be learned
    from it.
    """
    game = toy()
    game.discriminator.loss = constant(0.0, game.discriminator.network)
    with pytest.raises(
        DivergedError,
        match=r"discriminator collapsed: its loss was under 0\.001 for 500 turns up to step 250",
    ):
        play(game, 5000, run, silent)


def test_a_discriminator_that_recovers_has_not_collapsed() -> None:
    ledger = Ledger()
    for _ in range(3):
        for _ in range(COLLAPSED_TURNS - 1):
            ledger.add("discriminator", {"adversarial": 0.0})
        ledger.add("discriminator", {"adversarial": 0.5})
        ledger.check(0)
    assert ledger.means() == {"discriminator_adversarial": pytest.approx(0.5 / COLLAPSED_TURNS)}


def test_a_discriminator_on_its_way_to_collapse_is_still_on_it_after_an_interruption() -> None:
    ledger, later = Ledger(), Ledger()
    for _ in range(COLLAPSED_TURNS - 1):
        ledger.add("discriminator", {"adversarial": 0.0})
    later.load_state_dict(ledger.state_dict())
    later.add("discriminator", {"adversarial": 0.0})
    with pytest.raises(DivergedError, match="collapsed"):
        later.check(0)
