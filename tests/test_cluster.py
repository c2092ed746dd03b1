"""Jobs are begun as long as there are any; where Ray is not, one is told how to get it."""

from __future__ import annotations

import importlib.util
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dcbench.executor import Job, Site, Steps
from tests.commandline import ask

INSTALLED = importlib.util.find_spec("ray") is not None
ray = pytest.mark.skipif(not INSTALLED, reason="Ray is not installed: pip install -e '.[ray]'")


@ray
@pytest.mark.usefixtures("unchecked")
def test_jobs_that_have_nothing_left_to_do_make_room_for_the_next() -> None:
    """More of them than are begun at once, two of them in one place."""
    from dcbench.cluster import _Floor

    def finished(number: int) -> Steps[int]:
        yield from ()
        return number

    jobs = [Job(str(number), Path(str(number % 4)), partial(finished, number)) for number in range(5)]
    floor: Any = _Floor(SimpleNamespace(slots=1), iter(jobs), Site())  # type: ignore[arg-type]
    assert sorted(ended.result for ended in floor.work()) == [0, 1, 2, 3, 4]


def test_without_ray_one_is_told_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    answer = ask("run", "--method", "random", "--executor", "ray", "--out", tmp_path)
    assert answer.code == 1
    assert answer.line == "dcbench: --executor ray needs Ray, which is not installed: pip install dcbench-distillation[ray]"
