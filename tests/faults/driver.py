"""The command line with a checkpoint after every step, run as ``python -m tests.faults.driver``:
one may be killed anywhere.
"""

from __future__ import annotations

import sys

import dcbench.run
from dcbench.cli import main

if __name__ == "__main__":
    dcbench.run.CHECKPOINT_SECONDS = 0.0
    main(sys.argv[1:])
