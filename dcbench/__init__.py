"""dcbench: dataset-distillation methods compared under one protocol.

Importing this package imports nothing else, neither torch nor the command line: its names are
looked up when they are used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dcbench.api import (
        check,
        distill,
        evaluate,
        load_dataset,
        read_results,
        read_set,
        search,
        show,
        write_report,
        write_set,
    )
    from dcbench.artifacts.artifact import Artifact
    from dcbench.distiller import Distiller, register
    from dcbench.images import ImageSpec, Space, SyntheticSet, TrainSet
    from dcbench.interface.results import ArchitectureRanking, ArchitectureRankings, Evaluation
    from dcbench.run import Run
    from dcbench.system.errors import DcbenchError

__version__ = "0.1.0"
__distribution__ = "dcbench-distillation"  # another project's package is called dcbench too

_HOMES = {  # of the names that are looked up
    "dcbench.api": (
        *("check", "distill", "evaluate", "load_dataset"),
        *("read_results", "read_set", "search", "show", "write_report", "write_set"),
    ),
    "dcbench.artifacts.artifact": ("Artifact",),
    "dcbench.distiller": ("Distiller", "register"),
    "dcbench.images": ("ImageSpec", "Space", "SyntheticSet", "TrainSet"),
    "dcbench.interface.results": ("ArchitectureRanking", "ArchitectureRankings", "Evaluation"),
    "dcbench.run": ("Run",),
    "dcbench.system.errors": ("DcbenchError",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "ArchitectureRanking",
    "ArchitectureRankings",
    "Artifact",
    "DcbenchError",
    "Distiller",
    "Evaluation",
    "ImageSpec",
    "Run",
    "Space",
    "SyntheticSet",
    "TrainSet",
    "check",
    "distill",
    "evaluate",
    "load_dataset",
    "read_results",
    "read_set",
    "register",
    "search",
    "show",
    "write_report",
    "write_set",
]


def __getattr__(name: str) -> Any:
    """A public name, imported when it is first used."""
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
