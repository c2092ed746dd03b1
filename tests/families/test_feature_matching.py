"""The feature-matching loop: loss and gradient against slow transcriptions with the same draws,
however the work is cut up.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from dcbench.datasets.loading import Loaded
from dcbench.experiments.context import Cell
from dcbench.experiments.presets import build
from dcbench.families.feature_matching import FeatureMatching, MatchingStep
from dcbench.families.selection import first_images
from dcbench.images import ImageSpec, Space, TrainSet
from dcbench.networks.base import initialise
from dcbench.networks.catalogue import build_network
from dcbench.run import Cost, Run
from dcbench.system.errors import DeviceError, DivergedError
from dcbench.system.machine import Machine
from dcbench.training.augment import DSAAugmentation
from tests.reference import matching as formulas
from tests.reference.dsa import OPERATIONS as FORMULAS
from tests.reference.networks import Block

# a scale and a rate at which one step dwarfs the images, so that the step tells the gradient to
# seven digits
BIG = 1e6
Loss = Callable[[Sequence[Tensor], Sequence[Tensor], Sequence[Block]], Tensor]


def random_set(sizes: Sequence[int], size: int) -> TrainSet:
    """Colour noise with a mean of its own for each class, in no order of classes."""
    spec = ImageSpec(
        "noise", "0" * 12, channels=3, size=size, class_names=tuple("abcdef"[: len(sizes)])
    )
    generator = torch.Generator().manual_seed(5)
    labels = torch.cat([torch.full((count,), label) for label, count in enumerate(sizes)])
    labels = labels[torch.randperm(len(labels), generator=generator)]
    bytes_ = torch.randint(0, 200, (len(labels), 3, size, size), generator=generator) + labels.view(
        -1, 1, 1, 1
    ) * 50 // len(sizes)
    return TrainSet(
        spec,
        bytes_.to(torch.uint8),
        labels,
        Space("normalised", (0.4, 0.5, 0.45), (0.2, 0.25, 0.2)),
    )


def method(name: str, **fields: Any) -> FeatureMatching:
    made = build(name, "paper", {"iterations": 1, **fields})
    assert isinstance(made, FeatureMatching)
    return made


def first_step(
    distiller: FeatureMatching, train: TrainSet, ipc: int, run: Run
) -> tuple[float, Tensor]:
    """Loss and gradient at the start, read off the first step of a distillation."""
    distiller = replace(distiller, scale=BIG, lr=10.0)
    run = replace(run, history=[])
    start = first_images(distiller.init, train, ipc, run)
    after = distiller.distill(train, ipc, run).images
    return run.history[0]["loss"] / BIG, (start - after).double() / (10.0 * BIG)


def blocks_of(distiller: FeatureMatching, train: TrainSet, run: Run, step: int) -> list[Block]:
    """The weights of the network that is drawn at ``step``."""
    network = build_network(distiller.network, train.spec, distiller.normalisation)
    initialise(network, run.generator("network", step))
    rows = [parameter.detach().double() for parameter in network.blocks.parameters()]  # type: ignore[union-attr]
    return [
        (rows[index], rows[index + 1], rows[index + 2], rows[index + 3])
        for index in range(0, len(rows), 4)
    ]


def expected(
    distiller: FeatureMatching,
    train: TrainSet,
    images: Tensor,
    run: Run,
    loss_of: Loss,
    step: int = 0,
) -> tuple[float, Tensor]:
    """Loss and gradient of ``images`` by the transcription, in float64, with the draws of the loop."""
    leaf = images.detach().double().clone().requires_grad_()
    real: list[Tensor] = []
    synthetic: list[Tensor] = []
    for label, part in enumerate(leaf.split(len(leaf) // train.spec.classes)):
        draw = DSAAugmentation(train.spec.flips).draw(run.generator("dsa", step, label))
        chosen = train.values(
            train.draw(label, distiller.real_batch, run.generator("real", step, label))
        ).double()
        (u,) = draw.amounts.tolist()
        for images_of, into in ((chosen, real), (part, synthetic)):
            into.append(torch.stack([FORMULAS[draw.operation](image, u) for image in images_of]))
    loss = loss_of(real, synthetic, blocks_of(distiller, train, run, step))
    (gradient,) = torch.autograd.grad(loss, leaf)
    return loss.item(), gradient


def check(distiller: FeatureMatching, train: TrainSet, ipc: int, run: Run, loss_of: Loss) -> None:
    loss, gradient = first_step(distiller, train, ipc, run)
    wanted_loss, wanted = expected(
        distiller, train, first_images("random", train, ipc, run), run, loss_of
    )
    assert loss == pytest.approx(wanted_loss, rel=1e-5)
    assert float((gradient - wanted).norm() / wanted.norm()) < 1e-5


def datadam_loss(power: float, balance: float, batch_norm: bool = False) -> Loss:
    return lambda real, synthetic, blocks: formulas.datadam(
        real, synthetic, blocks, power, balance, batch_norm
    )


def dm_loss(real: Sequence[Tensor], synthetic: Sequence[Tensor], blocks: Sequence[Block]) -> Tensor:
    return formulas.dm(real, synthetic, blocks)


def mmd_loss(
    real: Sequence[Tensor], synthetic: Sequence[Tensor], blocks: Sequence[Block]
) -> Tensor:
    return formulas.mmd(real, synthetic)


@pytest.mark.parametrize("seed", range(2))
def test_datadam_equals_its_formula(seed: int, tiny: TrainSet, run: Run) -> None:
    check(method("datadam"), tiny, 2, replace(run, seed=seed), datadam_loss(4, 0.01))


@pytest.mark.parametrize(("power", "balance"), [(1.0, 0.01), (2.0, 0.0), (4.0, 1.0)])
def test_datadam_equals_its_formula_in_colour_with_three_blocks(
    power: float, balance: float, run: Run
) -> None:
    distiller = method("datadam", power=power, balance=balance, real_batch=3)
    check(distiller, random_set([4, 5], 32), 1, run, datadam_loss(power, balance))


ABLATIONS: list[dict[str, Any]] = [
    *({"loss": loss} for loss in ("mae", "cosine")),
    *({"map_norm": norm} for norm in ("l1", "none")),
    *({"components": components} for components in ("mmd", "attention", "feature-maps")),
    *({"layer": layer} for layer in (1, 2, 3)),
    # no mae here: its gradient jumps where float32 and float64 differ
    {"map_norm": "l1", "components": "feature-maps", "layer": 2},
    {"loss": "cosine", "components": "attention", "layer": 3},
]


@pytest.mark.parametrize("fields", ABLATIONS, ids=str)
def test_datadam_s_ablations_equal_their_formulas(fields: dict[str, Any], run: Run) -> None:
    """In colour with three blocks; each loss differs from the paper's."""
    train = random_set([4, 5], 32)
    losses = [
        lambda real, synthetic, blocks, own=own: formulas.ablated(real, synthetic, blocks, own)
        for own in (fields, {})
    ]
    check(method("datadam", real_batch=3, **fields), train, 1, run, losses[0])
    start = first_images("random", train, 1, run)
    changed, papers = (
        expected(method("datadam", real_batch=3), train, start, run, loss)[0] for loss in losses
    )
    assert changed != pytest.approx(papers, rel=1e-3)


def test_the_ablation_s_defaults_are_the_paper_s_loss(run: Run) -> None:
    train = random_set([4, 5], 32)
    check(
        method("datadam", real_batch=3),
        train,
        1,
        run,
        lambda real, synthetic, blocks: formulas.ablated(real, synthetic, blocks, {}),
    )


def test_a_field_that_came_later_changes_a_set_s_hash_only_off_its_default(
    digits: Loaded, machine: Machine
) -> None:
    """The hash that the project's measured sets of DataDAM have, from before there were ablations."""
    made = {
        "init",
        "iterations",
        "lr",
        "momentum",
        "network",
        "normalisation",
        "real_batch",
        "scale",
        "power",
        "balance",
    }
    papers, changed = (
        Cell(method("datadam", **fields), "paper", digits, 1, 0).identity(machine)
        for fields in ({}, {"loss": "mae"})
    )
    assert set(papers["fields"]) == made
    assert changed["fields"] == {**papers["fields"], "loss": "mae"}


def test_a_layer_that_a_network_has_not_is_refused(tiny: TrainSet) -> None:
    assert method("datadam", layer=2).refuses(tiny, 1) == ""
    assert "layer must be at most 2, the ReLUs of convnet there, got 3" in method(
        "datadam", layer=3
    ).refuses(tiny, 1)


@pytest.mark.parametrize("seed", range(2))
def test_dm_equals_its_formula(seed: int, tiny: TrainSet, run: Run) -> None:
    check(method("dm"), tiny, 2, replace(run, seed=seed), dm_loss)


@pytest.mark.parametrize("seed", range(3))
def test_mmd_equals_its_formula(seed: int, tiny: TrainSet, run: Run) -> None:
    check(method("mmd"), tiny, 2, replace(run, seed=seed), mmd_loss)


@pytest.mark.parametrize("name", ["datadam", "dm"])
def test_with_batch_normalisation_all_classes_are_one_batch(
    name: str, tiny: TrainSet, run: Run
) -> None:
    distiller = method(name, normalisation="batch", real_batch=5)
    losses: dict[str, Loss] = {
        "datadam": datadam_loss(4, 0.01, True),
        "dm": lambda real, synthetic, blocks: formulas.dm(real, synthetic, blocks, True),
    }
    check(distiller, tiny, 2, run, losses[name])


@pytest.mark.parametrize("images_at_a_time", [1, 8, 64])
def test_cutting_the_work_changes_nothing(
    images_at_a_time: int, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Six classes, some smaller than the real batch, in groups of one, three or six; real images in
    chunks, the last one ragged.
    """
    train = random_set([3, 7, 9, 4, 9, 5], 8)
    monkeypatch.setattr(
        "dcbench.system.machine.CHUNK_BYTES", {"cpu": 4 * images_at_a_time * 128 * 8 * 8}
    )
    for name, loss in (("datadam", datadam_loss(4, 0.01)), ("dm", dm_loss)):
        check(method(name, real_batch=7), train, 2, run, loss)


def test_a_large_real_batch_is_cut_into_groups_of_classes(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dcbench.families.feature_matching.GROUP_IMAGES", 14)
    check(method("dm", real_batch=7), random_set([9, 9, 9, 9], 8), 1, run, dm_loss)


def test_the_scale_multiplies_the_loss_and_nothing_else(tiny: TrainSet, run: Run) -> None:
    (one, first), (hundred, second) = (
        (
            loss_of_first_step(
                method("datadam", scale=scale, lr=1 / scale), tiny, replace(run, history=[])
            )
        )
        for scale in (1.0, 100.0)
    )
    assert hundred == pytest.approx(100 * one, rel=1e-5)
    assert torch.allclose(first, second, atol=1e-6)


def loss_of_first_step(
    distiller: FeatureMatching, train: TrainSet, run: Run
) -> tuple[float, Tensor]:
    images = distiller.distill(train, 1, run).images
    return run.history[0]["loss"], images


@pytest.mark.parametrize(("name", "loss_of"), [("dm", dm_loss), ("mmd", mmd_loss)])
def test_steps_are_those_of_sgd_with_momentum_each_with_draws_of_its_own(
    name: str, loss_of: Loss, run: Run
) -> None:
    """v ← μ v + g; images ← images - lr v; a fresh network, fresh real images and a fresh
    augmentation at each step.
    """
    train, ipc = random_set([6, 6], 8), 2
    distiller = method(name, iterations=4, lr=0.7, momentum=0.5, scale=50.0, real_batch=4)
    images = first_images("random", train, ipc, run).double()
    start, velocity, losses = images, torch.zeros_like(images), []
    for step in range(4):
        loss, gradient = expected(distiller, train, images, run, loss_of, step)
        losses.append(50 * loss)
        velocity = 0.5 * velocity + 50 * gradient
        images = images - 0.7 * velocity
    distilled = distiller.distill(train, ipc, run).images
    assert [row["loss"] for row in run.history] == pytest.approx(losses, rel=1e-4)
    assert float((distilled - images).norm() / (start - images).norm()) < 1e-4


def test_the_rate_of_the_images_follows_table_2(run: Run) -> None:
    assert [method("datadam").image_lr(ipc) for ipc in (1, 10, 50, 51, 100)] == [1, 1, 1, 10, 10]
    assert method("datadam", lr=0.3).image_lr(100) == 0.3


def test_presets_are_the_paper_s_and_the_released_code_s() -> None:
    """The table of facts: what Table 2 of the supplement says, and what the released code does."""
    names = (
        "normalisation",
        "power",
        "iterations",
        "real_batch",
        "balance",
        "momentum",
        "scale",
        "init",
    )
    paper, released = (
        [getattr(build("datadam", preset), name) for name in names]
        for preset in ("paper", "released")
    )
    assert paper == ["instance", 4, 8000, 256, 0.01, 0.5, 100, "random"]
    assert released == ["batch", 1, 20000, 64, 0.01, 0.5, 100, "random"]
    dm = build("dm", "paper")
    assert isinstance(dm, FeatureMatching)
    assert (dm.iterations, dm.image_lr(50), dm.real_batch, dm.normalisation) == (
        20000,
        1,
        256,
        "instance",
    )


def test_learned_sets_start_from_random_images_k_center_s_or_noise(
    tiny: TrainSet, run: Run
) -> None:
    noise = first_images("noise", tiny, 2, run)
    assert abs(float(noise.mean())) < 0.1
    assert float(noise.std()) == pytest.approx(1, abs=0.1)
    chosen = {
        name: build(name, "paper").distill(tiny, 2, run).images for name in ("random", "k-center")
    }
    for init, images in {**chosen, "noise": noise}.items():
        unmoved = method("mmd", init=init, lr=1e-9).distill(tiny, 2, run).images
        assert torch.allclose(unmoved, images, atol=1e-5)


def test_each_step_s_size_is_logged_as_a_share_of_the_images(tiny: TrainSet, run: Run) -> None:
    """Against the states that a watch sees: with momentum it is the whole change that counts."""
    seen: list[Tensor] = []

    def watch(_name: str, _done: int, state: Mapping[str, Any]) -> None:
        seen.append(state["images"].detach().double().clone())

    method("dm", iterations=3, real_batch=4, lr=0.5, momentum=0.9).distill(
        tiny, 2, replace(run, watch=watch)
    )
    changes = [
        float((after - before).norm() / before.norm()) for before, after in itertools.pairwise(seen)
    ]
    assert [row["relative_step"] for row in run.history] == pytest.approx(changes, rel=1e-4)
    assert changes[0] > 0


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_step(
    tiny: TrainSet, run: Run
) -> None:
    with pytest.raises(DivergedError, match=r"loss became (inf|nan) at step [2-9]"):
        method("mmd", scale=1e30, lr=10.0, iterations=20).distill(tiny, 1, run)


def test_work_is_counted_from_the_images_that_pass_the_network(tiny: TrainSet) -> None:
    """Per step: every real image forward, every synthetic one forward and backward (about twice a
    forward).
    """
    per_image = 8**2 * 9 * 128 + 4**2 * 9 * 128**2 + 512 * 10
    assert (
        method("dm", iterations=3, real_batch=5).cost_macs(tiny, 2) == 3 * (50 + 3 * 20) * per_image
    )
    assert (
        method("dm", iterations=3, real_batch=500).cost_macs(tiny, 2)
        == 3 * (120 + 3 * 20) * per_image
    )


@pytest.mark.parametrize(("name", "lr"), [("datadam", 1.0), ("dm", 1.0), ("mmd", 0.3)])
def test_the_loss_falls_on_real_digits(name: str, lr: float, tiny: TrainSet, run: Run) -> None:
    """The classes' means are matched better and better: from noise, the last losses lie well below
    the first.
    """
    method(name, iterations=16, init="noise", lr=lr).distill(tiny, 2, run)
    losses = [row["loss"] for row in run.history]
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])


# -------------------------------------------------------------------------------------------------------------
# out of memory

NO_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError(
        "[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: not enough memory: you tried to allocate 99 bytes."
    ),
    RuntimeError(
        "DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes. Error code 12 (Cannot allocate memory)"
    ),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("GET was unable to find an engine to execute this computation"),
]


class SmallMemory:
    """``describe`` with room for so many images at a time."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, room: int, error: Exception, name: str = "dm"
    ) -> None:
        self.largest, self.failures = 0, 0
        cls = type(method(name))
        describe: Callable[..., Any] = cls.describe

        def limited(distiller: FeatureMatching, images: Tensor, network: Any) -> Any:
            if len(images) > room:
                self.failures += 1
                raise error
            self.largest = max(self.largest, len(images))
            return describe(distiller, images, network)

        monkeypatch.setattr(cls, "describe", limited)


@pytest.mark.parametrize("error", NO_MEMORY, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("name", ["datadam", "dm", "mmd"])
def test_out_of_memory_less_is_handled_at_a_time_and_the_sum_is_the_same(
    name: str, error: Exception, tiny: TrainSet, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    distiller = method(name, iterations=3, real_batch=8)
    roomy = distiller.distill(tiny, 2, replace(run, history=[], cost=Cost())).images
    memory, cost = SmallMemory(monkeypatch, 8, error, name), Cost()
    narrow = distiller.distill(tiny, 2, replace(run, history=[], cost=cost)).images
    assert memory.largest == 8
    assert 0 < memory.failures < 12  # cut once and for all, not at every step
    assert torch.allclose(narrow, roomy, atol=1e-5)
    (warning,) = cost.warnings
    assert warning.startswith("out of memory in step 1: went on with ")


def test_what_was_cut_is_cut_in_a_resumed_run_too(
    tiny: TrainSet, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    distiller = method("dm", iterations=4, real_batch=8)
    memory = SmallMemory(monkeypatch, 8, NO_MEMORY[0])
    undisturbed = distiller.distill(tiny, 2, replace(run, history=[], cost=Cost())).images
    asked = iter([False, True])
    kept = replace(run, folder=tmp_path, history=[], cost=Cost())
    with pytest.raises(KeyboardInterrupt):
        distiller.distill(tiny, 2, replace(kept, stop=lambda: next(asked)))
    memory.failures = 0
    resumed = replace(run, folder=tmp_path, history=[], cost=Cost())
    assert torch.equal(distiller.distill(tiny, 2, resumed).images, undisturbed)
    assert memory.failures == 0
    assert resumed.cost.warnings


def test_with_batch_normalisation_running_out_of_memory_is_an_error(
    tiny: TrainSet, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    SmallMemory(monkeypatch, 8, NO_MEMORY[0])
    with pytest.raises(
        DeviceError,
        match=r"out of memory in step 1 .*: with BatchNorm .* not cut; choose a smaller --ipc, real_batch",
    ):
        method("dm", normalisation="batch", real_batch=8).distill(tiny, 2, run)


def test_where_nothing_can_be_cut_running_out_of_memory_is_an_error(
    tiny: TrainSet, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    SmallMemory(monkeypatch, 0, NO_MEMORY[2])
    with pytest.raises(
        DeviceError,
        match=r"with one real image at a time and 2 synthetic ones of a class .* choose a smaller --ipc",
    ):
        method("dm", real_batch=8).distill(tiny, 2, run)


def test_another_error_is_not_taken_for_missing_memory(
    tiny: TrainSet, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = SmallMemory(monkeypatch, 8, RuntimeError("shapes do not fit"))
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        method("dm", real_batch=8).distill(tiny, 2, run)
    assert memory.failures == 1


def test_the_real_images_of_one_group_of_classes_are_held_at_a_time(
    tiny: TrainSet, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that a step's memory does not grow with the number of classes."""
    batches: list[weakref.ref[Tensor]] = []
    real_batch = MatchingStep._real_batch

    def watched(self: MatchingStep, *of: Any) -> tuple[list[int], Tensor]:
        assert not [batch for batch in batches if batch() is not None]
        sizes, batch = real_batch(self, *of)
        batches.append(weakref.ref(batch))
        return sizes, batch

    monkeypatch.setattr(MatchingStep, "_real_batch", watched)
    monkeypatch.setattr("dcbench.families.feature_matching.GROUP_IMAGES", 8)
    method("datadam", real_batch=4).distill(tiny, 1, run)
    assert len(batches) == 5
