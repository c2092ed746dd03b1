"""The lowest version that pyproject.toml allows of each dependency, as constraints for pip.

torch and torchvision are left out: their lowest releases take gigabytes for what the others show.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

APART = frozenset({"torch", "torchvision"})
_LEAST = re.compile(r"([A-Za-z0-9._-]+)>=([0-9.]+)")


def lowest(pyproject: Path) -> Iterator[str]:
    """``name==version`` of every dependency with a least version, those of extras too."""
    project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"].values()
    for wanted in [*project["dependencies"], *(each for extra in extras for each in extra)]:
        least = _LEAST.fullmatch(wanted)
        if least and least[1] not in APART:
            yield f"{least[1]}=={least[2]}"


if __name__ == "__main__":
    sys.stdout.write("\n".join(lowest(Path("pyproject.toml"))) + "\n")
