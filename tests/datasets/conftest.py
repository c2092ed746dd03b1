"""Data sets here are small copies."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def small_copies(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The copies here have a few images of each class, which is another matter where they must be
    complete.
    """
    if "must_be_complete" not in request.node.name:
        monkeypatch.setattr("dcbench.datasets.loading.require_complete", lambda *_: None)
