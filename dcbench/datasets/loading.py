"""Load a data set by name: its training and test images in one space."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from dcbench.datasets import cache, folders, preprocessing
from dcbench.datasets.catalogue import find, revision_note
from dcbench.datasets.declaration import Dataset
from dcbench.datasets.decoding import Decoded, ImageArrays
from dcbench.datasets.listed import ListedSource
from dcbench.datasets.own import names_a_folder
from dcbench.datasets.places import Places
from dcbench.datasets.sources import Source, locate
from dcbench.datasets.splits import stratified
from dcbench.images import ImageSpec, Space, TestSet, TrainSet
from dcbench.system.errors import AbsentDataError, DataError, MismatchError, OutOfRangeError
from dcbench.system.progress import Progress, silent

_HOLDOUT_SEED = 0
_SPACE_VERSION = 1
UNVERIFIED = "unverified copy"  # in the note of data that may be other than its name says
DECLARED = "the catalogue"  # the ``source`` of a data set whose images were not read, only counted


@dataclass(frozen=True, eq=False)
class Loaded:
    """A loaded data set: ``train`` for methods and ``test`` for the evaluation, in one space."""

    spec: ImageSpec
    train: TrainSet
    test: TestSet
    # the part of the published training set that is held out from ``train``
    holdout: TestSet | None
    source: str  # where the images came from, for messages
    folder: str = ""  # of data of one's own, as the command named it

    def test_set(self, on: str) -> TestSet:
        """Return the images that sets are judged on: the test images, or the holdout.

        Raises MismatchError if there is no holdout.
        """
        if on == "test":
            return self.test
        if self.holdout is None:
            raise MismatchError(
                f"no images of {self.spec.dataset} were kept from training to judge by; say how "
                "many with --holdout"
            )
        return self.holdout

    @property
    def note(self) -> str:
        """A note on this copy of the data, such as 'JPEG-75'; usually empty."""
        return self.test.note


def load(
    name: str,
    where: Places,
    *,
    zca: bool = False,
    of_pixels: bool = False,
    holdout: int = 0,
    progress: Progress | None = None,
) -> Loaded:
    """Load a data set by name. Images are decoded and the space is fitted only if the cache lacks
    them.

    Args:
        of_pixels: Whiten raw pixels, as MTT's code does, instead of normalised values.
        holdout: How many training images to hold out, also from fitting the space. The part is
            stratified and the same in every run.

    Raises:
        UnknownNameError: If there is no data set of this name.
        OutOfRangeError: If the holdout is negative.
        MismatchError: If the images are too large for ZCA.
        DataError: If the data is missing, damaged, or too small for the holdout.
        StorageError: If the cache cannot be written.
    """
    dataset = find(name)
    if holdout < 0:
        raise OutOfRangeError(f"holdout {holdout}; wanted 0 or more images")
    if zca:
        preprocessing.require_zca(dataset)
    report = progress or silent
    source = locate(dataset, where, report)
    kept = cache.cached_images(dataset, source, where.cache_root, report)
    decoded = kept.decoded
    require_complete(dataset, decoded, source.description)
    apart = stratified(decoded.train.labels, holdout, _HOLDOUT_SEED)
    used = decoded.train.chosen(~apart) if holdout else decoded.train
    spec = _spec(dataset, dataset.name, kept.revision, decoded.class_names)
    notes = (
        revision_note(dataset.name, kept.revision),
        "classes by position" if where.by_position else "",
        UNVERIFIED if _unverified(dataset, source) else "",
    )
    note = ", ".join(filter(None, notes))
    stem = where.cache_root / "spaces" / f"{dataset.name}-{spec.revision}-holdout{holdout}"
    images, labels = _tensors(used)
    if zca and of_pixels:
        space = Space("normalised", (0.0,) * dataset.channels, (1.0,) * dataset.channels)
    else:
        space = _normalised(dataset, images, stem)
    if zca:
        space = _whitened(images, space, stem, report)
    described, held_out = "", None
    if holdout:
        described = f"{holdout} of {len(apart)} images, stratified, seed {_HOLDOUT_SEED}"
        held_out = TestSet(spec, *_tensors(decoded.train.chosen(apart)), space, note)
    return Loaded(
        spec=spec,
        train=TrainSet(spec, images, labels, space, described),
        test=TestSet(spec, *_tensors(decoded.test), space, note),
        holdout=held_out,
        source=source.description,
        folder=name if names_a_folder(name) else "",
    )


def _unverified(dataset: Dataset, source: Source) -> bool:
    """Return whether a known name may stand for other images: nothing published says how many
    images the data set has, and they lie in a plain image folder of that name.
    """
    listed = isinstance(source, ListedSource) and source.kind in (folders.KIND, folders.BY_POSITION)
    return listed and not dataset.place and not any(map(np.any, dataset.per_class))


def require_complete(dataset: Dataset, decoded: Decoded, source: str) -> None:
    """Raise DataError if a class has another number of images than the catalogue says."""
    parts = (("training", decoded.train), ("test", decoded.test))
    for (part, images), count in zip(parts, dataset.per_class, strict=True):
        found = np.bincount(images.labels, minlength=dataset.classes)
        wanted = np.broadcast_to(count, found.shape)
        if count and not bool((found == wanted).all()):
            strange = int(np.flatnonzero(found != wanted)[0])
            raise DataError(
                f"{source} holds {len(images.labels)} {part} images, {found[strange]} of them of "
                f"class {decoded.class_names[strange]!r}; {dataset.name} has {wanted.sum()}, "
                f"{wanted[strange]} of that class: complete the copy, or name other images by "
                "their folder, as --dataset ./mydata"
            )


def declared(name: str, *, holdout: int = 0) -> Loaded | None:
    """Return a stand-in for the data set with as many images as the catalogue says, for counting
    work.

    All images are black and take no memory. None if the catalogue does not say how many there are.
    """
    dataset = find(name)
    if not all(dataset.per_class):
        return None
    spec = declared_spec(name)
    train, test = (np.repeat(np.arange(dataset.classes), count) for count in dataset.per_class)
    apart = stratified(train, holdout, _HOLDOUT_SEED)
    parts = [
        (_black(spec, int(chosen.sum())), torch.from_numpy(train[chosen]))
        for chosen in (~apart, apart)
    ]
    return Loaded(
        spec=spec,
        train=TrainSet(spec, *parts[0], Space()),
        test=TestSet(spec, _black(spec, len(test)), torch.from_numpy(test), Space()),
        holdout=TestSet(spec, *parts[1], Space()) if holdout else None,
        source=DECLARED,
    )


def declared_spec(name: str) -> ImageSpec:
    """Return the spec of a data set without reading its images: all but the revision.

    Raises UnknownNameError.
    """
    dataset = find(name)
    numerals = tuple(map(str, range(dataset.classes)))
    return _spec(dataset, name, "0" * 12, dataset.class_names or numerals)


def why_absent(name: str, where: Places) -> str:
    """Return why the data set was not found; empty if it was. Nothing is fetched or decoded.

    Raises DataError if the first source is incomplete.
    """
    try:
        locate(find(name), replace(where, download=False), silent)
    except AbsentDataError as absent:
        return str(absent)
    return ""


def _spec(dataset: Dataset, name: str, revision: str, class_names: tuple[str, ...]) -> ImageSpec:
    return ImageSpec(name, revision, dataset.channels, dataset.size, class_names, dataset.flips)


def _black(spec: ImageSpec, count: int) -> torch.Tensor:
    return torch.zeros(1, *spec.shape, dtype=torch.uint8).expand(count, -1, -1, -1)


def _normalised(dataset: Dataset, images: torch.Tensor, stem: Path) -> Space:
    """Return the space that normalises. Published constants need no computing; computed values are
    cached under a name that starts with ``stem``.
    """
    if dataset.mean:
        return preprocessing.normalisation(dataset, images)
    return preprocessing.cached(
        stem.with_name(f"{stem.name}-own-v{_SPACE_VERSION}.pt"),
        lambda: preprocessing.normalisation(dataset, images),
    )


def _whitened(images: torch.Tensor, base: Space, stem: Path, progress: Progress) -> Space:
    name = f"{stem.name}-zca{preprocessing.ZCA_EPSILON}-{base.fingerprint}-v{_SPACE_VERSION}.pt"
    return preprocessing.cached(
        stem.with_name(name), lambda: preprocessing.whitening(images, base, progress=progress)
    )


def _tensors(part: ImageArrays) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(part.images), torch.from_numpy(part.labels)
