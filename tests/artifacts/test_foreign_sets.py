"""Sets in each of the public layouts, made of real digits, are evaluated by one command, and teach:
space and labels are right.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from dcbench.artifacts.artifact import read_artifact
from dcbench.datasets.loading import Loaded, load
from dcbench.datasets.places import Places
from dcbench.images import Space
from tests.commandline import CACHE, done

IPC = 4


def normalised(digits: Loaded) -> tuple[Tensor, Tensor]:
    members = torch.cat([rows[:IPC] for rows in digits.train.by_class])
    return digits.train.values(members), digits.train.labels[members]


def whitened(of_pixels: bool = True) -> tuple[Tensor, Tensor]:
    return normalised(
        load("digits", Places(Path("data"), Path(CACHE)), zca=True, of_pixels=of_pixels)
    )


def pixels(digits: Loaded) -> tuple[Tensor, Tensor]:
    images, labels = normalised(digits)
    return digits.train.space.leave(images), labels


def one_of_several_experiments(folder: Path, digits: Loaded) -> Path:
    images, labels = normalised(digits)
    path = folder / "res_DC_digits_ConvNet_4ipc.pt"
    torch.save(
        {
            "data": [[torch.zeros_like(images), labels], [images, labels]],
            "accs_all_exps": {"ConvNet": [np.float64(0.5)]},
        },
        path,
    )
    return path


def one_pair(folder: Path, digits: Loaded) -> Path:
    torch.save({"data": list(normalised(digits))}, folder / "syn_data_digits_ipc_4.pt")
    return folder / "syn_data_digits_ipc_4.pt"


def bare_tensors(folder: Path, digits: Loaded) -> Path:
    images, labels = normalised(digits)
    torch.save(images, folder / "digits_IPC4_images.pt")
    torch.save(labels.float(), folder / "digits_IPC4_labels.pt")
    return folder / "digits_IPC4_images.pt"


def best_in_whitened_space(folder: Path, digits: Loaded) -> Path:
    for name, tensor in zip(("images_best.pt", "labels_best.pt"), whitened(), strict=True):
        torch.save(tensor, folder / name)
    return folder / "images_best.pt"


def soft_logits_with_a_rate(folder: Path, digits: Loaded) -> Path:
    images, labels = whitened()
    torch.save(images, folder / "images.pt")
    torch.save(8 * torch.eye(10)[labels], folder / "labels.pt")
    torch.save(torch.tensor(0.02), folder / "lr.pt")
    return folder


def centred_arrays(folder: Path, digits: Loaded) -> Path:
    images, labels = whitened(of_pixels=False)
    np.savez(
        folder / "kip.npz",
        images=images.permute(0, 2, 3, 1).numpy(),
        labels=(torch.eye(10)[labels] - 0.1).numpy(),
    )
    return folder / "kip.npz"


def bare_tensors_of_pixels(folder: Path, digits: Loaded) -> Path:
    images, labels = pixels(digits)
    torch.save(images, folder / "digits_IPC4_images.pt")
    torch.save(labels, folder / "digits_IPC4_labels.pt")
    return folder / "digits_IPC4_images.pt"


def reduced_and_tiled(folder: Path, digits: Loaded) -> Path:
    images, labels = pixels(digits)
    rows = [
        torch.cat([torch.cat(list(part[:2]), 2), torch.cat(list(part[2:]), 2)], 1)
        for part in images.split(IPC)
    ]
    tiled = torch.nn.functional.interpolate(torch.stack(rows), size=images.shape[-1], mode="area")
    torch.save([tiled, labels[::IPC]], folder / "data.pt")
    return folder / "data.pt"


def a_folder_of_images(folder: Path, digits: Loaded) -> Path:
    for index, (image, label) in enumerate(zip(*pixels(digits), strict=True)):
        home = folder / "images" / digits.spec.class_names[int(label)]
        home.mkdir(parents=True, exist_ok=True)
        Image.fromarray((image[0] * 255).round().to(torch.uint8).numpy()).save(
            home / f"{index}.png"
        )
    return folder / "images"


MAKERS: list[tuple[str, Callable[[Path, Loaded], Path]]] = [
    ("dc", one_of_several_experiments),
    ("dm", one_of_several_experiments),
    ("datadam", one_pair),
    ("datadam", bare_tensors),
    ("mtt", best_in_whitened_space),
    ("mtt", soft_logits_with_a_rate),
    ("kip", centred_arrays),
    ("idc", reduced_and_tiled),
    ("folder", a_folder_of_images),
]


@pytest.mark.parametrize(
    ("layout", "make"),
    MAKERS,
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_each_layout_evaluates_with_one_command(
    tmp_path: Path, digits: Loaded, layout: str, make: Callable[[Path, Loaded], Path]
) -> None:
    path = make(tmp_path, digits)
    words = (
        "--as",
        layout,
        "--dataset",
        "digits",
        "--networks",
        "1",
        "--epochs",
        "40",
        "--threads",
        "1",
        "--out",
        tmp_path / "out",
    )
    (evaluation,) = done("evaluate", path, *words, "--json").json["evaluations"]
    # as stored
    assert (evaluation["method"], evaluation["ipc"]) == (layout, 1 if layout == "idc" else IPC)
    assert evaluation["mean"] > 0.4  # four times chance


@pytest.mark.parametrize(
    ("layout", "make", "words"),
    [
        ("idc", reduced_and_tiled, ()),
        ("folder", a_folder_of_images, ()),
        ("datadam", bare_tensors_of_pixels, ("--space", "pixels")),
    ],
)
def test_pixels_are_judged_in_the_space_that_the_protocol_is_meant_for(
    tmp_path: Path,
    digits: Loaded,
    layout: str,
    make: Callable[[Path, Loaded], Path],
    words: tuple[str, ...],
) -> None:
    """DSA adds up to a half to values whatever they are: little of a normalised image's range, all
    of a pixel's.
    """
    foreign = (
        make(tmp_path, digits),
        "--as",
        layout,
        "--dataset",
        "digits",
        "--to",
        tmp_path / "set.pt",
    )
    for space, told in ((digits.train.space, words), (Space(), ("--space", "raw"))):
        assert done("import", *foreign, *told, "--json").json["warnings"] == []
        synthetic = read_artifact(tmp_path / "set.pt").synthetic
        assert synthetic.space.fingerprint == space.fingerprint
        if layout != "idc":  # whose images are reduced
            assert torch.allclose(
                synthetic.images.mean(), space.enter(pixels(digits)[0]).mean(), atol=1e-3
            )


def test_files_of_one_name_are_kept_apart(tmp_path: Path, digits: Loaded) -> None:
    images, labels = normalised(digits)
    paths = [tmp_path / name / "images_best.pt" for name in ("a", "b")]
    for sign, path in zip((1, -1), paths, strict=True):
        path.parent.mkdir()
        torch.save(sign * images, path)
        torch.save(labels, path.with_name("labels_best.pt"))
    foreign = (
        "--as",
        "mtt",
        "--space",
        "normalised",
        "--dataset",
        "digits",
        "--networks",
        "1",
        "--epochs",
        "1",
        "--out",
        tmp_path / "out",
    )
    found = done("evaluate", *paths, *foreign, "--json").json["evaluations"]
    kept = [read_artifact(Path(each["synthetic"])) for each in found]
    assert [
        torch.equal(artifact.synthetic.images, sign * images)
        for sign, artifact in zip((1, -1), kept, strict=True)
    ] == [True, True]
    assert all(
        artifact.sha256[:12] in each["synthetic"]
        for artifact, each in zip(kept, found, strict=True)
    )
