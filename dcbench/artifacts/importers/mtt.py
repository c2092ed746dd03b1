"""MTT: ``images_best.pt`` and ``labels_best.pt``, sometimes in shards; DATM: with ``lr_best.pt``,
or all three without ``_best``.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from dcbench.artifacts.importers.layout import FileLayout, ForeignSet, ImportOptions
from dcbench.artifacts.importers.reading import labels_beside, read_tensor
from dcbench.system.errors import FileFormatError

if TYPE_CHECKING:
    from dcbench.images import ImageSpec

_NO_RATE = "no learning rate lies beside it, which such sets are made for; networks learn at the protocol's"


def read(path: Path, _spec: ImageSpec, _options: ImportOptions) -> ForeignSet:
    """The set in a folder, or in a file of images with its labels beside it, and the learning rate
    if there is one; raises FileFormatError.
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


def _shards(folder: Path) -> list[Path]:
    for pattern in ("images_best.pt", "images_best_*.pt", "images.pt"):
        found = sorted(folder.glob(pattern))
        if found:
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
        read,
    ),
)
