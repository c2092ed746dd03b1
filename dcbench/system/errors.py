"""The errors that dcbench raises on purpose. Each message is one line: what was got, what was
wanted, what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
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
    """A name that stands for nothing, such as a misspelt method; the command itself is wrong."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
        hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(names) or 'none'}"
        super().__init__(f"unknown {kind} {name!r}; {hint}")


class OutOfRangeError(DcbenchError, ValueError):
    """A value that no run could use, whatever the data; the command itself is wrong."""


class DataError(DcbenchError):
    """Data that is missing, damaged, or too small for what was asked."""


class AbsentDataError(DataError):
    """A data set that is in none of the places where it was looked for."""


class FileFormatError(DcbenchError):
    """A file that is truncated, hostile, of another version, or of the wrong kind."""


class MismatchError(DcbenchError):
    """Two things that do not belong together: a set and a dataset, a checkpoint and a device."""


class DeviceError(DcbenchError):
    """A device that is not there, or cannot do what was asked."""


class ClusterError(DcbenchError):
    """A cluster that is not there, lacks what is needed, or loses the same work again and again."""


class DivergedError(DcbenchError, ArithmeticError):
    """A loss that is no longer finite."""


class StorageError(DcbenchError, OSError):
    """A place that cannot be written. What stood there before is still there."""


def brief(value: Any) -> str:
    """Show a value in one short line, for messages about strangers' files."""
    return " ".join(repr(value).split())[:120]


def in_one_line(error: Exception) -> str:
    """Say in one line what went wrong: our own messages as they are, others with their class."""
    notes = "".join(f" ({note})" for note in getattr(error, "__notes__", ()))
    if isinstance(error, ClusterError):
        return " ".join(f"{error}{notes}".split())
    ours = isinstance(error, DcbenchError)
    return " ".join((str(error) if ours else f"{type(error).__name__}: {error}{notes}").split())
