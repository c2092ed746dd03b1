"""Strangers' folders and files as people leave them: other names, litter, other sizes and exports."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from dcbench.artifacts.artifact import read_artifact
from dcbench.artifacts.importers.catalogue import find_layout
from dcbench.artifacts.importers.importing import ImportedSet, import_set, write_imported
from dcbench.artifacts.importers.layout import ImportOptions
from dcbench.datasets import find
from dcbench.datasets.loading import Loaded
from dcbench.images import ImageSpec, Space
from dcbench.system.errors import FileFormatError, MismatchError
from tests.commandline import ask, done

WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
NORMALISED = Space("normalised", (0.5, 0.4, 0.3), (0.2, 0.2, 0.25))


def spec_of(name: str, size: int = 8) -> ImageSpec:
    """The classes of a data set with images that are quickly made."""
    dataset = find(name)
    classes = dataset.class_names or tuple(f"n{label:08}" for label in range(dataset.classes))
    return ImageSpec(name, "0" * 12, 3, size, classes)


def class_folders(
    root: Path, names: Sequence[str], size: int = 8, suffix: str = ".png", each: int = 1
) -> Path:
    """Folders of images, each of the grey that is twice its place in ``names``."""
    for place, name in enumerate(names):
        (root / name).mkdir(parents=True)
        for index in range(each):
            image = Image.new("RGB", (size, size), (place, place, place))
            image.save(root / name / f"{index}{suffix}", lossless=True)
    return root


def read(path: Path, spec: ImageSpec, layout: str = "folder", **options: Any) -> ImportedSet:
    return import_set(
        path, find_layout(layout), spec, NORMALISED, pixels=True, options=ImportOptions(**options)
    )


def greys(found: ImportedSet) -> list[int]:
    pixels = NORMALISED.leave(found.synthetic.images) * 255
    return [round(float(image.mean())) for image in pixels]


# ----------------------------------------------------------------------------------------------
# the names of classes


@pytest.mark.parametrize(
    ("dataset", "names"),
    [
        ("digits", WORDS),
        ("digits", [word.upper() for word in WORDS]),
        ("digits", [f"digit-{label}" for label in range(10)]),
        (
            "cifar10",
            ["Plane", "Car", "Bird", "Cat", "Deer", "Dog", "Frog", "Horse", "Ship", "Truck"],
        ),
        ("cifar100", [name.replace("_", " ").title() for name in find("cifar100").class_names]),
        ("cifar100", [f"new{label:03}" for label in range(100)]),
        ("tinyimagenet", [f"new{label}" for label in range(200)]),
        ("tinyimagenet", [f"N{label:08}" for label in range(200)]),
        ("imagenette", find("imagenette").wordnet_ids),
        ("imagewoof", find("imagewoof").wordnet_ids),
        ("imagewoof", [name.lower().replace(" ", "_") for name in find("imagewoof").class_names]),
    ],
    ids=lambda value: value if isinstance(value, str) else value[2],
)
def test_folders_have_labels_by_their_names(
    dataset: str, names: Sequence[str], tmp_path: Path
) -> None:
    found = read(class_folders(tmp_path, names), spec_of(dataset))
    assert found.synthetic.labels.tolist() == greys(found)
    assert sorted(greys(found)) == list(range(len(names)))
    assert not found.warnings
    assert found.notes["read_as"] == {"images": "fractions of white", "labels": "classes"}


@pytest.mark.parametrize(
    ("dataset", "names"),
    [
        ("digits", [str(label) for label in range(1, 11)]),
        (
            "digits",
            ["eins", "zwei", "drei", "vier", "fuenf", "sechs", "sieben", "acht", "neun", "zehn"],
        ),
        (
            "cifar10",
            ["airplane", "plane", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"],
        ),
        ("cifar10", [f"n{label:08}" for label in range(5, 15)]),
        ("imagewoof", [f"new{label}" for label in range(10)]),  # its ids are not in their order
        ("imagenette", find("imagewoof").wordnet_ids),
    ],
    ids=lambda value: value if isinstance(value, str) else value[1],
)
def test_names_that_say_nothing_are_refused_with_both_lists(
    dataset: str, names: Sequence[str], tmp_path: Path
) -> None:
    spec = spec_of(dataset)
    with pytest.raises(FileFormatError) as refusal:
        read(class_folders(tmp_path, names), spec)
    found, wanted = str(refusal.value).split(": folders ")[1].split("; classes ")
    assert set(found.split(", ")) == set(names)
    assert set(wanted.split("; rename")[0].split(", ")) == set(spec.class_names)
    assert wanted.endswith("or take them in their order with --classes by-position")
    taken = read(tmp_path, spec, by_position=True)
    assert "classes are taken by position" in taken.warnings[0]
    if dataset in ("imagewoof", "digits") and names[0][-1].isdigit():
        assert taken.synthetic.labels.tolist() == greys(taken)  # new2 before new10


def test_a_long_list_of_names_is_cut(tmp_path: Path) -> None:
    with pytest.raises(
        FileFormatError, match=r"and 88 more; classes apple, .* and 88 more; rename"
    ):
        read(
            class_folders(tmp_path, [f"x{i}{'ab'[i % 2]}" for i in range(100)]), spec_of("cifar100")
        )


def test_digits_in_folders_of_words_are_evaluated_as_themselves(
    tmp_path: Path, digits: Loaded
) -> None:
    for label, word in enumerate(WORDS):
        (tmp_path / "theirs" / word).mkdir(parents=True)
        for index in digits.train.by_class[label][:4]:
            image = Image.fromarray(digits.train.images[index, 0].numpy())
            image.save(tmp_path / "theirs" / word / f"{index}.png")
    words = ("--as", "folder", "--dataset", "digits", "--out", tmp_path / "out")
    answer = done(
        *("evaluate", tmp_path / "theirs", *words, "--networks", "1"),
        *("--epochs", "40", "--threads", "1", "--json"),
    )
    (evaluation,) = answer.json["evaluations"]
    assert evaluation["mean"] > 0.4  # four times chance; in alphabetical order 0.15


def test_the_record_says_that_classes_were_taken_by_position(tmp_path: Path) -> None:
    class_folders(tmp_path / "theirs", list("abcdefghij"))
    theirs = ("import", tmp_path / "theirs", "--as", "folder", "--dataset", "digits")
    refused = ask(*theirs, "--to", tmp_path / "ours.pt")
    assert refused.code == 1
    assert "folders a, b, c, d, e, f, g, h, i, j; classes 0, 1, 2, 3" in refused.line
    done(*theirs, "--to", tmp_path / "ours.pt", "--classes", "by-position")
    provenance = read_artifact(tmp_path / "ours.pt").provenance
    assert provenance["classes"] == "by position"
    assert "classes are taken by position: a is 0, b is 1" in provenance["warnings"][0]
    unknown = ask(*theirs, "--classes", "by-postion")
    assert unknown.code == 2
    assert "did you mean 'by-position'?" in unknown.line


def test_options_of_folders_are_refused_elsewhere(tmp_path: Path) -> None:
    for options, says in (
        ({"by_position": True}, "the layout plain has no class folders: leave out --classes"),
        ({"resize": True}, "the layout plain has no image files of other sizes"),
    ):
        with pytest.raises(MismatchError, match=says):
            read(tmp_path / "set.npz", spec_of("cifar10"), "plain", **options)


# ----------------------------------------------------------------------------------------------
# litter, other kinds and sizes of files


def test_litter_is_passed_over(tmp_path: Path) -> None:
    spec = spec_of("cifar10")
    class_folders(tmp_path, spec.class_names)
    for name in (".ipynb_checkpoints", "__MACOSX", "@eaDir", ".git"):
        (tmp_path / name).mkdir()
        (tmp_path / "cat" / name).mkdir()
    for name in ("._0.png", ".DS_Store", "Thumbs.db", "desktop.ini"):
        (tmp_path / name).write_bytes(b"x")
        (tmp_path / "cat" / name).write_bytes(b"x")
    found = read(tmp_path, spec)
    assert greys(found) == list(range(10))
    assert not found.warnings


@pytest.mark.parametrize("suffix", [".webp", ".bmp", ".TIFF", ".gif", ".ppm"])
def test_other_kinds_of_images_are_read(suffix: str, tmp_path: Path) -> None:
    spec = spec_of("cifar10")
    class_folders(tmp_path, spec.class_names, each=1)
    for path in list(tmp_path.glob("*/0.png")):
        with Image.open(path) as image:
            image.save(path.with_name(f"1{suffix}"), lossless=True)
    found = read(tmp_path, spec)
    assert greys(found) == [place for place in range(10) for _ in range(2)]


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".tif", ".png"])
def test_a_file_of_several_images_is_refused(suffix: str, tmp_path: Path) -> None:
    spec = spec_of("cifar10")
    path = class_folders(tmp_path, spec.class_names) / "cat" / f"several{suffix}"
    frames = [Image.new("RGB", (8, 8), (grey, grey, grey)) for grey in (10, 200, 90)]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    with pytest.raises(FileFormatError) as refusal:
        read(tmp_path, spec)
    assert str(refusal.value) == f"{path} holds 3 images; wanted one in a file"


def test_files_beside_the_class_folders_are_said(tmp_path: Path) -> None:
    spec = spec_of("cifar10")
    class_folders(tmp_path, spec.class_names)
    for name in ("grid.png", "log.txt"):
        (tmp_path / name).write_bytes(b"x")
    said = "2 files beside the class folders are not read: grid.png, log.txt"
    assert read(tmp_path, spec).warnings == (said,)


@pytest.mark.parametrize("suffix", [".heic", ".npy", ".txt"])
def test_files_that_are_not_read_are_named_and_counted(suffix: str, tmp_path: Path) -> None:
    spec = spec_of("cifar10")
    class_folders(tmp_path, spec.class_names)
    for name in spec.class_names:
        (tmp_path / name / f"1{suffix}").write_bytes(b"x")
    with pytest.raises(FileFormatError) as refusal:
        read(tmp_path, spec)
    first = tmp_path / "airplane" / f"1{suffix}"
    assert f"{first} is of a kind that is not read (10 of {suffix}, among 20" in str(refusal.value)


def test_images_of_other_sizes_are_resized_if_the_user_says_so(tmp_path: Path) -> None:
    spec = spec_of("imagenette", size=128)
    ids = find("imagenette").wordnet_ids
    class_folders(tmp_path, ids, size=224)
    with pytest.raises(
        FileFormatError, match=r"224x224 pixels; imagenette has 128x128; with --resize the middle"
    ):
        read(tmp_path, spec)
    found = read(tmp_path, spec, resize=True)
    assert greys(found) == list(range(10))
    said = "from 224×224, the middle square of each, bilinear, to 128×128"
    assert found.notes["resized"] == said
    assert found.warnings == (f"images are resized: {said}",)
    Image.new("RGB", (300, 200), (20, 20, 20)).save(tmp_path / ids[0] / "wide.png")
    Image.new("RGB", (64, 64), (20, 20, 20)).save(tmp_path / ids[0] / "small.png")
    many = read(tmp_path, spec, resize=True).notes["resized"]
    assert many.startswith("from 3 sizes, between 64×64 and 300×200, the middle square")
    write_imported(tmp_path / "ours.pt", found, "rded")
    assert read_artifact(tmp_path / "ours.pt").provenance["resized"] == said


def test_images_of_the_right_size_are_not_said_to_be_resized(tmp_path: Path) -> None:
    spec = spec_of("cifar10")
    found = read(class_folders(tmp_path, spec.class_names), spec, resize=True)
    assert "resized" not in found.notes
    assert not found.warnings


# ----------------------------------------------------------------------------------------------
# other exports

SPEC = ImageSpec("three", "0" * 12, 3, 8, ("a", "b", "c"))
PIXELS = torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 0, 1, 1, 2, 2])


def test_bytes_of_several_images_in_one_are_bytes(tmp_path: Path) -> None:
    torch.save([(PIXELS * 255).byte(), LABELS], tmp_path / "data.pt")
    torch.save([(PIXELS * 255).byte().float() / 255, LABELS], tmp_path / "fractions.pt")
    found, same = (read(tmp_path / name, SPEC, "idc") for name in ("data.pt", "fractions.pt"))
    assert torch.allclose(leave(found), leave(same), atol=1e-5)
    assert found.warnings == ("images are stored as whole numbers; read as bytes, 255 for white",)
    assert not same.warnings


def leave(found: ImportedSet) -> Tensor:
    return found.synthetic.space.leave(found.synthetic.images)


def test_mtt_s_export_whose_whitening_is_undone(tmp_path: Path) -> None:
    torch.save(PIXELS, tmp_path / "images_zca_5000.pt")
    torch.save(NORMALISED.enter(PIXELS), tmp_path / "images_5000.pt")  # whitened in their way
    torch.save(LABELS, tmp_path / "labels_5000.pt")
    layout = find_layout("mtt")
    assert layout.usual_space(tmp_path / "images_zca_5000.pt", 3) == "pixels"
    for other in (tmp_path, tmp_path / "images_5000.pt", tmp_path / "images_best.pt"):
        assert layout.usual_space(other, 3) == "zca-pixels"
    found = read(tmp_path / "images_zca_5000.pt", SPEC, "mtt")
    assert torch.allclose(leave(found), PIXELS, atol=1e-5)
    assert torch.equal(found.synthetic.labels, LABELS)
    (tmp_path / "labels_5000.pt").unlink()
    with pytest.raises(FileFormatError, match=r"labels_zca_5000\.pt or .*labels_5000\.pt, which"):
        read(tmp_path / "images_zca_5000.pt", SPEC, "mtt")


def test_mtt_s_export_is_taken_for_pixels_by_itself(tmp_path: Path, digits: Loaded) -> None:
    members = torch.cat([rows[:2] for rows in digits.train.by_class])
    pixels = digits.train.images[members].float() / 255
    torch.save(pixels, tmp_path / "images_zca_300.pt")
    torch.save(digits.train.labels[members], tmp_path / "labels_300.pt")
    theirs = ("import", tmp_path / "images_zca_300.pt", "--as", "mtt", "--dataset", "digits")
    done(*theirs, "--to", tmp_path / "ours.pt")
    synthetic = read_artifact(tmp_path / "ours.pt").synthetic
    assert synthetic.space.fingerprint == digits.train.space.fingerprint
    assert torch.allclose(synthetic.pixels, pixels, atol=1e-5)


@pytest.mark.parametrize("gone", [0, 1])
def test_a_missing_shard_of_mtt_s_is_an_error(gone: int, tmp_path: Path) -> None:
    for shard, part in enumerate(torch.arange(6).split(2)):
        if shard != gone:
            torch.save(PIXELS[part], tmp_path / f"images_best_{shard}.pt")
            torch.save(LABELS[part], tmp_path / f"labels_best_{shard}.pt")
    with pytest.raises(FileFormatError, match="not one complete set of shards; complete the copy"):
        read(tmp_path, SPEC, "mtt")


@pytest.mark.parametrize("experiment", [None, 0])
def test_idm_s_images_are_taken_apart(experiment: int | None, tmp_path: Path) -> None:
    """Against its ``number_sign_augment``, which has all first parts before all second ones."""
    values = NORMALISED.enter(PIXELS)
    pairs = [[values, LABELS]] if experiment is None else [[values, LABELS], [values * 0, LABELS]]
    torch.save(
        {"data": pairs, "accs_all_exps": {"ConvNet": [np.float64(0.5)]}}, tmp_path / "res.pt"
    )
    found = import_set(
        *(tmp_path / "res.pt", find_layout("idm"), SPEC, NORMALISED),
        options=ImportOptions(experiment),
    )
    corners = [(slice(0, 4), slice(0, 4)), (slice(4, 8), slice(0, 4))]
    corners += [(slice(0, 4), slice(4, 8)), (slice(4, 8), slice(4, 8))]
    theirs = [
        torch.nn.functional.interpolate(
            values[:, :, rows, columns], scale_factor=2, mode="bilinear"
        )
        for rows, columns in corners
    ]
    images = found.synthetic.images.view(6, 4, 3, 8, 8)
    for ours, part in zip((0, 2, 1, 3), theirs, strict=True):
        assert torch.allclose(images[:, ours], part, atol=1e-6)
    assert found.synthetic.labels.tolist() == [int(label) for label in LABELS for _ in range(4)]
    assert found.parts == 4
    assert not found.warnings


@pytest.mark.parametrize("scale", [1.0, 0.5])
@pytest.mark.parametrize("layout", ["frepo", "kip"])
def test_frepo_s_arrays(layout: str, scale: float, tmp_path: Path) -> None:
    """Its labels start centred, with more classes scaled too, and are learned."""
    centred = (torch.eye(3)[LABELS] - 1 / 3) * scale
    path = tmp_path / "step001000.npz"
    images = NORMALISED.enter(PIXELS).permute(0, 2, 3, 1).numpy()
    np.savez(path, image=images, label=centred.numpy())
    found = import_set(path, find_layout(layout), SPEC, NORMALISED)
    assert torch.allclose(leave(found), PIXELS, atol=1e-5)
    assert torch.equal(found.synthetic.hard_labels, LABELS)
    assert (found.synthetic.labels.ndim == 1) == (scale == 1)
    assert "no space here does that" in found.warnings[0]


def test_frepo_s_grey_images_are_not_whitened() -> None:
    path = Path("step000100.npz")
    assert find_layout("frepo").usual_space(path, 1) == "normalised"
    assert find_layout("frepo").usual_space(path, 3) == "zca"


def test_an_array_that_is_missing_is_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "set.npz", image=PIXELS.numpy(), y=LABELS.numpy())
    with pytest.raises(FileFormatError, match=r"is not an \.npz with plain arrays.*labels"):
        read(tmp_path / "set.npz", SPEC, "plain")
    np.savez(tmp_path / "set.npz", image=PIXELS.numpy(), label=LABELS.numpy())
    assert torch.allclose(leave(read(tmp_path / "set.npz", SPEC, "plain")), PIXELS, atol=1e-5)
