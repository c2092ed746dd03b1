"""A progress bar on standard error, in a terminal as in a notebook."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from dcbench.system.progress import Progress, silent

WIDTH = 30  # signs
_log = logging.getLogger("dcbench")


@contextmanager
def told(progress: Progress | bool | None) -> Iterator[tuple[Progress, Callable[[str], None]]]:
    """Yield the functions that take progress and messages: of a bar if ``progress`` is True, which
    is removed at the end; else ``progress`` and dcbench's log.
    """
    if progress is not True:
        yield progress or silent, _log.info
        return
    bar = Bar()
    try:
        yield bar.draw, bar.say
    finally:
        bar.clear()


class Bar:
    """One line that is drawn anew."""

    def __init__(self) -> None:
        self.width, self.drawn = 0, 0.0

    def draw(self, text: str, done: int, total: int) -> None:
        """Draw it, at most ten times a second."""
        if done < total and time.monotonic() - self.drawn < 0.1:
            return
        self.drawn = time.monotonic()
        full = WIDTH * done // max(total, 1)
        line = f"{text} [{'#' * full}{'.' * (WIDTH - full)}] {done}/{total}"
        sys.stderr.write("\r" + line.ljust(self.width))
        sys.stderr.flush()
        self.width = len(line)

    def say(self, message: str) -> None:
        """Write a line above it."""
        self.clear()
        sys.stderr.write(f"{message}\n")

    def clear(self) -> None:
        """Remove it."""
        if self.width:
            sys.stderr.write("\r" + " " * self.width + "\r")
            sys.stderr.flush()
            self.width = 0
