"""Files that are written whole or not at all, on disks that fill up and in processes that die."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dcbench.system.errors import FileFormatError, StorageError
from dcbench.system.files import (
    append_line,
    read_json,
    read_lines,
    read_tensors,
    write_bytes,
    write_json,
    write_tensors,
)

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def full_disk(*_: Any, **__: Any) -> Any:
    raise FULL


WRITERS: dict[str, Callable[[Path], None]] = {
    "bytes": lambda path: write_bytes(path, b"new"),
    "json": lambda path: write_json(path, {"new": 1}),
    "tensors": lambda path: write_tensors(path, {"new": torch.zeros(4)}),
}


@pytest.mark.parametrize("fails", ["fsync", "replace", "fdopen"])
@pytest.mark.parametrize("kind", WRITERS)
def test_on_a_full_disk_the_old_file_stays_and_nothing_else(
    kind: str, fails: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    monkeypatch.setattr(os, fails, full_disk)
    with pytest.raises(
        StorageError,
        match=f"cannot write {path}: No space left on device; what stood there before is unchanged",
    ):
        WRITERS[kind](path)
    monkeypatch.undo()
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize("kind", WRITERS)
def test_an_interruption_while_writing_leaves_the_old_file_and_nothing_else(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_descriptor: int) -> None:
        raise KeyboardInterrupt

    (tmp_path / "file").write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        WRITERS[kind](tmp_path / "file")
    monkeypatch.undo()
    assert [(entry.name, entry.read_bytes()) for entry in tmp_path.iterdir()] == [("file", b"old")]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    below = tmp_path / "file" / "deeper" / "still"
    with pytest.raises(StorageError, match=f"cannot write {below}: "):
        write_bytes(below, b"")
    with pytest.raises(StorageError, match=f"cannot append to {below}: "):
        append_line(below, {})


def test_folders_are_made_and_files_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file"
    for content in (b"first, the longer one", b"second"):
        write_bytes(path, content)
        assert path.read_bytes() == content
    assert path.stat().st_mode & 0o444 == 0o444  # others may read what mkstemp keeps to its owner


def test_json_without_nan(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"a": [1, 0.1, None, "é"]})
    assert read_json(tmp_path / "x.json") == {"a": [1, 0.1, None, "é"]}
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "x.json", {"a": float("nan")})
    assert read_json(tmp_path / "x.json") == {"a": [1, 0.1, None, "é"]}


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff\xfe", b"[" * 100_000, None])
def test_what_is_no_json_object_is_refused_by_name(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(FileFormatError, match=r"x.json"):
        read_json(path)


# -------------------------------------------------------------------------------------------------------------------
# lines


def test_lines_are_appended_in_order(tmp_path: Path) -> None:
    for index in range(3):
        append_line(tmp_path / "x.jsonl", {"index": index})
    assert read_lines(tmp_path / "x.jsonl") == [{"index": 0}, {"index": 1}, {"index": 2}]
    assert read_lines(tmp_path / "missing.jsonl") == []


rows = st.lists(
    st.dictionaries(
        st.text(max_size=5), st.one_of(st.integers(), st.text(), st.none()), max_size=3
    ),
    min_size=1,
    max_size=4,
)


@given(rows, st.data())
def test_wherever_a_crash_cuts_the_last_line_the_others_are_read_and_the_next_is_added(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]], data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("lines") / "x.jsonl"
    for row in rows:
        append_line(path, row)
    whole = path.read_bytes()
    last = len(json.dumps(rows[-1])) + 1
    cut = data.draw(st.integers(1, last), "bytes lost")
    path.write_bytes(whole[: len(whole) - cut])
    kept = rows if cut == 1 else rows[:-1]  # only the end of the line was lost
    assert read_lines(path) == kept
    append_line(path, {"next": 1})
    assert read_lines(path) == [*kept, {"next": 1}]


def test_a_line_that_does_not_fit_on_the_disk_spoils_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.jsonl"
    append_line(path, {"index": 0})
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(StorageError, match="No space left on device; earlier lines are unchanged"):
        append_line(path, {"index": 1})
    monkeypatch.undo()
    append_line(path, {"index": 2})
    assert read_lines(path)[0] == {"index": 0}
    assert read_lines(path)[-1] == {"index": 2}


# -----------------------------------------------------------------------------------------------------------------
# tensors


def test_tensors_and_plain_values_survive(tmp_path: Path) -> None:
    value = {
        "a": torch.arange(6).view(2, 3),
        "b": {"c": [1, 2.5, None, True, "x"], "d": torch.tensor(0.5)},
        "e": (),
    }
    write_tensors(tmp_path / "x.pt", value)
    read = read_tensors(tmp_path / "x.pt")
    assert torch.equal(read["a"], value["a"])  # type: ignore[arg-type]
    assert (read["b"]["c"], float(read["b"]["d"]), read["e"]) == (
        [1, 2.5, None, True, "x"],
        0.5,
        (),
    )


def test_the_same_value_gives_the_same_bytes_whatever_the_name(tmp_path: Path) -> None:
    for name in ("short.pt", "a much longer name.bin"):
        write_tensors(tmp_path / name, {"a": torch.ones(3), "b": "x"})
    assert (tmp_path / "short.pt").read_bytes() == (
        tmp_path / "a much longer name.bin"
    ).read_bytes()


def test_equal_words_give_the_same_bytes_whether_or_not_they_are_one_object(tmp_path: Path) -> None:
    """A pickle refers back to an object that it has seen: what is equal, but read from two places,
    must not differ.
    """
    word = "".join(["dig", "its"])
    write_tensors(tmp_path / "one.pt", {"a": word, "b": {"c": word}})
    write_tensors(tmp_path / "two.pt", {"a": word, "b": {"c": "".join(["di", "gits"])}})
    assert (tmp_path / "one.pt").read_bytes() == (tmp_path / "two.pt").read_bytes()


def test_a_flipped_bit_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    write_tensors(path, {"a": torch.full((64,), 0.5)})
    content = bytearray(path.read_bytes())
    place = content.index(torch.full((64,), 0.5).numpy().tobytes())
    content[place + 9] ^= 0x10
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match=r"x.pt is damaged"):
        read_tensors(path)
