"""Files and terminals that are not ours: what is written where, with which rights and characters."""

from __future__ import annotations

import io
import os
import pwd
import stat
import sys
from pathlib import Path

import pandas as pd
import pytest

from dcbench.cli import main
from dcbench.cli.options import places
from dcbench.datasets.catalogue import find
from dcbench.datasets.mapped import write_images
from dcbench.report.selection.dataframes import as_csv
from dcbench.system import files
from dcbench.system.errors import StorageError
from dcbench.system.files import append_line, remove_unfinished, write_bytes
from dcbench.system.progress import silent
from dcbench.system.wording import printable
from tests.commandline import CACHE, RANDOM, ask, done, rows


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_files_obey_the_umask(mask: int, mode: int, tmp_path: Path) -> None:
    before = os.umask(mask)
    files._umask.cache_clear()
    try:
        write_bytes(tmp_path / "whole", b"content")
        append_line(tmp_path / "lines", {"row": 1})
    finally:
        os.umask(before)
        files._umask.cache_clear()
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("whole", "lines")}
    assert modes == {mode}


def test_hidden_files_and_folders_beside_a_set_stay(tmp_path: Path) -> None:
    (tmp_path / ".notes.txt").write_text("mine", encoding="utf-8")
    (tmp_path / ".git.d").mkdir()
    (tmp_path / f".folder{files.UNFINISHED}").mkdir()
    (tmp_path / f".synthetic.pt.x1{files.UNFINISHED}").write_bytes(b"half")
    remove_unfinished(tmp_path)
    left = {".notes.txt", ".git.d", f".folder{files.UNFINISHED}"}
    assert {path.name for path in tmp_path.iterdir()} == left


def test_a_run_leaves_hidden_files_in_its_folder_alone(tmp_path: Path) -> None:
    done(*RANDOM, "--out", tmp_path)
    folder = next(tmp_path.rglob("synthetic.pt")).parent
    (folder / ".notes.txt").write_text("mine", encoding="utf-8")
    (folder / ".cache.d").mkdir()
    done(*RANDOM, "--out", tmp_path, "--no-resume")
    assert (folder / ".notes.txt").read_text(encoding="utf-8") == "mine"
    assert (folder / ".cache.d").is_dir()


def test_lines_are_not_appended_through_a_link(tmp_path: Path) -> None:
    victim, link = tmp_path / "victim", tmp_path / "networks.jsonl"
    victim.write_text("mine", encoding="utf-8")
    link.symlink_to(victim)
    with pytest.raises(StorageError, match=r"networks\.jsonl"):
        append_line(link, {"row": 1})
    assert victim.read_text(encoding="utf-8") == "mine"


def test_a_run_writes_no_row_through_a_link(tmp_path: Path) -> None:
    done(*RANDOM, "--out", tmp_path / "out")
    (path,) = (tmp_path / "out").rglob("networks.jsonl")
    victim = tmp_path / "victim"
    path.replace(victim)
    path.symlink_to(victim)
    before = victim.read_bytes()
    answer = ask(*RANDOM, "--networks", "3", "--out", tmp_path / "out")
    assert answer.code == 1
    assert "networks.jsonl" in answer.line
    assert victim.read_bytes() == before


def test_a_half_made_cache_is_not_written_through_a_link(tmp_path: Path) -> None:
    victim, target = tmp_path / "victim", tmp_path / "train-images.npy"
    victim.write_bytes(b"mine")
    target.with_name(f"{target.name}.partial").symlink_to(victim)
    with pytest.raises((StorageError, OSError)):
        write_images(target, [tmp_path / "absent.png"], find("cifar10"), (silent, "decoding"))
    assert victim.read_bytes() == b"mine"


def test_show_replaces_no_picture_of_others(tmp_path: Path) -> None:
    done(*RANDOM, "--out", tmp_path)
    mine = tmp_path / "random.png"
    mine.write_bytes(b"a drawing")
    answer = ask("show", tmp_path / "random.pt")
    assert answer.code == 1
    assert "--out" in answer.line
    assert mine.read_bytes() == b"a drawing"
    mine.unlink()
    done("show", tmp_path / "random.pt")
    done("show", tmp_path / "random.pt")  # its own picture is drawn anew


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "\ufffd[31mred\ufffd[0m"),
        ("abc\u202egnp.exe", "abc\ufffdgnp.exe"),
        ("zero\u200bwidth\x00\x7f\x9b", "zero\ufffdwidth\ufffd\ufffd\ufffd"),
        ("two\nlines\tand λ ×", "two\nlines\tand λ ×"),
    ],
)
def test_control_characters_do_not_reach_a_terminal(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_names_from_files_are_shown_without_control_characters(tmp_path: Path) -> None:
    from dcbench.artifacts.artifact import read_artifact, write_artifact

    done(*RANDOM, "--out", tmp_path)
    artifact = read_artifact(tmp_path / "random.pt")
    hostile = {**artifact.provenance, "method": "\x1b]0;title\x07\u202e", "preset": "a\rb"}
    write_artifact(tmp_path / "hostile.pt", artifact.synthetic, hostile)
    shown = done("show", tmp_path / "hostile.pt")
    judged = done("evaluate", tmp_path / "hostile.pt", *RANDOM[3:], "--out", tmp_path)
    for answer in (shown, judged):
        said = answer.out + answer.err
        assert not set(said) & {"\x1b", "\x07", "\u202e", "\r"}


@pytest.mark.parametrize("text", ["=HYPERLINK(1)", "+1", "-1", "@SUM(1)", "\tx"])
def test_no_cell_of_a_spreadsheet_begins_like_a_formula(text: str) -> None:
    frame = pd.DataFrame({"method": [text, "dm"], "mean": [-0.5, 0.5], "none": [None, None]})
    lines = as_csv(frame).splitlines()
    assert lines[0] == "method,mean,none"
    assert lines[1].removeprefix('"').startswith(f"'{text[0]}")
    assert lines[2] == "dm,0.5,"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_poor_encoding_of_the_terminal_is_no_failure(
    encoding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with PYTHONIOENCODING, which makes Python's own streams like these."""
    monkeypatch.setenv("DCBENCH_CACHE", CACHE)
    said = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(said, encoding))
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(io.BytesIO(), encoding))
    with pytest.raises(SystemExit) as ended:
        main([*RANDOM, "--out", str(tmp_path)])
    assert ended.value.code == 0
    sys.stdout.flush()
    assert b"random" in said.getvalue()
    assert len(rows(tmp_path)) == 2


@pytest.mark.parametrize("words", [("list",), ("list", "--json")])
def test_a_reader_that_has_enough_is_no_failure(
    words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As ``head`` and pagers are, and whatever ends before the last line is read."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w", encoding="utf-8") as output:
        monkeypatch.setattr(sys, "stdout", output)
        with pytest.raises(SystemExit) as ended:
            main(words)
        monkeypatch.undo()
    assert ended.value.code == 0


def test_a_cache_that_may_not_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    monkeypatch.setattr("tests.commandline.CACHE", str(tmp_path / "file" / "below"))
    answer = ask(*RANDOM, "--out", tmp_path / "out")
    assert answer.code == 1
    assert f"cannot write {tmp_path / 'file' / 'below'}" in answer.line


def test_a_lock_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine", encoding="utf-8")
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / ".lock").symlink_to(victim)
    with pytest.raises(StorageError), files.locked(tmp_path / "set"):
        pass
    assert victim.read_text(encoding="utf-8") == "mine"


def test_a_copy_that_is_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    victim, link = tmp_path / "victim", tmp_path / "out" / "random.pt"
    victim.write_text("mine", encoding="utf-8")
    link.parent.mkdir()
    link.symlink_to(victim)
    done(*RANDOM, "--out", tmp_path / "out")
    assert victim.read_text(encoding="utf-8") == "mine"
    assert not link.is_symlink()


def test_without_a_home_the_cache_is_asked_for_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(_uid: int) -> None:
        raise KeyError("uid not found")

    for name in ("HOME", "XDG_CACHE_HOME", "DCBENCH_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    with pytest.raises(StorageError, match="DCBENCH_CACHE=FOLDER"):
        places(None)
    monkeypatch.setenv("DCBENCH_CACHE", str(tmp_path))
    assert places(None).cache_root == tmp_path
