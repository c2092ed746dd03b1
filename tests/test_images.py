"""Sets of images and the spaces they live in."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from dcbench.images import ImageSpec, Space, SyntheticSet, TestSet, TrainSet
from dcbench.system.errors import DataError, FileFormatError
from dcbench.system.files import read_tensors, write_tensors
from dcbench.system.machine import Machine

SPEC = ImageSpec("toy", "0123456789ab", channels=3, size=4, class_names=("cat", "dog", "owl"))
NORMALISED = Space("normalised", (0.5, 0.25, 0.75), (0.25, 0.5, 0.2))


def whitened() -> Space:
    generator = torch.Generator().manual_seed(3)
    square = torch.randn(48, 48, generator=generator)
    return Space(
        "zca",
        NORMALISED.mean,
        NORMALISED.std,
        torch.randn(48, generator=generator),
        square @ square.T / 48 + torch.eye(48),
    )


SPACES = {"raw": Space(), "normalised": NORMALISED, "zca": whitened()}


def random_bytes(count: int, seed: int = 0) -> Tensor:
    return torch.randint(
        0,
        256,
        (count, *SPEC.shape),
        dtype=torch.uint8,
        generator=torch.Generator().manual_seed(seed),
    )


def train_set(labels: list[int], space: Space = NORMALISED) -> TrainSet:
    return TrainSet(SPEC, random_bytes(len(labels)), torch.tensor(labels), space)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("kind", SPACES)
def test_leaving_a_space_undoes_entering_it(kind: str) -> None:
    pixels = random_bytes(20).float() / 255
    space = SPACES[kind]
    assert torch.allclose(space.leave(space.enter(pixels)), pixels, atol=2e-6)
    beyond = pixels * 4 - 2  # a synthetic image may leave [0, 1] and must come back all the same
    assert torch.allclose(space.leave(space.enter(beyond)), beyond, atol=1e-5)


def test_normalisation_is_per_channel() -> None:
    values = NORMALISED.enter(torch.ones(1, 3, 4, 4))
    assert torch.allclose(values[0, :, 0, 0], torch.tensor([2.0, 1.5, 1.25]))


def test_whitening_multiplies_the_centred_values_from_the_right() -> None:
    space = SPACES["zca"]
    assert space.zca_mean is not None
    assert space.zca_matrix is not None
    pixels = random_bytes(5).float() / 255
    centred = NORMALISED.enter(pixels).flatten(1) - space.zca_mean
    assert torch.allclose(space.enter(pixels).flatten(1), centred @ space.zca_matrix, atol=1e-5)


@pytest.mark.parametrize("kind", SPACES)
def test_a_space_survives_a_file(kind: str, tmp_path: Path) -> None:
    write_tensors(tmp_path / "space.pt", SPACES[kind].to_plain())
    read = Space.from_plain(read_tensors(tmp_path / "space.pt"))
    assert read.fingerprint == SPACES[kind].fingerprint
    pixels = random_bytes(3).float() / 255
    assert torch.equal(read.enter(pixels), SPACES[kind].enter(pixels))


@pytest.mark.parametrize(
    "plain",
    [
        {},
        {"kind": "normalised", "mean": [0.5]},
        {"kind": "normalised", "mean": ["x"], "std": [1.0]},
        {"kind": "sphere", "mean": [], "std": []},
        {"kind": "zca", "mean": [0.5], "std": [0.5]},
        {"kind": "zca", "mean": [0.5], "std": [0.5], "zca_matrix": torch.eye(4)},
        {
            "kind": "normalised",
            "mean": [0.5],
            "std": [0.5],
            "zca_mean": torch.zeros(4),
            "zca_matrix": torch.eye(4),
        },
    ],
)
def test_what_is_not_a_space_is_refused(plain: Mapping[str, Any]) -> None:
    with pytest.raises(FileFormatError, match="space"):
        Space.from_plain(plain)


def test_fingerprints_tell_spaces_apart() -> None:
    spaces = [*SPACES.values(), Space("normalised", (0.5, 0.25, 0.75), (0.25, 0.5, 0.3))]
    assert len({space.fingerprint for space in spaces}) == len(spaces)


@pytest.mark.parametrize("kind", SPACES)
def test_values_are_the_chosen_images_in_the_space(kind: str) -> None:
    chosen = torch.tensor([4, 0, 2])
    train = train_set([0, 1, 2, 0, 1], SPACES[kind])
    test = TestSet(SPEC, train.images, train.labels, SPACES[kind])
    expected = SPACES[kind].enter(train.images[chosen].float() / 255)
    for values in (train.values(chosen), test.values(chosen)):
        assert values.dtype == torch.float32
        assert torch.allclose(values, expected, atol=1e-5)
    assert torch.allclose(test.values(slice(1, 3)), train.values(torch.tensor([1, 2])), atol=1e-5)
    assert len(train) == len(test) == 5


def test_whitened_training_values_do_not_depend_on_how_many_are_asked() -> None:
    train = train_set([index % 3 for index in range(2500)], SPACES["zca"])
    assert torch.allclose(
        train.values(slice(990, 1010)),
        SPACES["zca"].enter(train.images[990:1010].float() / 255),
        atol=1e-5,
    )


def test_a_draw_gives_different_images_of_the_class() -> None:
    train = train_set([index % 3 for index in range(60)])
    for label in range(3):
        drawn = train.draw(label, 12, seeded(1))
        assert len(set(drawn.tolist())) == 12
        assert (train.labels[drawn] == label).all()


def test_draws_of_all_classes_are_balanced() -> None:
    train = train_set([0] * 50 + [1] * 7 + [2] * 20)
    drawn = torch.cat([train.draw(label, 7, seeded(label)) for label in range(3)])
    assert torch.bincount(train.labels[drawn]).tolist() == [7, 7, 7]


def test_a_draw_repeats_with_its_seed_only() -> None:
    train = train_set([0] * 40 + [1, 2])
    assert torch.equal(train.draw(0, 10, seeded(5)), train.draw(0, 10, seeded(5)))
    assert not torch.equal(train.draw(0, 10, seeded(5)), train.draw(0, 10, seeded(6)))
    generator = seeded(5)
    assert not torch.equal(train.draw(0, 10, generator), train.draw(0, 10, generator))


def test_every_image_of_a_class_is_drawn_in_the_long_run() -> None:
    train = train_set([0] * 10 + [1, 2])
    generator = seeded(0)
    assert {index for _ in range(40) for index in train.draw(0, 2, generator).tolist()} == set(
        range(10)
    )


def test_a_class_with_fewer_images_gives_all_it_has() -> None:
    train = train_set([2, 0, 1, 0, 2, 2])
    assert sorted(train.draw(2, 256, seeded(0)).tolist()) == [0, 4, 5]


def test_members_of_a_class_are_listed_in_order() -> None:
    assert [members.tolist() for members in train_set([2, 0, 1, 0, 2, 2]).by_class] == [
        [1, 3],
        [2],
        [0, 4, 5],
    ]


def test_a_budget_above_the_smallest_class_is_refused_by_name() -> None:
    train = train_set([0] * 5 + [1] * 2 + [2] * 4)
    train.require(2)
    with pytest.raises(DataError, match=r"ipc 3 .*'dog' of toy has 2 images"):
        train.require(3)


def test_hard_labels_of_soft_ones_are_the_largest_entries() -> None:
    soft = torch.tensor([[0.1, 0.2, 0.7], [0.9, 0.05, 0.05]])
    assert SyntheticSet(SPEC, torch.zeros(2, *SPEC.shape), soft, Space()).hard_labels.tolist() == [
        2,
        0,
    ]
    assert SyntheticSet(
        SPEC, torch.zeros(2, *SPEC.shape), torch.tensor([1, 2]), Space()
    ).hard_labels.tolist() == [1, 2]


def test_pixels_of_a_synthetic_set_are_clipped() -> None:
    pixels = torch.tensor([-0.5, 0.25, 1.5]).view(1, 3, 1, 1).expand(2, *SPEC.shape)
    shown = SyntheticSet(SPEC, NORMALISED.enter(pixels), torch.tensor([0, 1]), NORMALISED).pixels
    assert torch.allclose(shown[0, :, 0, 0], torch.tensor([0.0, 0.25, 1.0]), atol=1e-6)


def test_a_spec_knows_its_shape_and_classes() -> None:
    assert (SPEC.shape, SPEC.classes) == ((3, 4, 4), 3)


def test_a_set_that_is_where_it_is_wanted_stays_itself() -> None:
    """What it has whitened, 0.6 GB of CIFAR, is not whitened and kept twice."""
    train = train_set([0, 1, 2], SPACES["zca"])
    assert train.held_on(Machine(torch.device("cpu"), 1, "fp32")) is train
    moved = train.held_on(Machine(torch.device("meta"), 1, "fp32"))
    assert (moved.images.device.type, train.images.device.type, moved.labels is train.labels) == (
        "meta",
        "cpu",
        True,
    )


def test_a_set_that_a_gpu_has_no_room_for_stays_where_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    train = train_set([0, 1, 2], SPACES["zca"])
    free = 2 * train.images.nbytes
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _device: (free, 80 << 30))
    gpu = Machine(torch.device("cuda"), 1, "fp32")
    assert gpu.has_room(train.images.nbytes)
    assert train.held_on(replace(gpu, device=torch.device("cpu"))) is train
    free -= 1
    assert train.held_on(gpu) is train


def test_a_whitening_is_taken_to_another_device_once_and_to_no_other_process() -> None:
    space = SPACES["zca"]
    for _ in range(2):
        assert space.enter(torch.zeros(2, *SPEC.shape, device="meta")).device.type == "meta"
        space.leave(torch.zeros(2, *SPEC.shape, device="meta"))
    assert sorted(name for name, _, _ in space._elsewhere) == [
        "_colouring",
        "zca_matrix",
        "zca_mean",
    ]
    again = pickle.loads(pickle.dumps(space))
    assert set(vars(again)) == {"kind", "mean", "std", "zca_mean", "zca_matrix"}
    assert again.fingerprint == space.fingerprint
