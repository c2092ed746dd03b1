"""What all generative baselines promise: one training for every budget, pixels, sheets and losses
over time, all sizes of images.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from dcbench.experiments.presets import build
from dcbench.families.generative import Generative, RealImages, begin, due, stages
from dcbench.images import ImageSpec, Space, TrainSet
from dcbench.run import Run
from dcbench.system.errors import DataError
from dcbench.system.files import read_tensors
from dcbench.system.machine import Machine

SMALL: dict[str, dict[str, Any]] = {
    "cgan": {
        "iterations": 4,
        "batch": 4,
        "latent": 8,
        "latent_units": 8,
        "label_units": 8,
        "width": 4,
    },
    "biggan": {
        "iterations": 4,
        "batch": 4,
        "turns": 2,
        "width": 8,
        "latent_chunk": 2,
        "embedding": 4,
        "average_start": 1,
    },
    "gmmn": {"iterations": 4, "batch": 4, "latent": 4, "width": 16},
    "dcvae": {"iterations": 4, "batch": 4, "turns": 2, "latent": 8, "width": 8, "negatives": 16},
}
CODES = {"autoencoder": True, "code": 4, "code_width": 8, "code_iterations": 3}
NAMES = tuple(SMALL)


def small(name: str, **changes: Any) -> Generative:
    model = build(name, "paper", {**SMALL[name], **changes})
    assert isinstance(model, Generative)
    return model


def images_of(channels: int, size: int) -> TrainSet:
    spec = ImageSpec("made-up", "0" * 12, channels, size, ("one", "two", "three"))
    images = torch.randint(
        0, 256, (12, *spec.shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(size)
    )
    return TrainSet(
        spec,
        images,
        torch.arange(12) % 3,
        Space("normalised", (0.5,) * channels, (0.25,) * channels),
    )


@pytest.mark.parametrize(("channels", "size"), [(3, 32), (1, 28), (1, 8), (3, 64)])
@pytest.mark.parametrize("name", NAMES)
def test_images_of_all_sizes_are_drawn_in_the_space_of_the_training_set(
    name: str, channels: int, size: int, run: Run
) -> None:
    train = images_of(channels, size)
    drawn = small(name, iterations=1).distill(train, 2, run)
    assert drawn.images.shape == (6, channels, size, size)
    assert drawn.labels.tolist() == [0, 0, 1, 1, 2, 2]
    pixels = train.space.leave(drawn.images)  # before any clipping
    assert -1e-5 <= float(pixels.min()) <= float(pixels.max()) <= 1 + 1e-5
    assert float(pixels.std()) > 0
    # after one step so narrow, their units may all be silent: the long tests judge variety
    if name not in ("gmmn", "dcvae"):
        assert float(torch.pdist(drawn.images.flatten(1)).min()) > 0  # no two alike


@pytest.mark.parametrize("size", [9, 30, 3])
def test_a_size_that_no_doubling_leads_to_is_refused(size: int, run: Run) -> None:
    with pytest.raises(DataError, match=f"{size} is no such size"):
        small("cgan").distill(images_of(1, size), 1, run)


@pytest.mark.parametrize(
    ("size", "expected"), [(8, (4, 1)), (28, (7, 2)), (32, (4, 3)), (64, (4, 4)), (128, (4, 5))]
)
def test_maps_double_up_to_the_image(size: int, expected: tuple[int, int]) -> None:
    assert stages(images_of(1, size).spec) == expected


@pytest.mark.parametrize("changes", [{}, CODES], ids=["pixels", "codes"])
@pytest.mark.parametrize("name", NAMES)
def test_one_training_serves_every_budget(
    name: str, changes: dict[str, Any], tiny: TrainSet, machine: Machine, tmp_path: Path
) -> None:
    """And the images of a smaller budget are among those of a larger one."""
    if changes and name != "gmmn":
        pytest.skip("only gmmn has an autoencoder")
    counts: list[int] = []
    sets = []
    for ipc in (1, 10):
        done: set[tuple[str, int]] = set()
        run = Run(
            0,
            machine,
            shared=tmp_path,
            progress=lambda text, step, total, done=done: done.add((text, step)),  # type: ignore[misc]
        )
        sets.append(small(name, **changes).distill(tiny, ipc, run))
        counts.append(len(done))
        assert run.cost.seconds > 0  # what the training took is what the set took
        assert run.history
    assert counts[0] > 0
    assert counts[1] == 0
    one, ten = (drawn.images.unflatten(0, (10, -1)) for drawn in sets)
    assert torch.allclose(one[:, 0], ten[:, 0], atol=1e-5)
    for part in tmp_path.glob("gmmn-autoencoder-*/result.pt"):
        # an autoencoder is part of the training
        assert 0 < read_tensors(part)["seconds"] < run.cost.seconds
    other = small(name, **changes).distill(tiny, 1, Run(1, machine, shared=tmp_path))
    assert not torch.equal(other.images, sets[0].images)


@pytest.mark.parametrize("name", NAMES)
def test_losses_and_sheets_over_time_are_kept(
    name: str, tiny: TrainSet, machine: Machine, tmp_path: Path
) -> None:
    run = Run(0, machine, shared=tmp_path)
    model = small(name, iterations=20)
    model.distill(tiny, 1, run)
    (folder,) = tmp_path.glob(f"{name}-*")
    sheets = sorted(path.name for path in folder.glob("samples-*.png"))
    assert sheets == [f"samples-{step:07d}.png" for step in range(2, 21, 2)]
    rows = (folder / "history.csv").read_text(encoding="utf-8").splitlines()
    assert len(rows) == 21
    assert [row["step"] for row in run.history] == list(range(1, 21))
    named = {"gmmn": {"mmd"}}.get(name, {"generator_adversarial", "discriminator_adversarial"})
    assert named <= set(run.history[-1])


def test_a_field_of_the_drawing_does_not_train_anew(
    tiny: TrainSet, machine: Machine, tmp_path: Path
) -> None:
    for truncation in (None, 0.5):
        small("biggan", truncation=truncation).distill(tiny, 1, Run(0, machine, shared=tmp_path))
    assert len(list(tmp_path.glob("biggan-*"))) == 1
    small("biggan", lr=1e-3).distill(tiny, 1, Run(0, machine, shared=tmp_path))
    assert len(list(tmp_path.glob("biggan-*"))) == 2


@pytest.mark.parametrize("stop_at", range(1, 7))
def test_an_autoencoder_and_what_matches_its_codes_resume_in_the_same_bits(
    stop_at: int, tiny: TrainSet, run: Run, tmp_path: Path
) -> None:
    model = small("gmmn", **CODES)
    undisturbed = model.distill(tiny, 1, run)
    asked = iter([False] * (stop_at - 1) + [True])
    with pytest.raises(KeyboardInterrupt):
        model.distill(tiny, 1, replace(run, shared=tmp_path, stop=lambda: next(asked)))
    resumed = model.distill(tiny, 1, replace(run, shared=tmp_path))
    assert torch.equal(resumed.images, undisturbed.images)


def test_first_values_come_from_the_run_alone(run: Run) -> None:
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first = begin("network", lambda: nn.Linear(3, 3), run)
    assert torch.equal(state, torch.get_rng_state())
    torch.manual_seed(6)
    second, other = (
        begin("network", lambda: nn.Linear(3, 3), run),
        begin("another", lambda: nn.Linear(3, 3), run),
    )
    assert torch.equal(first.weight, second.weight)
    assert not torch.equal(first.weight, other.weight)


def test_real_images_are_drawn_with_their_labels_and_mirrored_where_that_is_asked_for(
    tiny: TrainSet, run: Run
) -> None:
    for flips in (False, True):
        images, labels = RealImages(tiny, run, flips).draw(200, run.generator("batch"))
        known = tiny.images.float() / 127.5 - 1
        mirrored = 0
        for image, label in zip(images, labels, strict=True):
            same, turned = (
                (known - other).abs().amax((1, 2, 3)) < 1e-6 for other in (image, image.flip(2))
            )
            assert label in tiny.labels[same | turned]
            mirrored += int(not same.any())
        assert (mirrored > 60) == flips


def test_labels_are_as_frequent_as_in_the_training_set(digits_of_two: TrainSet, run: Run) -> None:
    labels = RealImages(digits_of_two, run).draw_labels(4000, run.generator("labels"))
    assert float((labels == 1).float().mean()) == pytest.approx(0.75, abs=0.03)


@pytest.fixture
def digits_of_two() -> TrainSet:
    """One image of a class and three of another."""
    train = images_of(1, 8)
    return TrainSet(train.spec, train.images[:4], torch.tensor([0, 1, 1, 1]), train.space)


def test_something_due_so_often_is_due_so_often() -> None:
    assert [step for step in range(10) if due(step, 10, 5)] == [1, 3, 5, 7, 9]
    assert [step for step in range(3) if due(step, 3, 10)] == [0, 1, 2]


@pytest.mark.parametrize(
    ("total", "times"), [(900, 500), (999, 10), (2400, 500), (1600, 500), (1, 10)]
)
def test_something_due_at_most_so_often_is_not_due_more_often(total: int, times: int) -> None:
    assert (
        times / 2 < sum(due(step, total, times) for step in range(total)) <= times or total < times
    )


def test_all_that_makes_a_training_expensive_is_a_field() -> None:
    for name, fields in SMALL.items():
        assert set(fields) <= set(asdict(build(name, "paper")))  # type: ignore[call-overload]
