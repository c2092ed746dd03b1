"""Losses and mixes against slow transcriptions; training with a teacher against a plain loop."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dcbench.images import TrainSet
from dcbench.networks.base import initialise
from dcbench.networks.catalogue import build_network
from dcbench.networks.convnet import ConvNet
from dcbench.run import Resumption, Run
from dcbench.system.errors import MismatchError, OutOfRangeError, UnknownNameError
from dcbench.training.augment import (
    ColourAndWarp,
    Flip,
    ResizedCrop,
    ShuffledPatches,
    flip,
)
from dcbench.training.ensemble import Ensemble
from dcbench.training.mixing import Mix, augmentation_and_mix
from dcbench.training.supervision import Loss, LossName, Supervision, loss_for
from dcbench.training.teacher import Teacher, TeacherSettings, trained_teacher
from dcbench.training.trainer import Schedule, Trainer
from tests.reference import supervision as slow
from tests.reference.dsa import OPERATIONS as FORMULAS


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def logits() -> Tensor:
    return torch.randn(6, 5, generator=seeded(0)) * 3


@pytest.fixture
def taught() -> Tensor:
    return torch.randn(6, 5, generator=seeded(1)) * 3


CLASSES = torch.tensor([0, 4, 2, 2, 1, 3])
ONE_HOT = F.one_hot(CLASSES, 5).float()


# ------------------------------------------------------------------------------------------ losses


@pytest.mark.parametrize("temperature", [1.0, 4.0, 20.0])
def test_soft_losses_equal_their_formulas(
    temperature: float, logits: Tensor, taught: Tensor
) -> None:
    rows, teachers = logits.tolist(), taught.tolist()
    softened = [slow.softmax(row, temperature) for row in teachers]
    expected = {
        "cross-entropy": slow.cross_entropy(rows, softened, temperature),
        "kl": slow.kl(rows, teachers, temperature),
        "mse": slow.mse(rows, teachers),
        "mse-gt": slow.mse(rows, teachers) + 0.3 * slow.cross_entropy(rows, ONE_HOT.tolist(), 1.0),
    }
    names: tuple[LossName, ...] = ("cross-entropy", "kl", "mse", "mse-gt")
    for name in names:
        loss = Loss(name, temperature, ground_truth=0.3)
        target = loss.of_logits(taught, ONE_HOT)
        assert float(loss(logits, target)) == pytest.approx(expected[name], rel=1e-5), name


def test_stored_weights_are_what_a_teacher_would_have_said(logits: Tensor, taught: Tensor) -> None:
    names: tuple[LossName, ...] = ("cross-entropy", "kl")
    for name in names:
        loss = Loss(name, 5.0)
        stored, said = loss.of_weights(taught.softmax(1)), loss.of_logits(taught, ONE_HOT)
        assert torch.allclose(stored, said, atol=1e-6)
        assert torch.equal(loss.of_weights(ONE_HOT), ONE_HOT)  # log 0: a class stays a class


def test_classes_and_their_weights_cost_the_same(logits: Tensor) -> None:
    expected = slow.cross_entropy(logits.tolist(), ONE_HOT.tolist(), 1.0)
    assert float(Loss()(logits, CLASSES)) == pytest.approx(expected, rel=1e-5)
    assert float(Loss()(logits, ONE_HOT)) == pytest.approx(expected, rel=1e-5)


def test_a_loss_is_wanted_that_can_use_the_labels() -> None:
    soft = ONE_HOT * 0.9 + 0.02
    assert loss_for(Loss("kl", 20.0), CLASSES, taught=False) == Loss()
    assert loss_for(Loss("kl", 20.0), soft, taught=False) == Loss("kl", 20.0)
    assert loss_for(Loss("kl", 20.0), CLASSES, taught=True) == Loss("kl", 20.0)
    with pytest.raises(MismatchError, match=r"mse-gt needs the class of each image.*--labels hard"):
        loss_for(Loss("mse-gt"), soft, taught=True)
    with pytest.raises(OutOfRangeError, match="loss: temperature must be greater than 0"):
        Loss("kl", 0.0)


# ------------------------------------------------------------------------------------------- mixes


def test_mixup_equals_its_formula() -> None:
    images, weights = torch.rand(4, 2, 3, 3, generator=seeded(2)), torch.eye(4)
    mixed, labels = Mix("mixup", alpha=0.8)(images, weights, seeded(3))
    lam = float(labels[0, 0])
    assert 0 < lam < 1
    for index in range(4):
        own, other = (images[at].flatten().tolist() for at in (index, index - 1))
        assert mixed[index].flatten().tolist() == pytest.approx(
            slow.mixup(own, other, lam), abs=1e-6
        )
        assert labels[index].tolist() == pytest.approx(
            slow.mixup(weights[index].tolist(), weights[index - 1].tolist(), lam), abs=1e-6
        )


def test_cutmix_equals_its_formula() -> None:
    images, weights = torch.rand(3, 2, 8, 8, generator=seeded(4)), torch.eye(3)
    for seed in range(8):
        mixed, labels = Mix("cutmix")(images, weights, seeded(seed))
        changed = (mixed != images).any(0).any(0)
        ys, xs = changed.nonzero().unbind(1)
        box = (
            (int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1)
            if len(xs)
            else (0, 0, 0, 0)
        )
        area = (box[2] - box[0]) * (box[3] - box[1])
        for index in range(3):
            expected = slow.cutmix(images[index].tolist(), images[index - 1].tolist(), box)
            assert torch.equal(mixed[index], torch.tensor(expected))
            assert float(labels[index, index]) == pytest.approx(1 - area / 64)
            assert float(labels[index].sum()) == pytest.approx(1)


def test_alpha_says_how_much_is_mixed() -> None:
    """λ ~ Beta(α, α) is near a half for large α, and near 0 or 1 for small ones."""
    images, weights = torch.rand(2, 1, 4, 4, generator=seeded(5)), torch.eye(2)
    far = {
        alpha: [
            abs(float(Mix("mixup", alpha)(images, weights, seeded(seed))[1][0, 0]) - 0.5)
            for seed in range(40)
        ]
        for alpha in (0.05, 100.0)
    }
    assert max(far[100.0]) < 0.2
    assert sum(each > 0.4 for each in far[0.05]) > 30


def test_a_share_of_batches_is_mixed() -> None:
    images, weights = torch.rand(2, 1, 8, 8, generator=seeded(5)), torch.eye(2)
    mix = Mix("mixup", share=0.5)
    untouched = sum(mix(images, weights, seeded(seed))[0] is images for seed in range(200))
    assert 70 <= untouched <= 130


def test_mixes_draw_from_the_generator_alone() -> None:
    images, weights = torch.rand(4, 1, 8, 8, generator=seeded(6)), torch.eye(4)
    before = torch.get_rng_state()
    drawn = [Mix("cutmix")(images, weights, seeded(7)) for _ in range(2)]
    torch.manual_seed(1)
    drawn.append(Mix("cutmix")(images, weights, seeded(7)))
    assert all(torch.equal(drawn[0][0], other[0]) for other in drawn)
    torch.set_rng_state(before)
    generator = seeded(8)
    Mix("mixup")(images, weights, generator)
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(generator.get_state(), seeded(8).get_state())


def test_names_of_augmentations_and_mixes() -> None:
    assert augmentation_and_mix("dsa") == ("dsa", None)
    assert augmentation_and_mix("cutmix") == ("none", "cutmix")
    assert augmentation_and_mix("colour-and-warp+cutmix") == ("colour-and-warp", "cutmix")
    for name in ("dsa+", "dsa+dsa", "cutmix+mixup", "+cutmix", ""):
        with pytest.raises(UnknownNameError, match="unknown augmentation"):
            augmentation_and_mix(name)
    with pytest.raises(UnknownNameError, match=r"did you mean 'dsa\+cutmix'"):
        augmentation_and_mix("dsa+cutmx")


# ----------------------------------------------------------------------------------- augmentations


def test_resized_crops_equal_their_formula(monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.transforms import v2

    boxes: list[tuple[int, int, int, int]] = []
    drawn = v2.RandomResizedCrop.make_params

    def watched(self: v2.RandomResizedCrop, inputs: list[Tensor]) -> dict[str, int]:
        assert tuple(self.scale) == (0.08, 1.0)
        params: dict[str, int] = drawn(self, inputs)
        boxes.append((params["top"], params["left"], params["height"], params["width"]))
        return params

    monkeypatch.setattr(v2.RandomResizedCrop, "make_params", watched)
    images = torch.rand(5, 2, 8, 8, generator=seeded(9))
    cropped = ResizedCrop(flips=False)(images, seeded(10))
    assert len(set(boxes)) > 3  # each image has its own
    for image, result, box in zip(images, cropped, boxes, strict=True):
        expected = torch.tensor(slow.enlarged(image.tolist(), box, 8))
        assert torch.allclose(result, expected, atol=1e-5)


def test_resized_crops_are_mirrored_half_the_time() -> None:
    """Of images whose columns rise from left to right."""
    images = torch.arange(8.0).expand(60, 1, 8, 8)
    for flips, least, most in ((True, 15, 45), (False, 0, 0)):
        cropped = ResizedCrop(flips)(images, seeded(17))
        falling = (cropped[:, 0, 4, 0] > cropped[:, 0, 4, -1]).sum()
        assert least <= int(falling) <= most


def test_the_four_patches_of_an_image_are_shuffled_and_cropped() -> None:
    """Without the crop, each image is one of the four that halves can make; the crop is a large
    one.
    """
    images = torch.arange(16.0).view(1, 1, 4, 4).repeat(200, 1, 1, 1)
    shuffled: list[Tensor] = []

    def watched(crop: ResizedCrop, given: Tensor, generator: torch.Generator) -> Tensor:
        assert (crop.flips, crop.least) == (False, 0.5)
        shuffled.append(given)
        return given

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ResizedCrop, "__call__", watched)
        ShuffledPatches(flips=False)(images, seeded(14))
    left, right = images[0, 0, :, :2], images[0, 0, :, 2:]
    columns = (torch.cat([left, right], 1), torch.cat([right, left], 1))
    expected = [
        torch.cat(part, 0) for one in columns for part in ((one[:2], one[2:]), (one[2:], one[:2]))
    ]
    kinds = [sum(torch.equal(one[0], kind) for one in shuffled[0]) for kind in expected]
    assert sum(kinds) == 200
    assert min(kinds) > 30
    pictures = torch.rand(4, 3, 8, 8, generator=seeded(15))
    changed = ShuffledPatches()(pictures, seeded(16))
    assert changed.shape == pictures.shape
    assert torch.equal(changed, ShuffledPatches()(pictures, seeded(16)))


def test_flips_are_drawn_per_image_where_they_keep_the_class() -> None:
    images = torch.rand(40, 1, 4, 4, generator=seeded(11))
    flipped = Flip()(images, seeded(12))
    mirrored = [
        torch.equal(now, before.flip(2)) for now, before in zip(flipped, images, strict=True)
    ]
    assert 8 < sum(mirrored) < 32
    assert torch.equal(flipped, flip(images, torch.rand(40, 1, generator=seeded(12))))
    assert Flip(flips=False)(images, seeded(12)) is images


@pytest.mark.parametrize("flips", [True, False])
def test_colour_and_warp_equals_its_formula(flips: bool) -> None:
    """Mirrored, coloured and one of crop, scale and rotate, image by image."""
    images, names = torch.rand(4, 3, 8, 8, generator=seeded(13)), set()
    for seed in range(8):
        generator, expected = seeded(seed), list(images)
        drawn = [("flip", torch.rand(4, 1, generator=generator))] if flips else []
        drawn.append(("colour", torch.rand(4, 4, generator=generator)))
        name = ("crop", "scale", "rotate")[int(torch.randint(3, (1,), generator=generator))]
        drawn.append((name, torch.rand(4, 4, generator=generator)))
        for operation, amounts in drawn:
            expected = [
                FORMULAS[operation](image, u)
                for image, u in zip(expected, amounts.tolist(), strict=True)
            ]
        names.add(name)
        result = ColourAndWarp(flips)(images, seeded(seed))
        assert torch.allclose(result, torch.stack(expected), atol=1e-4), name
    assert len(names) == 3


# ---------------------------------------------------------------------------------------- teaching


@pytest.fixture
def teacher(tiny: TrainSet, run: Run) -> Teacher:
    return trained_teacher(TeacherSettings(epochs=2, lr=0.05, augment="none"), tiny, run)


def test_training_with_a_teacher_equals_a_plain_loop(
    teacher: Teacher, tiny: TrainSet, run: Run
) -> None:
    """AdamW, CutMix and softened answers to the mixed images; the draws are taken in the same
    order.
    """
    schedule = Schedule(3, 0.002, 32, weight_decay=0.01, decay=0.0, optimizer="adamw")
    answers = teacher.answers(run)
    asked = Supervision(Loss("kl", 4.0), 10, Mix("cutmix"), answers)
    network = ConvNet(tiny.spec.shape, 10, activation="sigmoid")
    initialise(network, run.generator("network"))
    twin = copy.deepcopy(network)
    trained = Trainer(network, run.machine, supervision=asked).train(
        tiny.values, tiny.labels, schedule, run
    )
    adam = torch.optim.AdamW(twin.parameters(), 0.002, weight_decay=0.01)
    for epoch in range(3):
        for group in adam.param_groups:
            group["lr"] = 0.002 * 0.5 * (1 + torch.cos(torch.tensor(torch.pi * epoch / 3)).item())
        generator = run.generator("epoch", epoch)
        total = 0.0
        for chosen in torch.randperm(120, generator=generator).split(32):
            images, _ = Mix("cutmix")(tiny.values(chosen), torch.eye(len(chosen)), generator)
            with torch.no_grad():
                wanted = (teacher.network(images) / 4).softmax(1)
            loss = F.kl_div((twin(images) / 4).log_softmax(1), wanted, reduction="batchmean")
            adam.zero_grad()
            loss.backward()
            adam.step()
            total += loss.item() * len(chosen)
    assert trained == pytest.approx(total / 120, abs=1e-5)
    for ours, theirs in zip(network.parameters(), twin.parameters(), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-4)


@pytest.mark.parametrize("name", ["kl", "mse", "mse-gt"])
def test_side_by_side_is_one_after_the_other(
    name: LossName, teacher: Teacher, tiny: TrainSet, run: Run
) -> None:
    asked = Supervision(Loss(name, 4.0), 10, Mix("mixup"), teacher.answers(run))
    schedule, network = Schedule(epochs=1, batch=32), build_network("convnet", tiny.spec)
    parts = [run.part(f"network {index}") for index in range(2)]
    losses = Ensemble(network, run.machine, 2, asked).train(
        tiny.values, tiny.labels, schedule, parts
    )
    initialise(network, parts[1].generator("network"))
    trainer = Trainer(network, run.machine, supervision=asked)
    alone = trainer.train(tiny.values, tiny.labels, schedule, parts[1])
    assert losses[1] == pytest.approx(alone, rel=1e-3)


def test_a_teacher_is_trained_once_whoever_asks(
    tiny: TrainSet, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = TeacherSettings(epochs=1, augment="none")
    shared = replace(run, shared=tmp_path)
    first = trained_teacher(settings, tiny, shared)
    assert len(list(tmp_path.glob("teacher-*/result.pt"))) == 1
    monkeypatch.setattr(Trainer, "train", None)  # nothing is trained any more
    again = trained_teacher(settings, tiny, replace(shared, seed=5))  # a set of another seed
    assert all(
        torch.equal(ours, theirs)
        for ours, theirs in zip(
            first.network.state_dict().values(), again.network.state_dict().values(), strict=True
        )
    )
    with pytest.raises(TypeError):
        trained_teacher(replace(settings, seed=1), tiny, shared)
    with pytest.raises(TypeError):  # without what an earlier run left
        trained_teacher(settings, tiny, replace(shared, resumption=Resumption(False, 4e9)))


def test_a_teacher_of_other_data_is_refused(teacher: Teacher, colourful: TrainSet) -> None:
    teacher.require(teacher.spec)
    with pytest.raises(
        MismatchError,
        match=r"trained on digits \(1×8×8 in 10 classes\), and the set is of colourful",
    ):
        teacher.require(colourful.spec)


def test_schedules_of_steps_and_of_half_a_cosine() -> None:
    """IDC: ×0.2 at two thirds and at five sixths; RDED: 0.5·(1 + cos(π·step/epochs/2))."""
    steps = Schedule(epochs=1000, decay=0.2, decay_at=(2 / 3, 5 / 6))
    rates = [steps.rate(epoch) for epoch in (0, 665, 666, 832, 833, 999)]
    assert rates == pytest.approx([0.01, 0.01, 0.002, 0.002, 0.0004, 0.0004])
    half = Schedule(epochs=300, lr=0.001, decay=0.0, cosine_over=2.0)
    assert [half.rate(0), half.rate(150), half.rate(300)] == pytest.approx(
        [0.001, 0.001 * 0.5 * (1 + 2**-0.5), 0.0005]
    )
