"""How the benchmarks time: the plain transcription works in a process of its own, and its end is
not taken for a fast round.
"""

from __future__ import annotations

import pytest

from benchmarks.timing import alternating, elsewhere

pytestmark = pytest.mark.slow


def test_a_contender_elsewhere_does_the_work_each_time_it_is_asked() -> None:
    with elsewhere("plain-epoch", "10") as epoch:
        figures = alternating({"plain": epoch, "nothing": lambda: None}, repeats=3)
    assert figures["plain"]["least"] > 10 * figures["nothing"]["most"]


def test_a_contender_that_ends_is_an_error() -> None:
    with elsewhere("plain-epoch", "none") as epoch, pytest.raises((RuntimeError, BrokenPipeError)):
        epoch()
