"""Reads the corpus in ``sys.argv[1]`` file by file; says what each was refused with, and how far
the process's memory grew.
"""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path

from dcbench.system.errors import DcbenchError
from tests.hostile.corpus import SWELLING

if __name__ == "__main__":
    import pyarrow.parquet  # noqa: F401  # so that no import is taken for swelling

    for stranger in SWELLING:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
            stranger.read(Path(sys.argv[1]) / f"{stranger.name}{stranger.suffix}")
            said = ""
        except DcbenchError as error:
            said = str(error)
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
        sys.stdout.write(json.dumps({"name": stranger.name, "said": said, "grown": grown}) + "\n")
        sys.stdout.flush()
