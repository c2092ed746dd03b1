"""Memory of this process on the CPU: keep what is freed during work, return it between jobs, and
measure the most that was held.

Every step of a training frees tensors of tens of megabytes and asks for their like again. By
default the C library hands such blocks back to the system at once, which clears each page anew for
the next step: a third to a half of a plain loop's time (docs/results/speed.md). So they are kept.
"""

from __future__ import annotations

import ctypes
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path

# Linux's words of this process
STATUS, MARKS, FORGET_PEAK = Path("/proc/self/status"), Path("/proc/self/clear_refs"), "5"
# bytes: smaller blocks, and as much as this at the heap's end, stay with the process when they are
# freed
KEPT = 1 << 30
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # mallopt(3)


def keep_freed() -> None:
    """Keep freed memory in this process, where the C library is GNU's; elsewhere do nothing."""
    library = gnu_library()
    if library is not None:
        library.mallopt(MMAP_THRESHOLD, KEPT)
        library.mallopt(TRIM_THRESHOLD, KEPT)


def give_back() -> None:
    """Return kept memory to the system."""
    library = gnu_library()
    if library is not None:
        library.malloc_trim(0)


def forget_peak() -> None:
    """Let ``peak_bytes`` count from what is held now, where the system can: on Linux."""
    give_back()
    with suppress(OSError):
        MARKS.write_text(FORGET_PEAK, encoding="ascii")


def peak_bytes() -> int | None:
    """The most that this process has held since it was last forgotten, or since it began.

    None where the system does not say: on Windows.
    """
    with suppress(OSError):
        for line in STATUS.read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    try:
        import resource  # Unix alone has it
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


@cache
def gnu_library() -> ctypes.CDLL | None:
    """GNU's C library, where it is this process's: it can be told to keep memory, and to give it
    back.
    """
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None
