"""Large and many-class data: published layouts, photographs of any size, decoding that goes on
where it stopped, bounded memory.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

import dcbench.families.feature_matching
from dcbench.datasets import Places, decoding, find, mapped
from dcbench.datasets.declaration import Dataset
from dcbench.datasets.loading import Loaded, load
from dcbench.datasets.preprocessing import require_zca
from dcbench.experiments.context import Workspace
from dcbench.experiments.grid import Grid
from dcbench.experiments.presets import build
from dcbench.families.feature_matching import MatchingStep
from dcbench.images import ImageSpec, Space, TrainSet
from dcbench.networks.catalogue import build_network
from dcbench.networks.convnet import ConvNet
from dcbench.run import Run
from dcbench.system.errors import DataError, DcbenchError, MismatchError, StorageError
from dcbench.system.machine import Machine
from tests.commandline import ROOT, ask, environment

LOG = logging.getLogger(__name__)

SUBSETS = ("imagenette", "imagewoof", "imagesquawk")


def jpeg(path: Path, pixels: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, "JPEG")


def photograph(random: np.random.Generator) -> NDArray[np.uint8]:
    """A smooth picture of a size of its own."""
    height, width = random.integers(20, 60, 2)
    coarse = random.integers(0, 256, (5, 5, 3), np.uint8)
    return np.asarray(
        Image.fromarray(coarse).resize((int(width), int(height)), Image.Resampling.BICUBIC)
    )


def wordnet_tree(folder: Path, ids: tuple[str, ...], train: int = 2, test: int = 1) -> Path:
    """ImageNet's layout, with photographs of many sizes."""
    random = np.random.default_rng(3)
    for split, count in (("train", train), ("val", test)):
        for id_ in ids:
            for index in range(count):
                jpeg(folder / split / id_ / f"{id_}_{index}.JPEG", photograph(random))
    return folder


def tiny_tree(root: Path, classes: int = 200) -> Path:
    """Tiny ImageNet's layout, its list of classes and its class folders in other orders, some
    images grey.
    """
    random = np.random.default_rng(4)
    folder = root / "tiny-imagenet-200"
    ids = [f"n{10_000_000 + 7 * index:08}" for index in range(classes)]
    lines = []
    for index, id_ in enumerate(reversed(ids)):
        jpeg(
            folder / "train" / id_ / "images" / f"{id_}_0.JPEG",
            np.full((64, 64, 3), classes - 1 - index, np.uint8),
        )
        (folder / "train" / id_ / f"{id_}_boxes.txt").write_text(f"{id_}_0.JPEG\t0\t0\t62\t62\n")
    for index in range(classes):
        label = int(random.integers(classes))
        jpeg(folder / "val" / "images" / f"val_{index}.JPEG", np.full((64, 64), label, np.uint8))
        lines.append(f"val_{index}.JPEG\t{ids[label]}\t0\t0\t62\t62\n")
    (folder / "val" / "val_annotations.txt").write_text("".join(lines))
    (folder / "test" / "images").mkdir(parents=True)
    (folder / "wnids.txt").write_text("\n".join(ids))
    return folder


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def tiny_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tiny")
    tiny_tree(root)
    return root


def refused(name: str, where: Places, kind: type[DcbenchError] = DataError, **options: Any) -> str:
    with pytest.raises(kind) as caught:
        load(name, where, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ----------------------------------------------------------------------------------------------------------------
# the layouts


def test_the_classes_are_those_of_table_1() -> None:
    text = {name: " ".join(find(name).class_names).lower() for name in SUBSETS}
    assert text["imagenette"].startswith(
        "tench english springer cassette player chainsaw church french horn garbage truck gas pump"
    )
    assert text["imagewoof"].startswith(
        "australian terrier border terrier samoyed beagle shih-tzu english foxhound rhodesian ridgeback"
    )
    assert (
        text["imagesquawk"]
        == "peacock flamingo macaw pelican king penguin bald eagle toucan ostrich black swan cockatoo"
    )
    ids = [id_ for name in SUBSETS for id_ in find(name).wordnet_ids]
    assert len(set(ids)) == 30


def test_mtt_s_subsets_are_its_repository_s() -> None:
    """Which names its classes by their numbers among the sorted ids of ImageNet-1K."""
    info = pytest.importorskip("timm.data").ImageNetInfo()
    numbers = {
        "imagemeow": [281, 282, 283, 284, 285, 291, 292, 290, 289, 287],
        "imagefruit": [953, 954, 949, 950, 951, 957, 952, 945, 943, 948],
        "imageyellow": [309, 986, 954, 951, 987, 779, 599, 291, 72, 11],
    }
    for name, of_classes in numbers.items():
        assert find(name).wordnet_ids == tuple(map(info.index_to_label_name, of_classes))


def test_imagenette_s_ids_are_torchvision_s() -> None:
    from torchvision.datasets import Imagenette

    published: dict[str, tuple[str, ...]] = Imagenette._WNID_TO_CLASS
    dataset = find("imagenette")
    for id_, name in zip(dataset.wordnet_ids, dataset.class_names, strict=True):
        assert name in published[id_]


def test_tiny_imagenet_s_own_layout(tiny_root: Path, cache: Path) -> None:
    loaded = load("tinyimagenet", Places(tiny_root, cache))
    assert loaded.spec.shape == (3, 64, 64)
    assert loaded.spec.class_names == tuple(sorted(loaded.spec.class_names))
    assert loaded.train.labels.tolist() == list(range(200))
    for part in (loaded.train, loaded.test):  # each image is of the colour of its label
        assert (part.images.float().mean((1, 2, 3)) - part.labels).abs().max() < 2


def test_numbers_in_the_names_of_tiny_imagenet_s_classes_are_in_the_order_of_their_values(
    tiny_root: Path, tmp_path: Path, cache: Path
) -> None:
    """``new2`` before ``new10``: as text, 198 of 200 would get another label."""
    shutil.copytree(tiny_root, tmp_path / "data")
    folder = tmp_path / "data" / "tiny-imagenet-200"
    annotations = folder / "val" / "val_annotations.txt"
    text = annotations.read_text()
    for label, path in enumerate(sorted((folder / "train").iterdir())):
        text = text.replace(path.name, f"new{label}")
        path.rename(folder / "train" / f"new{label}")
    annotations.write_text(text)
    for litter in (".ipynb_checkpoints", "__MACOSX"):
        (folder / "train" / litter / "images").mkdir(parents=True)
    (folder / "val" / "images" / "._val_0.JPEG").write_bytes(b"x")
    loaded = load("tinyimagenet", Places(tmp_path / "data", cache))
    assert loaded.spec.class_names == tuple(f"new{label}" for label in range(200))
    for part in (loaded.train, loaded.test):  # each image is of the colour of its label
        assert (part.images.float().mean((1, 2, 3)) - part.labels).abs().max() < 2


def test_numbers_are_refused_where_wordnet_ids_have_another_order(
    tmp_path: Path, cache: Path
) -> None:
    """ImageWoof's classes are in the order of the paper's table; most readers sort the ids."""
    folders = tuple(map(str, range(10)))
    for split in ("train", "test"):
        wordnet_tree(tmp_path / split, folders, 1, 0)
        (tmp_path / "imagewoof").mkdir(exist_ok=True)
        (tmp_path / split / "train").rename(tmp_path / "imagewoof" / split)
    message = refused("imagewoof", Places(tmp_path, cache))
    assert "folders 0, 1, 2, 3" in message
    assert "classes Australian terrier, Border terrier" in message


def annotated(old: str, new: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "val" / "val_annotations.txt"
        path.write_text(path.read_text().replace(old, new, 1))

    return change


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (
            annotated("val_3.JPEG", "../train/x.JPEG"),
            "line 4: wanted an image of val/images, once, and its class; got '../train/x.JPEG",
        ),
        (annotated("val_3.JPEG", "val_2.JPEG"), "line 4: wanted an image of val/images, once"),
        (annotated("\tn1", "\tn9"), "line 1: wanted an image of val/images, once, and its class"),
        (lambda folder: (folder / "val" / "images" / "val_7.JPEG").unlink(), "line 8: wanted"),
        (
            lambda folder: jpeg(
                folder / "val" / "images" / "more.JPEG", np.zeros((64, 64), np.uint8)
            ),
            "names 200 of the 201 images",
        ),
        (
            lambda folder: (folder / "val" / "val_annotations.txt").unlink(),
            "val_annotations.txt cannot be read",
        ),
        (
            lambda folder: next((folder / "train").iterdir()).rename(folder / "gone"),
            "holds 199 classes with a folder called images",
        ),
        (
            lambda folder: (folder / "train" / "x.JPEG").write_bytes(b""),
            "holds 1 images beside its class folders (x.JPEG)",
        ),
    ],
)
def test_a_tiny_imagenet_that_is_not_whole_is_refused(
    damage: Callable[[Path], None], reason: str, tiny_root: Path, tmp_path: Path, cache: Path
) -> None:
    shutil.copytree(tiny_root, tmp_path / "data")
    damage(tmp_path / "data" / "tiny-imagenet-200")
    assert reason in refused("tinyimagenet", Places(tmp_path / "data", cache))


@pytest.mark.parametrize("name", SUBSETS)
@pytest.mark.parametrize("below", ["own", "imagenet"])
def test_subsets_from_their_own_folders_or_imagenet_s(
    name: str, below: str, tmp_path: Path, cache: Path
) -> None:
    ids = find(name).wordnet_ids
    others = ("n01440764", "n01443537", "n01484850") if below == "imagenet" else ()
    folder = find(name).folders[0] if below == "own" else "imagenet"
    wordnet_tree(tmp_path / "data" / folder, tuple({*ids, *others}))
    loaded = load(name, Places(tmp_path / "data", cache))
    assert loaded.spec.shape == (3, 128, 128)
    assert loaded.spec.class_names == find(name).class_names
    assert loaded.train.labels.tolist() == [label for label in range(10) for _ in range(2)]
    assert len(loaded.test) == 10
    first = tmp_path / "data" / folder / "val" / ids[3] / f"{ids[3]}_0.JPEG"
    assert torch.equal(loaded.test.images[3], middle_square(first, 128))


def middle_square(path: Path, size: int) -> torch.Tensor:
    """The definition: cut the largest centred square, then resize it."""
    image = Image.open(path)
    side = min(image.size)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    resized = image.resize(
        (size, size), Image.Resampling.BILINEAR, (left, top, left + side, top + side)
    )
    return torch.from_numpy(np.asarray(resized).transpose(2, 0, 1).copy())


def test_resizing_is_that_of_resizing_the_shorter_side_and_cropping_the_centre(
    tmp_path: Path, cache: Path
) -> None:
    from torchvision.transforms import functional

    resize: Any = functional.resize  # which takes pictures too, whatever its types say
    ids = find("imagesquawk").wordnet_ids
    folder = wordnet_tree(tmp_path / "imagenet", ids)
    loaded = load("imagesquawk", Places(tmp_path, cache))
    for label, id_ in enumerate(ids):
        with Image.open(folder / "val" / id_ / f"{id_}_0.JPEG") as image:
            usual = functional.pil_to_tensor(functional.center_crop(resize(image, 128), [128, 128]))
        difference = (usual.int() - loaded.test.images[label].int()).abs().float()
        assert difference.mean() < 1.5  # they cut before or after rounding to whole pixels


def test_a_class_that_is_missing_is_named(tmp_path: Path, cache: Path) -> None:
    ids = find("imagewoof").wordnet_ids
    wordnet_tree(tmp_path / "imagewoof2", ids)
    for path in (tmp_path / "imagewoof2" / "val" / ids[4]).iterdir():
        path.unlink()
    (tmp_path / "imagewoof2" / "val" / ids[4]).rmdir()
    message = refused("imagewoof", Places(tmp_path, cache))
    assert (
        f"{tmp_path / 'imagewoof2' / 'val'} lacks {ids[4]} (1 such classes of imagewoof)" in message
    )


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("imagenette", "imagenette2"),
        ("imagewoof", "imagewoof"),
        ("tinyimagenet", "tiny-imagenet-200"),
    ],
)
@pytest.mark.parametrize(("there", "missing"), [("train", "val"), ("val", "train")])
def test_a_split_that_is_missing_is_named(
    name: str, folder: str, there: str, missing: str, tmp_path: Path, cache: Path
) -> None:
    (tmp_path / folder / there).mkdir(parents=True)
    message = refused(name, Places(tmp_path, cache))
    assert message.startswith(str(tmp_path / folder / missing))
    assert "is missing, though its sibling is there; complete the copy" in message


def test_an_image_folder_is_not_taken_for_imagenet_s(tmp_path: Path, cache: Path) -> None:
    """It has the data set's own name, and ``test`` where ImageNet has ``val``."""
    wordnet_tree(tmp_path / "imagewoof", find("imagewoof").wordnet_ids, test=1)
    (tmp_path / "imagewoof" / "val").rename(tmp_path / "imagewoof" / "test")
    loaded = load("imagewoof", Places(tmp_path, cache))
    assert loaded.source == f"class folders in {tmp_path / 'imagewoof'}"
    assert loaded.note == "unverified copy"


def test_validation_images_without_class_folders_are_refused_with_what_to_do(
    tmp_path: Path, cache: Path
) -> None:
    wordnet_tree(tmp_path / "imagenet", ("n01440764",), test=0)
    jpeg(
        tmp_path / "imagenet" / "val" / "ILSVRC2012_val_00000001.JPEG",
        np.zeros((9, 9, 3), np.uint8),
    )
    assert "sort its images into one folder for each class" in refused(
        "imagenet64", Places(tmp_path, cache)
    )


def test_imagenet_has_a_thousand_classes(tmp_path: Path, cache: Path) -> None:
    wordnet_tree(tmp_path / "imagenet", ("n01440764", "n01443537"), 1, 1)
    assert "holds 2 classes; imagenet64 has 1000" in refused("imagenet64", Places(tmp_path, cache))


def test_nothing_found_says_where_and_offers_no_download_that_there_is_not(
    tmp_path: Path, cache: Path
) -> None:
    message = refused("imagewoof", Places(tmp_path, cache))
    assert str(tmp_path / "imagewoof2" / "train") in message
    assert str(tmp_path / "imagenet" / "train") in message
    assert "--download" not in message
    assert "--download" in refused("imagenette", Places(tmp_path, cache))
    for name, folder in (("imagewoof", "imagewoof2"), ("tinyimagenet", "tiny-imagenet-200")):
        asked = refused(name, Places(tmp_path, cache, download=True))
        assert f"torchvision has no archive of it; put {tmp_path / folder} there" in asked


def test_the_published_archive_is_unpacked(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An archive that is there already needs no network; torchvision compares its checksum and
    unpacks it.
    """
    from torchvision.datasets import Imagenette

    ids = find("imagenette").wordnet_ids
    wordnet_tree(tmp_path / "made" / "imagenette2-320", ids)
    archive = tmp_path / "data" / "imagenette2-320.tgz"
    archive.parent.mkdir()
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(tmp_path / "made" / "imagenette2-320", "imagenette2-320")
    md5 = hashlib.md5(archive.read_bytes()).hexdigest()  # noqa: S324 - torchvision's own check
    url = Imagenette._ARCHIVES["320px"][0]
    monkeypatch.setitem(Imagenette._ARCHIVES, "320px", (url, md5))
    refused("imagenette", Places(tmp_path / "data", cache))
    # as it is when unpacking was killed in the last class
    killed = tmp_path / "data" / "imagenette.unpacking" / "imagenette2-320"
    shutil.copytree(tmp_path / "made" / "imagenette2-320", killed)
    next((killed / "train" / ids[-1]).iterdir()).unlink()
    loaded = load("imagenette", Places(tmp_path / "data", cache, download=True))
    assert len(loaded.train) == 20
    assert sorted(path.name for path in (tmp_path / "data").iterdir() if path.name[0] != ".") == [
        "imagenette2-320",
        archive.name,
    ]
    assert hashlib.md5(archive.read_bytes()).hexdigest() == md5  # noqa: S324
    assert (
        load("imagenette", Places(tmp_path / "data", cache)).spec.revision == loaded.spec.revision
    )


# --------------------------------------------------------------------------------------------------------------
# photographs


# Pillow's own word at this size, no error outside of tests
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_photograph_of_a_hundred_million_pixels_is_not_unpacked(
    tmp_path: Path, cache: Path
) -> None:
    ids = find("imagesquawk").wordnet_ids
    folder = wordnet_tree(tmp_path / "imagenet", ids, 1, 1)
    path = folder / "train" / ids[0] / f"{ids[0]}_0.JPEG"
    buffer = io.BytesIO()
    Image.new("1", (10_000, 10_000)).save(buffer, "PNG")
    path.write_bytes(buffer.getvalue())
    assert f"{path} claims far more pixels than a photograph has" in refused(
        "imagesquawk", Places(tmp_path, cache)
    )


def test_a_broken_photograph_is_named(tmp_path: Path, cache: Path) -> None:
    ids = find("imagesquawk").wordnet_ids
    folder = wordnet_tree(tmp_path / "imagenet", ids, 1, 1)
    path = folder / "train" / ids[7] / f"{ids[7]}_0.JPEG"
    path.write_bytes(path.read_bytes()[:-40])
    assert f"{path} is truncated or not an image" in refused("imagesquawk", Places(tmp_path, cache))


# -------------------------------------------------------------------------------------------------------
# decoding in blocks


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapped, "BLOCK_BYTES", 3 * 128 * 128 * 4)  # four images


@pytest.fixture
def squawk(tmp_path: Path) -> Path:
    wordnet_tree(tmp_path / "data" / "imagenet", find("imagesquawk").wordnet_ids)
    return tmp_path / "data"


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Every file that is decoded."""
    found: list[Path] = []
    decode = decoding.decode_within

    def noted(image: Path | bytes, dataset: Dataset, where: str) -> NDArray[np.uint8]:
        assert isinstance(image, Path)
        found.append(image)
        return decode(image, dataset, where)

    monkeypatch.setattr(mapped, "decode_within", noted)
    return found


def whole(root: Path, cache: Path) -> Loaded:
    return load("imagesquawk", Places(root, cache))


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize(("split", "images"), [("train", 12), ("test", 8)])
def test_decoding_goes_on_where_it_was_stopped(
    split: str, images: int, squawk: Path, tmp_path: Path, opened: list[Path]
) -> None:
    undisturbed = whole(squawk, tmp_path / "one")
    assert len(opened) == 30
    opened.clear()

    def stopping(text: str, done: int, total: int) -> None:
        if text.endswith(split) and done == images:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load("imagesquawk", Places(squawk, tmp_path / "two"), progress=stopping)
    stopped_after = len(set(opened))
    assert stopped_after == images + 20 * (split == "test")
    opened.clear()
    loaded = whole(squawk, tmp_path / "two")
    assert len(opened) == 30 - stopped_after  # none was decoded twice
    assert loaded.spec.revision == undisturbed.spec.revision
    assert torch.equal(loaded.train.images, undisturbed.train.images)
    assert not [
        path for path in (tmp_path / "two").rglob("*") if path.suffix in (".partial", ".blocks")
    ]
    opened.clear()
    whole(squawk, tmp_path / "two")
    assert not opened


@pytest.mark.usefixtures("small_blocks")
def test_asked_to_stop_decoding_stops_after_its_block(
    squawk: Path, cache: Path, workspace: Workspace, opened: list[Path]
) -> None:
    grid = Grid(["random"], ["imagesquawk"], [1], [0])
    with pytest.raises(KeyboardInterrupt):
        grid.load(
            "imagesquawk", Places(squawk, cache), replace(workspace, stop=lambda: len(opened) >= 8)
        )
    assert len(opened) == 8
    grid.load("imagesquawk", Places(squawk, cache), workspace)
    assert len(opened) == 30  # none twice


def flip_in_second_block(partial: Path, _journal: Path) -> None:
    content = bytearray(partial.read_bytes())
    content[128 + 5 * 3 * 128 * 128] ^= 1
    partial.write_bytes(content)


def truncate_partial(partial: Path, _journal: Path) -> None:
    os.truncate(partial, 128 + 6 * 3 * 128 * 128)


def cut_last_line(_partial: Path, journal: Path) -> None:
    os.truncate(journal, journal.stat().st_size - 9)


def garble_journal(_partial: Path, journal: Path) -> None:
    journal.write_text('{"block": 0, "sha256": 7}\n[]\nnonsense\n')


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize(
    ("damage", "again"),
    [
        (flip_in_second_block, 26),
        (truncate_partial, 26),
        (cut_last_line, 22),
        (garble_journal, 30),
        (lambda p, _j: p.unlink(), 30),
    ],
)
def test_what_was_damaged_meanwhile_is_decoded_again(
    damage: Callable[[Path, Path], None],
    again: int,
    squawk: Path,
    tmp_path: Path,
    opened: list[Path],
) -> None:
    undisturbed = whole(squawk, tmp_path / "one")

    def stopping(text: str, done: int, total: int) -> None:
        if done == 12:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load("imagesquawk", Places(squawk, tmp_path / "two"), progress=stopping)
    (partial,) = (tmp_path / "two").rglob("*.partial")
    damage(partial, partial.with_name("train-images.npy.blocks"))
    opened.clear()
    assert torch.equal(whole(squawk, tmp_path / "two").train.images, undisturbed.train.images)
    assert len(opened) == again


@pytest.mark.usefixtures("small_blocks")
def test_a_full_disk_in_the_middle_of_decoding(
    squawk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opened: list[Path]
) -> None:
    sync, calls = os.fsync, []

    def full(descriptor: int) -> None:
        calls.append(descriptor)
        if (
            Path(f"/proc/self/fd/{descriptor}").readlink().name.endswith(".partial")
            and len(opened) > 8
        ):
            raise OSError(28, "No space left on device")
        sync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        message = refused("imagesquawk", Places(squawk, tmp_path / "cache"), StorageError)
    assert "train-images.npy: No space left on device; what is decoded so far is kept" in message
    opened.clear()
    whole(squawk, tmp_path / "cache")
    assert len(opened) == 22


def test_images_are_mapped_and_not_read(squawk: Path, cache: Path) -> None:
    whole(squawk, cache)
    (path,) = cache.glob("datasets/*/train-images.npy")
    assert path.stat().st_size == 128 + 20 * 3 * 128 * 128
    assert isinstance(np.load(path, mmap_mode="r"), np.memmap)
    images = whole(squawk, cache).train.images
    assert any(str(path) in line for line in Path("/proc/self/maps").read_text().splitlines())
    assert images.shape == (20, 3, 128, 128)


# ---------------------------------------------------------------------------------------------
# networks, λ, whitening, groups


def test_convnets_have_as_many_blocks_as_the_resolution_asks() -> None:
    for size, depth in ((32, 3), (64, 4), (128, 5)):
        network = build_network("convnet", ImageSpec("x", "0", 3, size, ("a", "b")))
        assert isinstance(network, ConvNet)
        assert len(network.blocks) == depth


@pytest.fixture
def workspace(tmp_path: Path, machine: Machine) -> Workspace:
    return Workspace(tmp_path / "out", machine)


@pytest.mark.parametrize(
    ("preset", "settings", "balance"),
    [
        ("paper", {}, 0.02),
        ("quick", {}, 0.02),
        ("released", {}, 0.01),
        ("paper", {"balance": "0.01"}, 0.01),
        ("paper", {"power": "2"}, 0.02),
    ],
)
def test_lambda_is_larger_at_high_resolution_unless_said(
    preset: str,
    settings: dict[str, str],
    balance: float,
    squawk: Path,
    cache: Path,
    workspace: Workspace,
) -> None:
    grid = Grid(
        ["datadam", "random"], ["imagesquawk", "digits"], [1], [0], preset=preset, settings=settings
    )
    large, _, small, _ = grid.cells(Places(squawk, cache), workspace)
    assert large.identity(workspace.machine)["fields"]["balance"] == balance
    assert small.identity(workspace.machine)["fields"]["balance"] == 0.01
    # the hashes of what was measured stay as they are
    assert small.distiller == grid.distillers()["datadam"]


def test_lambda_at_64_pixels_is_the_low_one() -> None:
    spec = ImageSpec("x", "0", 3, 64, ("a", "b"))
    assert build("datadam", "paper").suited_to(spec) == {}
    assert build("datadam", "paper").suited_to(replace(spec, size=128)) == {"balance": 0.02}


def test_whitening_photographs_is_refused_with_the_reason(squawk: Path, cache: Path) -> None:
    message = refused("imagesquawk", Places(squawk, cache), MismatchError, zca=True)
    assert (
        "imagesquawk is 128x128 and would need a matrix of 49152 x 49152 (18 GiB); use --zca off"
        in message
    )
    require_zca(find("imagenet64"))


def test_whitened_values_too_many_to_keep_are_whitened_when_asked_for(
    digits: Loaded, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = load("digits", Places(None, cache), zca=True)
    kept = loaded.train.values(torch.arange(40))
    monkeypatch.setattr("dcbench.images.MOST_WHITENED_BYTES", 1000)
    fresh = replace(loaded.train)
    assert fresh._whitened is None
    assert torch.allclose(fresh.values(torch.arange(40)), kept, atol=1e-5)


def test_classes_are_grouped_so_that_large_images_fit(run: Run) -> None:
    def groups(size: int, classes: int) -> int:
        spec = ImageSpec("x", "0", 3, size, tuple(map(str, range(classes))))
        images = torch.zeros(classes, 3, size, size, dtype=torch.uint8)
        train = TrainSet(spec, images, torch.arange(classes), Space())
        method = build("dm", "paper")
        assert isinstance(method, dcbench.families.feature_matching.FeatureMatching)
        return len(MatchingStep(method, train, 1, run).groups[0])

    assert groups(32, 100) == 10  # the largest divisor of 100 up to 16 classes of 256 images
    assert groups(64, 8) == 4
    assert groups(128, 4) == 1


# -------------------------------------------------------------------------------------------------------
# a thousand classes


MOST_BYTES = 6 << 30
PER_CLASS = 24


def thousand_classes(folder: Path) -> Iterator[str]:
    """ImageNet-1K's shape: 1,000 folders of photographs that are 64 pixels and a little more."""
    random = np.random.default_rng(0)
    for index in range(1000):
        id_ = f"n{20_000_000 + index:08}"
        base = random.integers(0, 256, (4, 4, 3), np.uint8)
        for split, count in (("train", PER_CLASS), ("val", 1)):
            for number in range(count):
                noisy = base ^ random.integers(0, 64, base.shape, np.uint8)
                jpeg(
                    folder / split / id_ / f"{number}.JPEG",
                    np.asarray(Image.fromarray(noisy).resize((72, 66))),
                )
        yield id_


@pytest.mark.long
@pytest.mark.parametrize("method", ["datadam", "dm"])
def test_one_step_on_a_thousand_classes_of_64_pixels(method: str, tmp_path: Path) -> None:
    """One step with all 24 images of each class, one network of one epoch: in less than 6 GB, data
    and imports included.
    """
    assert len(list(thousand_classes(tmp_path / "data" / "imagenet"))) == 1000
    words = [
        "--method",
        method,
        "--dataset",
        "imagenet64",
        "--set",
        "iterations=1",
        "--networks",
        "1",
        "--epochs",
        "1",
        "--threads",
        "1",
    ]
    places = ["--data-root", str(tmp_path / "data"), "--out", str(tmp_path / "out"), "--json"]
    code = (
        "import resource, subprocess, sys\n"
        "ran = subprocess.run([sys.executable, '-m', 'dcbench', 'run', *sys.argv[1:]], check=True, stdout=sys.stderr)\n"
        "sys.stdout.write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024))"
    )
    own = environment(DCBENCH_CACHE=str(tmp_path / "cache"))
    ran = subprocess.run(
        [sys.executable, "-c", code, *words, *places],
        cwd=ROOT,
        env=own,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    peak = int(ran.stdout)
    # the figure that docs/reference/reliability.md states
    LOG.info("%s: peak %.2f GiB", method, peak / 2**30)
    assert peak < MOST_BYTES
    (record,) = (tmp_path / "out").rglob("record.json")
    assert json.loads(record.read_text())["budget_images"] == 1000


def test_a_data_set_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    answer = ask(
        "run",
        "--method",
        "random",
        "--dataset",
        "tinyimagenet",
        "--data-root",
        tmp_path,
        "--out",
        tmp_path / "out",
    )
    assert answer.code == 1
    assert "tinyimagenet was not found: looked for Tiny ImageNet's folders in" in answer.line
