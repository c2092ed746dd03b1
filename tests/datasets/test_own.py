"""A folder of one's own images: what it says of itself, and what is refused."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dcbench.datasets import catalogue
from dcbench.datasets.catalogue import find
from dcbench.datasets.declaration import Dataset
from dcbench.datasets.loading import load
from dcbench.datasets.own import own_dataset
from dcbench.datasets.places import Places
from dcbench.system.errors import DataError, UnknownNameError
from tests.datasets.test_datasets import bomb

SHAPE = (12, 12, 3)


def folder(place: Path, shape: tuple[int, ...] = SHAPE, toml: str = "", images: int = 3) -> Path:
    """Two classes of ``images`` images in each split."""
    draw = np.random.default_rng(0)
    for split in ("train", "test"):
        for number, label in enumerate(("cat", "dog")):
            where = place / split / label
            where.mkdir(parents=True)
            for index in range(images):
                pixels = draw.integers(0, 120, shape, dtype=np.uint8) + np.uint8(100 * number)
                Image.fromarray(pixels).save(where / f"{index}.png")
    if toml:
        (place / "dcbench.toml").write_text(toml, encoding="utf-8")
    return place


def test_a_folder_says_enough_by_itself(tmp_path: Path) -> None:
    place = folder(tmp_path / "My Pets")
    dataset = find(str(place))
    assert (dataset.name, dataset.shape) == ("my-pets", (3, 12, 12))
    assert (dataset.class_names, dataset.flips) == (("cat", "dog"), True)
    loaded = load(str(place), Places(None, tmp_path / "cache"))
    assert loaded.spec.dataset == "my-pets"
    assert loaded.train.images.shape == (6, 3, 12, 12)
    assert loaded.train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert loaded.note == ""


def test_one_colourful_class_makes_it_colourful(tmp_path: Path) -> None:
    place = folder(tmp_path / "grey", (12, 12))
    for image in (place / "train" / "dog").iterdir():
        Image.open(image).convert("RGB").save(image)
    assert find(str(place)).channels == 3


def test_what_an_image_or_class_lacks_is_said_with_the_remedy(tmp_path: Path) -> None:
    place = folder(tmp_path / "pets")
    odd = place / "train" / "dog" / "2.png"
    Image.open(odd).resize((10, 14)).save(odd)
    places = Places(None, tmp_path / "cache")
    with pytest.raises(DataError, match=r"to resize all, write size = 12 into .*dcbench.toml"):
        load(str(place), places)
    Image.open(odd).resize((12, 12)).save(odd)
    for image in (place / "test" / "dog").iterdir():
        image.unlink()
    with pytest.raises(DataError, match=r"no test image of class 'dog' \(1 of 2 classes\)"):
        load(str(place), places)


def test_the_declaration_is_followed(tmp_path: Path) -> None:
    said = 'name = "pets"\nsize = 8\nmean = [0.5]\nstd = [0.25]\nflips = false\n'
    place = folder(tmp_path / "x", (12, 10), said + 'classes = ["dog", "cat"]')
    loaded = load(f"{place}/", Places(None, tmp_path / "cache"))
    assert loaded.spec.dataset == "pets"
    assert (loaded.spec.shape, loaded.spec.flips) == ((1, 8, 8), False)
    assert loaded.spec.class_names == ("dog", "cat")
    assert (loaded.train.space.mean, loaded.train.space.std) == ((0.5,), (0.25,))
    # dogs are the bright ones
    bright = loaded.train.images[loaded.train.labels == 0].float().mean()
    assert float(bright) > float(loaded.train.images[loaded.train.labels == 1].float().mean())


WRONG = {
    "colour = 3": r"dcbench\.toml: unknown key 'colour'; it may say name, size, mean, std, flips, classes",
    'size = "big"': "size must be a whole number of pixels, got 'big'",
    "mean = [0.5, 0.5, 0.5]": "mean and std go together",
    "mean = [0.5]\nstd = [0.5]": "mean needs 3 numbers",
    "std = [0.0, 1, 1]\nmean = [0, 0, 0]": "std must be a list of numbers above 0",
    'classes = ["cat", "cow"]': "classes are cat, cow, but .* has the folders cat, dog",
    'name = "cifar10"': "'cifar10' is the name of a published data set",
    'name = "../x"': r"'\.\./x' is no name",
    "name = ": "cannot be read",
    "name = " + "[" * 9999: "cannot be read",
    "#" * 70_000: "has more than 65536 bytes",
}


@pytest.mark.parametrize("toml", WRONG)
def test_what_cannot_be_meant_is_refused_in_one_line(toml: str, tmp_path: Path) -> None:
    place = folder(tmp_path / "pets", toml=toml)
    with pytest.raises(DataError, match=WRONG[toml]) as refusal:
        find(str(place))
    assert "\n" not in str(refusal.value)


def test_folders_without_enough_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"is no image folder: wanted .*/train/CLASS/IMAGE"):
        find(str(tmp_path))
    with pytest.raises(DataError, match=r"class 'cat' of one has 1 image in .*at least 2"):
        find(str(folder(tmp_path / "one", images=1)))
    with pytest.raises(DataError, match=r"not square; say which size .*size = 32"):
        find(str(folder(tmp_path / "wide", (12, 10, 3))))


@pytest.mark.parametrize("content", [bomb(), b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n"])
def test_a_first_image_that_is_none_is_refused_by_its_head(content: bytes, tmp_path: Path) -> None:
    place = folder(tmp_path / "pets")
    (place / "train" / "cat" / "0.png").write_bytes(content)
    with pytest.raises(DataError, match=r"0\.png is no image that can be read"):
        find(str(place))


LETTERS = Dataset("letters", 1, 8, ("a", "b"), flips=False, folders=("letters",))


def test_installed_packages_declare_data_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [
        EntryPoint(name, f"tests.datasets.test_own:{value}", catalogue.ENTRY_POINTS)
        for name, value in (("letters", "LETTERS"), ("wrong", "SHAPE"))
    ]
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: points)
    assert find("letters") == LETTERS
    with pytest.raises(DataError, match=r"entry point wrong \(tests.*:SHAPE\) is a tuple"):
        find("wrong")
    with pytest.raises(UnknownNameError, match="did you mean 'letters'"):
        find("leters")


def test_own_data_has_no_name_of_published_data(tmp_path: Path) -> None:
    place = folder(tmp_path / "mnist")
    with pytest.raises(DataError, match="'mnist' is the name of a published data set"):
        own_dataset(place, catalogue.DATASETS)
