"""Progress: how work reports how far it is."""

from __future__ import annotations

from collections.abc import Callable

# what is being done, how much of it is done, how much there is
Progress = Callable[[str, int, int], None]


def silent(text: str, done: int, total: int) -> None:
    """A progress that reports to nobody."""


def unheard(message: str) -> None:
    """A say that tells nobody."""


def never() -> bool:
    """A stop that is never asked for."""
    return False
