"""Readers of tensors and arrays in files of unknown origin, shared by the layouts; they execute
nothing from a file.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dcbench.artifacts.importers.layout import ForeignSet
from dcbench.system.errors import FileFormatError, brief
from dcbench.system.files import read_foreign_tensors, twice

if TYPE_CHECKING:
    from torch import Tensor

MOST_UNPACKED_BYTES = 256 << 20  # an .npz may always unpack to this much, and beyond that
MOST_TIMES_PACKED = 50  # to so many times its size
# RuntimeError: what zipfile raises for an archive that is encrypted, or packed in a way that it
# does not know
_UNREADABLE = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    MemoryError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)


def read_tensors(path: Path) -> Any:
    """Read what torch wrote into a file.

    Raises FileFormatError, also for an artifact of dcbench, and for tensors whose numbers are not
    all in the file.
    """
    from dcbench.artifacts.artifact import KEYS, check_size

    check_size(path)
    value = read_foreign_tensors(path)
    if isinstance(value, Mapping) and set(value) == KEYS:
        raise FileFormatError(
            f"{path} is an artifact of dcbench already; dcbench evaluate and nas take it as it is, "
            "without --as"
        )
    if not all(map(_stands_there, _tensors_in(value))):
        raise FileFormatError(
            f"{path} holds a tensor whose numbers do not all stand in the file (sparse, or "
            "expanded from fewer)"
        )
    return value


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a ``.safetensors`` by name. Raises FileFormatError."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from dcbench.artifacts.artifact import check_size

    check_size(path)
    try:
        return load_file(path)
    except (OSError, SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise FileFormatError(f"{path} is not a readable .safetensors ({error})") from error


def _tensors_in(value: Any) -> Iterator[Tensor]:
    import torch

    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, Mapping | list | tuple):
        entries = value.values() if isinstance(value, Mapping) else value
        yield from (tensor for entry in entries for tensor in _tensors_in(entry))


def _stands_there(tensor: Tensor) -> bool:
    import torch

    strided = tensor.layout == torch.strided and tensor.device.type == "cpu"
    return strided and tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes()


def read_tensor(path: Path) -> Tensor:
    """Read the only tensor of a file. Raises FileFormatError."""
    import torch

    value = read_tensors(path)
    if not isinstance(value, torch.Tensor):
        raise FileFormatError(f"{path} holds a {type(value).__name__}, wanted a tensor")
    return value


def pair(value: Any, path: Path) -> ForeignSet:
    """Return the images and labels of a pair of tensors. Raises FileFormatError."""
    import torch

    two = isinstance(value, Sequence) and len(value) >= 2
    if not two or not all(isinstance(part, torch.Tensor) for part in value[:2]):
        raise FileFormatError(
            f"{path}: wanted a pair of tensors, images and labels, got {type(value).__name__}"
        )
    return ForeignSet(value[0], value[1])


def keys_of(value: Any) -> str:
    """List the keys of a dict, for messages."""
    return ", ".join(map(str, value))[:80]


def labels_beside(path: Path) -> Path:
    """Return the file of labels that belongs to a file of images. Raises FileFormatError if there
    is none.

    MTT writes one file of labels for its whitened and its unwhitened images.
    """
    name = path.name.replace("images", "labels")
    beside = [path.with_name(other) for other in (name, name.replace("_zca", ""))]
    found = [other for other in beside if other.is_file()]
    if not found:
        looked = " or ".join(map(str, dict.fromkeys(beside)))
        raise FileFormatError(f"{path}: its labels were looked for in {looked}, which is not there")
    return found[0]


def read_arrays(path: Path) -> ForeignSet:
    """Read the arrays ``images`` and ``labels`` of an ``.npz``, or ``image`` and ``label``. Raises
    FileFormatError.
    """
    import numpy as np

    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
            again = twice(name.removesuffix(".npy") for name in archive.namelist())
        if again:
            raise ValueError(f"it holds {brief(again)} twice")
        if unpacked > max(MOST_UNPACKED_BYTES, MOST_TIMES_PACKED * path.stat().st_size):
            raise FileFormatError(
                f"{path}: {path.stat().st_size} bytes that unpack to {unpacked}; refused as a bomb"
            )
        with np.load(path, allow_pickle=False) as stored:
            return ForeignSet(_array(stored, "images", "image"), _array(stored, "labels", "label"))
    except _UNREADABLE as error:
        raise FileFormatError(
            f"{path} is not an .npz with plain arrays images and labels ({error})"
        ) from error


def _array(stored: Mapping[str, Any], name: str, other: str) -> Tensor:
    """Return the array with one of two names, in this machine's byte order, the only one that torch
    knows.
    """
    import torch

    if name in stored and other in stored:
        raise ValueError(f"it holds both {name} and {other}")
    array = stored[other if other in stored else name]
    return torch.from_numpy(array.astype(array.dtype.newbyteorder("=")))
