"""What a newcomer does wrong first: the answer is one line with the whole command that would do."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dcbench.artifacts.importers.recognising import likely_layout
from dcbench.datasets.loading import Loaded
from dcbench.nas.catalogue import SPACES
from dcbench.nas.study import matching
from dcbench.system.errors import OutOfRangeError
from tests.commandline import QUICKLY, ask, done


def first_of_each_class(digits: Loaded) -> tuple[torch.Tensor, torch.Tensor]:
    """Pixels in [0, 1] and labels."""
    members = torch.stack([of_class[0] for of_class in digits.train.by_class])
    return digits.train.images[members].float() / 255, torch.arange(10)


def arrays(folder: Path, digits: Loaded) -> Path:
    images, labels = first_of_each_class(digits)
    np.savez(folder / "plain.npz", images=images.numpy(), labels=labels.numpy())
    return folder / "plain.npz"


def arrays_of_frepo(folder: Path, digits: Loaded) -> Path:
    images, labels = first_of_each_class(digits)
    centred = torch.nn.functional.one_hot(labels) - 0.1
    np.savez(folder / "set.npz", image=images.permute(0, 2, 3, 1).numpy(), label=centred.numpy())
    return folder / "set.npz"


def pair(folder: Path, digits: Loaded) -> Path:
    images, labels = first_of_each_class(digits)
    torch.save({"images": images, "labels": labels}, folder / "set.pt")
    return folder / "set.pt"


def experiments(folder: Path, digits: Loaded) -> Path:
    images, labels = first_of_each_class(digits)
    torch.save({"data": [[digits.train.space.enter(images), labels]]}, folder / "res_DM.pt")
    return folder / "res_DM.pt"


def bare_tensors(folder: Path, digits: Loaded) -> Path:
    images, labels = first_of_each_class(digits)
    torch.save(images, folder / "images_best.pt")
    torch.save(labels, folder / "labels_best.pt")
    return folder / "images_best.pt"


def class_folders(folder: Path, digits: Loaded) -> Path:
    images, labels = first_of_each_class(digits)
    for image, label in zip(images, labels.tolist(), strict=True):
        (folder / "set" / str(label)).mkdir(parents=True)
        pixels = (image[0] * 255).byte().numpy()
        Image.fromarray(pixels).save(folder / "set" / str(label) / "0.png")
    return folder / "set"


MADE: dict[str, tuple[Callable[[Path, Loaded], Path], str]] = {
    "arrays": (arrays, "plain"),
    "arrays of FRePo's": (arrays_of_frepo, "frepo"),
    "a dict": (pair, "plain"),
    "experiments": (experiments, "dm"),
    "bare tensors": (bare_tensors, "mtt"),
    "class folders": (class_folders, "folder"),
}


@pytest.mark.parametrize("kind", MADE)
def test_another_project_s_set_is_answered_with_the_command_that_evaluates_it(
    kind: str, tmp_path: Path, digits: Loaded
) -> None:
    make, layout = MADE[kind]
    path = make(tmp_path, digits)
    assert likely_layout(path) == layout
    answer = ask("evaluate", path, "--dataset", "digits")
    assert answer.code == 1
    wanted = f"dcbench evaluate {path} --dataset digits --as {layout}"
    assert answer.line.endswith(f": {wanted}"), answer.line
    if kind in ("arrays", "class folders"):  # the command that was said does
        words = shlex.split(wanted)[1:]
        done(*words, *QUICKLY, "--networks", "1", "--out", tmp_path / "out")


@pytest.mark.parametrize("command", ["show", "export"])
def test_commands_of_artifacts_say_how_to_import_a_set(
    command: str, tmp_path: Path, digits: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = class_folders(tmp_path, digits).relative_to(tmp_path)
    more = ("--as", "npz") if command == "export" else ()
    answer = ask(command, path, *more)
    assert answer.code == 1
    said = re.search(r"(dcbench import .*) && (dcbench .*)", answer.line)
    assert said, answer.line
    done(*shlex.split(said[1].replace("NAME", "digits"))[1:])
    done(*shlex.split(said[2])[1:])


def test_what_looks_like_no_layout_is_refused_as_before(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.pt").write_text("notes", encoding="utf-8")
    (tmp_path / "notes.npz").write_bytes(b"PK")
    for name in ("empty", "notes.pt", "notes.npz", "absent.pt"):
        assert likely_layout(tmp_path / name) == ""
        answer = ask("show", tmp_path / name, "--out", tmp_path / "picture.png")
        assert answer.code == 1
        assert "looks like" not in answer.line


def test_normalised_values_given_as_pixels_are_doubted_with_the_option(
    tmp_path: Path, digits: Loaded
) -> None:
    images, labels = first_of_each_class(digits)
    normalised = digits.train.space.enter(images)
    torch.save({"images": normalised, "labels": labels}, tmp_path / "set.pt")
    words = ("import", tmp_path / "set.pt", "--as", "plain", "--dataset", "digits")
    doubted = done(*words, "--to", tmp_path / "doubted.pt")
    assert "--space normalised" in doubted.err
    assert "far outside" in doubted.err
    believed = done(*words, "--space", "normalised", "--to", tmp_path / "believed.pt")
    assert "--space" not in believed.err
    read = torch.load(tmp_path / "believed.pt", weights_only=True)
    assert torch.equal(read["images"], normalised)


@pytest.mark.parametrize("name", SPACES)
def test_a_pattern_that_fits_no_architecture_is_answered_with_one_that_does(name: str) -> None:
    space = SPACES[name]
    with pytest.raises(
        OutOfRangeError, match=r"matches 'resnet.*'; they are named like"
    ) as refused:
        matching(space, ["resnet*"])
    said = re.search(r"--match '([^']+)'", str(refused.value))
    assert said
    assert matching(space, [said[1]])
