"""A full disk, wherever it strikes: one line, the old file stays, and with room again the same
command finishes.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

import dcbench.run
from tests.commandline import MMD, ask, done, rows


def fill_up(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """From now on there is no room for files whose name holds ``name``."""
    sync = os.fsync

    def fails(descriptor: int) -> None:
        if name in Path(f"/proc/self/fd/{descriptor}").readlink().name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fails)


FILES = [
    "checkpoint.pt",
    "history.csv",
    "distillation.json",
    "images.png",
    "synthetic.pt",
    "mmd.pt",
    "networks.jsonl",
    "record.json",
]


@pytest.mark.parametrize("name", FILES)
def test_no_room_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    with monkeypatch.context() as full:
        full.setattr(dcbench.run, "CHECKPOINT_SECONDS", 0.0)
        fill_up(full, name)
        answer = ask(*MMD, "--out", tmp_path)
        assert answer.code == 1
        assert answer.line.startswith("dcbench: cannot ")
        assert name in answer.line
        assert "No space left on device" in answer.line
        assert "unchanged" in answer.line
    if name != "networks.jsonl":  # which is appended to, and not renamed into place
        assert not list(tmp_path.rglob(name))
    answer = done(*MMD, "--out", tmp_path, "--json")
    assert [row["network"] for row in rows(tmp_path)] == [0, 1]
    assert answer.json["runs"][0]["accuracies"] == [row["accuracy"] for row in rows(tmp_path)]


@pytest.mark.parametrize("name", ["synthetic.pt", "mmd.pt", "record.json"])
def test_the_old_file_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    done(*MMD, "--out", tmp_path)
    (path,) = tmp_path.rglob(name)
    before = path.read_bytes()
    with monkeypatch.context() as full:
        fill_up(full, name)
        if name == "synthetic.pt":
            path.write_bytes(before[:100])
            before = before[:100]
        words = ("--seed", "1") if name == "mmd.pt" else ("--networks", "3")
        assert ask(*MMD, *words, "--out", tmp_path).code == 1
    assert path.read_bytes() == before
    assert not list(tmp_path.rglob(f".{name}.*"))
