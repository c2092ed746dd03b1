"""Damaged results are found, said, and made again; a timing that is lost is no reason to make a
good set again.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from dcbench.records import read_record
from tests.commandline import MMD, Answer, done, rows


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Answer]:
    out = tmp_path_factory.mktemp("damaged") / "out"
    return out, done(*MMD, "--out", out, "--json")


@pytest.fixture
def out(kept: tuple[Path, Answer], tmp_path: Path) -> Path:
    shutil.copytree(kept[0], tmp_path / "out")
    return tmp_path / "out"


def accuracies(answer: Answer) -> list[float]:
    (run,) = answer.json["runs"]
    found: list[float] = run["accuracies"]
    return found


def truncate(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])


def flip(path: Path, near: bytes) -> None:
    """Flip a bit of the byte that follows ``near``."""
    content = bytearray(path.read_bytes())
    content[content.index(near) + len(near)] ^= 1
    path.write_bytes(content)


def only(out: Path, name: str) -> Path:
    (path,) = out.glob(f"digits/**/{name}")
    return path


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "of another seed"])
def test_a_damaged_set_is_made_again(out: Path, kept: tuple[Path, Answer], damage: str) -> None:
    path = only(out, "synthetic.pt")
    whole, trained = path.read_bytes(), rows(out)
    if damage == "truncated":
        truncate(path)
    elif damage == "flipped":
        flip(path, b"random")
    elif damage == "empty":
        path.write_bytes(b"")
    else:
        done(*MMD, "--seed", "1", "--out", out.parent / "other")
        shutil.copy(only(out.parent / "other", "synthetic.pt"), path)
    answer = done(*MMD, "--out", out, "--json")
    assert "made again" in answer.err
    assert path.read_bytes() == whole
    assert accuracies(answer) == accuracies(kept[1])
    assert rows(out) == trained  # the networks were trained on these very bits


@pytest.mark.parametrize(
    "damage", [b'"accuracy": 0.', b'"artifact": "', b'"device_name', b'"check', b"}", b""]
)
def test_a_damaged_line_is_trained_again(
    out: Path, kept: tuple[Path, Answer], damage: bytes
) -> None:
    path = only(out, "networks.jsonl")
    before = rows(out)
    if damage:
        flip(path, damage)
    else:
        path.write_bytes(path.read_bytes()[:-20])
    answer = done(*MMD, "--out", out, "--json")
    assert accuracies(answer) == accuracies(kept[1])
    assert len(read_record(only(out, "record.json")).to_json()["networks"]) == 2
    last = path.read_text(encoding="utf-8").splitlines()[-1]
    kept_line = before[0 if not damage else 1]
    assert json.loads(last)["network"] != kept_line["network"] or json.loads(last) == kept_line


@pytest.mark.parametrize("name", ["record.json", "history.csv", "images.png", "distillation.json"])
def test_other_damaged_files_cost_nothing(out: Path, kept: tuple[Path, Answer], name: str) -> None:
    written = only(out, "synthetic.pt").stat().st_mtime_ns
    trained = rows(out)
    truncate(only(out, name))
    answer = done(*MMD, "--out", out, "--json")
    assert accuracies(answer) == accuracies(kept[1])
    assert only(out, "synthetic.pt").stat().st_mtime_ns == written
    assert rows(out) == trained
    record = read_record(only(out, "record.json")).to_json()
    if name == "distillation.json":
        assert record["distillation"] is None
        assert "the cost of making the set is no longer known" in answer.err
        assert answer.json["runs"][0]["distill_seconds"] is None
    else:
        assert record["distillation"]["distill_seconds"] > 0


def test_a_damaged_checkpoint_costs_its_steps(tmp_path: Path, kept: tuple[Path, Answer]) -> None:
    folder = only(kept[0], "synthetic.pt").parent.relative_to(kept[0])
    (tmp_path / folder).mkdir(parents=True)
    (tmp_path / folder / "checkpoint.pt").write_bytes(b"PK not a checkpoint")
    (tmp_path / folder / ".synthetic.pt.unfinished").write_bytes(b"half of it")
    answer = done(*MMD, "--out", tmp_path, "--json")
    assert accuracies(answer) == accuracies(kept[1])
    assert (tmp_path / folder / "synthetic.pt").read_bytes() == only(
        kept[0], "synthetic.pt"
    ).read_bytes()
    assert not (tmp_path / folder / "checkpoint.pt").exists()
    assert not (tmp_path / folder / ".synthetic.pt.unfinished").exists()
