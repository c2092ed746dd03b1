"""MTT: the student against a transcription and finite differences, its two ways of unrolling, and
the experts' recordings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from dcbench.evaluation.protocol import PROTOCOLS
from dcbench.families.selection import first_images
from dcbench.families.trajectory_matching import Experts, flat_weights
from dcbench.images import TrainSet
from dcbench.methods.mtt import MTT, Student
from dcbench.networks.base import initialise
from dcbench.run import Run, fingerprint
from dcbench.system.files import read_tensors
from dcbench.system.machine import Machine
from dcbench.training.augment import DSAAugmentation
from dcbench.training.trainer import Trainer
from tests.reference import mtt as formulas
from tests.reference.dsa import OPERATIONS as FORMULAS

Ends = tuple[Tensor, Tensor]


def method(**fields: Any) -> MTT:
    small = {
        "iterations": 2,
        "experts": 2,
        "expert_epochs": 1,
        "expert_images": 20,
        "max_start_epoch": 1,
        "student_steps": 3,
    }
    return MTT(**{**small, "lr": 10.0, "rate_lr": 1e-3, "student_lr": 0.05, **fields})


def in_float64(
    distiller: MTT, train: TrainSet, ipc: int, run: Run
) -> tuple[Student, Tensor, Tensor, Ends]:
    """A student with images, rate and ends of an expert's path, all in float64 so that differences
    can be told.
    """
    student = Student(distiller, train, ipc, run)
    initialise(student.network, run.generator("start"))
    start = flat_weights(student.network).double()
    target = start + 0.01 * torch.randn(
        start.shape, generator=run.generator("target"), dtype=torch.float64
    )
    student.network.double()
    images = first_images("random", train, ipc, run).double()
    return student, images, torch.tensor(0.05, dtype=torch.float64), (start, target)


def batches(
    distiller: MTT, train: TrainSet, images: Tensor, run: Run, step: int
) -> Iterator[tuple[Tensor, list[int]]]:
    """What a student sees at each of its steps, pixel by pixel."""
    ipc = len(images) // train.spec.classes
    queue: list[Tensor] = []
    for turn in range(distiller.setting(ipc).student_steps):
        if not queue:
            queue = list(
                torch.randperm(len(images), generator=run.generator("order", step, turn)).split(
                    distiller.student_batch or len(images)
                )
            )
        chosen = queue.pop()
        draw = DSAAugmentation(train.spec.flips).draw(run.generator("dsa", step, turn), len(chosen))
        operation = FORMULAS[draw.operation]
        augmented = [
            operation(images[index], u)
            for index, u in zip(chosen.tolist(), draw.amounts.tolist(), strict=True)
        ]
        yield torch.stack(augmented), [int(index) // ipc for index in chosen]


def relative(ours: Tensor, theirs: Tensor) -> float:
    return float((ours - theirs).norm() / theirs.norm())


@pytest.mark.parametrize("unroll", [True, False])
@pytest.mark.parametrize("batch", [None, 4])
def test_loss_and_gradients_equal_the_formula(
    unroll: bool, batch: int | None, tiny: TrainSet, run: Run
) -> None:
    distiller = method(unroll=unroll, student_batch=batch)
    student, images, rate, ends = in_float64(distiller, tiny, 1, run)
    loss, into_images, into_rate = student.loss_and_gradients(images, rate, ends, 5)
    X, alpha = images.clone().requires_grad_(), rate.clone().requires_grad_()
    start, target = (formulas.cut(row, list(student.network.parameters())) for row in ends)
    wanted = formulas.loss(
        formulas.arrival(start, list(batches(distiller, tiny, X, run, 5)), alpha), start, target
    )
    wanted_images, wanted_rate = torch.autograd.grad(wanted, (X, alpha))
    assert loss == pytest.approx(float(wanted.detach()), rel=1e-6)
    # DSA's scaling and rotation are float32 inside
    assert relative(into_images, wanted_images) < 1e-4
    assert float(into_rate) == pytest.approx(float(wanted_rate), rel=1e-4)


@pytest.mark.parametrize("unroll", [True, False])
def test_gradients_are_what_finite_differences_say(unroll: bool, tiny: TrainSet, run: Run) -> None:
    student, images, rate, ends = in_float64(method(unroll=unroll), tiny, 1, run)
    _, into_images, into_rate = student.loss_and_gradients(images, rate, ends, 0)
    direction = torch.randn(images.shape, generator=run.generator("direction"), dtype=torch.float64)

    # so small that no ReLU changes its mind
    def slope(loss_at: Callable[[float], float], width: float = 1e-8) -> float:
        return (loss_at(width) - loss_at(-width)) / (2 * width)

    along = slope(lambda h: student.loss_and_gradients(images + h * direction, rate, ends, 0)[0])
    assert along == pytest.approx(float((into_images * direction).sum()), rel=1e-3)
    faster = slope(lambda h: student.loss_and_gradients(images, rate + h, ends, 0)[0])
    assert faster == pytest.approx(float(into_rate), rel=1e-3)


@pytest.mark.parametrize("batch", [None, 7])
def test_going_there_and_back_gives_the_gradient_of_the_unrolled_student(
    batch: int | None, tiny: TrainSet, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    # and cutting its batches changes nothing
    monkeypatch.setattr("dcbench.system.machine.CHUNK_BYTES", {"cpu": 16 * 128 * 8 * 8})
    answers = []
    for unroll in (True, False):
        student, images, rate, ends = in_float64(
            method(unroll=unroll, student_batch=batch, student_steps=4), tiny, 2, run
        )
        answers.append(student.loss_and_gradients(images, rate, ends, 3))
    (loss, into_images, into_rate), (other_loss, other_images, other_rate) = answers
    assert other_loss == pytest.approx(loss, rel=1e-9)
    assert relative(other_images, into_images) < 1e-8
    assert float(other_rate) == pytest.approx(float(into_rate), rel=1e-8)


def held_bytes(work: Callable[[], object]) -> int:
    """The most that autograd held for its backward passes at one time."""
    live = most = 0

    class Held:
        def __init__(self, tensor: Tensor) -> None:
            nonlocal live, most
            self.tensor, self.size = tensor, tensor.numel() * tensor.element_size()
            live += self.size
            most = max(most, live)

        def __del__(self) -> None:
            nonlocal live
            live -= self.size

    with torch.autograd.graph.saved_tensors_hooks(Held, lambda held: held.tensor):
        work()
    return most


def test_there_and_back_the_graph_does_not_grow_with_the_steps(tiny: TrainSet, run: Run) -> None:
    held: dict[tuple[bool, int], int] = {}
    for unroll in (True, False):
        for steps in (2, 6):
            student, images, rate, ends = in_float64(
                method(unroll=unroll, student_steps=steps), tiny, 1, run
            )
            held[unroll, steps] = held_bytes(
                lambda of=student, a=images, b=rate, c=ends: of.loss_and_gradients(a, b, c, 0)  # type: ignore[misc]
            )
    assert held[True, 6] > 2 * held[True, 2]
    assert held[False, 6] < 1.1 * held[False, 2]
    assert held[False, 6] < held[True, 6] / 3


def test_the_learned_rate_goes_into_the_recipe_and_trains_the_networks(
    tiny: TrainSet, run: Run
) -> None:
    run = replace(run, history=[])
    synthetic = method(rate_lr=0.01).distill(tiny, 1, run)
    rate = synthetic.recipe["lr"]
    assert rate != 0.05
    assert rate == pytest.approx(run.history[-1]["rate"])
    assert PROTOCOLS["quick"].with_recipe(synthetic.recipe).schedule.lr == rate


def test_the_learned_rate_stays_above_zero(tiny: TrainSet, run: Run) -> None:
    assert method(iterations=3, rate_lr=1e6).distill(tiny, 1, run).recipe["lr"] > 0


def test_experts_are_recorded_once_and_serve_every_budget(
    tiny: TrainSet, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    distiller = method()
    first = Run(0, machine, shared=tmp_path)
    distiller.distill(tiny, 1, first)
    recorded = [read_tensors(path) for path in sorted(tmp_path.glob("*/result.pt"))]
    assert len(recorded) == 2
    assert (
        sum(expert["weights"].numel() * 4 for expert in recorded)
        == Experts(distiller, tiny, 1, first).size
    )
    assert not torch.equal(recorded[0]["weights"], recorded[1]["weights"])
    monkeypatch.delattr(Trainer, "train")
    again = Run(0, machine, shared=tmp_path)
    assert len(distiller.distill(tiny, 2, again)) == 20
    assert again.cost.seconds > sum(expert["seconds"] for expert in recorded) > 0
    # which is what an estimate counts once
    assert distiller.shared_macs(tiny, 1) == distiller.shared_macs(tiny, 2)
    assert (
        0
        < sum(distiller.shared_macs(tiny, 1).values())
        < distiller.cost_macs(tiny, 1)
        < distiller.cost_macs(tiny, 2)
    )


def test_budgets_whose_experts_have_other_lengths_count_their_own(tiny: TrainSet) -> None:
    published = MTT()
    assert published.snapshots(1) != published.snapshots(10)
    assert not published.shared_macs(tiny, 1).keys() & published.shared_macs(tiny, 10).keys()


def test_experts_that_memory_cannot_hold_are_read_from_disk(
    tiny: TrainSet, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = method().distill(tiny, 1, Run(0, machine)).images
    monkeypatch.setattr("dcbench.families.trajectory_matching.KEPT_BYTES", 0)
    assert torch.equal(method().distill(tiny, 1, Run(0, machine, shared=tmp_path)).images, wanted)


def test_an_interrupted_expert_goes_on_to_the_same_bits(
    tiny: TrainSet, machine: Machine, tmp_path: Path
) -> None:
    asked = count(1)
    with pytest.raises(KeyboardInterrupt):
        method().distill(tiny, 1, Run(0, machine, shared=tmp_path, stop=lambda: next(asked) == 1))
    assert list(tmp_path.glob("*/checkpoint.pt"))
    resumed = method().distill(tiny, 1, Run(0, machine, shared=tmp_path))
    assert torch.equal(resumed.images, method().distill(tiny, 1, Run(0, machine)).images)


def test_experts_learn_from_real_images(tiny: TrainSet, machine: Machine, tmp_path: Path) -> None:
    distiller = method(expert_images=None, max_start_epoch=14, expert_lr=0.05)
    distiller.distill(tiny, 1, Run(0, machine, shared=tmp_path))
    weights = read_tensors(next(tmp_path.glob("*/result.pt")))["weights"]
    student = Student(distiller, tiny, 1, Run(0, machine))
    losses = []
    for row in (weights[0], weights[-1]):
        torch.nn.utils.vector_to_parameters(row, student.network.parameters())
        with torch.no_grad():
            logits = student.network(tiny.values(slice(None)))
        losses.append(float(torch.nn.functional.cross_entropy(logits, tiny.labels)))
    assert losses[1] < 0.7 * losses[0]


@pytest.mark.parametrize(
    ("ipc", "steps", "start", "lr"),
    [(1, 50, 2, 1e2), (9, 50, 2, 1e2), (10, 30, 20, 1e2), (50, 30, 40, 1e3)],
)
def test_settings_are_those_of_the_budget_below(
    ipc: int, steps: int, start: int, lr: float
) -> None:
    setting = MTT().setting(ipc)
    assert (setting.student_steps, setting.max_start_epoch, setting.lr) == (steps, start, lr)
    assert MTT(student_steps=4, lr=0.5).setting(ipc)[:3] == (4, start, 0.5)


def test_a_rate_that_falls_to_nothing_is_told(tiny: TrainSet, run: Run) -> None:
    synthetic = method(rate_lr=1e6).distill(tiny, 1, run)
    assert synthetic.recipe["lr"] > 0
    assert run.cost.warnings == [
        "the student's rate fell below 1e-06 and was put back to it; try a smaller rate_lr"
    ]


def test_one_class_is_refused(tiny: TrainSet) -> None:
    spec = replace(tiny.spec, class_names=("0",))
    alone = replace(
        tiny, spec=spec, images=tiny.images[tiny.by_class[0]], labels=tiny.labels[tiny.by_class[0]]
    )
    assert "single class" in MTT().refuses(alone, 1)
    assert not MTT().refuses(tiny, 1)


@pytest.mark.parametrize(("work", "engine"), [(2.9e12, "eager"), (3e12, "compiled")])
def test_an_expert_s_engine_does_not_depend_on_how_many_others_are_asked_for(
    work: float, engine: str, tiny: TrainSet, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Experts, "_record", lambda *_: {"weights": torch.zeros(3, 1)})
    for number in (1, 2, 10):
        distiller = method(experts=number)
        monkeypatch.setattr(MTT, "expert_macs", lambda *_: work)
        experts = Experts(
            distiller, tiny, 1, replace(run, machine=replace(run.machine, engine="auto"))
        )
        assert experts.run.machine.engine == engine


def test_another_version_has_experts_of_its_own(
    tiny: TrainSet, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the first version finds those that were recorded before versions were kept."""
    monkeypatch.setattr(MTT, "version", 1)
    shared = replace(run, shared=tmp_path)
    spec = {
        "epochs": 2,
        "lr": 0.01,
        "images": 20,
        "network": "convnet",
        "normalisation": "instance",
    }
    identities = [
        {"name": name, "spec": spec, "seed": run.seed, "precision": run.machine.precision}
        for name in ("mtt-expert-0", "mtt-expert-1")
    ]
    method().distill(tiny, 1, shared)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"{each['name']}-{fingerprint(each)}" for each in identities
    ]
    monkeypatch.setattr(MTT, "version", 2)
    method().distill(tiny, 1, shared)
    assert len(list(tmp_path.iterdir())) == 4
