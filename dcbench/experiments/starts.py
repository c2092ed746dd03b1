"""A learned set may start from images in a user's file: read them, check them, and take them into
the space of the training images.

Methods do not read files: the field ``init`` then holds a hash of the content, and ``Run.start``
the images.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dcbench.artifacts.artifact import read_artifact
from dcbench.artifacts.importers.catalogue import LAYOUTS, find_layout
from dcbench.artifacts.importers.importing import import_set, open_space
from dcbench.datasets.loading import Loaded
from dcbench.datasets.places import Places
from dcbench.distiller import Distiller, hyper_parameters
from dcbench.evaluation.evaluate import check_fit
from dcbench.families.selection import START, names_a_file
from dcbench.images import Space, SyntheticSet
from dcbench.system.errors import DataError, FileFormatError, MismatchError

READ = "file:"  # prefix of the content's hash in a record's field ``init``


def read_start(
    distiller: Distiller, loaded: Loaded, ipc: int, places: Places
) -> tuple[Distiller, Tensor | None]:
    """Read the file that ``distiller``'s field ``init`` names.

    Returns:
        The distiller with the file's hash in ``init``, and the images: ``ipc`` of each class, in
        the order of the classes, in the space of ``loaded``. The distiller itself and None if
        ``init`` names no file.

    Raises:
        DataError: If there is no such file.
        FileFormatError: If the file holds no set.
        MismatchError: If its images are of another data set, size or number, or were selected from
            images that are held out here.
        UnknownNameError: If the words before a colon are no layout.
    """
    fields: Any = distiller  # a dataclass whose fields the contract does not know
    named = hyper_parameters(type(distiller)).get("init")
    if named is None or START not in named.bounds or not names_a_file(fields.init):
        return distiller, None
    found = _read(fields.init, loaded, places)
    _check_data(found, loaded, fields.init)
    order = found.hard_labels.argsort(stable=True)
    counts = torch.bincount(found.hard_labels, minlength=loaded.spec.classes)
    if not bool((counts == ipc).all()):
        held = " to ".join(map(str, sorted({int(counts.min()), int(counts.max())})))
        raise MismatchError(
            f"init {fields.init} holds {held} images of each class, wanted {ipc}; "
            f"choose --ipc {int(counts.max())} or another file"
        )
    images = _taken_into(found, loaded.train.space)[order].contiguous()
    return replace(fields, init=f"{READ}{found.content_hash[:12]}"), images


def _read(words: str, loaded: Loaded, places: Places) -> SyntheticSet:
    """Read the set in the file; raises what ``read_start`` raises."""
    prefix, colon, rest = words.partition(":")
    path = Path(rest if colon else words).expanduser()
    if f"{prefix}:" == READ:
        raise DataError(
            f"init {words} is what a record says of a file's content; wanted the file, as in --set "
            "init=./images.pt"
        )
    layout = find_layout(prefix) if colon else None
    if not path.exists():
        raise DataError(f"init: no such file: {path}; wanted a set of images, such as ./images.pt")
    if layout is not None:
        kind = layout.usual_space(path, loaded.spec.channels)
        _, space = open_space(loaded.spec.dataset, kind, places)  # of all images: no holdout
        return import_set(path, layout, loaded.spec, space, pixels=kind == "pixels").synthetic
    try:
        artifact = read_artifact(path)
    except FileFormatError as error:
        raise FileFormatError(
            f"init: {error}; of another project's file say the layout ({', '.join(LAYOUTS)}): "
            f"--set init=LAYOUT:{path}"
        ) from error
    kept, seen = loaded.train.holdout, artifact.provenance.get("holdout", "")
    if kept and seen != kept:
        raise MismatchError(
            f"init {path} was made from {seen or 'the whole training set'}, but {kept} are kept "
            "from distillation here; make the start with the same --holdout"
        )
    return artifact.synthetic


def _check_data(found: SyntheticSet, loaded: Loaded, words: str) -> None:
    ours, theirs = found.spec, loaded.spec
    if (ours.dataset, *ours.shape) != (theirs.dataset, *theirs.shape):
        got, wanted = (
            f"{spec.channels}×{spec.size}×{spec.size} of {spec.dataset}" for spec in (ours, theirs)
        )
        raise MismatchError(f"init {words} holds images {got}, wanted {wanted}")
    check_fit(found, loaded.test)  # the order of the classes


def _taken_into(found: SyntheticSet, space: Space) -> Tensor:
    """Return the images as values of ``space``; unchanged to the bit if they already are."""
    ours = found.space
    alike = (ours.kind, ours.mean, ours.std) == (space.kind, space.mean, space.std)
    if alike and all(map(_same, _whitening(ours), _whitening(space))):
        return found.images
    return space.enter(ours.leave(found.images))


def _whitening(space: Space) -> tuple[Tensor | None, Tensor | None]:
    return space.zca_mean, space.zca_matrix


def _same(one: Tensor | None, other: Tensor | None) -> bool:
    return one is other or (one is not None and other is not None and torch.equal(one, other))
