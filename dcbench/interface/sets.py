"""Sets as users hold them (tensors, arrays, a set in memory, a path), turned into artifacts."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import torch

from dcbench.artifacts.artifact import Artifact, artifact_of, read_artifact
from dcbench.artifacts.importers.importing import (
    ImportedSet,
    interpret_set,
    open_space,
    provenance_of,
)
from dcbench.artifacts.importers.layout import VALUE_SPACES, FileLayout, ForeignSet
from dcbench.datasets import catalogue
from dcbench.datasets.places import Places
from dcbench.distiller import Distiller, fields_of, find
from dcbench.experiments.context import StoredSet, Workspace
from dcbench.experiments.distil import reopen
from dcbench.images import Space, SyntheticSet
from dcbench.system.errors import MismatchError, OutOfRangeError, UnknownNameError
from dcbench.system.layout import ARTIFACT, foreign_set_folder

SetLike = Artifact | SyntheticSet | str | os.PathLike[str]
Method = str | type[Distiller] | Distiller


def _nothing_read() -> ForeignSet:
    raise MismatchError("tensors are not read from a file")


_IN_PYTHON = FileLayout("python", "tensors", "pixels", lambda *_: _nothing_read())


@dataclass(frozen=True)
class Tensors:
    """Images and labels that a user holds, and what is said of them."""

    images: Any
    labels: Any
    dataset: str | None  # what they are images of
    space: str | Space  # that their values live in
    name: str  # of their method in tables

    def artifact(self, places: Places) -> Artifact:
        """Make a set of them, in memory; its provenance holds warnings about what looks wrong.

        Raises:
            OutOfRangeError, UnknownNameError: For what is missing, or means nothing.
            FileFormatError: If these can be no images or labels of the data set.
        """
        if self.labels is None:
            raise OutOfRangeError(
                "images without labels: wanted evaluate(images, labels, dataset=…)"
            )
        if self.dataset is None:
            raise OutOfRangeError(
                "images do not say what they are images of: wanted dataset, a name such as 'digits'"
            )
        catalogue.find(self.dataset)
        kind: Any
        if isinstance(self.space, Space):
            spec, _ = open_space(self.dataset, "raw", places)
            kind, own = self.space.kind, self.space
        elif self.space in VALUE_SPACES:
            kind = self.space
            spec, own = open_space(self.dataset, kind, places)
        else:
            raise UnknownNameError("space", self.space, VALUE_SPACES)
        given = ForeignSet(_tensor("images", self.images), _tensor("labels", self.labels))
        imported = interpret_set(given, _IN_PYTHON, spec, own, pixels=kind == "pixels")
        return artifact_of(imported.synthetic, provenance_of(imported, self.name))


def _tensor(what: str, given: Any) -> torch.Tensor:
    try:
        return torch.as_tensor(given).detach().cpu()
    except (TypeError, ValueError, RuntimeError) as error:
        raise OutOfRangeError(
            f"{what} must be a tensor, an array or lists of numbers, got {type(given).__name__}"
        ) from error


def is_set(given: object) -> TypeGuard[SetLike]:
    """Whether ``given`` is a set or the path of one, and not tensors or arrays."""
    return isinstance(given, Artifact | SyntheticSet | str | os.PathLike)


def as_artifact(given: SetLike, name: str = "given") -> Artifact:
    """Return a set with its provenance: the file's, or that of a method called ``name``."""
    if isinstance(given, Artifact):
        return given
    if not isinstance(given, SyntheticSet | str | os.PathLike):
        raise OutOfRangeError(f"wanted a set or the path of one, got {type(given).__name__}")
    if isinstance(given, SyntheticSet):
        imported = ImportedSet(given, _IN_PYTHON.name, ())
        return artifact_of(given, provenance_of(imported, name))
    return read_artifact(given)


def as_stored(given: SetLike, name: str, workspace: Workspace, *, kept: bool) -> StoredSet:
    """Return a set with the folder for its evaluations: its own if they are ``kept``, else a folder
    of the workspace. The file of a set in memory is not written yet.
    """
    path = given.path if isinstance(given, Artifact) else None
    if isinstance(given, str | os.PathLike):
        path = Path(given)
    if path is not None and path.is_file():
        found = reopen(path, workspace)
        same = not isinstance(given, Artifact) or found.sha256 == given.sha256
        if kept and same:
            return found
        if same:
            given = Artifact(found.synthetic, found.provenance, found.sha256, path, found.cost)
    artifact = as_artifact(given, name)
    folder = _folder_of(artifact, workspace)
    return StoredSet.of(artifact, folder, folder / ARTIFACT if kept else None, artifact.cost)


def as_proxy(given: SetLike, workspace: Workspace) -> tuple[str, Artifact | None]:
    """Return a proxy's word, as ``dcbench nas --proxy`` takes it (a built-in proxy's name or a
    path), and the set in memory that is yet to be written there.
    """
    if isinstance(given, str | os.PathLike):
        return os.fspath(given), None
    artifact, path = as_artifact(given), getattr(given, "path", None)
    if path is not None and path.is_file() and read_artifact(path).sha256 == artifact.sha256:
        return str(path), None
    return str(_folder_of(artifact, workspace) / ARTIFACT), artifact


def _folder_of(artifact: Artifact, workspace: Workspace) -> Path:
    dataset = artifact.synthetic.spec.dataset
    return foreign_set_folder(workspace.out, dataset, artifact.sha256)


def name_and_fields(method: Method) -> tuple[str, dict[str, Any]]:
    """Return a method's name, and its fields if it is an object. Raises MismatchError for a class
    that is not the one registered under its name.
    """
    if isinstance(method, str):
        return method, {}
    kind = method if isinstance(method, type) else type(method)
    name = getattr(kind, "name", None)
    if name is None:
        raise MismatchError(f"{kind.__qualname__} has no name: wanted @dcbench.register before it")
    if find(name) is not kind:
        raise MismatchError(
            f"{name!r} was registered anew since this {kind.__qualname__} was made; make it again"
        )
    return name, {} if isinstance(method, type) else fields_of(method)
