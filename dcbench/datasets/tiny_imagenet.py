"""Tiny ImageNet's own layout: ``train/<WordNet id>/images/``, and ``val/images/`` with
``val/val_annotations.txt``.

The published test images have no labels, so the validation images are the test split, as in all of
this literature. Labels are the WordNet ids in sorted order, the ones that readers of folders give.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, final

from dcbench.datasets.declaration import Dataset
from dcbench.datasets.listed import Listed, class_by_class, images_in, published
from dcbench.system.errors import DataError

_ANNOTATIONS = "val/val_annotations.txt"
_MOST_BYTES = 16 << 20  # of the annotations, which have less than one


def places(dataset: Dataset, root: Path) -> list[Path]:
    """The folders that are looked for, in order."""
    return [root / name / "val" for name in dataset.folders if dataset.tree == "tiny-imagenet"]


def look(dataset: Dataset, root: Path) -> TinyImageNetSource | None:
    """The first folder with ``train`` and ``val``; raises DataError where one of them or a class is
    missing.
    """
    for folder in (val.parent for val in places(dataset, root)):
        if published(dataset, folder):
            return TinyImageNetSource(dataset, folder, _ids(dataset, folder / "train"))
    return None


def _ids(dataset: Dataset, train: Path) -> tuple[str, ...]:
    found = sorted(entry.name for entry in train.iterdir() if (entry / "images").is_dir())
    if len(found) != dataset.classes:
        raise DataError(
            f"{train} holds {len(found)} classes with a folder called images; {dataset.name} has {dataset.classes}"
        )
    return tuple(found)


@final
@dataclass(frozen=True)
class TinyImageNetSource(Listed):
    """The published folders."""

    ids: tuple[str, ...]  # in the order of labels

    kind: ClassVar[str] = "Tiny ImageNet's folders"
    besides: ClassVar[tuple[str, ...]] = (_ANNOTATIONS,)

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.ids

    def listing(self, split: str) -> list[tuple[Path, int]]:
        """Class by class, files by name; the test split in the annotations' order. Raises DataError
        naming the line that is wrong.
        """
        if split == "test":
            return self._annotated()
        return class_by_class([self.folder / "train" / id_ / "images" for id_ in self.ids])

    @property
    def _annotations(self) -> Path:
        return self.folder / _ANNOTATIONS

    def _annotated(self) -> list[tuple[Path, int]]:
        labels = {id_: label for label, id_ in enumerate(self.ids)}
        present = {path.name for path in images_in(self.folder / "val" / "images")}
        found: dict[str, int] = {}
        for number, line in enumerate(self._lines(), 1):
            name, id_, *_ = *line.split("\t"), "", ""
            if name not in present or id_ not in labels or name in found:
                raise DataError(
                    f"{self._annotations}, line {number}: wanted an image of val/images, once, and its class; got {line[:60]!r}"
                )
            found[name] = labels[id_]
        if len(found) != len(present):
            raise DataError(
                f"{self._annotations} names {len(found)} of the {len(present)} images in val/images; complete the copy"
            )
        return [(self.folder / "val" / "images" / name, label) for name, label in found.items()]

    def _lines(self) -> list[str]:
        try:
            if self._annotations.stat().st_size > _MOST_BYTES:
                raise DataError(
                    f"{self._annotations} has more than {_MOST_BYTES} bytes: not Tiny ImageNet's"
                )
            return self._annotations.read_text(encoding="utf-8").splitlines()
        except (OSError, ValueError) as error:
            raise DataError(
                f"{self._annotations} cannot be read: {error}; complete the copy"
            ) from error
