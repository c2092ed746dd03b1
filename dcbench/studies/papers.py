"""The papers of the project's methods as BibTeX entries."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files


@cache
def papers() -> Mapping[str, str]:
    """Return all BibTeX entries by the key that a method's ``paper`` names."""
    text = files("dcbench.studies").joinpath("papers.bib").read_text(encoding="utf-8")
    entries = [entry.strip() for entry in re.split(r"\n(?=@)", text)]
    return {re.findall(r"@\w+\{([^,]+),", entry)[0]: entry for entry in entries}


def bibtex(keys: Iterable[str | None]) -> str:
    """Return the known ones of these entries, by key."""
    known = papers()
    return "\n".join(known[key] for key in sorted(filter(None, keys)) if key in known)
