"""Real data: where it is looked for, how it is decoded, cached and normalised.

This package and its catalogue import neither torch nor any decoder; the loader is in
``dcbench.datasets.loading``.
"""

from dcbench.datasets.catalogue import DATASETS, KNOWN_REVISIONS, find, names, revision_note
from dcbench.datasets.declaration import Dataset
from dcbench.datasets.places import Places

__all__ = ["DATASETS", "KNOWN_REVISIONS", "Dataset", "Places", "find", "names", "revision_note"]
