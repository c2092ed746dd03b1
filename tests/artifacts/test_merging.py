"""Other people's records and sets are taken in whole, checked, and stay told apart."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from PIL import Image

from dcbench.artifacts.merging import merge
from dcbench.records import find_records, write_record
from dcbench.system.errors import DataError, StorageError
from tests.commandline import done
from tests.fixed_records import SETS, sets


def group(folder: Path) -> Path:
    """What another group has: three sets of DM with pictures, and files of their own."""
    for stored in sets("dm", SETS["dm"]):
        made = folder / "cifar10" / "ipc10" / "dm" / "quick-abc" / f"seed{stored.record.seed}"
        write_record(made / "evaluations" / "hash" / "record.json", stored.record)
        Image.new("RGB", (34, 34)).save(made / "images.png")
        (made / "notes.txt").write_text("ours alone", encoding="utf-8")
    return folder


def test_records_and_pictures_are_taken_and_nothing_else(tmp_path: Path) -> None:
    source, results = group(tmp_path / "lab"), tmp_path / "results"
    taken = merge(source, results)
    assert (taken.place, taken.records, taken.sets) == (results / "lab", 3, 0)
    assert {path.name for path in results.rglob("*") if path.is_file()} == {
        "record.json",
        "images.png",
    }
    found = find_records(results).records
    assert [stored.record for stored in found] == [
        own.record for own in find_records(source).records
    ]
    assert {stored.path.relative_to(results).parts[0] for stored in found} == {"lab"}


def test_nothing_is_taken_if_anything_is_damaged(tmp_path: Path) -> None:
    source, results = group(tmp_path / "lab"), tmp_path / "results"
    (broken, *_) = sorted(source.rglob("record.json"))
    whole = broken.read_text(encoding="utf-8")
    broken.write_text(whole[:100], encoding="utf-8")
    with pytest.raises(DataError, match=r"nothing was taken from .*record.json is not a readable"):
        merge(source, results)
    broken.write_text(whole, encoding="utf-8")
    (broken.parents[2] / "synthetic.pt").write_bytes(b"no set")
    with pytest.raises(DataError, match=r"nothing was taken from .*synthetic.pt"):
        merge(source, results)
    assert not results.exists()


def test_sets_below_a_folder_called_measured_are_checked_too(tmp_path: Path) -> None:
    source = tmp_path / "lab"
    measured = group(source / "measured")
    taken = merge(source, tmp_path / "results", "theirs")
    assert (taken.place / "theirs").is_dir()
    (broken, *_) = sorted(measured.rglob("record.json"))
    (broken.parents[2] / "synthetic.pt").write_bytes(b"no set")
    with pytest.raises(DataError, match=r"nothing was taken from .*synthetic.pt"):
        merge(source, tmp_path / "results", "again")


def test_another_set_with_the_same_settings_and_seed_is_not_hidden_in_silence(
    tmp_path: Path,
) -> None:
    for whose, content in (("ours", "a"), ("theirs", "b")):
        for stored in sets("dm", SETS["dm"], content=content):
            write_record(tmp_path / whose / str(stored.record.seed) / "record.json", stored.record)
    found = find_records(tmp_path)
    assert (len(found.records), len(found.hidden)) == (3, 3)
    (warning,) = found.warnings
    assert warning.startswith("not shown: 3 of another set with the settings and seed of one")
    assert not find_records(tmp_path / "ours").warnings


def test_a_set_that_its_records_are_not_of_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @dataclasses.dataclass
    class Read:
        sha256: str

    monkeypatch.setattr("dcbench.artifacts.merging.read_artifact", lambda _path: Read("another"))
    source = group(tmp_path / "lab")
    (source / "cifar10" / "ipc10" / "dm" / "quick-abc" / "seed0" / "synthetic.pt").touch()
    with pytest.raises(DataError, match="another set than its records are of"):
        merge(source, tmp_path / "results")


def test_nobody_passes_for_the_project_and_nothing_is_overwritten(tmp_path: Path) -> None:
    results = tmp_path / "results"
    source = group(tmp_path / "lab" / "measured")
    with pytest.raises(DataError, match="--name WHOSE"):
        merge(source, results)
    merge(source.parent, results)
    assert {stored.origin for stored in find_records(results).records} == {"yours"}
    with pytest.raises(StorageError, match="already exists"):
        merge(source.parent, results)
    assert merge(source, results, "other lab").place == results / "other_lab"


def test_links_are_not_followed(tmp_path: Path) -> None:
    source = group(tmp_path / "lab")
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"secret")
    picture = source / "cifar10" / "ipc10" / "dm" / "quick-abc" / "seed0" / "images.png"
    picture.unlink()
    picture.symlink_to(secret)
    merge(source, tmp_path / "results")
    assert not (tmp_path / "results" / "lab" / picture.relative_to(source)).exists()


def test_the_command_tells_what_was_taken(tmp_path: Path) -> None:
    answer = done("merge", group(tmp_path / "lab"), "--results", tmp_path / "results", "--json")
    (merged,) = answer.json["merged"]
    assert (merged["records"], merged["place"]) == (3, str(tmp_path / "results" / "lab"))
    assert "3 records" in answer.err
