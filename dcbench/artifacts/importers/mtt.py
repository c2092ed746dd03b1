"""MTT: ``images_best.pt`` and ``labels_best.pt``, sometimes in shards; DATM: with ``lr_best.pt``,
or all three without ``_best``.

``images_zca_5000.pt`` is MTT's export of whitened images after its whitening is undone: pixels.
"""

from __future__ import annotations

import math
from pathlib import Path

from dcbench.artifacts.importers.layout import FileLayout, ForeignSet, ValueSpace, reader
from dcbench.artifacts.importers.reading import labels_beside, read_tensor
from dcbench.system.errors import FileFormatError

_NO_RATE = (
    "no learning rate lies beside it, which such sets are made for; networks learn at the "
    "protocol's"
)


def read(path: Path) -> ForeignSet:
    """Read the set in a folder, or in a file of images with its labels beside it, and its learning
    rate if there is one. Raises FileFormatError.
    """
    import torch

    folder = path if path.is_dir() else path.parent
    images = [path] if path.is_file() else _shards(folder)
    beside = images[0].with_name(images[0].name.replace("images", "lr"))
    rates = [rate for rate in (beside, folder / "lr.pt") if rate.is_file()]
    return ForeignSet(
        torch.cat([read_tensor(shard) for shard in images]),
        torch.cat([read_tensor(labels_beside(shard)) for shard in images]),
        {"lr": _rate(rates[0])} if rates else {},
        doubts=() if rates else (_NO_RATE,),
    )


def usual_space(path: Path, _channels: int) -> ValueSpace:
    """Return whitened pixels, unless the file's name says that whitening is undone."""
    return "pixels" if path.name.startswith("images_zca") else "zca-pixels"


def _shards(folder: Path) -> list[Path]:
    shards = sorted(folder.glob("images_best_[0-9]*.pt"))
    numbers = {int(number) for path in shards if (number := path.stem[12:]).isdecimal()}
    if numbers != set(range(len(shards))):
        raise FileFormatError(
            f"{folder} holds {', '.join(path.name for path in shards)}: not one complete set of "
            "shards; complete the copy"
        )
    for found in ([folder / "images_best.pt"], shards, [folder / "images.pt"]):
        if found and found[0].is_file():
            return found
    raise FileFormatError(f"{folder}: no images_best.pt, images_best_0.pt or images.pt")


def _rate(path: Path) -> float:
    rate = float(read_tensor(path).reshape(-1)[0])
    if not (math.isfinite(rate) and rate > 0):
        raise FileFormatError(f"{path}: a learning rate of {rate}")
    return rate


LAYOUTS = (
    FileLayout(
        "mtt",
        "MTT, DATM: images_best.pt, labels_best.pt, lr_best.pt, or images.pt, labels.pt, lr.pt",
        "zca-pixels",
        reader(read),
        space_of=usual_space,
    ),
)
