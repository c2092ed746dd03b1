"""The command line with a checkpoint after every step, run as ``python -m tests.faults.driver``:
one may be killed anywhere.
"""

from __future__ import annotations

import functools
import sys

import dcbench.experiments.context
from dcbench.cli import main

if __name__ == "__main__":
    often = functools.partial(dcbench.experiments.context.Workshop, checkpoint_seconds=0.0)
    dcbench.experiments.context.Workshop = often  # type: ignore[assignment,misc]
    main(sys.argv[1:])
