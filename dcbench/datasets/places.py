"""Where data is read from and where decoded data is kept."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Places:
    """The folders that loading may use. Nothing is fetched unless ``download`` is set."""

    data_root: Path | None  # the folder that holds the data sets; read only, but for a download
    cache_root: Path  # decoded images and fitted spaces are kept here
    download: bool = False
    by_position: bool = False  # class folders are in the order of labels, whatever they are called

    @property
    def root(self) -> Path:
        """The data root, or the place in the cache that downloads go to where none was given."""
        return self.data_root if self.data_root is not None else self.cache_root / "downloads"
