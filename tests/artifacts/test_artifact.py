"""The artifact: what is written is what is read, by torch alone too; whatever else a file may hold
is refused unexecuted.
"""

from __future__ import annotations

import contextlib
import pickle
import re
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dcbench.artifacts.artifact import FORMAT_VERSION, read_artifact, write_artifact
from dcbench.datasets.preprocessing import whitening
from dcbench.experiments.presets import build
from dcbench.images import ImageSpec, Space, SyntheticSet, TrainSet
from dcbench.run import Run
from dcbench.system.errors import FileFormatError
from dcbench.system.files import read_tensors, write_tensors
from dcbench.system.machine import Machine
from tests.hostile.corpus import Executing, read_trustingly
from tests.reference.pixels import pixels

pytestmark = pytest.mark.usefixtures("unchecked")
PROVENANCE = {
    "method": "random",
    "fields": {"iterations": 3, "lr": None},
    "seed": 0,
    "dataset": "colourful",
}


@pytest.fixture(scope="module")
def synthetic(colourful: TrainSet, machine: Machine) -> SyntheticSet:
    """Two colour images of each of three classes."""
    return build("random", "paper").distill(colourful, 2, Run(0, machine))


@pytest.fixture(scope="module")
def whitened(colourful: TrainSet, synthetic: SyntheticSet) -> SyntheticSet:
    """The same images in a whitened space."""
    space = whitening(colourful.images, colourful.space)
    return replace(synthetic, images=space.enter(synthetic.pixels), space=space)


@pytest.fixture(scope="module")
def content(synthetic: SyntheticSet, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a good file holds."""
    path = tmp_path_factory.mktemp("good") / "synthetic.pt"
    write_artifact(path, synthetic, PROVENANCE)
    return read_tensors(path)


def refusal(path: Path) -> str:
    """The one line that reading ``path`` is refused with; it names the file."""
    with pytest.raises(FileFormatError) as refused:
        read_artifact(path)
    message = str(refused.value)
    assert "\n" not in message
    assert str(path) in message
    assert len(message) < 600
    return message.replace(str(path), "")


def read_or_refused(path: Path) -> SyntheticSet | None:
    """The set in ``path``, or nothing if it is refused as it should be."""
    with contextlib.suppress(FileFormatError):
        return read_artifact(path).synthetic
    refusal(path)
    return None


# ----------------------------------------------------------------------------------------------------
# there and back again


def test_a_set_survives_its_file(
    synthetic: SyntheticSet, whitened: SyntheticSet, tmp_path: Path
) -> None:
    soft = torch.tensor([[0.5, 0.25, 0.25]]).repeat(6, 1)
    recipe = {"network": "convnet", "lr": 0.02, "batch": 64, "augment": "none"}
    raw = replace(synthetic, images=synthetic.pixels, space=Space())
    for each in (synthetic, whitened, raw, replace(synthetic, labels=soft, recipe=recipe)):
        write_artifact(tmp_path / "synthetic.pt", each, PROVENANCE)
        artifact = read_artifact(tmp_path / "synthetic.pt")
        read = artifact.synthetic
        assert torch.equal(read.images, each.images)
        assert torch.equal(read.labels, each.labels)
        assert (read.spec, read.recipe, read.space.kind) == (
            each.spec,
            each.recipe,
            each.space.kind,
        )
        assert torch.equal(read.pixels, each.pixels)
        assert PROVENANCE.items() <= artifact.provenance.items()


def test_the_same_set_gives_the_same_bytes(synthetic: SyntheticSet, tmp_path: Path) -> None:
    """Whatever the file is called, wherever the tensors lie in memory, and after having been read."""
    gradient = torch.cat([synthetic.images, synthetic.images]).requires_grad_()
    images = {
        "itself": synthetic.images,
        "a slice of something larger": gradient[:6],
        "in another memory layout": synthetic.images.to(memory_format=torch.channels_last),
    }
    for name, each in images.items():
        write_artifact(tmp_path / f"{name}.pt", replace(synthetic, images=each), PROVENANCE)
    read = read_artifact(tmp_path / "itself.pt")
    write_artifact(
        tmp_path / "again.pt", read.synthetic, {key: read.provenance[key] for key in PROVENANCE}
    )
    contents = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert len(contents) == 4
    assert len(set(contents.values())) == 1
    assert len({read_artifact(path).sha256 for path in tmp_path.iterdir()}) == 1


def test_another_set_has_another_hash(synthetic: SyntheticSet, tmp_path: Path) -> None:
    changed = synthetic.images.clone()
    changed[0, 0, 0, 0] += 1e-6
    write_artifact(tmp_path / "a.pt", synthetic, PROVENANCE)
    write_artifact(tmp_path / "b.pt", replace(synthetic, images=changed), PROVENANCE)
    write_artifact(tmp_path / "c.pt", synthetic, {**PROVENANCE, "seed": 1})
    assert len({read_artifact(path).sha256 for path in tmp_path.iterdir()}) == 3


def test_whoever_has_torch_alone_gets_the_pixels_back(
    synthetic: SyntheticSet, whitened: SyntheticSet, tmp_path: Path
) -> None:
    """Real images come back as the bytes that they were."""
    raw = replace(synthetic, images=synthetic.pixels, space=Space())
    wanted = (synthetic.pixels * 255).round()
    for each in (raw, synthetic, whitened):
        write_artifact(tmp_path / "synthetic.pt", each, PROVENANCE)
        assert torch.equal((pixels(tmp_path / "synthetic.pt") * 255).round(), wanted)
        assert torch.allclose(pixels(tmp_path / "synthetic.pt"), each.pixels, atol=1e-4)


# ------------------------------------------------------------------------------------------------------
# damaged and hostile


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path / "absent.pt")


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.9, 0.999])
def test_a_truncated_file_is_refused(share: float, synthetic: SyntheticSet, tmp_path: Path) -> None:
    path = tmp_path / "synthetic.pt"
    write_artifact(path, synthetic, PROVENANCE)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    assert "damaged" in refusal(path)


@given(st.data())
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_file_with_any_bytes_changed_is_refused_or_read_as_it_was(
    synthetic: SyntheticSet, tmp_path: Path, data: st.DataObject
) -> None:
    path = tmp_path / "synthetic.pt"
    write_artifact(path, synthetic, PROVENANCE)
    damaged = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(damaged)
    read = read_or_refused(path)
    if read is not None:
        assert torch.equal(read.images, synthetic.images)
        assert torch.equal(read.labels, synthetic.labels)


@pytest.mark.parametrize("place", ["whole", "provenance", "images", "bare pickle"])
def test_a_hostile_file_is_refused_and_nothing_is_executed(
    place: str, content: dict[str, Any], tmp_path: Path
) -> None:
    path, trace = tmp_path / "hostile.pt", tmp_path / "executed"
    hostile: Any = (
        Executing(trace)
        if place in ("whole", "bare pickle")
        else {**content, place: Executing(trace)}
    )
    if place == "bare pickle":
        path.write_bytes(pickle.dumps(hostile))
    else:
        torch.save(hostile, path)
    assert "refused unexecuted" in refusal(path)
    assert not trace.exists()
    read_trustingly(path)
    assert trace.exists()  # so the payload works where it is trusted


def test_files_of_other_kinds_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    torch.save([torch.zeros(2)], path)
    assert "holds a list" in refusal(path)
    np.save(path.with_suffix(".npy"), np.zeros(3))
    refusal(path.with_suffix(".npy"))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x", "y")
    refusal(path)
    path.unlink()
    path.mkdir()
    refusal(path)


# -----------------------------------------------------------------------------------------------------
# what does not fit


def changed(content: Mapping[str, Any], key: str, value: Any) -> dict[str, Any]:
    """``content`` with another value at ``key`` (a dotted path); ``...`` leaves it out."""
    head, _, rest = key.partition(".")
    if rest:
        return {**content, head: changed(content[head], rest, value)}
    return (
        {name: entry for name, entry in content.items() if name != head}
        if value is ...
        else {**content, head: value}
    )


IMAGES = torch.zeros(6, 3, 8, 8)
EYE = torch.eye(192)
WRONG: list[tuple[str, Any, str]] = [
    (
        "format_version",
        FORMAT_VERSION + 1,
        "format_version 2, wanted 1; made by another version of dcbench",
    ),
    ("format_version", ..., "format_version None, wanted 1; is it another project's file"),
    ("format_version", "1", "format_version '1'"),
    ("format_version", torch.ones(3), "format_version"),
    ("recipe", ..., "keys"),
    ("surprise", 1, "keys"),
    ("images", IMAGES.double(), "images must be float32"),
    ("images", IMAGES[0], "images must be float32 N×C×H×W, got torch.float32 (3, 8, 8)"),
    ("images", IMAGES[:0], "images must be"),
    ("images", IMAGES.tolist(), "images must be float32 N×C×H×W, got list"),
    (
        "images",
        IMAGES[:, :1].clone(),
        "images of (1, 8, 8) do not fit 'colourful', whose images are (3, 8, 8)",
    ),
    ("images", IMAGES.to_sparse(), "images must be"),
    ("images", torch.zeros(1).expand(6, 3, 8, 8), "images must be"),
    ("images", IMAGES / 0, "not finite"),
    ("images", IMAGES[:5].clone(), "labels must be int64 5 or float32 5×3, got torch.int64 (6,)"),
    ("labels", torch.zeros(6), "labels must be int64 6 or float32 6×3"),
    ("labels", torch.zeros(6, dtype=torch.int32), "labels must be"),
    ("labels", torch.tensor([0, 0, 1, 1, 2, 3]), "labels must lie in 0 to 2, got 0 to 3"),
    ("labels", torch.tensor([-1, 0, 1, 1, 2, 2]), "labels must lie in 0 to 2"),
    ("labels", torch.full((6, 3), torch.nan), "soft labels hold values that are not finite"),
    ("labels", torch.zeros(6, 4), "labels must be"),
    ("space", "normalised", "space must be a dict"),
    ("space.kind", "sphere", "unknown space 'sphere'"),
    ("space.kind", IMAGES, "unknown space tensor("),
    ("space.mean", [0.5] * 1000, "cannot have mean"),
    ("space.kind", "raw", "a raw space of 3 channels cannot have mean"),
    ("space.mean", [0.5], "cannot have mean"),
    ("space.mean", [0.5, float("nan"), 0.5], "cannot have mean"),
    ("space.mean", torch.zeros(2, 2), "a space needs kind, mean and std"),
    ("space.std", [0.5, 0.5, 0.0], "cannot have mean"),
    ("space.std", [0.5, 0.5, float("inf")], "cannot have mean"),
    ("space.std", ..., "a space needs kind, mean and std"),
    ("space", {"kind": "zca", "mean": [0.5] * 3, "std": [0.5] * 3}, "unknown space 'zca'"),
    (
        "space",
        {
            "kind": "zca",
            "mean": [0.5] * 3,
            "std": [0.5] * 3,
            "zca_mean": EYE[0, :3],
            "zca_matrix": EYE,
        },
        "does not fit images of 192",
    ),
    (
        "space",
        {
            "kind": "zca",
            "mean": [0.5] * 3,
            "std": [0.5] * 3,
            "zca_mean": EYE[0],
            "zca_matrix": EYE / 0,
        },
        "float32 and finite",
    ),
    (
        "space",
        {
            "kind": "zca",
            "mean": [0.5] * 3,
            "std": [0.5] * 3,
            "zca_mean": EYE[0],
            "zca_matrix": EYE.long(),
        },
        "float32 and finite",
    ),
    (
        "recipe",
        {"epochs": 3},
        "the recipe may hold ['augment', 'batch', 'factor', 'lr', 'network']",
    ),
    ("recipe", {"lr": -1.0}, "positive lr"),
    ("recipe", {"lr": "fast"}, "positive lr"),
    ("recipe", {"batch": 2.5}, "positive whole batch"),
    ("recipe", {"augment": 3}, "names"),
    ("recipe", [], "the recipe may hold"),
    ("provenance", [], "provenance must be a dict"),
    ("provenance.images_of", ..., "does not say what the images are images of"),
    ("provenance.images_of.size", ..., "does not say what the images are images of"),
    ("provenance.images_of.class_names", 3, "does not say what the images are images of"),
    ("provenance.images_of.class_names", [], "impossible images"),
    ("provenance.images_of.class_names", [1, 2, 3], "impossible images"),
    ("provenance.images_of.size", 8.0, "impossible images"),
    ("provenance.images_of.size", 10**9, "impossible images"),
    ("provenance.images_of.channels", True, "impossible images"),
    ("provenance.images_of.dataset", None, "impossible images"),
    ("provenance.images_of.flips", "yes", "impossible images"),
]


@pytest.mark.parametrize(
    ("key", "value", "complaint"),
    WRONG,
    ids=[f"{index}-{key}" for index, (key, _, _) in enumerate(WRONG)],
)
def test_what_does_not_fit_is_refused_in_one_line(
    key: str, value: Any, complaint: str, content: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "wrong.pt"
    torch.save(changed(content, key, value), path)
    assert re.search(re.escape(complaint), refusal(path))


def test_the_file_that_these_are_changed_from_is_good(
    content: dict[str, Any], tmp_path: Path
) -> None:
    torch.save(content, tmp_path / "right.pt")
    assert len(read_artifact(tmp_path / "right.pt").synthetic) == 6


values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 5),
    st.floats(),
    st.text(max_size=6),
    st.sampled_from(
        [
            torch.zeros(6),
            torch.zeros(0),
            torch.tensor(3),
            IMAGES,
            EYE,
            torch.zeros(2, 2, dtype=torch.complex64),
        ]
    ),
)
plain = st.one_of(
    values, st.lists(values, max_size=3), st.dictionaries(st.text(max_size=6), values, max_size=3)
)
KEYS = [
    "format_version",
    "images",
    "labels",
    "space",
    "recipe",
    "provenance",
    "space.kind",
    "space.mean",
    "space.std",
    "space.zca_mean",
]
KEYS += [
    "space.zca_matrix",
    "recipe.lr",
    "recipe.batch",
    "recipe.network",
    "provenance.images_of",
    "provenance.seed",
]
KEYS += [
    f"provenance.images_of.{name}"
    for name in ("dataset", "revision", "channels", "size", "class_names", "flips", "more")
]


@given(
    st.lists(
        st.tuples(st.sampled_from(KEYS), plain),
        min_size=1,
        max_size=2,
        unique_by=lambda change: change[0].split(".")[0],
    )
)
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_a_file_holds_it_is_read_or_refused(
    content: dict[str, Any], tmp_path: Path, changes: list[tuple[str, Any]]
) -> None:
    """And what is read can be used: it has pixels, and is written again."""
    path = tmp_path / "fuzzed.pt"
    for key, value in changes:
        content = changed(content, key, value)
    torch.save(content, path)
    read = read_or_refused(path)
    if read is not None:
        assert bool(read.pixels.isfinite().all())
        write_artifact(path, read, PROVENANCE)
        assert torch.equal(read_artifact(path).synthetic.images, read.images)


def test_a_huge_file_is_refused_before_it_is_read(
    content: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "huge.pt"
    write_tensors(path, content)
    monkeypatch.setattr("dcbench.artifacts.artifact.MOST_BYTES", 100)
    assert "bytes; a synthetic set of more than 100 is refused" in refusal(path)


def test_class_names_may_be_in_any_script(synthetic: SyntheticSet, tmp_path: Path) -> None:
    spec = ImageSpec("Sätze/..", "0" * 12, 3, 8, ("零", "l'un", "two\n"), flips=False)
    write_artifact(tmp_path / "x.pt", replace(synthetic, spec=spec), PROVENANCE)
    assert read_artifact(tmp_path / "x.pt").synthetic.spec == spec


def test_an_archive_that_claims_to_span_several_disks_is_refused(
    synthetic: SyntheticSet, tmp_path: Path
) -> None:
    path = tmp_path / "spanning.pt"
    write_artifact(path, synthetic, PROVENANCE)
    whole = path.read_bytes()
    end = whole.rindex(b"PK\x05\x06")
    where = end - 20  # torch writes its locator there
    located = whole[:where] + whole[where : end - 4] + (2).to_bytes(4, "little") + whole[end:]
    path.write_bytes(located)
    with pytest.raises(zipfile.BadZipFile):
        zipfile.is_zipfile(path)
    assert "damaged" in refusal(path)
