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
    """Anything that dcbench refuses or cannot do; the command line shows its message without a
    traceback.
    """


class UnknownNameError(DcbenchError, LookupError):
    """A name that stands for nothing here: wrong by its words alone."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
        hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(names) or 'none'}"
        super().__init__(f"unknown {kind} {name!r}; {hint}")


class OutOfRangeError(DcbenchError, ValueError):
    """A value that no run could use, whatever the data: wrong by its words alone."""


class DataError(DcbenchError):
    """Data that is missing, damaged, or too small for what was asked."""


class AbsentDataError(DataError):
    """Data that is nowhere where it was looked for."""


class FileFormatError(DcbenchError):
    """A file that is truncated, hostile, of another version, or not of the kind that was expected."""


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
    """``value`` in one short line, whatever a stranger's file made of it."""
    return " ".join(repr(value).split())[:120]


def in_one_line(error: Exception) -> str:
    """What went wrong, for people: our own messages as they are, others' with their kind and the
    work that they came from.
    """
    notes = "".join(f" ({note})" for note in getattr(error, "__notes__", ()))
    if isinstance(error, ClusterError):
        return " ".join(f"{error}{notes}".split())
    ours = isinstance(error, DcbenchError)
    return " ".join((str(error) if ours else f"{type(error).__name__}: {error}{notes}").split())
