"""A clock that goes backwards: times of day decide nothing, so nothing is lost, and no duration is
negative.
"""

from __future__ import annotations

import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.commandline import MMD, done, rows


class Backwards(datetime):
    """Each look at the clock is an hour earlier than the one before."""

    looks = 0

    @classmethod
    def now(cls, tz: object = None) -> Backwards:
        cls.looks += 1
        return cls.fromtimestamp(1_700_000_000 - 3600 * cls.looks, UTC)


def test_the_time_of_day_going_backwards_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = done(*MMD, "--networks", "3", "--out", tmp_path / "usual", "--json").json["runs"][0]
    looks = iter(range(10**9, 0, -3600))
    monkeypatch.setattr(time, "time", lambda: float(next(looks)))
    for module in [
        module
        for name, module in sys.modules.items()
        if name.startswith("dcbench.") and hasattr(module, "datetime")
    ]:
        monkeypatch.setattr(module, "datetime", Backwards)
    out = tmp_path / "backwards"
    done(*MMD, "--networks", "2", "--out", out)
    later = done(*MMD, "--networks", "3", "--out", out, "--json").json["runs"][0]
    assert later["accuracies"] == whole["accuracies"]
    assert [row["network"] for row in rows(out)] == [0, 1, 2]
    assert all(row["seconds"] > 0 for row in rows(out))
    assert later["distill_seconds"] > 0
    assert Backwards.looks > 1


def test_files_from_the_future_are_read_all_the_same(tmp_path: Path) -> None:
    first = done(*MMD, "--out", tmp_path, "--json").json
    for path in tmp_path.rglob("*"):
        os.utime(path, (4e9, 4e9))
    assert done(*MMD, "--out", tmp_path, "--json").json == first
