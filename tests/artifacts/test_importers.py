"""Other people's files, made here in exactly the layouts that they publish."""

from __future__ import annotations

import pickle
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from dcbench.artifacts.artifact import read_artifact
from dcbench.artifacts.importers.catalogue import LAYOUTS, find_layout
from dcbench.artifacts.importers.importing import import_set, write_imported
from dcbench.artifacts.importers.layout import ImportOptions
from dcbench.datasets.loading import Loaded
from dcbench.images import ImageSpec, Space, class_weights
from dcbench.system.errors import FileFormatError, MismatchError, UnknownNameError
from dcbench.system.files import read_foreign_tensors, read_plain_tensors
from tests.commandline import ask, done
from tests.hostile.corpus import Executing, read_trustingly

SPEC = ImageSpec("three", "0" * 12, 3, 8, ("a", "b", "c"))
NORMALISED = Space("normalised", (0.5, 0.4, 0.3), (0.2, 0.2, 0.25))
PIXELS = torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 0, 1, 1, 2, 2])


def whitening() -> Space:
    generator = torch.Generator().manual_seed(1)
    half = torch.randn(192, 192, generator=generator) / 192**0.5
    return Space(
        "zca", NORMALISED.mean, NORMALISED.std, torch.zeros(192), half @ half.T + torch.eye(192)
    )


def imported(
    path: Path, layout: str, space: Space = NORMALISED
) -> tuple[Tensor, Tensor, tuple[str, ...]]:
    """The pixels, labels and warnings of an import of values that live where the layout's usually
    do.
    """
    found = import_set(
        path, find_layout(layout), SPEC, space, pixels=find_layout(layout).space == "pixels"
    )
    assert found.synthetic.space is space
    return (
        found.synthetic.space.leave(found.synthetic.images),
        found.synthetic.labels,
        found.warnings,
    )


@pytest.mark.parametrize("layout", ["dc", "dm", "datadam"])
def test_experiments_of_which_the_last_counts(tmp_path: Path, layout: str) -> None:
    path = tmp_path / "res_DM_three_ConvNet_2ipc.pt"
    earlier = [NORMALISED.enter(1 - PIXELS), LABELS]
    torch.save(
        {
            "data": [earlier, [NORMALISED.enter(PIXELS), LABELS]],
            "accs_all_exps": {"ConvNet": [np.float64(0.5)]},
        },
        path,
    )
    pixels, labels, warnings = imported(path, layout)
    assert torch.allclose(pixels, PIXELS, atol=1e-5)
    assert torch.equal(labels, LABELS)
    assert warnings == ("holds 2 experiments, the last is read; --experiment 0 to 1 chooses",)
    first = import_set(
        path, find_layout(layout), SPEC, NORMALISED, options=ImportOptions(experiment=0)
    )
    assert torch.allclose(NORMALISED.leave(first.synthetic.images), 1 - PIXELS, atol=1e-5)
    assert not first.warnings
    for wrong in (2, -1):
        with pytest.raises(
            FileFormatError, match=f"holds 2 experiments, 0 to 1; got --experiment {wrong}"
        ):
            import_set(
                path, find_layout(layout), SPEC, NORMALISED, options=ImportOptions(experiment=wrong)
            )
    with pytest.raises(MismatchError, match="the layout idc holds one set in a file"):
        import_set(path, find_layout("idc"), SPEC, NORMALISED, options=ImportOptions(experiment=0))


@pytest.mark.parametrize("module", [b"numpy._core.multiarray", b"numpy.core.multiarray"])
def test_numbers_of_either_numpy_are_passed_over_unexecuted(module: bytes, tmp_path: Path) -> None:
    """NumPy 2's own name of where they are made, and NumPy 1's, which DC's and DM's files have."""
    path = tmp_path / "res_DM_three_ConvNet_2ipc.pt"
    torch.save(
        {"data": [[PIXELS, LABELS]], "accs_all_exps": [np.float64(0.5)]},
        path,
        _use_new_zipfile_serialization=False,
    )
    content = path.read_bytes()
    (installed,) = set(re.findall(rb"numpy\._?core\.multiarray", content))
    path.write_bytes(content.replace(installed, module))
    found = read_foreign_tensors(path)
    assert torch.equal(found["data"][0][0], PIXELS)
    assert not isinstance(found["accs_all_exps"][0], np.generic | float)
    with pytest.raises(FileFormatError, match="refused unexecuted"):
        read_plain_tensors(path)  # an artifact of ours holds none


def test_datadam_single_pair(tmp_path: Path) -> None:
    path = tmp_path / "syn_data_three_ipc_2.pt"
    torch.save({"data": [NORMALISED.enter(PIXELS), LABELS]}, path)
    assert torch.allclose(imported(path, "datadam")[0], PIXELS, atol=1e-5)


def test_datadam_bare_tensors_with_float_labels(tmp_path: Path) -> None:
    torch.save(NORMALISED.enter(PIXELS), tmp_path / "CIFAR10_IPC2_images.pt")
    torch.save(LABELS.float(), tmp_path / "CIFAR10_IPC2_labels.pt")
    pixels, labels, warnings = imported(tmp_path / "CIFAR10_IPC2_images.pt", "datadam")
    assert torch.allclose(pixels, PIXELS, atol=1e-5)
    assert (labels.dtype, labels.tolist()) == (torch.int64, LABELS.tolist())
    assert any("floats" in warning for warning in warnings)


@pytest.mark.parametrize("form", ["dict", "pair", "npz", "npz, channels last"])
def test_a_plain_set_of_pixels(form: str, tmp_path: Path) -> None:
    path = tmp_path / ("set.npz" if form.startswith("npz") else "set.pt")
    if form.startswith("npz"):
        np.savez(
            path,
            images=(PIXELS.permute(0, 2, 3, 1) if form.endswith("last") else PIXELS).numpy(),
            labels=LABELS.numpy(),
        )
    else:
        torch.save(
            {"images": PIXELS, "labels": LABELS} if form == "dict" else (PIXELS, LABELS), path
        )
    pixels, labels, warnings = imported(path, "plain")
    assert torch.allclose(pixels, PIXELS, atol=1e-5)
    assert torch.equal(labels, LABELS)
    assert not warnings


def test_what_a_plain_set_lacks_is_named(tmp_path: Path) -> None:
    torch.save({"x": PIXELS, "y": LABELS}, tmp_path / "set.pt")
    with pytest.raises(FileFormatError, match="wanted a dict with images and labels, got x, y"):
        imported(tmp_path / "set.pt", "plain")
    with pytest.raises(
        FileFormatError, match="wanted a dict with a list called data, got one with x, y"
    ):
        imported(tmp_path / "set.pt", "dc")
    torch.save({"images": PIXELS[:, :, :4], "labels": LABELS}, tmp_path / "set.pt")
    with pytest.raises(FileFormatError, match=r"images of \(6, 3, 4, 8\), wanted N×3×8×8"):
        imported(tmp_path / "set.pt", "plain")


def test_bytes_are_pixels_and_nothing_else(tmp_path: Path) -> None:
    path, stored = tmp_path / "set.pt", (PIXELS * 255).round().to(torch.uint8)
    torch.save((stored, LABELS), path)
    pixels, _, warnings = imported(path, "plain")
    assert torch.allclose(pixels, stored / 255, atol=1e-5)
    assert warnings == ("images are stored as whole numbers; read as bytes, 255 for white",)
    raw = import_set(path, find_layout("plain"), SPEC, Space())
    assert torch.allclose(raw.synthetic.images, stored / 255)
    with pytest.raises(
        FileFormatError,
        match=r"images are whole numbers, which no normalised values are; .* --space pixels",
    ):
        import_set(path, find_layout("plain"), SPEC, NORMALISED)
    torch.save((stored.float(), LABELS), path)  # whatever the type
    pixels, _, warnings = imported(path, "plain")
    assert torch.allclose(pixels, stored / 255, atol=1e-5)
    assert warnings == ("images are stored as whole numbers; read as bytes, 255 for white",)
    torch.save((stored.float() + 0.25, LABELS), path)
    (doubt,) = imported(path, "plain")[2]
    assert doubt.endswith("(bytes as fractions? divide them by 255)")


def test_a_folder_is_no_file_of_tensors(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match=r"is a folder, wanted a file; .*--as folder"):
        read_foreign_tensors(tmp_path)


def test_mtt_in_whitened_space(tmp_path: Path) -> None:
    space = whitening()
    torch.save(space.enter(PIXELS), tmp_path / "images_best.pt")
    torch.save(LABELS, tmp_path / "labels_best.pt")
    pixels, labels, _ = imported(tmp_path, "mtt", space)
    assert torch.allclose(pixels, PIXELS, atol=1e-3)
    assert torch.equal(labels, LABELS)


def test_mtt_in_shards(tmp_path: Path) -> None:
    for shard, part in enumerate(torch.arange(6).split(2)):
        torch.save(NORMALISED.enter(PIXELS)[part], tmp_path / f"images_best_{shard}.pt")
        torch.save(LABELS[part], tmp_path / f"labels_best_{shard}.pt")
    assert torch.allclose(imported(tmp_path, "mtt")[0], PIXELS, atol=1e-5)


@pytest.mark.parametrize(("kept", "rate"), [("", "lr"), ("_best", "lr_best"), ("_best", "lr")])
def test_datm_brings_soft_labels_and_its_rate(tmp_path: Path, kept: str, rate: str) -> None:
    logits = torch.randn(6, 3, generator=torch.Generator().manual_seed(2)) * 3
    torch.save(NORMALISED.enter(PIXELS), tmp_path / f"images{kept}.pt")
    torch.save(logits, tmp_path / f"labels{kept}.pt")
    torch.save(torch.tensor(0.03), tmp_path / f"{rate}.pt")
    found = import_set(tmp_path, find_layout("mtt"), SPEC, NORMALISED)
    assert torch.allclose(found.synthetic.labels, logits.softmax(1))
    assert found.synthetic.recipe["lr"] == pytest.approx(0.03)
    write_imported(tmp_path / "set.pt", found, "datm")
    again = read_artifact(tmp_path / "set.pt")
    assert again.synthetic.recipe["lr"] == pytest.approx(0.03)
    assert again.provenance["method"] == "datm"
    assert found.warnings[0] == "labels are rows that do not sum to one; read as logits"
    (tmp_path / f"{rate}.pt").unlink()
    doubt = import_set(tmp_path, find_layout("mtt"), SPEC, NORMALISED).warnings[0]
    assert doubt.startswith("no learning rate lies beside it")


def test_kip_arrays(tmp_path: Path) -> None:
    centred = torch.eye(3)[LABELS] - 1 / 3
    np.savez(
        tmp_path / "kip.npz",
        images=NORMALISED.enter(PIXELS).permute(0, 2, 3, 1).numpy(),
        labels=centred.numpy(),
    )
    pixels, labels, warnings = imported(tmp_path / "kip.npz", "kip")
    assert torch.allclose(pixels, PIXELS, atol=1e-5)
    assert torch.equal(labels, LABELS)
    (own,) = warnings
    assert own.startswith("KIP's code centres each image")
    learned = centred * torch.linspace(0.5, 1.5, 6)[:, None]
    np.savez(
        tmp_path / "learned.npz",
        images=NORMALISED.enter(PIXELS).permute(0, 2, 3, 1).numpy(),
        labels=learned.numpy(),
    )
    _, labels, warnings = imported(tmp_path / "learned.npz", "kip")
    assert torch.allclose(labels, class_weights(learned))
    assert torch.equal(labels.argmax(1), LABELS)
    assert (
        "labels are learned; read as probabilities less 1/classes, negative ones cut off"
        in warnings
    )


@pytest.mark.parametrize(("layout", "factor"), [("idc", 2), ("idc3", 3)])
def test_idc_is_taken_apart(tmp_path: Path, layout: str, factor: int) -> None:
    # one grey level an image: any part of it looks the same
    flat = torch.arange(3.0).view(3, 1, 1, 1).expand(3, 3, 8, 8) / 4 + 0.1
    torch.save([flat, torch.tensor([0, 1, 2])], tmp_path / "data.pt")
    pixels, labels, _ = imported(tmp_path, layout)
    assert len(pixels) == 3 * factor**2
    assert labels.bincount().tolist() == [factor**2] * 3
    assert torch.allclose(pixels[:, 0, 0, 0], labels / 4 + 0.1)
    write_imported(
        tmp_path / "set.pt",
        import_set(tmp_path, find_layout(layout), SPEC, NORMALISED, pixels=True),
        "idc",
    )
    # stored, as the literature counts
    assert read_artifact(tmp_path / "set.pt").provenance["ipc"] == 1


def folders(tmp_path: Path, names: Sequence[str]) -> Path:
    for index, (image, label) in enumerate(zip(PIXELS, LABELS, strict=True)):
        folder = tmp_path / "new_class_order" / names[int(label)]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray((image * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()).save(
            folder / f"{index}.png"
        )
    return tmp_path / "new_class_order"


@pytest.mark.parametrize(
    ("names", "classes", "by_position"),
    [
        (("u", "v", "w"), [0, 1, 2], True),  # in alphabetical order
        (("9", "10", "11"), [0, 1, 2], True),  # in the order of the numbers
        (("2", "1", "0"), [2, 1, 0], False),  # by the numbers
        (("new2", "new0", "new1"), [2, 0, 1], False),
        (SPEC.class_names[::-1], [2, 1, 0], False),  # by name
        (("C", "_b", "A "), [2, 1, 0], False),
    ],
)
def test_folder_of_images(
    names: tuple[str, ...], classes: list[int], by_position: bool, tmp_path: Path
) -> None:
    found = import_set(
        folders(tmp_path, names),
        find_layout("folder"),
        SPEC,
        NORMALISED,
        pixels=True,
        options=ImportOptions(by_position=by_position),
    )
    pixels, labels = NORMALISED.leave(found.synthetic.images), found.synthetic.labels
    assert torch.equal(labels.bincount(), LABELS.bincount()[classes])
    for own, label in enumerate(classes):
        assert torch.allclose(pixels[labels == label], PIXELS[own == LABELS], atol=1 / 255)
    told = ", ".join(f"{a} is {b}" for a, b in zip(names, SPEC.class_names, strict=True))
    assert found.warnings == ((f"classes are taken by position: {told}",) if by_position else ())
    assert found.notes.get("classes") == ("by position" if by_position else None)


@pytest.mark.parametrize(
    "names",
    [
        (SPEC.class_names[1], "x", "y"),  # by name and by place at once, two could be one class
        ("u", "v", "w"),
        ("9", "10", "11"),
        ("1", "2", "3"),
        ("A", "a_", "b"),
        ("one0", "two1", "two2"),
    ],
)
def test_folders_that_are_not_called_as_classes_are_refused(
    names: tuple[str, ...], tmp_path: Path
) -> None:
    path = folders(tmp_path, names)
    with pytest.raises(
        FileFormatError, match="its folders are not called as the classes of three are"
    ) as refusal:
        imported(path, "folder")
    found, wanted = str(refusal.value).split(": folders ")[1].split("; classes ")
    assert set(found.split(", ")) == set(names)
    assert set(wanted.split("; rename")[0].split(", ")) == set(SPEC.class_names)
    assert "--classes by-position" in wanted


def test_doubts_are_said(tmp_path: Path) -> None:
    torch.save({"data": [[PIXELS, torch.tensor([0, 0, 0, 1, 1, 2])]]}, tmp_path / "raw.pt")
    warnings = " ".join(imported(tmp_path / "raw.pt", "dc")[2])
    assert "--space pixels" in warnings
    assert "unequal" in warnings
    torch.save({"data": [[PIXELS * 40, LABELS]]}, tmp_path / "wild.pt")
    assert "far outside" in " ".join(imported(tmp_path / "wild.pt", "dc")[2])


def test_pixels_that_are_none_are_doubted(tmp_path: Path) -> None:
    torch.save([PIXELS * 40, LABELS], tmp_path / "data.pt")
    assert "declared pixels" in " ".join(imported(tmp_path, "idc")[2])
    torch.save([PIXELS, LABELS], tmp_path / "data.pt")
    assert not imported(tmp_path, "idc")[2]


def test_hostile_files_are_refused_unexecuted(tmp_path: Path) -> None:
    target = tmp_path / "executed"
    (tmp_path / "hostile.pt").write_bytes(pickle.dumps({"data": [Executing(target)]}))
    np.savez(
        tmp_path / "hostile.npz",
        images=np.array([Executing(target)], dtype=object),
        labels=np.zeros(1),
    )
    for name, layout in (("hostile.pt", "dc"), ("hostile.npz", "kip")):
        with pytest.raises(FileFormatError, match=name):
            imported(tmp_path / name, layout)
    assert not target.exists()
    read_trustingly(tmp_path / "hostile.pt")
    assert target.exists()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"data": []}, "list called data"),
        ({"data": [[PIXELS]]}, "pair of tensors"),
        ({"data": [[PIXELS[:, :1], LABELS]]}, "wanted N×3×8×8"),
        ({"data": [[PIXELS, LABELS + 1]]}, "labels from 1 to 3"),
        ({"data": [[PIXELS, LABELS + 0.5]]}, "fractions"),
        ({"data": [[PIXELS, LABELS[:4]]]}, "labels of"),
        ({"data": [[PIXELS * torch.nan, LABELS]]}, "not finite"),
    ],
    ids=str,
)
def test_what_is_wrong_is_named(tmp_path: Path, content: dict[str, object], says: str) -> None:
    torch.save(content, tmp_path / "set.pt")
    with pytest.raises(FileFormatError, match=says) as refusal:
        imported(tmp_path / "set.pt", "dc")
    assert "set.pt" in str(refusal.value)


def test_labels_that_are_not_there(tmp_path: Path) -> None:
    torch.save(PIXELS, tmp_path / "X_images.pt")
    with pytest.raises(FileFormatError, match=r"X_labels\.pt"):
        imported(tmp_path / "X_images.pt", "datadam")


def test_unknown_layout_is_suggested() -> None:
    with pytest.raises(UnknownNameError, match="datadam"):
        find_layout("datadma")
    assert set(LAYOUTS) >= {"dc", "dm", "datadam", "mtt", "kip", "idc", "folder"}


def test_one_command_evaluates_a_foreign_set(tmp_path: Path, digits: Loaded) -> None:
    members = torch.cat([rows[:2] for rows in digits.train.by_class])
    torch.save(
        {"data": [[digits.train.values(members), digits.train.labels[members]]]},
        tmp_path / "res_DM_digits_ConvNet_2ipc.pt",
    )
    foreign = (
        tmp_path / "res_DM_digits_ConvNet_2ipc.pt",
        "--as",
        "dm",
        "--dataset",
        "digits",
        "--out",
        tmp_path,
        "--json",
    )
    (evaluation,) = done("evaluate", *foreign, "--networks", "1", "--epochs", "30").json[
        "evaluations"
    ]
    assert (evaluation["method"], evaluation["ipc"], evaluation["seed"]) == ("dm", 2, None)
    assert evaluation["mean"] > 0.5  # real images: far above chance, so the space is right
    imported = done("import", *foreign, "--name", "theirs").json
    assert imported["warnings"] == []
    assert read_artifact(Path(imported["artifact"])).provenance["method"] == "theirs"


def test_an_import_overwrites_nothing_unless_told_where(tmp_path: Path, digits: Loaded) -> None:
    members = torch.cat([rows[:1] for rows in digits.train.by_class])
    torch.save(
        {"data": [[digits.train.values(members), digits.train.labels[members]]]},
        tmp_path / "theirs.pt",
    )
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "dm.pt").write_bytes(b"ours")
    foreign = (
        "import",
        tmp_path / "theirs.pt",
        "--as",
        "dm",
        "--dataset",
        "digits",
        "--out",
        tmp_path / "out",
    )
    answer = ask(*foreign)
    assert answer.code == 1
    assert (
        answer.line
        == f"dcbench: {tmp_path}/out/dm.pt holds something else already; say where to write with --to, or another --name"
    )
    assert (tmp_path / "out" / "dm.pt").read_bytes() == b"ours"
    for _ in range(2):  # the same set again is no other
        done(*foreign, "--name", "../of others/dm")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "___of_others_dm.pt",
        "dm.pt",
    ]
    done(*foreign, "--to", tmp_path / "out" / "dm.pt")
    assert read_artifact(tmp_path / "out" / "dm.pt").provenance["layout"] == "dm"


def test_a_foreign_set_must_say_of_what() -> None:
    answer = ask("evaluate", "x.pt", "--as", "dm")
    assert answer.code == 2
    assert "--dataset" in answer.line
