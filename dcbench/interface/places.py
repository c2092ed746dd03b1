"""The folders of data and its cache, if the user names none. The command line uses it too."""

from __future__ import annotations

import os
from pathlib import Path

from dcbench.datasets.places import Places
from dcbench.system.errors import StorageError


def usual_places(data_root: str | os.PathLike[str] | None = None, download: bool = False) -> Places:
    """Return the folder of data (``DCBENCH_DATA`` or ``./data``) and the folder of decoded data
    (``DCBENCH_CACHE`` or the user's folder of caches).

    Raises:
        StorageError: If there is no folder for the cache.
    """
    named = os.environ.get("DCBENCH_CACHE")
    try:
        usual = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "dcbench"
    except RuntimeError as error:  # an unknown user without HOME, as in a container
        if not named:
            raise StorageError(
                "no home folder to keep decoded data in; name a folder: DCBENCH_CACHE=FOLDER"
            ) from error
    root = Path(os.environ.get("DCBENCH_DATA", "data") if data_root is None else data_root)
    return Places(root, Path(named) if named else usual, download)
