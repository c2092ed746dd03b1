"""A learned set that starts from a file: what it starts from, what its record says, what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from dcbench.artifacts.artifact import write_artifact
from dcbench.conformance.trial_runs import USUAL
from dcbench.datasets.loading import Loaded
from dcbench.datasets.places import Places
from dcbench.datasets.preprocessing import whitening
from dcbench.distiller import find, hyper_parameters
from dcbench.experiments.context import Cell, Workspace
from dcbench.experiments.distil import distil
from dcbench.experiments.grid import Grid
from dcbench.experiments.presets import build
from dcbench.experiments.starts import read_start
from dcbench.families.selection import first_images
from dcbench.images import SyntheticSet, TrainSet
from dcbench.run import Run
from dcbench.system.errors import (
    DataError,
    DcbenchError,
    FileFormatError,
    MismatchError,
    OutOfRangeError,
    UnknownNameError,
)
from dcbench.system.machine import Machine
from tests.conftest import CACHE

LEARNING = ("datadam", "dm", "mmd", "dc", "dsa", "mtt", "cafe", "kip")
PLACES = Places(None, CACHE)


@pytest.fixture
def chosen(digits: Loaded) -> SyntheticSet:
    """Two images of each class, the classes in no order."""
    train = digits.train
    order = torch.randperm(20, generator=torch.Generator().manual_seed(1))
    members = torch.cat([own[3:5] for own in train.by_class])[order]
    return SyntheticSet(train.spec, train.values(members), train.labels[members], train.space)


@pytest.fixture
def file(chosen: SyntheticSet, tmp_path: Path) -> Path:
    write_artifact(tmp_path / "images.pt", chosen, {"method": "prototypes"})
    return tmp_path / "images.pt"


def started(digits: Loaded, init: str | Path, method: str = "mmd", ipc: int = 2, **f: Any) -> Cell:
    (cell,) = Grid([method], ["digits"], [ipc], [0], "quick", {**f, "init": str(init)}).cells_of(
        "digits", lambda _zca: digits, PLACES
    )
    return cell


@pytest.mark.parametrize("method", LEARNING)
def test_every_learned_set_may_start_from_a_file(
    method: str, digits: Loaded, file: Path, chosen: SyntheticSet, run: Run
) -> None:
    cell = started(digits, file, method)
    wanted = torch.cat([chosen.images[chosen.labels == label] for label in range(10)])
    init = cell.distiller.init  # type: ignore[attr-defined]
    assert init == f"file:{chosen.content_hash[:12]}"
    start = first_images(init, digits.train, 2, replace(run, start=cell.start))
    assert torch.equal(start, wanted)
    assert cell.distiller.cost_macs(digits.train, 2) == build(
        method, "quick", {"init": "random"}
    ).cost_macs(digits.train, 2)


@pytest.mark.parametrize("init", ["herding", "k-means", "k-center", "facility-location"])
def test_every_learned_set_may_start_from_chosen_images(
    init: str, tiny: TrainSet, run: Run, tmp_path: Path
) -> None:
    """A step of next to nothing leaves the start as it is."""
    run = replace(run, shared=tmp_path)
    start = first_images(init, tiny, 2, run)
    for method in LEARNING:
        small = {**USUAL, **find(method).tried_with, "init": init, "iterations": 1, "lr": 1e-9}
        fields = {key: small[key] for key in hyper_parameters(find(method)) if key in small}
        made = build(method, "paper", fields).distill(tiny, 2, replace(run, history=[]))
        assert torch.allclose(made.images, start, atol=1e-5), method
        assert build(method, "paper", fields).shared_macs(tiny, 2)


def test_the_set_starts_there_and_its_hash_follows_the_content_not_the_path(
    digits: Loaded, file: Path, chosen: SyntheticSet, machine: Machine, tmp_path: Path
) -> None:
    workspace = Workspace(tmp_path / "out", machine)
    still: dict[str, Any] = {"iterations": "1", "lr": "1e-9"}
    made = distil(cell := started(digits, file, **still), workspace)
    wanted = torch.cat([chosen.images[chosen.labels == label] for label in range(10)])
    assert torch.allclose(made.synthetic.images, wanted, atol=1e-5)
    assert made.provenance["changed"]["init"] == f"file:{chosen.content_hash[:12]}"
    copy = file.rename(tmp_path / "moved.pt")
    assert started(digits, copy, **still).folder(workspace) == cell.folder(workspace)
    other = replace(chosen, images=chosen.images + 1)
    write_artifact(copy, other, {})
    assert started(digits, copy, **still).folder(workspace) != cell.folder(workspace)


def test_a_start_is_taken_into_the_space_of_the_training_images(
    digits: Loaded, file: Path, chosen: SyntheticSet
) -> None:
    space = whitening(digits.train.images, digits.train.space)
    whitened = replace(digits, train=replace(digits.train, space=space))
    start = started(whitened, file).start
    assert start is not None
    wanted = torch.cat([chosen.pixels[chosen.labels == label] for label in range(10)])
    assert torch.allclose(space.leave(start), wanted, atol=1e-4)


def test_another_project_s_file_is_read_by_its_layout(
    digits: Loaded, chosen: SyntheticSet, tmp_path: Path
) -> None:
    torch.save({"images": chosen.pixels, "labels": chosen.labels}, tmp_path / "set.pt")
    start = started(digits, f"plain:{tmp_path}/set.pt").start
    assert start is not None
    wanted = torch.cat([chosen.images[chosen.labels == label] for label in range(10)])
    assert torch.allclose(start, wanted, atol=1e-5)


@pytest.mark.parametrize(
    ("init", "ipc", "error", "said"),
    [
        ("{file}", 1, MismatchError, "images.pt holds 2 images of each class, wanted 1; choose --ipc 2"),
        ("{folder}/none.pt", 2, DataError, "no such file: .*none.pt; wanted a set of images"),
        ("{foreign}", 2, FileFormatError, "say the layout .*: --set init=LAYOUT:.*foreign.pt"),
        ("dataram:{foreign}", 2, UnknownNameError, "unknown layout 'dataram'; did you mean 'datadam'"),
        ("file:0123456789ab", 2, DataError, "wanted the file, as in --set init=./images.pt"),
        ("nois", 2, OutOfRangeError, "mmd: init must be one of random, .* got 'nois'"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_start_is_refused_in_one_line(
    init: str, ipc: int, error: type[DcbenchError], said: str, digits: Loaded, file: Path
) -> None:
    foreign = file.with_name("foreign.pt")
    torch.save({"images": torch.zeros(1)}, foreign)
    words = init.format(file=file, folder=file.parent, foreign=foreign)
    with pytest.raises(error, match=said) as raised:
        started(digits, words, ipc=ipc)
    assert "\n" not in str(raised.value)


def test_a_start_of_other_images_is_refused(
    digits: Loaded, file: Path, chosen: SyntheticSet
) -> None:
    spec = replace(chosen.spec, dataset="mnist")
    write_artifact(file, replace(chosen, spec=spec), {})
    with pytest.raises(MismatchError, match="1×8×8 of mnist, wanted 1×8×8 of digits"):
        started(digits, file)
    mixed = replace(chosen.spec, class_names=chosen.spec.class_names[::-1])
    write_artifact(file, replace(chosen, spec=mixed), {})
    with pytest.raises(MismatchError, match="in another order"):
        started(digits, file)


def test_a_start_that_saw_what_is_kept_apart_is_refused(digits: Loaded, file: Path) -> None:
    apart = replace(digits, train=replace(digits.train, holdout="100 of 1438 images"))
    with pytest.raises(MismatchError, match="made from the whole training set, but 100 of 1438"):
        started(apart, file)


def test_a_method_alone_reads_no_file(digits: Loaded, run: Run, file: Path) -> None:
    with pytest.raises(DataError, match="a method reads none: dcbench run --set init="):
        build("mmd", "quick", {"init": str(file)}).distill(digits.train, 2, run)


def test_methods_without_a_start_stay_as_they_are(digits: Loaded) -> None:
    herding = build("herding", "quick")
    assert read_start(herding, digits, 1, PLACES) == (herding, None)
