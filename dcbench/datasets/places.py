"""Where data is read from and where decoded data is cached."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Places:
    """The folders that loading may use. Nothing is fetched unless ``download`` is set."""

    data_root: Path | None  # the folder of the data sets; only a download writes to it
    cache_root: Path  # decoded images and fitted spaces are kept here
    download: bool = False
    by_position: bool = False  # class folders are in the order of labels, whatever their names

    @property
    def root(self) -> Path:
        """The data root; without one, the folder in the cache that downloads go to."""
        return self.data_root if self.data_root is not None else self.cache_root / "downloads"
