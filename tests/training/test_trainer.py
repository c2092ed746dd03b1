"""Training against a plain loop of torch's own parts; schedules against torch's schedulers; work in
chunks against work at once.
"""

from __future__ import annotations

import copy
import math
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, MultiStepLR, StepLR

from dcbench.evaluation.protocol import PROTOCOLS
from dcbench.images import TrainSet
from dcbench.networks.base import Network, initialise
from dcbench.networks.catalogue import build_network
from dcbench.networks.convnet import Activation, ConvNet
from dcbench.run import Run
from dcbench.system.machine import Machine
from dcbench.training.augment import DSAAugmentation
from dcbench.training.trainer import Schedule, Trainer, in_chunks, train_network


@pytest.fixture
def network(tiny: TrainSet, run: Run) -> Network:
    """Freshly initialised."""
    made = build_network("convnet", tiny.spec)
    initialise(made, run.generator("network"))
    return made


def convnet(activation: Activation, tiny: TrainSet, run: Run) -> Network:
    """The same with another activation."""
    made = ConvNet(tiny.spec.shape, tiny.spec.classes, activation=activation)
    initialise(made, run.generator("network"))
    return made


Scheduler = Callable[[torch.optim.SGD], LRScheduler]
SCHEDULES: dict[str, tuple[Schedule, Scheduler | None]] = {
    "constant": (Schedule(epochs=5, batch=32), None),
    "steps": (
        Schedule(epochs=5, batch=32, lr=0.05, decay=0.5, decay_every=2),
        lambda sgd: StepLR(sgd, 2, 0.5),
    ),
    "cosine": (
        Schedule(epochs=5, batch=32, lr=0.05, decay=0.0),
        lambda sgd: CosineAnnealingLR(sgd, 5),
    ),
    "once": (
        Schedule(epochs=5, batch=32, decay=0.1, decay_after=2),
        lambda sgd: MultiStepLR(sgd, [3], 0.1),
    ),
}


def plain_sgd(network: nn.Module, schedule: Schedule) -> torch.optim.SGD:
    return torch.optim.SGD(
        network.parameters(),
        schedule.lr,
        schedule.momentum,
        weight_decay=schedule.weight_decay,
        fused=False,
    )


def plain_epochs(
    network: nn.Module,
    sgd: torch.optim.SGD,
    images: Tensor,
    labels: Tensor,
    orders: Iterator[Tensor],
) -> Iterator[float]:
    """One epoch after another as a textbook has them; gives the mean loss of each."""
    for order in orders:
        total = 0.0
        for start in range(0, len(order), 32):
            chosen = order[start : start + 32]
            loss = F.cross_entropy(network(images[chosen]), labels[chosen])
            sgd.zero_grad()
            loss.backward()
            sgd.step()
            total += loss.item() * len(chosen)
        yield total / len(order)


def orders(run: Run, epochs: int, count: int) -> Iterator[Tensor]:
    return (
        torch.randperm(count, generator=run.generator("epoch", epoch)) for epoch in range(epochs)
    )


def distance(ours: nn.Module, theirs: nn.Module) -> float:
    squares = [
        float((a - b).detach().square().sum())
        for a, b in zip(ours.parameters(), theirs.parameters(), strict=True)
    ]
    return math.sqrt(sum(squares))


@pytest.mark.parametrize("soft", [False, True], ids=["hard", "soft"])
@pytest.mark.parametrize("name", SCHEDULES)
# loss, weights
@pytest.mark.parametrize(
    ("activation", "near"), [("sigmoid", (1e-5, 1e-4)), ("relu", (1e-4, 2e-2))]
)
def test_twenty_steps_equal_a_plain_loop(
    name: str,
    soft: bool,
    activation: Activation,
    near: tuple[float, float],
    tiny: TrainSet,
    run: Run,
) -> None:
    """Five epochs of four batches, the last one ragged. Where ReLU bends, two ways of rounding may
    part by far more than rounding.
    """
    network = convnet(activation, tiny, run)
    schedule, scheduler = SCHEDULES[name]
    start, twin, images = copy.deepcopy(network), copy.deepcopy(network), tiny.values(slice(0, 120))
    labels = (
        torch.randn(120, 10, generator=run.generator("soft")).softmax(1) if soft else tiny.labels
    )
    sgd = plain_sgd(twin, schedule)
    decay = scheduler(sgd) if scheduler else None
    losses = []
    for loss in plain_epochs(twin, sgd, images, labels, orders(run, 5, 120)):
        losses.append(loss)
        if decay is not None:
            decay.step()
    trained = Trainer(network, run.machine).train(tiny.values, labels, schedule, run)
    assert trained == pytest.approx(losses[-1], abs=near[0])
    assert distance(network, twin) < near[1] * distance(start, twin)
    assert losses[-1] < losses[0]


def test_at_the_single_decay_the_optimizer_starts_anew(tiny: TrainSet, run: Run) -> None:
    """As in DC's code: `lr *= 0.1; optimizer = SGD(lr)` after the named epoch, so that the momentum
    is lost.
    """
    network = convnet("sigmoid", tiny, run)
    schedule = Schedule(epochs=6, batch=32, lr=0.02, decay=0.1, decay_after=3, fresh_momentum=True)
    start, twin, kept = (copy.deepcopy(network) for _ in range(3))
    images = tiny.values(slice(0, 120))
    for epoch, order in enumerate(orders(run, 6, 120)):
        if epoch in (0, 4):
            sgd = plain_sgd(twin, replace(schedule, lr=0.02 if epoch == 0 else 0.002))
        list(plain_epochs(twin, sgd, images, tiny.labels, iter([order])))
    Trainer(network, run.machine).train(tiny.values, tiny.labels, schedule, run)
    assert distance(network, twin) < 1e-4 * distance(start, twin)
    Trainer(kept, run.machine).train(
        tiny.values, tiny.labels, replace(schedule, fresh_momentum=False), run
    )
    assert distance(kept, twin) > 1e-2 * distance(start, twin)


def test_protocols_follow_the_published_schedules() -> None:
    """Facts: StepLR ×0.5 every 15; DC ×0.1 after epoch E//2+1 of range(E+1); the released code ×0.1
    after epoch 901 of 1,801.
    """
    schedules = {name: protocol.schedule for name, protocol in PROTOCOLS.items()}
    for schedule in (schedules[name] for name in ("paper", "lineage", "released")):
        assert (schedule.lr, schedule.momentum, schedule.weight_decay) == (0.01, 0.9, 5e-4)
    assert [schedules["paper"].rate(epoch) for epoch in (0, 14, 15, 29, 30, 149)] == [
        0.01,
        0.01,
        0.005,
        0.005,
        0.0025,
        0.01 * 0.5**9,
    ]
    for name, epochs, decayed in (
        ("lineage", 1000 + 1, 1000 // 2 + 1),
        ("released", 1800 + 1, 1800 // 2 + 1),
    ):
        rates = [schedules[name].rate(epoch) for epoch in range(schedules[name].epochs)]
        assert len(rates) == epochs
        assert rates == pytest.approx([0.01] * (decayed + 1) + [0.001] * (epochs - decayed - 1))
        assert schedules[name].fresh_momentum
    assert (schedules["paper"].batch, schedules["lineage"].batch, schedules["released"].batch) == (
        256,
        256,
        64,
    )
    assert schedules["quick"].rate(0) == 0.01
    assert schedules["quick"].rate(schedules["quick"].epochs - 1) < 1e-5


def test_images_are_augmented_anew_in_every_epoch(
    network: Network, tiny: TrainSet, run: Run
) -> None:
    seen: list[Tensor] = []

    def watched(images: Tensor, generator: torch.Generator) -> Tensor:
        seen.append(DSAAugmentation(flips=False)(images, generator))
        return seen[-1]

    plain = copy.deepcopy(network)
    Trainer(network, run.machine).train(tiny.values, tiny.labels, Schedule(epochs=3), run, watched)
    Trainer(plain, run.machine).train(tiny.values, tiny.labels, Schedule(epochs=3), run)
    assert len({images.numpy().tobytes() for images in seen}) == 3
    assert distance(network, plain) > 0


def test_training_goes_on_between_epochs_in_the_same_bits(
    network: Network, tiny: TrainSet, run: Run, tmp_path: Path
) -> None:
    undisturbed, schedule = copy.deepcopy(network), Schedule(epochs=6, batch=32, decay=0.0)
    loss = Trainer(undisturbed, run.machine).train(tiny.values, tiny.labels, schedule, run)
    epochs = iter(range(3))
    stopping = replace(run, folder=tmp_path, stop=lambda: next(epochs, None) is None)
    with pytest.raises(KeyboardInterrupt):
        Trainer(copy.deepcopy(network), run.machine).train(
            tiny.values, tiny.labels, schedule, stopping
        )
    done: list[int] = []
    going_on = replace(
        run, folder=tmp_path, progress=lambda _name, so_far, _total: done.append(so_far)
    )
    assert Trainer(network, run.machine).train(tiny.values, tiny.labels, schedule, going_on) == loss
    assert done == [4, 5, 6]
    assert distance(network, undisturbed) == 0


def test_train_network_starts_anew_whatever_the_network_was(tiny: TrainSet, run: Run) -> None:
    first, second = build_network("convnet", tiny.spec), build_network("convnet", tiny.spec)
    losses = [
        train_network(network, tiny.values, tiny.labels, Schedule(epochs=2), run)
        for network in (first, second, second)
    ]
    assert losses[0] == losses[1] == losses[2]
    assert distance(first, second) == 0


def test_predictions_are_the_largest_logits(network: Network, tiny: TrainSet, run: Run) -> None:
    images = tiny.values(slice(0, 120))
    assert torch.equal(Trainer(network, run.machine).predict(images), network(images).argmax(1))


@pytest.mark.parametrize("images_at_a_time", [1, 7, 64, 1000])
def test_work_in_chunks_equals_work_at_once(
    images_at_a_time: int, tiny: TrainSet, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dcbench.system.machine.CHUNK_BYTES", {"cpu": 4 * images_at_a_time * 1000})
    shapes = set()

    def summed(images: Tensor) -> Tensor:
        shapes.add(tuple(images.shape))
        return images.flatten(1).cumsum(1)

    rows = in_chunks(summed, tiny.values, len(tiny), machine, widest=1000)
    assert torch.allclose(rows, tiny.values(slice(0, 120)).flatten(1).cumsum(1), atol=1e-5)
    assert len(shapes) == 1  # each shape is compiled anew


COMPILED = """
import torch
from dcbench.experiments.presets import build
from dcbench.images import ImageSpec, Space, TrainSet
from dcbench.system.machine import resolve
from dcbench.networks.base import initialise
from dcbench.networks.catalogue import build_network
from dcbench.run import Run
from dcbench.training.trainer import Schedule, Trainer

spec = ImageSpec("noise", "0" * 12, 1, 4, ("a", "b"), False)
images = torch.randint(0, 256, (20, 1, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
train = TrainSet(spec, images, torch.arange(20) % 2, Space("normalised", (0.5,), (0.25,)))
results = []
for engine in ("eager", "compiled"):
    run = Run(0, resolve("cpu", precision="fp32", engine=engine))
    network = build_network("convnet", spec)
    initialise(network, run.generator("network"))
    Trainer(network, run.machine).train(train.values, train.labels, Schedule(epochs=4, batch=10), run)
    weights = torch.cat([parameter.detach().flatten() for parameter in network.parameters()])
    results.append((weights, build("datadam", "paper", {"iterations": 3, "real_batch": 8}).distill(train, 2, run).images))
for eager, compiled in zip(*results):
    assert float((eager - compiled).abs().max()) < 1e-4, float((eager - compiled).abs().max())
    assert not torch.equal(eager, compiled)
"""


@pytest.mark.slow
@pytest.mark.skipif(
    not any(map(shutil.which, ("g++", "clang++", "c++"))),
    reason="no C++ compiler, which the compiled engine needs",
)
def test_the_compiled_engine_computes_the_same() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", COMPILED],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert ended.returncode == 0, ended.stderr
