"""What users see: progress, messages, tables, JSON; and how they interrupt a command."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any

import click
from rich import box
from rich.console import Console as RichConsole
from rich.measure import Measurement
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table as RichTable
from rich.text import Text

from dcbench.system.wording import printable

QUIET_SECONDS = 30.0  # seconds between two lines of progress if there is no terminal for a bar
SIGNALS = (signal.SIGINT, signal.SIGTERM)
FIRST_SHARE = 20  # the first step predicts the time left if it is at least one in so many steps
UNLIMITED = 10_000  # width of tables, if no terminal limits it
PAGE = 100  # width of running text


@dataclass(frozen=True)
class TextTable:
    """A table to print. If the terminal is too narrow, the columns in ``optional`` are left out,
    the last first.
    """

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    optional: Sequence[str] = ()
    words: int = 1  # number of columns at the left with words; the others hold numbers
    folded: bool = False  # the last column holds sentences: lines longer than a page are folded


@dataclass
class _Pace:
    """The time and step from which the pace of a work is measured, and when it was last shown. The
    first step may compile, so it predicts little.
    """

    begun: float
    first: int
    said: float
    steady: bool = False

    def time_left(self, now: float, done: int, total: int) -> str:
        """Return the time left as words to append; empty at the end, or if only the first step is
        known.
        """
        if done >= total or (not self.steady and (done - self.first) * FIRST_SHARE < total):
            return ""
        left = (now - self.begun) / (done - self.first) * (total - done)
        return f", about {left / 60:.0f} min left" if left > 90 else f", {left:.0f} s left"


class Console:
    """Progress and messages on standard error; tables on standard output, unless that is
    for JSON.
    """

    def __init__(self, as_json: bool = False) -> None:
        self.as_json = as_json
        self._errors = _console(stderr=True)
        self._output = self._errors if as_json else _console(stderr=False)
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            _TimeLeft(),
            console=self._errors,
            transient=True,
        )
        self._tasks: dict[str, TaskID] = {}
        self._paces: dict[str, _Pace] = {}
        self._whole: TaskID | None = None
        self._whole_told: float | None = None  # when progress was last shown, or first reported
        self._stop = threading.Event()
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Console:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._interrupted) for number in SIGNALS}
        if self._errors.is_terminal:
            self._bars.start()
        return self

    def __exit__(self, *_error: object) -> None:
        if self._errors.is_terminal:
            self._bars.stop()
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _interrupted(self, _signal: int, _frame: FrameType | None) -> None:
        if self._stop.is_set():
            raise KeyboardInterrupt
        self._stop.set()
        self.say(
            "stopping when this step or network is done, to keep it; once more to stop at once"
        )

    def stopping(self) -> bool:
        """Return whether the user has asked to stop."""
        return self._stop.is_set()

    def progress(self, text: str, done: int, total: int, even: bool = True) -> None:
        """Show how far a piece of work is. ``even``: its parts take about equally long, so that the
        time left can be estimated.
        """
        if self._errors.is_terminal:
            self._draw(text, done, total, even)
        else:
            self._tell(text, done, total, even)

    def overall(self, text: str, done: int, total: int) -> None:
        """Show how far the whole command is: ``done`` of ``total`` pieces have ended."""
        if self._errors.is_terminal:
            if self._whole is None:
                self._whole = self._bars.add_task("", total=total, even=False)
            self._bars.update(self._whole, description=printable(text), completed=done)
            return
        now = time.monotonic()
        self._whole_told = now if self._whole_told is None else self._whole_told
        if now - self._whole_told >= QUIET_SECONDS and done < total:
            self._whole_told = now
            self.say(text)

    def stoppable_progress(self, text: str, done: int, total: int) -> None:
        """Show the progress of work that does not check for a stop itself. Raises KeyboardInterrupt
        if the user has asked to stop.
        """
        self.progress(text, done, total)
        if self.stopping():
            raise KeyboardInterrupt

    def _draw(self, text: str, done: int, total: int, even: bool) -> None:
        if text not in self._tasks:
            self._tasks[text] = self._bars.add_task(
                printable(text), total=total, completed=done, even=even
            )
        self._bars.update(self._tasks[text], completed=done, total=total)
        if done >= total:
            self._bars.remove_task(self._tasks.pop(text))

    def _tell(self, text: str, done: int, total: int, even: bool) -> None:
        now = time.monotonic()
        pace = self._paces.setdefault(text, _Pace(now, done, said=now))
        if done > pace.first:
            if now - pace.said >= QUIET_SECONDS:
                pace.said = now
                left = pace.time_left(now, done, total) if even else ""
                self.say(f"{text}: {done} of {total}{left}")
            if not pace.steady:
                self._paces[text] = _Pace(now, done, pace.said, steady=True)
        if done >= total:
            del self._paces[text]  # the next work of this name is timed anew

    def say(self, message: str) -> None:
        """Show a message."""
        self._errors.print(printable(message), markup=False)

    def table(self, table: TextTable) -> None:
        """Print a table; to standard error if standard output is for JSON."""
        left_out: list[str] = []
        drawn = _drawn(table, left_out)
        optional = list(table.optional)
        while optional and self._width_of(drawn) > self._output.width:
            left_out.append(optional.pop())
            drawn = _drawn(table, left_out)
        self._title(table.title)
        width = min(self._output.width, PAGE) if table.folded else None
        self._lay_out(drawn, width)

    def pairs(self, title: str, rows: Iterable[tuple[str, str]]) -> None:
        """Print names with their descriptions; long lines are folded beside the name."""
        grid = RichTable(box=None, show_header=False, padding=(0, 2, 0, 0))
        grid.add_column(no_wrap=True)
        grid.add_column(overflow="fold")
        for name, text in rows:
            grid.add_row(name, printable(text))
        self._title(title)
        self._lay_out(grid, min(self._output.width, PAGE))
        self._output.print()

    def _lay_out(self, drawn: RichTable, width: int | None) -> None:
        with self._output.capture() as captured:
            self._output.print(drawn, markup=False, soft_wrap=False, width=width)
        lines = captured.get().splitlines()  # rich pads the last column with spaces
        self._output.file.write("".join(f"{line.rstrip()}\n" for line in lines))
        self._output.file.flush()

    def _title(self, title: str) -> None:
        self._output.print(printable(title), style="bold", markup=False)

    def _width_of(self, drawn: RichTable) -> int:
        unlimited = self._output.options.update(width=UNLIMITED)
        return Measurement.get(self._output, unlimited, drawn).maximum

    def result(self, value: Mapping[str, Any]) -> None:
        """Print the one JSON object, if it was asked for."""
        if self.as_json:
            click.echo(json.dumps(value, allow_nan=False, default=str))


class _TimeLeft(TimeRemainingColumn):
    """The column with the time left, for work whose parts take about equally long."""

    def render(self, task: Task) -> Text:
        return super().render(task) if task.fields["even"] else Text()


class _PipedConsole(RichConsole):
    """A console that reports a closed pipe as an error, which the command line handles."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def _console(stderr: bool) -> RichConsole:
    console = _PipedConsole(stderr=stderr, highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = UNLIMITED
    return console


def _drawn(table: TextTable, left_out: Sequence[str]) -> RichTable:
    """Draw ``table`` without the columns ``left_out``; words to the left, numbers to the right of
    their columns.
    """
    kept = [index for index, name in enumerate(table.head) if name not in left_out]
    drawn = RichTable(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    for index in kept:
        folded = table.folded and index == kept[-1]
        drawn.add_column(
            table.head[index],
            justify="left" if index < table.words else "right",
            no_wrap=not folded,
            overflow="fold" if folded else "ellipsis",
        )
    for row in table.rows:
        drawn.add_row(*(printable(row[index]) for index in kept))
    return drawn
