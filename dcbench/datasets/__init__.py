"""Real data: find it, decode it, cache it and normalise it.

This package and its catalogue import neither torch nor any decoder; ``dcbench.datasets.loading``
does.
"""

from dcbench.datasets.catalogue import DATASETS, KNOWN_REVISIONS, find, names, revision_note
from dcbench.datasets.declaration import Dataset
from dcbench.datasets.places import Places

__all__ = ["DATASETS", "KNOWN_REVISIONS", "Dataset", "Places", "find", "names", "revision_note"]
