"""Memory of this process on the CPU: keep freed memory during work, return it between jobs, and
measure the peak.

Every step of a training frees tensors of tens of megabytes and allocates as many again. By default
the C library returns such blocks to the system at once, and the system clears each page again for
the next step: a third to a half of a plain loop's time (docs/results/speed.md). So they are kept.
"""

from __future__ import annotations

import ctypes
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path

# Linux's status of this process
STATUS, MARKS, FORGET_PEAK = Path("/proc/self/status"), Path("/proc/self/clear_refs"), "5"
# bytes: smaller blocks, and as much as this at the heap's end, stay with the process when they are
# freed
KEPT = 1 << 30
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # mallopt(3)


def keep_freed() -> None:
    """Keep freed memory in this process, if its C library is GNU's; elsewhere do nothing."""
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
    """Restart the measurement of ``peak_bytes``, on Linux."""
    give_back()
    with suppress(OSError):
        MARKS.write_text(FORGET_PEAK, encoding="ascii")


def peak_bytes() -> int | None:
    """Return the most memory that this process has held since ``forget_peak``, or since it began.

    None where the system does not tell: on Windows.
    """
    with suppress(OSError):
        for line in STATUS.read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    try:
        import resource  # only Unix has it
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


@cache
def gnu_library() -> ctypes.CDLL | None:
    """Return the GNU C library if this process uses it: it can be told to keep memory and to give
    it back.
    """
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None
