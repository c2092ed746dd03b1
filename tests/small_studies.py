"""Studies on digits that take seconds, one of each kind; run as a program, the command line that
knows them.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

import dcbench.run
from dcbench.cli import main
from dcbench.evaluation.protocol import PROTOCOLS
from dcbench.studies.declarations import STUDIES, Embedding, Plan, PlannedSearch, Study, StudyPart

STEPS = 40
SHORT = PROTOCOLS["quick"].with_options(None, 10, None)
FIELDS = {"iterations": str(STEPS), "real_batch": "8", "init": "noise"}


def _study(name: str, plan: Plan) -> Study:
    return Study(name, f"a small {name}", ("mmd",), "digits", (1,), plans={"quick": plan})


SMALL: Mapping[str, Study] = {
    "small-trace": _study(
        "small-trace",
        Plan((StudyPart(("mmd",), (1,), (0,), FIELDS),), 2, trace=(0, 5, STEPS), dataset="digits"),
    ),
    "small-ablation": _study(
        "small-ablation",
        Plan(
            tuple(
                StudyPart(("mmd",), (1,), (0,), {**FIELDS, "lr": lr}, augments=("none",))
                for lr in ("0.1", "0.2")
            ),
            1,
            dataset="digits",
        ),
    ),
    "small-embedding": _study(
        "small-embedding",
        Plan(
            (StudyPart(("random", "mmd"), (2,), (0,)),),
            embedding=Embedding("convnet", 10, 500, 6),
            dataset="digits",
        ),
    ),
    "small-search": _study(
        "small-search",
        Plan(
            (StudyPart(("random",), (1,)),),
            search=PlannedSearch("convnet720", ("random", "early-stopping"), 100, sample=2),
            dataset="digits",
        ),
    ),
}

if __name__ == "__main__":
    STUDIES.update(SMALL)  # type: ignore[attr-defined]
    dcbench.run.CHECKPOINT_SECONDS = 0.0
    PROTOCOLS["quick"] = SHORT
    main(sys.argv[1:])
