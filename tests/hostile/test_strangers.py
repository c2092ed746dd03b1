"""Files from strangers are refused with one line: nothing is executed, memory is bounded, nothing
is written elsewhere.
"""

from __future__ import annotations

import json
import math
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import EpsImagePlugin, Image

from dcbench.artifacts.artifact import read_artifact, write_artifact
from dcbench.artifacts.importers.catalogue import find_layout
from dcbench.artifacts.importers.importing import import_set
from dcbench.images import SyntheticSet
from dcbench.nas.catalogue import SPACES
from dcbench.nas.truth import read_truth
from dcbench.records import find_records, read_record
from dcbench.system.errors import DcbenchError, FileFormatError
from tests.commandline import QUICKLY, RANDOM, ROOT, ask, done, environment
from tests.hostile import corpus
from tests.hostile.corpus import RAW, SPEC, SWELLING, Executing, foreign, truth

MOST_GROWTH = 200 << 20

pytestmark = pytest.mark.usefixtures("unchecked")


def require_one_line(error: DcbenchError) -> None:
    assert "\n" not in str(error)


def refusal(read: Callable[[Path], object], path: Path) -> str:
    with pytest.raises(DcbenchError) as caught:
        read(path)
    said = str(caught.value)
    assert "\n" not in said
    assert path.name in said
    assert len(said) < 600 + len(str(path)) * 2
    return said


# -------------------------------------------------------------------------------------------------------------------
# memory


@pytest.fixture(scope="module")
def swollen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What a process of its own said to each file that swells."""
    folder = tmp_path_factory.mktemp("swelling")
    for stranger in SWELLING:
        stranger.make(folder / f"{stranger.name}{stranger.suffix}")
    words = [sys.executable, "-m", "tests.hostile.swelling", str(folder)]
    ran = subprocess.run(
        words, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False, timeout=300
    )
    assert ran.returncode == 0, ran.stderr
    return {line["name"]: line for line in map(json.loads, ran.stdout.splitlines())}


@pytest.mark.slow
@pytest.mark.parametrize("name", [stranger.name for stranger in SWELLING])
def test_what_swells_is_refused_before_it_does(
    name: str, swollen: dict[str, dict[str, Any]]
) -> None:
    answer = swollen[name]
    assert name in answer["said"]
    assert "\n" not in answer["said"]
    assert answer["grown"] < MOST_GROWTH


# ------------------------------------------------------------------------------------------------------------------
# execution


def as_torch(path: Path, hostile: Any) -> None:
    torch.save(hostile, path)


def as_pickle(path: Path, hostile: Any) -> None:
    path.write_bytes(pickle.dumps(hostile))


LAYOUTS = ("dc", "dm", "datadam", "mtt", "idc")


@pytest.mark.parametrize("write", [as_torch, as_pickle])
@pytest.mark.parametrize("reader", ["artifact", *LAYOUTS])
def test_nothing_is_executed(
    reader: str, write: Callable[[Path, Any], None], tmp_path: Path
) -> None:
    trace, path = tmp_path / "executed", tmp_path / "images_best.pt"
    torch.save(torch.zeros(2), tmp_path / "labels_best.pt")
    write(path, {"data": [[Executing(trace), torch.zeros(2)]]})
    assert "refused unexecuted" in refusal(
        read_artifact if reader == "artifact" else foreign(reader), path
    )
    assert not trace.exists()
    corpus.read_trustingly(path)
    assert trace.exists()  # so it would have, in a reader that trusts


def test_arrays_of_objects_are_not_unpickled(tmp_path: Path) -> None:
    trace, path = tmp_path / "executed", tmp_path / "set.npz"
    corpus.pickled_npz(path, trace)
    assert "not an .npz with plain arrays" in refusal(foreign("kip"), path)
    assert not trace.exists()


@pytest.mark.parametrize(
    ("place", "value"), [(8, 1), (10, 99)], ids=["encrypted", "packed in an unknown way"]
)
def test_archives_that_zipfile_cannot_unpack(place: int, value: int, tmp_path: Path) -> None:
    """``place``: of the flags or the method of packing, in the head of the archive's first entry in its directory."""
    path = tmp_path / "set.npz"
    np.savez(path, images=np.zeros((2, 8, 8, 3), np.float32), labels=np.eye(2, dtype=np.float32))
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + place] = value
    path.write_bytes(content)
    assert "not an .npz with plain arrays" in refusal(foreign("kip"), path)


def test_a_picture_that_is_a_program_is_not_given_to_its_interpreter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostScript under the name of a PNG: Pillow would start Ghostscript, which need not be there
    for this to be seen.
    """
    started: list[object] = []

    def interpreter(*arguments: object, **_named: object) -> None:
        started.append(arguments)
        raise OSError("not started here")

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", interpreter)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "0.png").write_bytes(
            b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nquit\n"
        )
    with pytest.raises(FileFormatError, match=r"0\.png is truncated or not an image"):
        import_set(tmp_path, find_layout("folder"), SPEC, RAW)
    assert not started
    with (
        Image.open(tmp_path / "a" / "0.png") as trusted,
        pytest.raises(OSError, match="not started here"),
    ):
        trusted.load()  # so it would have been, in a reader that trusts


def test_a_picture_of_ten_billion_pixels_is_refused_by_its_head(tmp_path: Path) -> None:
    from tests.datasets.test_datasets import bomb

    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "0.png").write_bytes(bomb())
    with pytest.raises(FileFormatError, match="claims far more pixels than the 8x8"):
        import_set(tmp_path, find_layout("folder"), SPEC, RAW)


# -------------------------------------------------------------------------------------------------------
# pixels that are none


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_pixels_that_are_not_finite_are_refused_by_every_reader(
    value: float, tmp_path: Path
) -> None:
    images = torch.zeros(2, 3, 8, 8)
    images[1, 2, 7, 7] = value
    path = tmp_path / "images_best.pt"
    torch.save(corpus.artifact(images=images), path)
    assert "not finite" in refusal(read_artifact, path)
    torch.save({"data": [[images, torch.tensor([0, 1])]]}, path)
    for layout in ("dc", "dm", "datadam"):
        assert "not finite" in refusal(foreign(layout), path)
    torch.save(images, path)
    torch.save(torch.tensor([0, 1]), tmp_path / "labels_best.pt")
    assert "not finite" in refusal(foreign("mtt"), path)
    np.savez(tmp_path / "kip.npz", images=images.permute(0, 2, 3, 1).numpy(), labels=np.eye(2))
    assert "not finite" in refusal(foreign("kip"), tmp_path / "kip.npz")


# -------------------------------------------------------------------------------------------------------
# out of the folder


@pytest.mark.parametrize(
    "name",
    ["../../climbed", "/tmp/climbed", "..", "a/../../climbed", "con\x00trol", "x" * 5000],  # noqa: S108
)
def test_names_in_an_artifact_do_not_climb_out_of_the_folder(name: str, tmp_path: Path) -> None:
    inner = tmp_path / "one" / "two" / "three"
    done(*RANDOM, "--out", inner / "made")
    made = read_artifact(inner / "made" / "random.pt")
    changed = {
        **made.provenance,
        "method": name,
        "artifact_hash": name,
        "seed": name,
        "preset": name,
    }
    write_artifact(inner / "stranger.pt", made.synthetic, changed)
    before = {path for path in tmp_path.rglob("*") if not path.is_relative_to(inner / "out")}
    answer = ask("evaluate", inner / "stranger.pt", *QUICKLY, "--out", inner / "out")
    assert answer.code in (0, 1)
    assert "Traceback" not in answer.err
    assert {
        path for path in tmp_path.rglob("*") if not path.is_relative_to(inner / "out")
    } == before
    assert not Path("/tmp/climbed").exists()  # noqa: S108


def test_a_data_set_s_name_in_an_artifact_is_no_path(tmp_path: Path) -> None:
    made = SyntheticSet(
        replace(SPEC, dataset="../../climbed"), torch.zeros(2, 3, 8, 8), torch.tensor([0, 1]), RAW
    )
    write_artifact(tmp_path / "stranger.pt", made, {})
    answer = ask("evaluate", tmp_path / "stranger.pt", *QUICKLY, "--out", tmp_path / "out")
    assert answer.code == 1
    assert "../../climbed" in answer.line
    assert not list(tmp_path.parent.rglob("climbed*"))


# -------------------------------------------------------------------------------------------------------------------
# fuzzing


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("finished")
    done(*RANDOM, "--out", out)
    return out


def mutated(content: bytes, edits: list[tuple[float, bytes, int]]) -> bytes:
    """``content`` with pieces replaced: where (a share of its length), by what, and how many bytes it takes the place of."""
    for place, piece, gone in edits:
        start = int(place * len(content))
        content = content[:start] + piece + content[start + gone :]
    return content


edits = st.lists(
    st.tuples(st.floats(0, 1), st.binary(max_size=12), st.integers(0, 40)), min_size=1, max_size=4
)
fuzzing = settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])


def require_passed_over(folder: Path) -> None:
    found = find_records(folder)
    assert (found.records, len(found.problems)) == ((), 1)


@given(edits)
@fuzzing
def test_a_record_of_any_bytes_is_read_or_refused(
    finished: Path, tmp_path: Path, edits: list[tuple[float, bytes, int]]
) -> None:
    (original,) = finished.rglob("record.json")
    path = tmp_path / "record.json"
    path.write_bytes(mutated(original.read_bytes(), edits))
    try:
        read = read_record(path)
    except FileFormatError as error:
        require_one_line(error)
        require_passed_over(tmp_path)
    else:
        assert type(read).from_json(read.to_json()) == read


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(st.data(), json_values)
@fuzzing
def test_a_record_with_any_value_anywhere_is_read_or_refused(
    finished: Path, tmp_path: Path, data: st.DataObject, value: Any
) -> None:
    (original,) = finished.rglob("record.json")
    whole = json.loads(original.read_text(encoding="utf-8"))
    holder: Any = whole
    while True:
        key = data.draw(
            st.sampled_from(sorted(holder))
            if isinstance(holder, dict)
            else st.integers(0, len(holder) - 1)
        )
        if not isinstance(holder[key], dict | list) or not holder[key] or data.draw(st.booleans()):
            break
        holder = holder[key]
    holder[key] = value
    path = tmp_path / "record.json"
    path.write_text(json.dumps(whole), encoding="utf-8")
    try:
        read = read_record(path)
    except FileFormatError as error:
        require_one_line(error)
    else:
        assert type(read).from_json(read.to_json()) == read


@given(edits)
@fuzzing
def test_an_artifact_of_any_bytes_is_read_or_refused(
    finished: Path, tmp_path: Path, edits: list[tuple[float, bytes, int]]
) -> None:
    path = tmp_path / "mutated.pt"
    path.write_bytes(mutated((finished / "random.pt").read_bytes(), edits))
    try:
        read = read_artifact(path)
    except FileFormatError as error:
        require_one_line(error)
    else:
        assert bool(read.synthetic.pixels.isfinite().all())


@given(edits)
@fuzzing
def test_a_table_of_any_bytes_is_read_or_refused(
    tmp_path: Path, edits: list[tuple[float, bytes, int]]
) -> None:
    space = SPACES["convnet720"]
    rows = "".join(f"{name},digits,0.5,0.5\n" for name in space.identifiers()[:5])
    path = tmp_path / "truth.csv"
    path.write_bytes(
        mutated(f"architecture,dataset,{space.truth_column('digits')},x\n{rows}".encode(), edits)
    )
    try:
        assert all(
            0 <= accuracy <= 1 for accuracy in read_truth(path, space, "digits").accuracies.values()
        )
    except DcbenchError as error:
        require_one_line(error)


def test_the_corpus_is_refused_for_its_own_sake(tmp_path: Path) -> None:
    """What the hostile files are changed from is good."""
    torch.save(corpus.artifact(), tmp_path / "good.pt")
    assert len(read_artifact(tmp_path / "good.pt").synthetic) == 2
    torch.save({"data": [[torch.zeros(2, 3, 8, 8), torch.tensor([0, 1])]]}, tmp_path / "good.pt")
    assert len(import_set(tmp_path / "good.pt", find_layout("dm"), SPEC, RAW).synthetic) == 2
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (8, 8)).save(tmp_path / name / "0.png")
    assert len(import_set(tmp_path, find_layout("folder"), SPEC, RAW).synthetic) == 2
    name = SPACES["convnet720"].identifiers()[0]
    (tmp_path / "truth.csv").write_text(
        f"architecture,{SPACES['convnet720'].truth_column('digits')}\n{name},0.5\n"
    )
    assert truth(tmp_path / "truth.csv")
