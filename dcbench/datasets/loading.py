"""Loading: from the name of a data set to its training and test images in one space."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from dcbench.datasets import cache, preprocessing
from dcbench.datasets.catalogue import find, revision_note
from dcbench.datasets.declaration import Dataset
from dcbench.datasets.decoding import Decoded, ImageArrays
from dcbench.datasets.places import Places
from dcbench.datasets.sources import locate
from dcbench.datasets.splits import stratified
from dcbench.images import ImageSpec, Space, TestSet, TrainSet
from dcbench.system.errors import AbsentDataError, DataError, MismatchError, OutOfRangeError
from dcbench.system.progress import Progress, silent

_HOLDOUT_SEED = 0
_SPACE_VERSION = 1
DECLARED = "the catalogue"  # the source of a data set of which only the numbers are known


@dataclass(frozen=True, eq=False)
class Loaded:
    """A loaded data set: ``train`` for methods and ``test`` for the evaluation, in one space."""

    spec: ImageSpec
    train: TrainSet
    test: TestSet
    holdout: TestSet | None  # the part of the published training set that was kept from ``train``
    source: str  # where the images came from, for people
    reading: str = ""  # how they were read, if the user said so

    def test_set(self, on: str) -> TestSet:
        """The images that judge sets: the test images, or the holdout.

        Raises MismatchError if no holdout was kept.
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
        """What sets this copy of the data apart, such as 'JPEG-75'; mostly empty."""
        known = revision_note(self.spec.dataset, self.spec.revision)
        return ", ".join(filter(None, (known, self.reading)))


def load(
    name: str,
    where: Places,
    *,
    zca: bool = False,
    of_pixels: bool = False,
    holdout: int = 0,
    progress: Progress | None = None,
) -> Loaded:
    """Load a data set by name; decode it and fit its space only where the cache does not have them.

    Args:
        of_pixels: Whiten pixels as they are, as MTT's code does, instead of normalised values.
        holdout: How many training images to keep apart, from the fit of the space too. The part is
            stratified and the same in every run.

    Raises:
        UnknownNameError: If there is no data set of this name.
        OutOfRangeError: If the holdout is negative.
        MismatchError: If the images are too large for ZCA.
        DataError: If the data is missing, broken, or too small for the holdout.
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
    spec = ImageSpec(
        dataset.name,
        kept.revision,
        dataset.channels,
        dataset.size,
        decoded.class_names,
        dataset.flips,
    )
    stem = where.cache_root / "spaces" / f"{dataset.name}-{spec.revision}-holdout{holdout}"
    space = (
        _whitened_pixels(dataset, used, stem, report)
        if zca and of_pixels
        else _space(dataset, used, stem, zca, report)
    )
    described = (
        f"{holdout} of {len(apart)} images, stratified, seed {_HOLDOUT_SEED}" if holdout else ""
    )
    return Loaded(
        spec=spec,
        train=TrainSet(spec, *_tensors(used), space, described),
        test=TestSet(spec, *_tensors(decoded.test), space),
        holdout=TestSet(spec, *_tensors(decoded.train.chosen(apart)), space) if holdout else None,
        source=source.description,
        reading="classes by position" if where.by_position else "",
    )


def require_complete(dataset: Dataset, decoded: Decoded, source: str) -> None:
    """Raises DataError if a class has another number of images than the catalogue says."""
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
    """A stand-in for the data set with as many images as the catalogue says, for counting work.

    All images are black and take no memory. None where the catalogue does not say how many there
    are.
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
    """The spec of a data set as far as it is known without its images: all but the revision.

    Raises UnknownNameError.
    """
    dataset = find(name)
    names = dataset.class_names or _numbered(dataset)
    return ImageSpec(name, "0" * 12, dataset.channels, dataset.size, names, dataset.flips)


def why_absent(name: str, where: Places) -> str:
    """Why the data set is not there, or nothing if it is; nothing is fetched or decoded.

    Raises DataError where the first source is incomplete.
    """
    try:
        locate(find(name), replace(where, download=False), silent)
    except AbsentDataError as absent:
        return str(absent)
    return ""


def _numbered(dataset: Dataset) -> tuple[str, ...]:
    return tuple(map(str, range(dataset.classes)))


def _black(spec: ImageSpec, count: int) -> torch.Tensor:
    return torch.zeros(1, *spec.shape, dtype=torch.uint8).expand(count, -1, -1, -1)


def _space(dataset: Dataset, used: ImageArrays, stem: Path, zca: bool, progress: Progress) -> Space:
    """Published constants cost nothing; whatever is computed is kept under a name that starts with
    ``stem``.
    """
    images, _ = _tensors(used)

    def fit_normalisation() -> Space:
        return preprocessing.normalisation(dataset, images)

    own = stem.with_name(f"{stem.name}-own-v{_SPACE_VERSION}.pt")
    normalised = (
        fit_normalisation() if dataset.mean else preprocessing.cached(own, fit_normalisation)
    )
    return _whitened(images, normalised, stem, progress) if zca else normalised


def _whitened_pixels(dataset: Dataset, used: ImageArrays, stem: Path, progress: Progress) -> Space:
    """The same of pixels as they are."""
    unchanged = Space("normalised", (0.0,) * dataset.channels, (1.0,) * dataset.channels)
    return _whitened(_tensors(used)[0], unchanged, stem, progress)


def _whitened(images: torch.Tensor, base: Space, stem: Path, progress: Progress) -> Space:
    name = f"{stem.name}-zca{preprocessing.ZCA_EPSILON}-{base.fingerprint}-v{_SPACE_VERSION}.pt"
    return preprocessing.cached(
        stem.with_name(name), lambda: preprocessing.whitening(images, base, progress=progress)
    )


def _tensors(part: ImageArrays) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(part.images), torch.from_numpy(part.labels)
