"""How the benchmarks time, and what they print into pages: the plain transcription works in a process of its own, and its end is
not taken for a fast round.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import presets
from benchmarks.timing import alternating, elsewhere


@pytest.mark.slow
def test_a_contender_elsewhere_does_the_work_each_time_it_is_asked() -> None:
    with elsewhere("plain-epoch", "10") as epoch:
        figures = alternating({"plain": epoch, "nothing": lambda: None}, repeats=3)
    assert figures["plain"]["least"] > 10 * figures["nothing"]["most"]


@pytest.mark.slow
def test_a_contender_that_ends_is_an_error() -> None:
    with elsewhere("plain-epoch", "none") as epoch, pytest.raises((RuntimeError, BrokenPipeError)):
        epoch()


def test_the_page_of_presets_says_what_the_code_says() -> None:
    page = (Path(__file__).parents[1] / "docs" / "presets.md").read_text(encoding="utf-8")
    for table in (presets.preset_table(), presets.mtt_table(), presets.judging_table()):
        assert "\n".join(table) in page, "run python -m benchmarks.presets"
