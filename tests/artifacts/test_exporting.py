"""Exported sets come back: by our importers, by ``datasets`` and by torchvision."""

from __future__ import annotations

import json
import os
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dcbench.artifacts.artifact import Artifact, read_artifact, write_artifact
from dcbench.artifacts.exporting import FORMATS, Exported, export_set
from dcbench.artifacts.importers.catalogue import find_layout
from dcbench.artifacts.importers.importing import import_set
from dcbench.datasets.loading import Loaded
from dcbench.images import ImageSpec, Space, SyntheticSet, TrainSet
from dcbench.system.errors import MismatchError, StorageError
from tests.commandline import ask, done

HALF_A_LEVEL = 0.5 / 255 + 1e-6
ORIGIN = {"method": "drawn", "ipc": 2, "seed": 0}


def artifact_of(synthetic: SyntheticSet) -> Artifact:
    return Artifact(synthetic, ORIGIN, "0" * 64)


def drawn(spec: ImageSpec, space: Space, beyond: float = 0.0) -> SyntheticSet:
    """Two images of each class, in no order of classes, with pixels up to ``beyond`` outside."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(spec.classes).repeat(2)
    pixels = torch.rand(len(labels), *spec.shape, generator=generator)
    return SyntheticSet(spec, space.enter(pixels * (1 + 2 * beyond) - beyond), labels, space)


@pytest.fixture(params=["normalised", "raw"])
def synthetic(request: pytest.FixtureRequest, digits: Loaded) -> SyntheticSet:
    space = Space() if request.param == "raw" else digits.train.space
    return drawn(digits.spec, space, beyond=0.1)


def read_back(exported: Exported, synthetic: SyntheticSet) -> SyntheticSet:
    """What our importer makes of the file, in the space that the set was in."""
    layout = find_layout(exported.import_options[exported.import_options.index("--as") + 1])
    pixels = "--space" not in exported.import_options
    return import_set(
        exported.path, layout, synthetic.spec, synthetic.space, pixels=pixels
    ).synthetic


@pytest.mark.parametrize("name", ["safetensors", "npz"])
def test_tensors_keep_every_bit_of_the_pixels(
    tmp_path: Path, synthetic: SyntheticSet, name: str
) -> None:
    path = tmp_path / f"set{FORMATS[name].ending}"
    exported = export_set(artifact_of(synthetic), path, name)
    again = read_back(exported, synthetic)
    assert torch.equal(again.labels, synthetic.labels)
    pixels = synthetic.space.leave(synthetic.images)
    assert torch.equal(again.images, synthetic.space.enter(pixels))
    if synthetic.space.kind == "raw":
        assert again.content_hash == synthetic.content_hash
    assert "kept as they are" in exported.warnings[0]


@pytest.mark.parametrize("name", ["safetensors", "npz"])
def test_soft_labels_come_back_in_every_bit(tmp_path: Path, digits: Loaded, name: str) -> None:
    hard = drawn(digits.spec, Space())
    soft = torch.rand(len(hard), 10, generator=torch.Generator().manual_seed(1)).double()
    synthetic = replace(hard, labels=(soft / soft.sum(1, keepdim=True)).float())
    exported = export_set(artifact_of(synthetic), tmp_path / f"set{FORMATS[name].ending}", name)
    assert read_back(exported, synthetic).content_hash == synthetic.content_hash


@pytest.mark.parametrize("name", ["folder", "parquet"])
def test_pictures_are_at_most_half_a_level_off(
    tmp_path: Path, synthetic: SyntheticSet, name: str
) -> None:
    exported = export_set(artifact_of(synthetic), tmp_path / "set", name)
    again = read_back(exported, synthetic)
    order = torch.argsort(synthetic.labels, stable=True) if name == "folder" else slice(None)
    assert torch.equal(again.labels, synthetic.labels[order])
    assert float((again.pixels - synthetic.pixels[order]).abs().max()) <= HALF_A_LEVEL
    assert "clipped to it" in exported.warnings[0]


@pytest.mark.parametrize("name", ["folder", "parquet"])
def test_pictures_hold_no_soft_labels(tmp_path: Path, digits: Loaded, name: str) -> None:
    synthetic = replace(drawn(digits.spec, Space()), labels=torch.full((20, 10), 0.1))
    with pytest.raises(MismatchError, match=r"soft.*--as safetensors or npz"):
        export_set(artifact_of(synthetic), tmp_path / "set", name)
    assert not list(tmp_path.iterdir())


def test_whitening_is_undone(tmp_path: Path, digits: Loaded) -> None:
    pixels = 8 * 8
    matrix = torch.eye(pixels) * 2 + 0.01
    space = Space("zca", (0.3,), (0.4,), torch.full((pixels,), 0.1), matrix)
    synthetic = drawn(digits.spec, space)
    export_set(artifact_of(synthetic), tmp_path / "set.npz", "npz")
    with np.load(tmp_path / "set.npz") as stored:
        np.testing.assert_allclose(stored["images"], synthetic.pixels.numpy(), atol=1e-5)


def test_torchvision_reads_the_folder_in_colour(tmp_path: Path, colourful: TrainSet) -> None:
    from torchvision.datasets import ImageFolder

    spec = replace(colourful.spec, class_names=("one", "three", "two"))  # in ImageFolder's order
    synthetic = drawn(spec, colourful.space)
    export_set(artifact_of(synthetic), tmp_path / "set", "folder")
    found: Any = ImageFolder(str(tmp_path / "set"))
    assert tuple(found.classes) == spec.class_names
    order = torch.argsort(synthetic.labels, stable=True)
    assert [label for _, label in found] == synthetic.labels[order].tolist()
    for (picture, _), pixels in zip(found, synthetic.pixels[order], strict=True):
        values = torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 255
        assert float((values - pixels).abs().max()) <= HALF_A_LEVEL


def test_datasets_reads_the_parquet(
    tmp_path: Path, digits: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(os.environ, "HF_DATASETS_OFFLINE", "1")
    datasets: Any = pytest.importorskip("datasets")
    synthetic = drawn(digits.spec, digits.train.space)
    export_set(artifact_of(synthetic), tmp_path / "set.parquet", "parquet")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the other library's own making
        found = datasets.load_dataset(
            "parquet",
            data_files=str(tmp_path / "set.parquet"),
            split="train",
            cache_dir=str(tmp_path / "cache"),
        )
    assert found.features["label"].names == list(digits.spec.class_names)
    assert found["label"][:] == synthetic.labels.tolist()
    for row, pixels in zip(found, synthetic.pixels, strict=True):
        values = torch.from_numpy(np.array(row["image"])).float() / 255
        assert float((values - pixels[0]).abs().max()) <= HALF_A_LEVEL


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_by_command_there_and_back(tmp_path: Path, digits: Loaded, name: str) -> None:
    synthetic = drawn(digits.spec, digits.train.space)
    write_artifact(tmp_path / "set.pt", synthetic, ORIGIN)
    answer = done("export", tmp_path / "set.pt", "--as", name, "--json").json
    assert answer["written"] == str(tmp_path / f"set{FORMATS[name].ending}")
    words = answer["import"].split()[1:]
    done(*words, "--to", tmp_path / "again.pt")
    again = read_artifact(tmp_path / "again.pt").synthetic
    bound = HALF_A_LEVEL if FORMATS[name].pictures else 1e-6
    order = torch.argsort(synthetic.labels, stable=True) if name == "folder" else slice(None)
    assert float((again.pixels - synthetic.pixels[order]).abs().max()) <= bound
    again_answer = ask("export", tmp_path / "set.pt", "--as", name)
    assert again_answer.code == 1
    assert "is there already" in again_answer.line


def test_the_same_set_gives_the_same_bytes_and_says_what_it_is(
    tmp_path: Path, digits: Loaded
) -> None:
    from safetensors import safe_open

    artifact = artifact_of(drawn(digits.spec, digits.train.space))
    for name in ("safetensors", "npz", "parquet"):
        for path in (tmp_path / "one", tmp_path / "two"):
            export_set(artifact, path, name)
        assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    export_set(artifact, tmp_path / "set.safetensors", "safetensors")
    with safe_open(str(tmp_path / "set.safetensors"), "pt") as file:
        about = json.loads(file.metadata()["dcbench"])
    assert about["method"] == "drawn"
    assert about["dataset"] == "digits"
    assert about["learned_in"] == "normalised"


def test_a_folder_of_others_stays(tmp_path: Path, digits: Loaded) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "theirs.txt").write_text("theirs", encoding="utf-8")
    with pytest.raises(StorageError, match="already exists"):
        export_set(artifact_of(drawn(digits.spec, Space())), tmp_path / "set", "folder")
    assert [path.name for path in tmp_path.rglob("*")] == ["set", "theirs.txt"]


@pytest.mark.parametrize("name", ["a/b", ".hidden", "two\nlines", "con:", ""])
def test_class_names_that_no_folder_can_have(tmp_path: Path, digits: Loaded, name: str) -> None:
    spec = replace(digits.spec, class_names=(name, *digits.spec.class_names[1:]))
    with pytest.raises(MismatchError, match="cannot be a folder's name"):
        export_set(artifact_of(drawn(spec, Space())), tmp_path / "set", "folder")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["set.safetensors", "set.parquet"])
def test_damaged_files_are_refused_in_one_line(tmp_path: Path, digits: Loaded, name: str) -> None:
    layout = "plain" if name == "set.safetensors" else "parquet"
    path = tmp_path / name
    fmt = "safetensors" if layout == "plain" else "parquet"
    export_set(artifact_of(drawn(digits.spec, Space())), path, fmt)
    path.write_bytes(path.read_bytes()[:-100])
    words = ("import", path, "--as", layout, "--dataset", "digits", "--to", tmp_path / "to.pt")
    answer = ask(*words)
    assert answer.code == 1
    assert str(path) in answer.line
    assert not (tmp_path / "to.pt").exists()
