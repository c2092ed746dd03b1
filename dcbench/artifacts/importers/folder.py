"""SRe2L, RDED, D4M: a folder of images for each class."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dcbench.artifacts.importers.layout import FileLayout, ForeignSet, ImportOptions
from dcbench.system.errors import FileFormatError

if TYPE_CHECKING:
    from torch import Tensor

    from dcbench.images import ImageSpec


def read(path: Path, spec: ImageSpec, _options: ImportOptions) -> ForeignSet:
    """The images of all folders, which are called as the classes are, or all by other names in the
    classes' order; raises FileFormatError.
    """
    import torch

    if not path.is_dir():
        raise FileFormatError(f"{path} is not a folder with one folder of images per class")
    folders = sorted((entry for entry in path.iterdir() if entry.is_dir()), key=_numbers_by_value)
    if len(folders) != spec.classes:
        raise FileFormatError(
            f"{path}: {len(folders)} folders, but {spec.dataset} has {spec.classes} classes"
        )
    images, labels = [], []
    for label, folder in zip(
        _classes([folder.name for folder in folders], spec, path), folders, strict=True
    ):
        for file in _pictures(folder):
            images.append(_picture(file, spec))
            labels.append(label)
    if not images:
        raise FileFormatError(f"{path}: no .png or .jpg in its folders")
    return ForeignSet(torch.stack(images).float() / 255, torch.tensor(labels))


def _classes(names: Sequence[str], spec: ImageSpec, path: Path) -> list[int]:
    """The class of each folder: by its name if all are names of classes, by its place if none is; a
    mixture would count a class twice.
    """
    known = {name: index for index, name in enumerate(spec.class_names)}
    strange = [name for name in names if name not in known]
    if strange and len(strange) < len(names):
        raise FileFormatError(
            f"{path}: folder {strange[0]!r} is no class of {spec.dataset}, though others are; wanted the names of the classes, "
            f"such as {spec.class_names[0]!r}, or none of them, in their order"
        )
    return list(range(len(names))) if strange else [known[name] for name in names]


def _picture(file: Path, spec: ImageSpec) -> Tensor:
    import numpy as np
    import torch
    from PIL import Image, UnidentifiedImageError

    from dcbench.datasets.decoding import bombs_refused

    try:
        # other formats' readers may start other programs
        with bombs_refused(), Image.open(file, formats=("PNG", "JPEG")) as opened:
            # known from the head, before anything is unpacked
            if opened.size != (spec.size, spec.size):
                raise FileFormatError(
                    f"{file}: an image of {opened.size[0]}×{opened.size[1]}, wanted {spec.size}×{spec.size}"
                )
            pixels = np.asarray(opened.convert("L" if spec.channels == 1 else "RGB"))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise FileFormatError(
            f"{file} claims far more pixels than the {spec.size}×{spec.size} that are wanted"
        ) from error
    except (OSError, UnidentifiedImageError, ValueError, SyntaxError) as error:
        raise FileFormatError(f"{file} is not a readable image") from error
    return (
        torch.from_numpy(pixels.copy()).view(spec.size, spec.size, spec.channels).permute(2, 0, 1)
    )


def _pictures(folder: Path) -> Iterator[Path]:
    yield from sorted(
        file for file in folder.iterdir() if file.suffix.lower() in (".png", ".jpg", ".jpeg")
    )


def _numbers_by_value(folder: Path) -> tuple[int, str]:
    return (int(folder.name), "") if folder.name.isdecimal() else (1 << 30, folder.name)


LAYOUTS = (FileLayout("folder", "SRe2L, RDED, D4M: a folder of images per class", "pixels", read),)
