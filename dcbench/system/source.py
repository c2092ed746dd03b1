"""A hash of the project's own source code, which records store as ``code``."""

from __future__ import annotations

import hashlib
import os
from functools import cache
from pathlib import Path

import dcbench


@cache
def source_hash(package: Path = Path(dcbench.__file__).parent) -> str:
    """Hash the project's own source, as it was at the first call.

    It is the same whether methods, baselines and nas are links, as in the repository, or folders,
    as in a wheel.
    """
    digest = hashlib.sha256()
    for folder, below, names in os.walk(package, followlinks=True):
        below.sort()
        for name in sorted(name for name in names if name.endswith(".py")):
            digest.update((Path(folder) / name).read_bytes())
    return digest.hexdigest()[:12]
