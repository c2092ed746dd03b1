"""Two processes at once in one folder share the work and do no harm."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.victims import COMMAND, accuracies, finish, left_over, lines, start

pytestmark = pytest.mark.slow


def test_the_same_command_twice_at_once(tmp_path: Path) -> None:
    longer = (*COMMAND, "--epochs", "150")  # than a second, after which one says that it waits
    both = [start(*longer, "--out", tmp_path, "--json") for _ in range(2)]
    (first, one), (second, other) = [finish(process) for process in both]
    assert accuracies(first) == accuracies(second)
    assert [row["network"] for row in lines(tmp_path)] == [0, 1, 2, 3, 4, 5]
    assert "waiting for another process that is at work in" in one + other
    assert left_over(tmp_path) == []
