"""Progress: the functions through which work reports how far it is, speaks, and is stopped."""

from __future__ import annotations

from collections.abc import Callable

# the work in words, how much of it is done, how much there is
Progress = Callable[[str, int, int], None]


def silent(text: str, done: int, total: int) -> None:
    """A progress function that reports nothing."""


def unheard(message: str) -> None:
    """A message function that shows nothing."""


def never() -> bool:
    """A stop function: the work is never asked to stop."""
    return False
