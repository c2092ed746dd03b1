"""Networks trained side by side are those trained one after the other. What only a GPU would take
is tried on the CPU.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from dcbench.evaluation.evaluate import evaluate, passes
from dcbench.evaluation.protocol import PROTOCOLS, Protocol
from dcbench.execution.task import Shared
from dcbench.execution.workers import execute_tasks
from dcbench.experiments.context import Workspace
from dcbench.experiments.presets import build
from dcbench.experiments.tasks import TrainNetworks
from dcbench.images import SyntheticSet, TestSet, TrainSet
from dcbench.networks.base import Network, initialise
from dcbench.networks.catalogue import build_network
from dcbench.networks.convnet import ConvNet, Normalisation
from dcbench.run import Run
from dcbench.system.machine import MOST_ABREAST, Machine
from dcbench.training.augment import DSAAugmentation
from dcbench.training.ensemble import Ensemble
from dcbench.training.trainer import Schedule, Trainer

COUNT = 2
# of four batches, the last one ragged
TWENTY_STEPS = Schedule(epochs=5, batch=32, lr=0.02, decay=0.1, decay_after=2, fresh_momentum=True)


def distance(ours: nn.Module, theirs: nn.Module) -> float:
    """Of all parameters and buffers, as vectors."""
    pairs = zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True)
    return math.sqrt(sum(float((a - b).double().square().sum()) for a, b in pairs))


def runs_of(run: Run) -> list[Run]:
    return [run.part(f"network {index}") for index in range(COUNT)]


@pytest.mark.parametrize("augment", [None, DSAAugmentation(flips=False)], ids=["plain", "dsa"])
@pytest.mark.parametrize("normalisation", ["instance", "batch", "none"])
def test_twenty_steps_equal_those_of_one_network_after_the_other(
    normalisation: Normalisation, augment: DSAAugmentation | None, tiny: TrainSet, run: Run
) -> None:
    network = ConvNet(tiny.spec.shape, 10, width=16, normalisation=normalisation)
    ensemble = Ensemble(network, run.machine, COUNT)

    def fresh(part: Run) -> Network:
        made = ConvNet(tiny.spec.shape, 10, width=16, normalisation=normalisation)
        initialise(made, part.generator("network"))
        return made

    losses = ensemble.train(tiny.values, tiny.labels, TWENTY_STEPS, runs_of(run), augment)
    assert len(set(losses)) == COUNT
    trainer = Trainer(
        ConvNet(tiny.spec.shape, 10, width=16, normalisation=normalisation), run.machine
    )
    for row, part in enumerate(runs_of(run)):
        initialise(trainer.network, part.generator("network"))
        assert losses[row] == pytest.approx(
            trainer.train(tiny.values, tiny.labels, TWENTY_STEPS, part, augment), abs=1e-4
        )
        assert distance(ensemble.show(row), trainer.network) < 1e-3 * distance(
            fresh(part), trainer.network
        )


def test_soft_labels_are_learned_side_by_side(tiny: TrainSet, run: Run) -> None:
    network = build_network("convnet", tiny.spec)
    soft = torch.eye(10)[tiny.labels] * 0.9 + 0.01
    losses = Ensemble(network, run.machine, COUNT).train(
        tiny.values, soft, replace(TWENTY_STEPS, epochs=1), runs_of(run)
    )
    trainer, part = Trainer(network, run.machine), runs_of(run)[1]
    initialise(network, part.generator("network"))
    assert losses[1] == pytest.approx(
        trainer.train(tiny.values, soft, replace(TWENTY_STEPS, epochs=1), part), abs=1e-4
    )


@pytest.fixture
def synthetic(tiny: TrainSet, run: Run) -> SyntheticSet:
    return build("random", "paper").distill(tiny, 2, run)


def test_an_evaluation_side_by_side_gives_the_networks_asked_for(
    synthetic: SyntheticSet, tiny_test: TestSet, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    protocol = Protocol("brief", 1, Schedule(epochs=4, lr=0.05), networks=5)
    wanted = [0, 1, 4, 5, 8]
    before = list(evaluate(synthetic, tiny_test, protocol, wanted, run))
    monkeypatch.setattr(Machine, "networks_abreast", lambda *_: 4)
    together = list(evaluate(synthetic, tiny_test, protocol, wanted, run))
    assert [result.network for result in together] == wanted
    for ours, theirs in zip(together, before, strict=True):
        assert ours.loss == pytest.approx(theirs.loss, abs=1e-4)
        # one of fifty test images
        assert ours.accuracy == pytest.approx(theirs.accuracy, abs=0.021)
    (alone,) = evaluate(synthetic, tiny_test, protocol, [5], run)
    assert (alone.loss, alone.accuracy) == (together[3].loss, together[3].accuracy)


def test_networks_trained_together_are_kept_together_and_share_the_time(
    synthetic: SyntheticSet, tiny_test: TestSet, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    protocol = Protocol("brief", 1, Schedule(epochs=3, lr=0.05), networks=5)
    monkeypatch.setattr(Machine, "networks_abreast", lambda *_: 4)
    clock = iter(range(0, 10**6, 100))  # every look at it is 100 seconds later
    monkeypatch.setattr("dcbench.evaluation.evaluate.time.monotonic", lambda: float(next(clock)))
    groups = list(passes(synthetic, tiny_test, protocol, [0, 1, 4], run))
    assert [[result.network for result in group] for group in groups] == [[0, 1], [4]]
    training = [result.seconds - 100 for group in groups for result in group]  # less its test pass
    assert training[0] == training[1] == training[2] / 2 > 0
    assert groups[0][0].epoch_seconds == groups[1][0].epoch_seconds / 2
    kept: list[list[dict[str, Any]]] = []
    sets = Shared.of(synthetic), Shared.of(tiny_test)
    task = TrainNetworks("", run.machine, "", *sets, protocol, 0, ((0, 1, 2),))
    with pytest.raises(KeyboardInterrupt):
        execute_tasks([task], kept.append, Workspace(Path(), run.machine, stop=lambda: True))
    assert [[row["network"] for row in rows] for rows in kept] == [[0, 1, 2]]


def test_a_network_that_diverges_takes_no_other_with_it(
    synthetic: SyntheticSet, tiny_test: TestSet, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Machine, "networks_abreast", lambda *_: 2)
    infinite = replace(synthetic, images=synthetic.images * 1e38)
    assert [
        result.loss
        for result in evaluate(
            infinite, tiny_test, Protocol("brief", 1, Schedule(epochs=2)), range(2), run
        )
    ] == [
        None,
        None,
    ]


def test_how_many_go_abreast_depends_on_the_device_and_the_batch(machine: Machine) -> None:
    assert machine.networks_abreast(128 * 32**2, 10) == 1
    on_gpu = replace(machine, device=torch.device("cuda"))
    assert on_gpu.networks_abreast(128 * 32**2, 10) == MOST_ABREAST
    counts = [
        on_gpu.networks_abreast(128 * 32**2, PROTOCOLS["paper"].schedule.batch * times)
        for times in (1, 2, 100)
    ]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > 1
    assert counts[-1] == 1
