"""RDED: what is chosen, against looking at every crop one by one; how patches are stitched."""

from __future__ import annotations

import pytest
import torch
from torchvision.transforms import v2

from dcbench.experiments.presets import build
from dcbench.images import Space, TrainSet, stitched
from dcbench.methods.rded import RDED, framed, unframed
from dcbench.run import Run
from dcbench.training.augment import lent
from dcbench.training.teacher import TeacherSettings, trained_teacher
from tests.reference.supervision import softmax

FEW = {"teacher_epochs": 1, "preselected": 6, "crops": 3}


def test_the_surest_crop_of_each_image_and_the_surest_images_are_taken(
    tiny: TrainSet, run: Run
) -> None:
    made = build("rded", "paper", FEW).distill(tiny, 2, run)
    teacher = trained_teacher(TeacherSettings(normalisation="batch", epochs=1), tiny, run)
    teacher.network.eval()
    for label in range(3):
        members = tiny.draw(label, 6, run.generator("preselected", label))
        crop, best = v2.RandomResizedCrop(8, ratio=(1, 1), antialias=True), []
        with lent(run.generator("crops", label)):
            for index in members.tolist():
                own = []
                for _ in range(3):
                    values = tiny.space.enter(crop(tiny.images[index].float() / 255)[None])
                    logits = teacher.network(values)[0].tolist()
                    own.append((softmax(logits)[label], values))
                best.append(max(own, key=lambda pair: pair[0]))
        best.sort(key=lambda pair: -pair[0])
        expected = torch.cat([values for _, values in best[:2]])
        assert torch.allclose(made.images[2 * label : 2 * label + 2], expected, atol=1e-5)
    assert made.labels.tolist() == [label for label in range(10) for _ in range(2)]
    assert made.recipe == {}


def test_patches_are_framed_by_the_space_s_zero_and_stitched() -> None:
    """The surest patches of all images lie at the upper left: image i has patches i, n + i, …"""
    space = Space("normalised", (0.25,), (0.5,))
    patches = torch.arange(8.0).view(8, 1, 1, 1).expand(8, 1, 2, 2) / 8
    whole = framed(patches, 4, space)
    assert whole.shape == (8, 1, 4, 4)
    assert torch.allclose(whole[:, :, 1:3, 1:3], space.enter(patches))
    edges = whole.clone()
    edges[:, :, 1:3, 1:3] = 0
    assert float(edges.abs().max()) == 0
    images = space.leave(stitched(unframed(whole, 2), 2))
    assert images.shape == (2, 1, 4, 4)
    for image in range(2):
        corners = images[image, 0][[0, 0, 3, 3], [0, 3, 0, 3]] * 8
        assert corners.tolist() == pytest.approx([image, 2 + image, 4 + image, 6 + image])


def test_four_patches_need_four_times_the_images(tiny: TrainSet, run: Run) -> None:
    made = build("rded", "paper", {**FEW, "factor": 2}).distill(tiny, 2, run)
    assert made.images.shape == (20, 1, 8, 8)
    assert "3×3 patches" in RDED(factor=3).refuses(tiny, 1)
    assert RDED(factor=2).refuses(tiny, 1) == ""
