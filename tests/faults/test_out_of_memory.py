"""Out of memory in a step: the run goes on with less at a time, and everybody who reads its record
is told.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from dcbench.artifacts.artifact import read_artifact
from dcbench.distiller import find
from dcbench.records import EvaluationRecord, read_record
from tests.commandline import MMD, ask, done


def narrow(monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    mmd: Any = find("mmd")
    describe = mmd.describe

    def limited(distiller: Any, images: torch.Tensor, network: Any) -> Any:
        if len(images) > room:
            raise torch.OutOfMemoryError("Tried to allocate 2.00 GiB")
        return describe(distiller, images, network)

    monkeypatch.setattr(mmd, "describe", limited)


def test_it_stands_in_artifact_record_and_on_the_screen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        narrow(patch, 300)  # two classes of real images
        answer = done(*MMD, "--out", tmp_path, "--json")
    assert "out of memory in step 1: went on with" in answer.err
    artifact = read_artifact(tmp_path / "mmd.pt")
    assert artifact.provenance["warnings"]
    record = read_record(Path(answer.json["runs"][0]["record"]))
    assert isinstance(record, EvaluationRecord)
    assert list(record.warnings) == artifact.provenance["warnings"]
    # it is finished, and is not made again where there is room
    again = done(*MMD, "--out", tmp_path, "--json")
    assert again.json == answer.json


def test_where_nothing_can_be_cut_it_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    narrow(monkeypatch, 0)
    answer = ask(*MMD, "--out", tmp_path)
    assert answer.code == 1
    assert answer.line.startswith(
        "dcbench: out of memory in step 1 with one real image at a time and 1 synthetic one of a class (Tried to allocate 2.00 GiB); "
        "choose a smaller --ipc"
    )
    assert not list(tmp_path.rglob("*.pt"))


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        torch.OutOfMemoryError("CUDA out of memory"),
    ],
    ids=["Python's", "the processor's", "CUDA's"],
)
def test_anywhere_else_it_is_one_line_and_what_is_done_is_kept(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr("dcbench.training.trainer.Trainer._epoch", full)
        answer = ask(*MMD, "--out", tmp_path)
    assert answer.code == 1
    assert answer.line.startswith("dcbench: out of memory (")
    assert "smaller --ipc or batch" in answer.line
    assert list(tmp_path.rglob("synthetic.pt"))
    done(*MMD, "--out", tmp_path)
