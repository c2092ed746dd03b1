"""The errors that dcbench raises on purpose. A message is one line: what was given, what was
wanted, what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable
from typing import Any

# How torch says so where it has no class of error for it: on a processor, and where a library of
# CUDA's found no room.
OUT_OF_MEMORY = (
    *("not enough memory", "can't allocate memory", "out of memory"),
    *("CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED", "unable to find an engine"),
)


class DcbenchError(Exception):
    """Base of all errors that dcbench raises on purpose; the command line prints it as one line."""


class UnknownNameError(DcbenchError, LookupError):
    """An unknown name, such as a misspelt method: the command itself is wrong."""

    def __init__(self, kind: str, name: object, known: Iterable[str]) -> None:
        names = sorted(known)
        close = difflib.get_close_matches(str(name), names, n=1, cutoff=0.6)
        hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(names) or 'none'}"
        super().__init__(f"unknown {kind} {name!r}; {hint}")


def require_known(kind: str, name: object, known: Collection[str]) -> None:
    """Raise UnknownNameError unless ``name`` is one of the ``known`` names of this ``kind``."""
    if name not in known:
        raise UnknownNameError(kind, name, known)


class OutOfRangeError(DcbenchError, ValueError):
    """A value that is wrong whatever the data: the command itself is wrong."""


class DataError(DcbenchError):
    """Data that is missing, damaged, or too small for what was asked."""


class AbsentDataError(DataError):
    """A data set that was not found in any folder searched."""


class FileFormatError(DcbenchError):
    """A file that is truncated, hostile, of another version, or of the wrong kind."""


class MismatchError(DcbenchError):
    """Two things that do not fit together: a set and a data set, a checkpoint and a device."""


class DeviceError(DcbenchError):
    """A device that this machine does not have, or that cannot do what was asked."""


class ClusterError(DcbenchError):
    """A cluster that does not exist, lacks what is needed, or keeps losing the same task."""


class DivergedError(DcbenchError, ArithmeticError):
    """A loss that is no longer finite."""


class StorageError(DcbenchError, OSError):
    """A file or folder that cannot be written. Its old content is unchanged."""


def brief(value: Any) -> str:
    """Shorten a value to one line, for messages about files of unknown origin."""
    return " ".join(repr(value).split())[:120]


def in_one_line(error: Exception) -> str:
    """Return an error's message in one line; errors that are not our own with their class."""
    notes = "".join(f" ({note})" for note in getattr(error, "__notes__", ()))
    if isinstance(error, ClusterError):
        return " ".join(f"{error}{notes}".split())
    ours = isinstance(error, DcbenchError)
    return " ".join((str(error) if ours else f"{type(error).__name__}: {error}{notes}").split())
