"""kill -9 at any moment costs time and nothing else."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from tests.faults.victims import (
    COMMAND,
    STEPS,
    accuracies,
    artifact_of,
    finish,
    left_over,
    lines,
    start,
    steps_done,
    wait_until,
)
from tests.forked import Forked

pytestmark = pytest.mark.slow
OFTEN = "tests.faults.driver"


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, list[float]]:
    """The artifact and the accuracies of a run that nobody stops."""
    out = tmp_path_factory.mktemp("undisturbed")
    said, _ = finish(start(*COMMAND, "--out", out, "--json"))
    return artifact_of(out), accuracies(said)


def kill(process: Forked) -> None:
    process.kill()
    process.communicate()


def test_killed_again_and_again(tmp_path: Path, undisturbed: tuple[bytes, list[float]]) -> None:
    moments = random.Random(0)
    done = [0]
    for _ in range(3):  # in the middle of distilling
        process = start(*COMMAND, "--out", tmp_path, driver=OFTEN)
        enough = done[-1] + moments.randint(1, STEPS // 6)
        wait_until(lambda enough=enough: steps_done(tmp_path) >= enough, process)  # type: ignore[misc]
        kill(process)
        done.append(steps_done(tmp_path))
        assert done[-1] > done[-2]  # it went on from there
    trained: list[list[float]] = []
    for _ in range(3):  # in the middle of evaluating
        process = start(*COMMAND, "--out", tmp_path)
        before = len(lines(tmp_path))
        wait_until(lambda before=before: len(lines(tmp_path)) > before, process)  # type: ignore[misc]
        time.sleep(moments.uniform(0, 0.05))
        kill(process)
        trained.append([row["seconds"] for row in lines(tmp_path)])
    said, _ = finish(start(*COMMAND, "--out", tmp_path, "--json"))
    assert artifact_of(tmp_path) == undisturbed[0]
    assert accuracies(said) == undisturbed[1]
    # none was trained twice
    assert [row["network"] for row in lines(tmp_path)] == [0, 1, 2, 3, 4, 5]
    final = [row["seconds"] for row in lines(tmp_path)]
    assert all(final[: len(some)] == some for some in trained)
    assert left_over(tmp_path) == []
