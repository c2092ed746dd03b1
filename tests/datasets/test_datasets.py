"""Real data: its sources, their order, the cache, the fixed splits and the fitted spaces."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import struct
import subprocess
import sys
import urllib.error
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from dcbench.datasets import DATASETS, KNOWN_REVISIONS, Dataset, Places, find, names, revision_note
from dcbench.datasets.loading import Loaded, load
from dcbench.datasets.preprocessing import normalisation, require_zca, whitening
from dcbench.datasets.splits import stratified
from dcbench.images import Space, TrainSet
from dcbench.system.errors import (
    DataError,
    DcbenchError,
    MismatchError,
    OutOfRangeError,
    StorageError,
    UnknownNameError,
)

pa: Any = pyarrow  # which has no types
pq: Any = pyarrow.parquet


# ----------------------------------------------------------------------------------------------
# small data in every layout


@dataclass(frozen=True, eq=False)
class Toy:
    """A few random images of a data set: ``per_class`` in order of classes, for each split."""

    dataset: Dataset
    train: NDArray[np.uint8]
    test: NDArray[np.uint8]
    per_class: tuple[int, int] = (3, 2)

    @classmethod
    def of(cls, name: str) -> Toy:
        dataset, random = find(name), np.random.default_rng(7)
        train, test = (
            random.integers(0, 256, (count * dataset.classes, *dataset.shape), np.uint8)
            for count in cls.per_class
        )
        return cls(dataset, train, test)

    def splits(self) -> Iterator[tuple[str, NDArray[np.uint8], NDArray[np.int64]]]:
        for split, images, count in (
            ("train", self.train, self.per_class[0]),
            ("test", self.test, self.per_class[1]),
        ):
            yield split, images, np.repeat(np.arange(self.dataset.classes), count)


def png(image: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0)).save(buffer, "PNG")
    return buffer.getvalue()


def save_parquet(
    path: Path,
    cells: list[Any],
    labels: Sequence[int | None],
    image: str = "img",
    label: str = "label",
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = {
        image: [{"bytes": cell, "path": None} for cell in cells],
        label: pa.array(labels, pa.int64()),
    }
    pq.write_table(pa.table(columns), path)


def parquet_tree(
    root: Path, toy: Toy, folder: str = "cifar10/plain_text", shards: int = 1, image: str = "img"
) -> Path:
    for split, images, labels in toy.splits():
        parts = np.array_split(np.arange(len(images)), shards)
        for shard, rows in enumerate(parts):
            path = root / folder / f"{split}-{shard:05}-of-{shards:05}.parquet"
            save_parquet(
                path,
                [png(images[row]) for row in rows],
                labels[rows].tolist(),
                image,
                toy.dataset.label_column,
            )
    return root


def folder_tree(root: Path, toy: Toy, folders: list[str] | None = None) -> Path:
    for split, images, labels in toy.splits():
        for index, (image, label) in enumerate(zip(images, labels, strict=True)):
            path = (
                root
                / toy.dataset.name
                / split
                / (folders or list(toy.dataset.class_names))[label]
                / f"{index:04}.png"
            )
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(png(image))
    return root


def cifar_tree(root: Path, toy: Toy, monkeypatch: pytest.MonkeyPatch) -> Path:
    """torchvision's pickles, with their md5 declared as the published ones."""
    import torchvision

    published = getattr(torchvision.datasets, toy.dataset.torchvision_class)
    fine = toy.dataset.name == "cifar100"
    batches = {
        split: {
            "data": images.reshape(len(images), -1),
            "fine_labels" if fine else "labels": labels.tolist(),
        }
        for split, images, labels in toy.splits()
    }
    contents = {
        ("train" if fine else "data_batch_1"): batches["train"],
        ("test" if fine else "test_batch"): batches["test"],
    }
    contents[published.meta["filename"]] = {published.meta["key"]: list(toy.dataset.class_names)}
    folder = root / toy.dataset.torchvision_folder
    folder.mkdir(parents=True)
    entries = []
    for name, content in contents.items():
        data = pickle.dumps(content)
        (folder / name).write_bytes(data)
        entries.append([name, hashlib.md5(data).hexdigest()])  # noqa: S324 - torchvision's own check
    monkeypatch.setattr(published, "train_list", [entries[0]])
    monkeypatch.setattr(published, "test_list", [entries[1]])
    monkeypatch.setattr(published, "meta", published.meta | {"md5": entries[2][1]})
    return root


def svhn_tree(root: Path, toy: Toy, monkeypatch: pytest.MonkeyPatch) -> Path:
    """torchvision's .mat files, where a nought is called 10, with their md5 as the published ones."""
    from scipy.io import savemat
    from torchvision.datasets import SVHN

    lists = {}
    for split, images, labels in toy.splits():
        path = root / "svhn" / f"{split}_32x32.mat"
        path.parent.mkdir(parents=True, exist_ok=True)
        content = {
            "X": images.transpose(2, 3, 1, 0),
            "y": np.where(labels == 0, 10, labels)[:, None],
        }
        savemat(path, content)
        md5 = hashlib.md5(path.read_bytes()).hexdigest()  # noqa: S324 - torchvision's own check
        lists[split] = ["nowhere", path.name, md5]
    monkeypatch.setattr(SVHN, "split_list", lists)
    return root


def mnist_tree(root: Path, toy: Toy) -> Path:
    folder = root / toy.dataset.torchvision_folder
    folder.mkdir(parents=True)
    for split, images, labels in toy.splits():
        prefix = {"train": "train", "test": "t10k"}[split]
        (folder / f"{prefix}-images-idx3-ubyte").write_bytes(
            struct.pack(">4i", 2051, len(images), 28, 28) + images.tobytes()
        )
        (folder / f"{prefix}-labels-idx1-ubyte").write_bytes(
            struct.pack(">2i", 2049, len(labels)) + labels.astype(np.uint8).tobytes()
        )
    return root


@dataclass
class Steps:
    """A progress that remembers."""

    told: list[tuple[str, int, int]] = field(default_factory=list)

    def __call__(self, text: str, done: int, total: int) -> None:
        self.told.append((text, done, total))

    @property
    def texts(self) -> set[str]:
        return {text for text, _, _ in self.told}


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def toy() -> Toy:
    return Toy.of("cifar10")


def same_images(loaded: Loaded, toy: Toy) -> None:
    found = ((loaded.train.images, loaded.train.labels), (loaded.test.images, loaded.test.labels))
    for (images, labels), (_, wanted, wanted_labels) in zip(found, toy.splits(), strict=True):
        assert np.array_equal(images.numpy(), wanted)
        assert labels.tolist() == wanted_labels.tolist()


def refused(name: str, where: Places, kind: type[DcbenchError] = DataError, **options: Any) -> str:
    """The one line that ``load`` refuses with."""
    with pytest.raises(kind) as caught:
        load(name, where, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ------------------------------------------------------------------------------------------------------------
# the catalogue


def test_names_are_listed_without_torch() -> None:
    code = "import sys, dcbench.datasets.catalogue as c; print(*c.names()); assert not {'torch', 'numpy', 'PIL'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    small = ["digits", "mnist", "fashionmnist", "svhn", "cifar10", "cifar100"]
    large = ["tinyimagenet", "imagenet64", "imagenette", "imagewoof", "imagesquawk"]
    mtt = ["imagefruit", "imagemeow", "imageyellow"]
    assert done.stdout.split() == [*small, *large, *mtt] == list(names())


def test_an_unknown_name_is_refused_with_a_suggestion(cache: Path) -> None:
    assert "did you mean 'cifar10'?" in refused("cifar1", Places(None, cache), UnknownNameError)


IMAGES = {  # as their papers say
    "mnist": (60_000, 10_000),
    "fashionmnist": (60_000, 10_000),
    "svhn": (73_257, 26_032),
    "cifar10": (50_000, 10_000),
    "cifar100": (50_000, 10_000),
    "tinyimagenet": (100_000, 10_000),
}


@pytest.mark.parametrize("name", names())
def test_declarations_are_consistent(name: str) -> None:
    dataset = DATASETS[name]
    assert dataset.classes == {"cifar100": 100, "tinyimagenet": 200, "imagenet64": 1000}.get(
        name, 10
    )
    assert len(set(dataset.class_names)) == (0 if dataset.class_count else dataset.classes)
    assert (
        len(dataset.mean)
        == len(dataset.std)
        == (dataset.channels if name.startswith("cifar") else 0)
    )
    assert dataset.flips == (name not in ("digits", "mnist", "svhn"))
    counts = (np.broadcast_to(count, dataset.classes) for count in dataset.per_class)
    assert tuple(map(int, map(sum, counts))) == IMAGES.get(name, (0, 0))
    assert dataset.embedded == (name == "digits")


EACH = (3,) * 10


@pytest.mark.parametrize(
    ("per_class", "part"),
    [
        ((3, 2), ""),
        ((EACH, 2), ""),
        ((4, 2), "training"),
        (((4, *EACH[1:]), 2), "training"),
        ((3, 1), "test"),
    ],
)
def test_a_copy_must_be_complete(
    per_class: tuple[int | tuple[int, ...], int],
    part: str,
    tmp_path: Path,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    toy = Toy.of("cifar10")
    root = folder_tree(tmp_path / "data", toy)
    monkeypatch.setattr(
        "dcbench.datasets.catalogue.DATASETS",
        {**DATASETS, "cifar10": replace(find("cifar10"), per_class=per_class)},
    )
    if not part:
        same_images(load("cifar10", Places(root, cache)), toy)
        return
    message = refused("cifar10", Places(root, cache))
    assert f"{part} images," in message
    assert "of class 'airplane'; cifar10 has" in message
    assert "complete the copy" in message


def test_the_class_names_of_cifar_are_in_the_usual_order() -> None:
    assert list(find("cifar100").class_names) == sorted(find("cifar100").class_names)
    assert find("cifar10").class_names[:3] == ("airplane", "automobile", "bird")


def test_a_note_exists_for_known_revisions_only() -> None:
    for (dataset, revision), note in KNOWN_REVISIONS.items():
        assert revision_note(dataset, revision) == note
    assert revision_note("cifar10", "0123456789ab") == ""


# ----------------------------------------------------------------------------------------------------------------
# the sources


@pytest.mark.parametrize(
    ("name", "folder", "image"),
    [
        ("cifar10", "cifar10/plain_text", "img"),
        ("cifar10", "uoft-cs/cifar10/plain_text", "image"),
        ("cifar10", "cifar10", "img"),
        ("mnist", "mnist/mnist", "image"),
        ("mnist", "ylecun/mnist/mnist", "image"),
        ("mnist", "mnist/data", "image"),
        ("cifar100", "cifar100/cifar100", "img"),
        ("fashionmnist", "zalando-datasets/fashion_mnist/fashion_mnist", "image"),
        ("svhn", "ufldl-stanford/svhn/cropped_digits", "image"),
    ],
)
def test_the_hubs_parquet_is_read_exactly(
    name: str, folder: str, image: str, tmp_path: Path, cache: Path
) -> None:
    toy = Toy.of(name)
    loaded = load(name, Places(parquet_tree(tmp_path / "data", toy, folder, image=image), cache))
    same_images(loaded, toy)
    assert folder in loaded.source
    assert loaded.spec.shape == toy.dataset.shape
    assert loaded.spec.class_names == toy.dataset.class_names
    assert loaded.spec.flips == (name not in ("mnist", "svhn"))


def test_several_shards_are_read_in_their_order(tmp_path: Path, toy: Toy, cache: Path) -> None:
    same_images(load("cifar10", Places(parquet_tree(tmp_path, toy, shards=4), cache)), toy)


@pytest.mark.parametrize("gone", ["train-00001-of-00003", "train-00002-of-00003", "test-*"])
def test_a_missing_shard_is_an_error(gone: str, tmp_path: Path, toy: Toy, cache: Path) -> None:
    parquet_tree(tmp_path / "data", toy, shards=3)
    for path in (tmp_path / "data" / "cifar10" / "plain_text").glob(f"{gone}.parquet"):
        path.unlink()
    assert "complete the copy" in refused("cifar10", Places(tmp_path / "data", cache))


def test_shards_of_two_copies_are_not_mixed(tmp_path: Path, toy: Toy, cache: Path) -> None:
    parquet_tree(tmp_path / "data", toy, shards=1)
    parquet_tree(tmp_path / "data", toy, shards=2)
    assert "complete" in refused("cifar10", Places(tmp_path / "data", cache))


HASH = "a1b2c3d4e5f60718"


def renamed(root: Path, name: Callable[[str, int], str], shards: int) -> Path:
    """The hub's files called otherwise: ``name`` of the split and the shard's number."""
    folder = root / "cifar10" / "plain_text"
    for split in ("train", "test"):
        for shard in range(shards):
            path = folder / name(split, shard)
            path.parent.mkdir(exist_ok=True)
            (folder / f"{split}-{shard:05}-of-{shards:05}.parquet").rename(path)
    return folder


@pytest.mark.parametrize(
    ("name", "gone"),
    [
        (lambda split, shard: f"{split}-{shard:05}-of-00003-{HASH}.parquet", "00001-of-00003-*"),
        (lambda split, shard: f"{split}-{shard:05}-of-00003-{HASH}.parquet", "00002-of-00003-*"),
        (lambda split, shard: f"{split}/{shard:04}.parquet", "/0001.parquet"),
        (lambda split, shard: f"{split}/{shard:04}.parquet", "/0000.parquet"),
    ],
    ids=["hash, the second gone", "hash, the last gone", "converted, 1 gone", "converted, 0 gone"],
)
def test_shards_of_older_and_of_converted_copies(
    name: Callable[[str, int], str], gone: str, tmp_path: Path, toy: Toy, cache: Path
) -> None:
    folder = renamed(parquet_tree(tmp_path / "data", toy, shards=3), name, 3)
    same_images(load("cifar10", Places(tmp_path / "data", cache)), toy)
    (missing,) = folder.glob(f"train{gone if gone[0] == '/' else '-' + gone}")
    missing.unlink()
    message = refused("cifar10", Places(tmp_path / "data", cache))
    assert "not one complete set of train shards; complete the copy" in message


def test_a_shard_with_two_hashes_is_not_read_twice(tmp_path: Path, toy: Toy, cache: Path) -> None:
    parquet_tree(tmp_path / "data", toy)
    path = tmp_path / "data" / "cifar10" / "plain_text" / "train-00000-of-00001.parquet"
    path.with_name(f"train-00000-of-00001-{HASH}.parquet").write_bytes(path.read_bytes())
    assert "complete" in refused("cifar10", Places(tmp_path / "data", cache))


def test_a_single_file_for_each_split(tmp_path: Path, toy: Toy, cache: Path) -> None:
    renamed(parquet_tree(tmp_path / "data", toy), lambda split, _: f"{split}.parquet", 1)
    same_images(load("cifar10", Places(tmp_path / "data", cache)), toy)


def test_labels_that_mean_other_classes_in_the_hubs_metadata_are_refused(
    tmp_path: Path, toy: Toy, cache: Path
) -> None:
    parquet_tree(tmp_path / "data", toy)
    path = tmp_path / "data" / "cifar10" / "plain_text" / "train-00000-of-00001.parquet"
    table = pq.read_table(path)
    for called, right in (
        ([name.upper() for name in toy.dataset.class_names], True),
        (sorted(toy.dataset.class_names, reverse=True), False),
    ):
        features = {"info": {"features": {"label": {"names": called, "_type": "ClassLabel"}}}}
        described = table.replace_schema_metadata({"huggingface": json.dumps(features)})
        pq.write_table(described, path)
        if right:
            same_images(load("cifar10", Places(tmp_path / "data", cache)), toy)
        else:
            message = refused("cifar10", Places(tmp_path / "data", cache))
            assert "mean other classes than those of cifar10, or in another order" in message


def test_an_image_folder_with_the_usual_names_has_the_usual_order(
    tmp_path: Path, cache: Path
) -> None:
    toy = Toy.of("cifar10")
    loaded = load("cifar10", Places(folder_tree(tmp_path / "data", toy), cache))
    same_images(loaded, toy)
    assert loaded.spec.class_names == toy.dataset.class_names


def test_numbered_class_folders_have_numeric_order(tmp_path: Path, cache: Path) -> None:
    toy = Toy.of("cifar100")
    loaded = load(
        "cifar100",
        Places(folder_tree(tmp_path / "data", toy, [str(label) for label in range(100)]), cache),
    )
    same_images(loaded, toy)  # '10' would come before '2' if sorted as words
    assert loaded.spec.class_names == toy.dataset.class_names


MNIST_WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
CIFAR10_WORDS = ["Plane", "CAR", "Bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


@pytest.mark.parametrize(
    ("name", "folders"),
    [
        ("mnist", MNIST_WORDS),
        ("mnist", [word.title() for word in MNIST_WORDS]),
        ("mnist", [f"digit {number}" for number in range(10)]),
        ("mnist", [f"{number:02}" for number in range(10)]),
        ("cifar10", CIFAR10_WORDS),
        ("cifar10", [f"{label}_class" for label in range(10)]),
        ("cifar100", [f"new{label}" for label in range(100)]),
        ("cifar100", [name.replace("_", " ").title() for name in find("cifar100").class_names]),
        ("cifar100", [name.replace("_", "-") for name in find("cifar100").class_names]),
    ],
    ids=lambda value: value if isinstance(value, str) else value[2],
)
def test_class_folders_have_labels_by_their_names(
    name: str, folders: list[str], tmp_path: Path, cache: Path
) -> None:
    toy = Toy.of(name)
    loaded = load(name, Places(folder_tree(tmp_path / "data", toy, folders), cache))
    same_images(loaded, toy)
    assert loaded.spec.class_names == toy.dataset.class_names


@pytest.mark.parametrize(
    "folders",
    [
        [str(label) for label in range(3, 13)],
        [str(label) for label in range(1, 11)],
        list("qwertyuiop"),
        ["plane", "airplane", *find("cifar10").class_names[2:]],
        [f"{'ab'[label % 2]}{label}" for label in range(10)],
    ],
    ids=["from 3", "from 1", "letters", "a class twice", "two series"],
)
def test_folders_that_are_not_called_as_classes_are_refused(
    folders: list[str], tmp_path: Path, toy: Toy, cache: Path
) -> None:
    message = refused("cifar10", Places(folder_tree(tmp_path / "data", toy, folders), cache))
    assert "its folders are not called as the classes of cifar10 are: folders" in message
    found, wanted = message.split(": folders ")[1].split("; classes ")
    assert set(found.split(", ")) == set(folders)
    assert set(wanted.split("; rename the folders")[0].split(", ")) == set(toy.dataset.class_names)


def test_a_grey_image_folder_keeps_its_size(tmp_path: Path, cache: Path) -> None:
    toy = Toy.of("mnist")
    same_images(load("mnist", Places(folder_tree(tmp_path / "data", toy), cache)), toy)


def test_litter_of_desktops_is_passed_over(tmp_path: Path, toy: Toy, cache: Path) -> None:
    root = folder_tree(tmp_path / "data", toy)
    (root / "cifar10" / "train" / ".DS_Store").write_bytes(b"x")
    (root / "cifar10" / "train" / "cat" / ".DS_Store").write_bytes(b"x")
    (root / "cifar10" / "train" / "cat" / "Thumbs.db").write_bytes(b"x")
    for folder in (".ipynb_checkpoints", "__MACOSX", "@eaDir"):
        (root / "cifar10" / "test" / folder).mkdir()
        (root / "cifar10" / "train" / "dog" / folder).mkdir()
    for name in ("._0001.png", "desktop.ini", "THUMBS.DB"):
        (root / "cifar10" / "train" / "dog" / name).write_bytes(b"x")
    same_images(load("cifar10", Places(root, cache)), toy)


def test_files_of_other_kinds_are_named_and_counted(tmp_path: Path, toy: Toy, cache: Path) -> None:
    root = folder_tree(tmp_path / "data", toy)
    folder = root / "cifar10" / "train" / "cat"
    for name in ("a.heic", "b.heic", "notes.txt"):
        (folder / name).write_bytes(b"x")
    message = refused("cifar10", Places(root, cache))
    assert f"{folder / 'a.heic'} is of a kind that is not read" in message
    assert "(2 of .heic, 1 of .txt, among 33 files)" in message
    for name in ("a.heic", "b.heic", "notes.txt"):
        (folder / name).unlink()
    for path in list(folder.iterdir()):
        with Image.open(path) as image:
            image.save(path.with_suffix(".webp"), lossless=True)
        path.unlink()
    same_images(load("cifar10", Places(root, cache)), toy)


@pytest.mark.parametrize("split", ["train", "test"])
def test_images_beside_the_class_folders_are_refused(
    split: str, tmp_path: Path, toy: Toy, cache: Path
) -> None:
    folder = folder_tree(tmp_path / "data", toy) / "cifar10" / split
    for name in ("readme.txt", "Thumbs.db", "._a.png"):
        (folder / name).write_bytes(b"no image of the set")
    same_images(load("cifar10", Places(tmp_path / "data", cache)), toy)
    for name in ("a.png", "b.JPG"):
        (folder / name).write_bytes(png(toy.test[0]))
    assert f"{folder} holds 2 images beside its class folders (a.png, b.JPG); sort them" in refused(
        "cifar10", Places(tmp_path / "data", cache)
    )


def test_class_folders_are_taken_by_position_if_the_user_says_so(
    tmp_path: Path, toy: Toy, cache: Path
) -> None:
    letters = [chr(ord("a") + label) for label in range(10)]
    root = folder_tree(tmp_path / "data", toy, letters)
    line = refused("cifar10", Places(root, cache))
    assert "or take them in their order with --data-classes by-position" in line
    loaded = load("cifar10", Places(root, cache, by_position=True))
    same_images(loaded, toy)
    assert loaded.note == "classes by position"
    assert load("cifar10", Places(parquet_tree(tmp_path / "hub", toy), cache)).note == ""


def test_what_names_its_classes_is_not_taken_by_position(
    tmp_path: Path, toy: Toy, cache: Path
) -> None:
    root = parquet_tree(tmp_path / "data", toy)
    for name, where in (("cifar10", root), ("digits", None)):
        line = refused(name, Places(where, cache, by_position=True))
        assert "--data-classes by-position is for image folders" in line


def test_class_folders_must_be_the_right_ones(tmp_path: Path, toy: Toy, cache: Path) -> None:
    root = folder_tree(tmp_path / "data", toy)
    (root / "cifar10" / "test" / "cat").rename(root / "cifar10" / "test" / "lynx")
    assert "different class folders" in refused("cifar10", Places(root, cache))
    (root / "cifar10" / "train" / "lynx").mkdir()
    assert f"{root / 'cifar10' / 'train'} holds 11 class folders; cifar10 has 10" in refused(
        "cifar10", Places(root, cache)
    )


def test_an_image_folder_without_test_is_an_error(tmp_path: Path, toy: Toy, cache: Path) -> None:
    root = folder_tree(tmp_path / "data", toy)
    (root / "cifar10" / "test").rename(root / "cifar10" / "tset")
    assert f"{root / 'cifar10' / 'test'} is missing" in refused("cifar10", Places(root, cache))


def test_a_class_without_images_is_an_error(tmp_path: Path, toy: Toy, cache: Path) -> None:
    root = folder_tree(tmp_path / "data", toy)
    for path in (root / "cifar10" / "train" / "frog").iterdir():
        path.unlink()
    assert "no training image of class 'frog'" in refused("cifar10", Places(root, cache))


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
@pytest.mark.parametrize("below", ["", "own"])
def test_torchvisions_cifar_is_read_exactly(
    name: str, below: str, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy = Toy.of(name)
    cifar_tree(tmp_path / "data" / (name if below else ""), toy, monkeypatch)
    loaded = load(name, Places(tmp_path / "data", cache))
    same_images(loaded, toy)
    assert "torchvision" in loaded.source


@pytest.mark.parametrize("name", ["mnist", "fashionmnist"])
def test_torchvisions_mnist_is_read_exactly(name: str, tmp_path: Path, cache: Path) -> None:
    toy = Toy.of(name)
    same_images(load(name, Places(mnist_tree(tmp_path / "data", toy), cache)), toy)


def test_torchvisions_svhn_is_read_exactly(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy = Toy.of("svhn")
    root = svhn_tree(tmp_path / "data", toy, monkeypatch)
    loaded = load("svhn", Places(root, cache))
    same_images(loaded, toy)
    assert "torchvision" in loaded.source
    (root / "svhn" / "test_32x32.mat").write_bytes(b"short")
    message = refused("svhn", Places(root, tmp_path / "other"))
    assert "test_32x32.mat is not the published file" in message


def test_a_foreign_pickle_is_never_opened(
    tmp_path: Path, toy: Toy, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = cifar_tree(tmp_path / "data", toy, monkeypatch)
    batch = root / "cifar-10-batches-py" / "test_batch"
    sentinel = tmp_path / "executed"
    batch.write_bytes(pickle.dumps(Hostile(str(sentinel))))
    message = refused("cifar10", Places(root, cache))
    assert str(batch) in message
    assert "not the published file" in message
    assert not sentinel.exists()


class Hostile:
    """A pickle that creates a file when it is opened."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str, str]]:
        return open, (self.path, "w")


@pytest.mark.parametrize("file", ["test_batch", "batches.meta"])
def test_a_missing_file_of_torchvision_is_named(
    file: str, tmp_path: Path, toy: Toy, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = cifar_tree(tmp_path / "data", toy, monkeypatch)
    (root / "cifar-10-batches-py" / file).unlink()
    assert f"{root / 'cifar-10-batches-py' / file} is missing" in refused(
        "cifar10", Places(root, cache)
    )


@pytest.mark.parametrize("file", ["train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"])
@pytest.mark.parametrize("kept", [0, 3, 10, -5])
def test_a_truncated_file_of_mnist_is_named(
    file: str, kept: int, tmp_path: Path, cache: Path
) -> None:
    path = mnist_tree(tmp_path / "data", Toy.of("mnist")) / "MNIST" / "raw" / file
    path.write_bytes(path.read_bytes()[:kept])
    assert f"{path} is truncated" in refused("mnist", Places(tmp_path / "data", cache))


# -------------------------------------------------------------------------------------------------
# which source, and none at all


def test_the_first_source_that_exists_is_used(
    tmp_path: Path, toy: Toy, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "data"
    cifar_tree(root, toy, monkeypatch)
    assert "torchvision" in load("cifar10", Places(root, cache)).source
    folder_tree(root, toy)
    assert "class folders" in load("cifar10", Places(root, cache)).source
    parquet_tree(root, toy, "uoft-cs/cifar10/plain_text")
    assert "uoft-cs" in load("cifar10", Places(root, cache)).source
    parquet_tree(root, toy)
    assert str(root / "cifar10" / "plain_text") in load("cifar10", Places(root, cache)).source


def test_a_broken_source_is_not_passed_over(tmp_path: Path, toy: Toy, cache: Path) -> None:
    root = folder_tree(parquet_tree(tmp_path / "data", toy), toy)
    broken = root / "cifar10" / "plain_text" / "test-00000-of-00001.parquet"
    broken.write_bytes(broken.read_bytes()[:-200])
    assert str(broken) in refused("cifar10", Places(root, cache))


def test_the_same_content_is_the_same_revision_in_every_layout(
    tmp_path: Path, toy: Toy, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trees = [
        parquet_tree(tmp_path / "a", toy),
        folder_tree(tmp_path / "b", toy),
        cifar_tree(tmp_path / "c", toy, monkeypatch),
    ]
    assert len({load("cifar10", Places(tree, cache)).spec.revision for tree in trees}) == 1


def test_nothing_found_says_every_place_and_what_to_do(tmp_path: Path, cache: Path) -> None:
    root = tmp_path / "data"
    message = refused("cifar10", Places(root, cache))
    looked = (
        "cifar10/plain_text",
        "uoft-cs/cifar10/plain_text",
        "cifar10/train",
        "cifar-10-batches-py",
    )
    assert all(str(root / place) in message for place in looked)
    assert all(remedy in message for remedy in ("--data-root", "DCBENCH_DATA", "--download"))


def test_no_data_root_is_said(cache: Path) -> None:
    message = refused("mnist", Places(None, cache))
    assert "no data root was given" in message
    assert "--data-root" in message


class Downloads:
    """torchvision's download, faked: ``act`` stands for the network."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, act: Callable[[Path], object]) -> None:
        import torchvision

        self.count = 0

        def download(published: Any) -> None:
            self.count += 1
            sys.stdout.write("torchvision talks\n")  # so did some of its versions
            act(Path(published.root))

        monkeypatch.setattr(torchvision.datasets.CIFAR10, "download", download)


def test_nothing_is_fetched_unasked(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    downloads = Downloads(monkeypatch, lambda _: None)
    refused("cifar10", Places(tmp_path / "data", cache))
    assert downloads.count == 0


@pytest.mark.parametrize("given", [True, False])
def test_a_download_is_found_again_without_asking(
    given: bool,
    tmp_path: Path,
    toy: Toy,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    downloads = Downloads(monkeypatch, lambda root: cifar_tree(root, toy, monkeypatch))
    root, steps = (tmp_path / "data" if given else None), Steps()
    loaded = load("cifar10", Places(root, cache, download=True), progress=steps)
    same_images(loaded, toy)
    assert str(root or cache) in loaded.source
    assert "downloading cifar10" in steps.texts
    assert capsys.readouterr().out == ""  # stdout is for --json
    same_images(load("cifar10", Places(root, cache)), toy)
    same_images(load("cifar10", Places(root, cache, download=True)), toy)
    assert downloads.count == 1


def test_a_source_that_exists_is_not_downloaded(
    tmp_path: Path, toy: Toy, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    downloads = Downloads(monkeypatch, lambda _: None)
    assert (
        "parquet"
        in load("cifar10", Places(parquet_tree(tmp_path, toy), cache, download=True)).source
    )
    assert downloads.count == 0


def test_an_unfinished_download_is_completed(
    tmp_path: Path, toy: Toy, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = cifar_tree(tmp_path / "data", toy, monkeypatch)
    batch = root / "cifar-10-batches-py" / "test_batch"
    whole = batch.read_bytes()
    batch.write_bytes(whole[:50])
    downloads = Downloads(monkeypatch, lambda _: batch.write_bytes(whole))
    same_images(load("cifar10", Places(root, cache, download=True)), toy)
    assert downloads.count == 1


@pytest.mark.parametrize(
    "trouble",
    [
        urllib.error.URLError("no route"),
        RuntimeError("File not found or corrupted."),
        TimeoutError("slow"),
    ],
)
def test_a_failed_download_is_one_line(
    trouble: Exception, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Path) -> None:
        raise trouble

    Downloads(monkeypatch, fail)
    assert "the download of cifar10" in refused(
        "cifar10", Places(tmp_path / "data", cache, download=True)
    )


def test_a_download_that_cannot_be_written_is_a_storage_error(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(root: Path) -> None:
        raise OSError(28, "No space left on device", str(root))

    Downloads(monkeypatch, fail)
    message = refused("cifar10", Places(tmp_path / "data", cache, download=True), StorageError)
    assert "No space left on device" in message


# ---------------------------------------------------------------------------------------------------------
# what is broken in it


def bomb() -> bytes:
    """A PNG of a few bytes whose header claims 100,000 x 100,000 pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">2I5B", 100_000, 100_000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        + chunk(b"IEND", b"")
    )


def encoded(image: Image.Image, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


COLOURS = Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8))
BAD_IMAGES = {
    "truncated png": (png(Toy.of("cifar10").train[0])[:-700], "truncated or not an image"),
    "truncated jpeg": (encoded(COLOURS, "JPEG")[:-300], "truncated or not an image"),
    "cut in its header": (encoded(COLOURS)[:20], "truncated or not an image"),
    "text": (b"404: not found", "truncated or not an image"),
    "empty": (b"", "truncated or not an image"),
    "another size": (encoded(COLOURS.resize((32, 31))), "32x31 pixels; cifar10 has 32x32"),
    "bomb": (bomb(), "more pixels than the 32x32"),
    "sixteen bits": (encoded(Image.fromarray(np.zeros((32, 32), np.uint16))), "8 bits per channel"),
    "a kind of old": (encoded(COLOURS, "PCX"), "readable kinds: PNG, JPEG"),
}


@pytest.mark.parametrize("fault", BAD_IMAGES)
def test_a_bad_file_of_an_image_folder_is_named(
    fault: str, tmp_path: Path, toy: Toy, cache: Path
) -> None:
    content, reason = BAD_IMAGES[fault]
    path = folder_tree(tmp_path / "data", toy) / "cifar10" / "train" / "deer" / "0013.png"
    path.write_bytes(content)
    message = refused("cifar10", Places(tmp_path / "data", cache))
    assert str(path) in message
    assert reason in message


@pytest.mark.parametrize("fault", BAD_IMAGES)
def test_a_bad_row_of_a_parquet_file_is_named(
    fault: str, tmp_path: Path, toy: Toy, cache: Path
) -> None:
    content, reason = BAD_IMAGES[fault]
    parquet_tree(tmp_path / "data", toy)
    path = tmp_path / "data" / "cifar10" / "plain_text" / "test-00000-of-00001.parquet"
    save_parquet(path, [png(toy.test[0])] * 4 + [content], [0] * 5)
    message = refused("cifar10", Places(tmp_path / "data", cache))
    assert f"{path}, row 4 " in message
    assert reason in message


def test_rows_are_counted_over_the_whole_file(tmp_path: Path, toy: Toy, cache: Path) -> None:
    parquet_tree(tmp_path / "data", toy)
    path = tmp_path / "data" / "cifar10" / "plain_text" / "train-00000-of-00001.parquet"
    save_parquet(path, [png(toy.train[0])] * 1234 + [b"x"], [0] * 1235)
    assert f"{path}, row 1234 " in refused("cifar10", Places(tmp_path / "data", cache))


def test_a_folder_among_images_is_not_passed_over(tmp_path: Path, toy: Toy, cache: Path) -> None:
    nested = folder_tree(tmp_path / "data", toy) / "cifar10" / "train" / "deer" / "more"
    nested.mkdir()
    assert str(nested) in refused("cifar10", Places(tmp_path / "data", cache))


@pytest.mark.parametrize("label", [-1, 10, None])
def test_a_label_out_of_range_is_an_error(
    label: int | None, tmp_path: Path, toy: Toy, cache: Path
) -> None:
    path = (
        parquet_tree(tmp_path / "data", toy)
        / "cifar10"
        / "plain_text"
        / "test-00000-of-00001.parquet"
    )
    save_parquet(path, [png(toy.test[0])] * 2, [0, label])
    assert f"{path}, row 1 has label {label}; cifar10 has 0 to 9" in refused(
        "cifar10", Places(tmp_path / "data", cache)
    )


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        (
            {"picture": [{"bytes": b"x", "path": ""}], "label": [0]},
            "has the columns picture, label; wanted img or image",
        ),
        (
            {"img": [{"bytes": b"x", "path": ""}], "class": [0]},
            "has the columns img, class; wanted label",
        ),
        ({"img": ["a.png"], "label": [0]}, "wanted a struct of bytes and path"),
        ({"img": [{"url": "a.png"}], "label": [0]}, "wanted a struct of bytes and path"),
        ({"img": [{"bytes": b"x", "path": ""}], "label": ["cat"]}, "wanted integers"),
        ({"img": [{"bytes": None, "path": "a.png"}], "label": [0]}, "row 0 holds no image bytes"),
        (
            {"img": pa.array([None], pa.struct({"bytes": pa.binary()})), "label": [0]},
            "row 0 holds no image bytes",
        ),
        ({"img": [{"bytes": "text", "path": ""}], "label": [0]}, "row 0 holds no image bytes"),
    ],
)
def test_parquet_of_another_shape_is_an_error(
    columns: dict[str, Any], reason: str, tmp_path: Path, toy: Toy, cache: Path
) -> None:
    path = (
        parquet_tree(tmp_path / "data", toy)
        / "cifar10"
        / "plain_text"
        / "train-00000-of-00001.parquet"
    )
    pq.write_table(pa.table(columns), path)
    message = refused("cifar10", Places(tmp_path / "data", cache))
    assert str(path) in message
    assert reason in message


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[: len(data) // 2],
        lambda _: b"",
        lambda data: data[:2000] + bytes(4000) + data[6000:],
    ],
)
def test_a_damaged_parquet_file_is_named(
    damage: Callable[[bytes], bytes], tmp_path: Path, toy: Toy, cache: Path
) -> None:
    path = (
        parquet_tree(tmp_path / "data", toy)
        / "cifar10"
        / "plain_text"
        / "train-00000-of-00001.parquet"
    )
    path.write_bytes(damage(path.read_bytes()))
    assert str(path) in refused("cifar10", Places(tmp_path / "data", cache))


def test_a_parquet_file_without_rows_is_an_error(tmp_path: Path, toy: Toy, cache: Path) -> None:
    path = (
        parquet_tree(tmp_path / "data", toy)
        / "cifar10"
        / "plain_text"
        / "test-00000-of-00001.parquet"
    )
    table = pa.table(
        {"img": pa.array([], pa.struct({"bytes": pa.binary()})), "label": pa.array([], pa.int64())}
    )
    pq.write_table(table, path)
    assert "the test split of cifar10 holds no images" in refused(
        "cifar10", Places(tmp_path / "data", cache)
    )


# -----------------------------------------------------------------------------------------------------------------
# the cache


def test_images_are_decoded_once(tmp_path: Path, toy: Toy, cache: Path) -> None:
    where, first, second = Places(parquet_tree(tmp_path / "data", toy), cache), Steps(), Steps()
    revision = load("cifar10", where, progress=first).spec.revision
    again = load("cifar10", where, progress=second)
    assert first.told == [("decoding cifar10 train", 30, 30), ("decoding cifar10 test", 20, 20)]
    assert second.told == []
    assert again.spec.revision == revision
    same_images(again, toy)


FILES = ("train-images.npy", "train-labels.npy", "test-images.npy", "test-labels.npy", "index.json")


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize(
    "damage", ["a flipped bit", "a flipped bit of the header", "truncated", "gone"]
)
def test_a_damaged_cache_is_rebuilt(
    file: str, damage: str, tmp_path: Path, toy: Toy, cache: Path
) -> None:
    where = Places(parquet_tree(tmp_path / "data", toy), cache)
    revision = load("cifar10", where).spec.revision
    (path,) = cache.glob(f"datasets/*/{file}")
    content = bytearray(path.read_bytes())
    if damage.startswith("a flipped bit"):
        content[30 if "header" in damage else len(content) - len(content) // 4] ^= 1
    path.write_bytes(content[: -len(content) // 2] if damage == "truncated" else content)
    if damage == "gone":
        path.unlink()
    rebuilding, after = Steps(), Steps()
    loaded = load("cifar10", where, progress=rebuilding)
    assert "decoding cifar10 train" in rebuilding.texts
    same_images(loaded, toy)
    assert loaded.spec.revision == revision
    load("cifar10", where, progress=after)
    assert after.told == []


def test_changed_files_are_decoded_anew(tmp_path: Path, toy: Toy, cache: Path) -> None:
    where = Places(folder_tree(tmp_path / "data", toy), cache)
    before = load("cifar10", where)
    toy.train[4, 1, 20, 20] ^= 1
    folder_tree(tmp_path / "data", toy)
    after = load("cifar10", where)
    same_images(after, toy)
    assert after.spec.revision != before.spec.revision


def test_one_pixel_or_label_or_class_name_makes_another_revision(
    tmp_path: Path, toy: Toy, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def revision(folder: str, tree: Callable[[Path], Path]) -> str:
        return load("cifar10", Places(tree(tmp_path / folder), cache)).spec.revision

    def relabelled(root: Path) -> Path:
        path = parquet_tree(root, toy) / "cifar10" / "plain_text" / "test-00000-of-00001.parquet"
        save_parquet(
            path,
            [png(image) for image in toy.test],
            [0, 1] + [label for label in range(1, 10) for _ in range(2)],
        )
        return root

    other = replace(toy, test=toy.test.copy())
    other.test[-1, 2, 31, 31] ^= 1
    trees: list[Callable[[Path], Path]] = [
        lambda root: parquet_tree(root, toy),
        lambda root: parquet_tree(root, other),
        relabelled,
    ]
    revisions = [revision(str(index), tree) for index, tree in enumerate(trees)]
    assert revision("copy", lambda root: parquet_tree(root, toy)) == revisions[0]
    numbered = [f"class {label}" for label in range(10)]  # as the labels, which name the classes
    assert revision("numbered", lambda root: folder_tree(root, toy, numbered)) == revisions[0]
    called = replace(toy.dataset, class_names=tuple(numbered))
    monkeypatch.setattr("dcbench.datasets.catalogue.DATASETS", {"cifar10": called})
    revisions.append(revision("other names", lambda root: parquet_tree(root, toy)))
    assert len(set(revisions)) == len(revisions)
    assert all(len(found) == 12 and set(found) <= set("0123456789abcdef") for found in revisions)


def test_a_broken_source_leaves_no_cache(tmp_path: Path, toy: Toy, cache: Path) -> None:
    path = folder_tree(tmp_path / "data", toy) / "cifar10" / "test" / "truck" / "0019.png"
    whole = path.read_bytes()
    path.write_bytes(whole[:-700])
    refused("cifar10", Places(tmp_path / "data", cache))
    assert not list(cache.glob("datasets/*/*.json"))
    path.write_bytes(whole)
    same_images(load("cifar10", Places(tmp_path / "data", cache)), toy)


def test_a_cache_that_cannot_be_written_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert str(tmp_path / "file") in refused(
        "digits", Places(None, tmp_path / "file" / "cache"), StorageError
    )


def test_writing_into_loaded_images_leaves_the_cache_alone(cache: Path) -> None:
    load("digits", Places(None, cache))
    loaded, steps = load("digits", Places(None, cache)), Steps()
    first = loaded.train.images.clone()
    loaded.train.images.fill_(7)
    assert torch.equal(load("digits", Places(None, cache), progress=steps).train.images, first)
    assert steps.told == []


def test_a_finished_cache_is_read_while_another_process_holds_it(cache: Path) -> None:
    load("digits", Places(None, cache))
    (folder,) = cache.glob("datasets/digits-*")
    code = (
        "import sys; from pathlib import Path; from dcbench.system.files import locked\n"
        "with locked(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, folder],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with ThreadPoolExecutor() as pool:
            reading = pool.submit(load, "digits", Places(None, cache))
            done, _ = wait([reading], timeout=20)
            holder.kill()  # before the pool is left, so that a reader that waits for the lock ends
        assert done
        assert len(reading.result().test) == 359
    finally:
        holder.kill()
        holder.communicate()


def test_an_index_that_was_tampered_with_is_not_believed(cache: Path) -> None:
    revision = load("digits", Places(None, cache)).spec.revision
    (index,) = cache.glob("datasets/*/index.json")
    index.write_text(index.read_text().replace(revision, "0123456789ab"))
    assert load("digits", Places(None, cache)).spec.revision == revision


def as_older_versions(index: dict[str, Any], folder: Path) -> dict[str, Any]:
    """With checksums of the files, as earlier versions wrote them."""
    files = {path.name: path.read_bytes() for path in sorted(folder.glob("*.npy"))}
    return index | {
        "sha256": {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    }


def resealed(index: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """``index`` changed, with a checksum of its own that fits."""
    value = json.loads(index.read_text(encoding="utf-8"))
    del value["index_sha256"]
    value = change(value)
    seal = hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
    index.write_text(json.dumps(value | {"index_sha256": seal}), encoding="utf-8")


@pytest.mark.parametrize("file", ["test-labels.npy", "train-images.npy"])
def test_a_revision_is_computed_anew_from_what_is_used(
    file: str, tmp_path: Path, toy: Toy, cache: Path
) -> None:
    """Whoever changes labels or images may make all checksums fit: not the revision."""
    where, told = Places(parquet_tree(tmp_path / "data", toy), cache), Steps()
    revision = load("cifar10", where).spec.revision
    (path,) = cache.glob(f"datasets/*/{file}")
    array = np.load(path)
    np.save(path, np.roll(array, 1, axis=0))
    resealed(path.with_name("index.json"), lambda index: as_older_versions(index, path.parent))
    loaded = load("cifar10", where, progress=told)
    assert "decoding cifar10 train" in told.texts
    assert loaded.spec.revision == revision
    same_images(loaded, toy)


def test_what_older_versions_kept_is_not_decoded_anew(
    tmp_path: Path, toy: Toy, cache: Path
) -> None:
    where, told = Places(parquet_tree(tmp_path / "data", toy), cache), Steps()
    load("cifar10", where)
    (index,) = cache.glob("datasets/*/index.json")
    resealed(index, lambda value: as_older_versions(value, index.parent))
    same_images(load("cifar10", where, progress=told), toy)
    assert told.told == []


def test_what_is_kept_under_other_class_names_is_decoded_anew(
    tmp_path: Path, toy: Toy, cache: Path
) -> None:
    """Older versions called classes by their folders."""
    where, told = Places(folder_tree(tmp_path / "data", toy), cache), Steps()
    revision = load("cifar10", where).spec.revision
    (index,) = cache.glob("datasets/*/index.json")
    resealed(index, lambda value: value | {"class_names": sorted(value["class_names"])[::-1]})
    loaded = load("cifar10", where, progress=told)
    assert "decoding cifar10 train" in told.texts
    assert (loaded.spec.revision, loaded.spec.class_names) == (revision, toy.dataset.class_names)


def test_two_processes_at_once_do_no_harm(tmp_path: Path, toy: Toy, cache: Path) -> None:
    root = parquet_tree(tmp_path / "data", toy)
    code = (
        "import sys; from pathlib import Path; from dcbench.datasets import Places, loading; loading.require_complete = lambda *_: None;"
        "loaded = loading.load('cifar10', Places(Path(sys.argv[1]), Path(sys.argv[2])), zca=False, holdout=10); print(loaded.spec.revision)"
    )
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", code, root, cache], stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    revisions = {worker.communicate()[0].strip() for worker in workers}
    assert [worker.returncode for worker in workers] == [0, 0]
    quiet = Steps()
    assert revisions == {load("cifar10", Places(root, cache), progress=quiet).spec.revision}
    assert quiet.told == []


# ----------------------------------------------------------------------------------------------------------------
# the digits


def test_digits_are_scikit_learns(cache: Path) -> None:
    from sklearn.datasets import load_digits

    loaded = load("digits", Places(None, cache))
    values, labels = load_digits(return_X_y=True)
    # the only tie, 127.5, is rounded up either way
    pixels = np.floor(values / 16 * 255 + 0.5).astype(np.uint8)
    published = sorted((row.tobytes(), label) for row, label in zip(pixels, labels, strict=True))
    ours = [
        (image.numpy().tobytes(), int(label))
        for part in (loaded.train, loaded.test)
        for image, label in zip(part.images, part.labels, strict=True)
    ]
    assert sorted(ours) == published
    assert loaded.spec.shape == (1, 8, 8)
    assert not loaded.spec.flips
    assert "scikit-learn" in loaded.source


def test_a_fifth_of_the_digits_is_the_test_split(cache: Path) -> None:
    loaded = load("digits", Places(None, cache))
    assert (len(loaded.train), len(loaded.test)) == (1438, 359)
    share = torch.bincount(loaded.test.labels) / (
        torch.bincount(loaded.test.labels) + torch.bincount(loaded.train.labels)
    )
    assert share.min() > 0.19
    assert share.max() < 0.21
    # a split that moved would make old results incomparable
    assert loaded.spec.revision == "552d47a57c94"


# ---------------------------------------------------------------------------------------------------------------
# the holdout


def members(images: Tensor, labels: Tensor) -> set[bytes]:
    return {
        image.numpy().tobytes() + bytes([int(label)])
        for image, label in zip(images, labels, strict=True)
    }


def test_the_holdout_is_a_stratified_disjoint_part_of_training(cache: Path) -> None:
    whole, parted = (
        load("digits", Places(None, cache)),
        load("digits", Places(None, cache), holdout=300),
    )
    assert whole.holdout is None
    assert parted.holdout is not None
    assert (len(parted.train), len(parted.holdout)) == (1138, 300)
    kept, apart = (members(part.images, part.labels) for part in (parted.train, parted.holdout))
    assert not kept & apart
    assert kept | apart == members(whole.train.images, whole.train.labels)
    expected = torch.bincount(whole.train.labels) * 300 / 1438
    assert (torch.bincount(parted.holdout.labels) - expected).abs().max() < 1
    assert torch.equal(parted.test.images, whole.test.images)
    assert parted.spec == whole.spec
    assert (whole.train.holdout, parted.train.holdout) == (
        "",
        "300 of 1438 images, stratified, seed 0",
    )


def test_the_holdout_is_the_same_every_time(tmp_path: Path) -> None:
    torch.manual_seed(1)
    one = load("digits", Places(None, tmp_path / "a"), holdout=50).holdout
    np.random.seed(5)
    two = load("digits", Places(None, tmp_path / "b"), holdout=50).holdout
    assert one is not None
    assert two is not None
    assert torch.equal(one.images, two.images)


@pytest.mark.parametrize(
    ("holdout", "kind"), [(-1, OutOfRangeError), (1438, DataError), (5000, DataError)]
)
def test_an_impossible_holdout_is_refused(
    holdout: int, kind: type[DcbenchError], cache: Path
) -> None:
    assert str(holdout) in refused("digits", Places(None, cache), kind, holdout=holdout)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=8), st.floats(0, 1), st.integers(0, 5))
def test_a_stratified_part_has_the_size_asked_and_every_class_its_share(
    sizes: list[int], share: float, seed: int
) -> None:
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    count = int(share * len(labels))
    try:
        chosen = stratified(labels, count, seed)
    except DataError:  # a share within 1 of a class's size may be rounded up to the whole class
        assert any(size * count / len(labels) > size - 1 for size in sizes)
        return
    assert chosen.sum() == count
    assert (
        np.abs(
            np.bincount(labels[chosen], minlength=len(sizes))
            - np.array(sizes) * count / len(labels)
        ).max()
        < 1
    )
    assert set(labels[~chosen]) == set(labels)
    assert np.array_equal(chosen, stratified(labels, count, seed))


# ------------------------------------------------------------------------------------------------------------
# normalisation


def test_cifar_has_the_literatures_constants(tmp_path: Path, cache: Path) -> None:
    for name, mean, std in (
        ("cifar10", (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
        ("cifar100", (0.5071, 0.4866, 0.4409), (0.2673, 0.2564, 0.2762)),
    ):
        loaded = load(name, Places(folder_tree(tmp_path / "data", Toy.of(name)), cache))
        assert loaded.train.space == loaded.test.space
        assert (loaded.train.space.kind, loaded.train.space.mean, loaded.train.space.std) == (
            "normalised",
            mean,
            std,
        )


def test_other_data_is_normalised_by_its_own_training_images(cache: Path) -> None:
    loaded = load("digits", Places(None, cache), holdout=100)
    values = loaded.train.values(slice(0, len(loaded.train))).double()
    assert abs(values.mean()) < 1e-6
    assert abs(values.std(correction=0) - 1) < 1e-6
    assert loaded.holdout is not None
    for part in (loaded.test, loaded.holdout):
        assert part.space is loaded.train.space


def test_own_constants_are_fitted_once(cache: Path) -> None:
    space = load("digits", Places(None, cache)).train.space
    (path,) = cache.glob("spaces/digits-*.pt")
    kept = path.stat().st_mtime_ns
    assert load("digits", Places(None, cache)).train.space.fingerprint == space.fingerprint
    assert path.stat().st_mtime_ns == kept


def test_channels_are_normalised_apart_and_exactly() -> None:
    images = torch.randint(
        0, 256, (4100, 3, 5, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    images[:, 1] //= 3
    space = normalisation(replace(find("cifar10"), mean=(), std=(), size=5), images)
    pixels = images.double() / 255
    assert space.mean == pytest.approx(pixels.mean((0, 2, 3)).tolist(), rel=1e-12)
    assert space.std == pytest.approx(pixels.std((0, 2, 3), correction=0).tolist(), rel=1e-9)


def test_images_of_one_colour_cannot_be_normalised() -> None:
    with pytest.raises(DataError, match="one colour"):
        normalisation(find("mnist"), torch.full((5, 1, 28, 28), 9, dtype=torch.uint8))


# -------------------------------------------------------------------------------------------------------------------
# whitening


@pytest.fixture(scope="module")
def patches() -> Tensor:
    """6x6 patches of two photographs: real, correlated, and of full rank."""
    from sklearn.datasets import load_sample_images

    load_photographs: Any = load_sample_images
    random = np.random.default_rng(0)
    photographs = load_photographs().images
    found = []
    for _ in range(5000):
        photograph = photographs[random.integers(2)]
        row, column = (
            random.integers(photograph.shape[0] - 6),
            random.integers(photograph.shape[1] - 6),
        )
        found.append(photograph[row : row + 6, column : column + 6].transpose(2, 0, 1))
    return torch.from_numpy(np.stack(found))


@pytest.fixture(scope="module")
def base() -> Space:
    return Space("normalised", find("cifar10").mean, find("cifar10").std)


def test_whitening_makes_the_covariance_the_identity(patches: Tensor, base: Space) -> None:
    space = whitening(patches, base, eps=1e-9)
    values = space.enter(patches.float() / 255).flatten(1).double()
    assert (values.T.cov() - torch.eye(108)).abs().max() < 0.01
    assert values.mean(0).abs().max() < 0.01


@pytest.mark.parametrize("eps", [0.1, 1e-9])
def test_whitening_can_be_undone(eps: float, patches: Tensor, base: Space) -> None:
    space, pixels = whitening(patches, base, eps=eps), patches[:200].float() / 255
    assert torch.allclose(space.leave(space.enter(pixels)), pixels, atol=1e-5)


def transcribed_zca(
    x: NDArray[np.float64], eps: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """T = sum_i u_i u_i^T / sqrt(s_i + eps) over the eigenvectors of the covariance, loops and all."""
    mean = np.zeros(x.shape[1])
    for row in x:
        mean += row / len(x)
    covariance = np.zeros((len(mean), len(mean)))
    for row in x:
        covariance += np.outer(row - mean, row - mean) / (len(x) - 1)
    T = np.zeros_like(covariance)
    eigenvalues, eigenvectors = np.linalg.eigh(covariance)
    for s, u in zip(eigenvalues, eigenvectors.T, strict=True):
        T += np.outer(u, u) / np.sqrt(s + eps)
    return mean, T


@pytest.mark.parametrize("eps", [0.1, 1e-4])
def test_whitening_equals_the_eigendecomposition(eps: float, patches: Tensor, base: Space) -> None:
    few = patches[:2500]
    space = whitening(few, base, eps=eps)
    mean, T = transcribed_zca(base.enter(few.double() / 255).flatten(1).numpy(), eps)
    assert space.zca_mean is not None
    assert space.zca_matrix is not None
    assert torch.equal(space.zca_matrix, space.zca_matrix.T)
    assert np.allclose(space.zca_mean, mean, atol=1e-6)
    assert np.abs(space.zca_matrix.numpy() - T).max() < 1e-6 * np.abs(T).max()


def test_whitening_equals_kornias(patches: Tensor, base: Space) -> None:
    from kornia.enhance import linear_transform, zca_mean

    normalised = base.enter(patches.double() / 255)
    T, mean, _ = zca_mean(normalised, eps=0.1)
    ours = whitening(patches, base, eps=0.1).enter(patches.double() / 255)
    assert torch.allclose(ours, linear_transform(normalised, T, mean), atol=1e-5)


def test_whitening_needs_two_images(base: Space) -> None:
    with pytest.raises(DataError, match="two images"):
        whitening(torch.zeros(1, 3, 6, 6, dtype=torch.uint8), base)


def test_whitening_of_large_images_is_refused_with_the_reason() -> None:
    require_zca(replace(find("cifar10"), size=64))
    with pytest.raises(MismatchError, match=r"up to 64x64; cifar10 is 128x128 .*49152 x 49152"):
        require_zca(replace(find("cifar10"), size=128))


def test_a_whitened_data_set_is_in_one_space_fitted_on_what_is_trained_on(cache: Path) -> None:
    loaded = load("digits", Places(None, cache), zca=True, holdout=300)
    assert loaded.holdout is not None
    space = loaded.train.space
    assert space.kind == "zca"
    assert loaded.test.space is loaded.holdout.space is space
    fitted = whitening(
        loaded.train.images, load("digits", Places(None, cache), holdout=300).train.space
    )
    assert fitted.fingerprint == space.fingerprint
    values = loaded.train.values(torch.arange(len(loaded.train))).flatten(1).double()
    variances = torch.linalg.eigvalsh(values.T.cov())  # each s becomes s / (s + 0.1)
    assert variances.min() > -1e-9
    assert 0.9 < variances.max() < 1
    assert torch.allclose(
        space.leave(loaded.test.values(slice(0, 50))), loaded.test.images[:50] / 255, atol=1e-5
    )


def test_pixels_are_whitened_as_mtt_does(cache: Path) -> None:
    from kornia.enhance import ZCAWhitening

    loaded = load("digits", Places(None, cache), zca=True, of_pixels=True)
    other = load("digits", Places(None, cache), zca=True)
    pixels = loaded.train.images / 255
    theirs = ZCAWhitening(eps=0.1).fit(pixels)(pixels[:9])
    assert torch.allclose(loaded.train.values(slice(0, 9)), theirs, atol=1e-4)
    assert float((other.train.values(slice(0, 9)) - theirs).abs().max()) > 0.5
    assert loaded.train.space.fingerprint != other.train.space.fingerprint


@pytest.mark.parametrize("damage", ["none", "a flipped byte", "truncated"])
def test_whitening_is_fitted_once_unless_the_file_is_damaged(damage: str, cache: Path) -> None:
    space = load("digits", Places(None, cache), zca=True).train.space
    (path,) = cache.glob("spaces/*zca*.pt")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0 if damage == "none" else 255
    path.write_bytes(content[:-4000] if damage == "truncated" else content)
    steps, after = Steps(), Steps()
    assert (
        load("digits", Places(None, cache), zca=True, progress=steps).train.space.fingerprint
        == space.fingerprint
    )
    assert ("fitting ZCA" in steps.texts) == (damage != "none")
    load("digits", Places(None, cache), zca=True, progress=after)
    assert after.told == []


def test_spaces_of_different_holdouts_are_kept_apart(cache: Path) -> None:
    spaces = [
        load("digits", Places(None, cache), zca=True, holdout=holdout).train.space
        for holdout in (0, 200, 400, 0)
    ]
    assert len({space.fingerprint for space in spaces}) == 3
    assert spaces[0].fingerprint == spaces[3].fingerprint


# --------------------------------------------------------------------------------------------------------------
# the real thing


@pytest.mark.cifar
def test_the_real_cifar_is_known_as_original(cifar: Loaded) -> None:
    assert (len(cifar.train), len(cifar.test)) == (50_000, 10_000)
    assert ("cifar10", cifar.spec.revision) in KNOWN_REVISIONS
    assert cifar.note == "original"
    for part in (cifar.train, cifar.test):
        assert set(torch.bincount(part.labels).tolist()) == {len(part) // 10}


@pytest.mark.cifar
def test_the_real_cifar_has_its_known_statistics(cifar: Loaded) -> None:
    own = normalisation(replace(find("cifar10"), mean=(), std=()), cifar.train.images[::10])
    assert own.mean == pytest.approx((0.4914, 0.4822, 0.4465), abs=2e-3)
    assert own.std == pytest.approx((0.247, 0.244, 0.262), abs=4e-3)


@pytest.mark.cifar
def test_a_balanced_batch_of_the_real_cifar(cifar: Loaded) -> None:
    train: TrainSet = cifar.train
    generator = torch.Generator().manual_seed(0)
    batch = torch.cat([train.draw(label, 256, generator) for label in range(10)])
    assert len(set(batch.tolist())) == 2560
    assert train.values(batch).shape == (2560, 3, 32, 32)
