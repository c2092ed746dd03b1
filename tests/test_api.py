"""The Python face: it computes what the commands compute, stores nothing unasked, and says what is
wrong in one line.
"""

from __future__ import annotations

import inspect
import multiprocessing.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pytest
import torch

import dcbench
from dcbench.artifacts.artifact import read_artifact
from dcbench.datasets.loading import Loaded
from dcbench.distiller import find
from dcbench.images import Space
from dcbench.interface.keywords import (
    Conditions,
    ForeignKeywords,
    SearchKeywords,
    TrainingKeywords,
    WorkKeywords,
)
from dcbench.system.errors import (
    ClusterError,
    DataError,
    DcbenchError,
    FileFormatError,
    MismatchError,
    OutOfRangeError,
    UnknownNameError,
)
from tests.commandline import CACHE, done, environment

QUICKLY: dict[str, Any] = {"networks": 2, "epochs": 3, "threads": 1}
WORDS = ("--networks", "2", "--epochs", "3", "--threads", "1")
MMD: dict[str, Any] = {"fields": {"iterations": 3}, "threads": 1}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests' own cache, an empty folder to work in, and another for temporary files."""
    monkeypatch.setenv("DCBENCH_CACHE", CACHE)
    for name in ("cwd", "tmp"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    multiprocessing.util.get_temp_dir()  # kept for good: no socket's path is as long as ours
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))


@pytest.fixture
def first_images(digits: Loaded) -> tuple[torch.Tensor, torch.Tensor]:
    """One real digit of each class: bytes and labels."""
    members = torch.cat([rows[:1] for rows in digits.train.by_class])
    return digits.train.images[members], digits.train.labels[members]


def left_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_the_same_seed_gives_the_same_by_command_and_by_python(tmp_path: Path) -> None:
    words = ("run", "--method", "mmd", "--set", "iterations=3", "--seed", "4", *WORDS)
    (run,) = done(*words, "--out", tmp_path / "command", "--json").json["runs"]
    made = dcbench.distill("mmd", seed=4, **MMD)
    by_command = read_artifact(run["synthetic"])
    assert made.content_hash == by_command.content_hash
    assert made.sha256 == by_command.sha256
    assert list(dcbench.evaluate(made, **QUICKLY).accuracies) == run["accuracies"]
    # and the other way round: what the command made, and what Python saved
    again = dcbench.evaluate(run["synthetic"], **QUICKLY)
    assert list(again.accuracies) == run["accuracies"]
    made.save(tmp_path / "saved.pt")
    answer = done("evaluate", tmp_path / "saved.pt", *WORDS, "--out", tmp_path / "more", "--json")
    (evaluation,) = answer.json["evaluations"]
    assert evaluation["accuracies"] == run["accuracies"]
    assert (again.mean, again.std) == (run["mean"], run["std"])


def test_nothing_is_stored_unasked(tmp_path: Path) -> None:
    made = dcbench.distill("mmd", **MMD)
    scored = dcbench.evaluate(made, **QUICKLY)
    assert (made.path, scored.path) == (None, None)
    made.save(tmp_path / "set.pt")
    dcbench.evaluate(tmp_path / "set.pt", **QUICKLY)
    assert left_in(tmp_path) == [tmp_path / "set.pt"]


def test_an_evaluation_beside_a_set_that_is_stored_leaves_its_folder_alone(tmp_path: Path) -> None:
    made = dcbench.distill("mmd", out=tmp_path / "out", **MMD)
    before = left_in(tmp_path)
    dcbench.evaluate(made, **QUICKLY)
    dcbench.evaluate(os.fspath(made.path or ""), **QUICKLY)
    assert left_in(tmp_path) == before


def test_with_out_it_is_stored_as_by_the_command_and_not_made_again(
    tmp_path: Path, made: list[str]
) -> None:
    out = tmp_path / "out"
    first = dcbench.distill("mmd", out=out, **MMD)
    scored = dcbench.evaluate(first, out=out, **QUICKLY)
    words = ("run", "--method", "mmd", "--set", "iterations=3", *WORDS, "--out", out, "--json")
    (run,) = done(*words).json["runs"]
    assert run["synthetic"] == str(first.path)
    assert run["record"] == str(scored.path)
    assert run["accuracies"] == list(scored.accuracies)
    assert dcbench.distill("mmd", out=out, **MMD).sha256 == first.sha256
    assert len(made) == 1
    dcbench.distill("mmd", out=out, resume=False, **MMD)
    assert len(made) == 2
    frame = dcbench.read_results(out)
    assert list(frame["accuracy"]) == list(scored.accuracies)


def test_tensors_mean_the_same_in_every_form(
    digits: Loaded, first_images: tuple[torch.Tensor, torch.Tensor]
) -> None:
    images, labels = first_images
    pixels = images.float() / 255
    values = digits.train.space.enter(pixels)
    forms: list[tuple[Any, Any, Any]] = [
        (pixels, labels, "pixels"),
        (pixels.numpy().transpose(0, 2, 3, 1), labels.tolist(), "pixels"),
        (values, labels.float().numpy()[:, None], "normalised"),
        (values, labels, digits.train.space),
        (pixels.tolist(), torch.eye(10)[labels], "pixels"),
    ]
    with pytest.warns(UserWarning, match="labels are stored as floats"):
        found = [
            dcbench.evaluate(one, other, dataset="digits", space=space, **QUICKLY).accuracies
            for one, other, space in forms
        ]
    assert len(set(found)) == 1


def test_bytes_are_read_with_a_warning(first_images: tuple[torch.Tensor, torch.Tensor]) -> None:
    images, labels = first_images
    with pytest.warns(UserWarning, match="read as bytes, 255 for white"):
        scored = dcbench.evaluate(images, labels, dataset="digits", name="mine", **QUICKLY)
    assert scored.record.method == "mine"
    assert scored.record.foreign


def test_a_data_set_may_be_loaded_before(digits: Loaded, tmp_path: Path) -> None:
    loaded = dcbench.load_dataset("digits")
    assert loaded.spec == digits.spec
    assert dcbench.distill("mmd", loaded, **MMD).sha256 == dcbench.distill("mmd", **MMD).sha256
    made = dcbench.distill("random", loaded, threads=1)
    assert dcbench.evaluate(made, dataset=loaded, **QUICKLY).record.dataset == "digits"
    with pytest.raises(OutOfRangeError, match="zca and holdout are of a data set that is named"):
        dcbench.distill("mmd", loaded, zca="on", **MMD)
    apart = dcbench.load_dataset("digits", holdout=100, zca="on")
    with pytest.warns(UserWarning, match="digits was loaded zca, and random .* is made normalised"):
        dcbench.distill("random", apart, threads=1)
    assert apart.holdout is not None
    assert (len(apart.holdout), apart.train.space.kind) == (100, "zca")


def test_a_folder_names_data_set_and_root(cifar_root: Path) -> None:
    loaded = dcbench.load_dataset(cifar_root / "cifar10")
    assert (loaded.spec.dataset, len(loaded.train)) == ("cifar10", 50_000)


def test_a_method_by_class_and_by_object() -> None:
    method: Any = find("mmd")
    named = dcbench.distill("mmd", **MMD)
    assert dcbench.distill(method, **MMD).sha256 == named.sha256
    fields = {"iterations": 3}
    usual = dcbench.distill("mmd", "digits", threads=1, fields=fields, preset="quick")
    own = method(iterations=3)
    assert dcbench.distill(own, threads=1).provenance["fields"] == named.provenance["fields"]
    assert usual.provenance["preset"] == "quick"


def test_a_file_s_method(tmp_path: Path) -> None:
    text = Path(dcbench.__file__).parents[1] / "examples/dcbench-blends/dcbench_blends/__init__.py"
    (tmp_path / "blends.py").write_text(text.read_text(encoding="utf-8"), encoding="utf-8")
    made = dcbench.distill(f"{tmp_path / 'blends.py'}:Blends", threads=1)
    assert made.provenance["method"] == "blends"


@dataclass
class Steps:
    """A progress that remembers."""

    told: list[tuple[str, int, int]]

    def __call__(self, text: str, done: int, total: int) -> None:
        self.told.append((text, done, total))


def test_progress_is_told_or_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    steps = Steps([])
    made = dcbench.distill("mmd", progress=steps, **MMD)
    assert any("mmd IPC 1 seed 0" in text and done == total for text, done, total in steps.told)
    assert capsys.readouterr() == ("", "")
    dcbench.evaluate(made, progress=True, **QUICKLY)
    out, err = capsys.readouterr()
    assert out == ""
    assert "networks [##############################] 2/2" in err
    assert err.endswith("\r")  # and removed


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("load_dataset", "data_root"),
        ("distill", "threads"),
        ("evaluate", "label_source"),
        ("search", "truth_column"),
        ("read_set", "experiment"),
    ],
)
def test_help_shows_shared_keywords_as_a_function_s_own(name: str, shown: str) -> None:
    function = getattr(dcbench, name)
    keywords = inspect.signature(function).parameters
    assert shown in keywords
    assert "keywords" not in keywords
    for keyword in set(keywords) & keyword_names():
        assert f"\n        {keyword}: " in function.__doc__, keyword
    with pytest.raises(TypeError, match=f"did you mean '{shown}'"):
        function("dm", **{f"{shown}s": None})


@pytest.mark.parametrize(("name", "meant"), [("distill", "preset"), ("evaluate", "protocol")])
def test_a_function_s_own_keywords_are_suggested_too(name: str, meant: str) -> None:
    with pytest.raises(TypeError, match=f"did you mean '{meant}'"):
        getattr(dcbench, name)("dm", **{meant[:-1]: None})


def keyword_names() -> set[str]:
    kinds = (WorkKeywords, TrainingKeywords, SearchKeywords, ForeignKeywords)
    return {name for kind in kinds for name in kind.__annotations__}


def test_conditions_are_the_keywords_of_work() -> None:
    assert {field.name for field in fields(Conditions)} == set(WorkKeywords.__annotations__)


def test_threads_are_as_before() -> None:
    torch.set_num_threads(2)
    try:
        dcbench.distill("random", threads=1)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


def test_a_pool_of_processes_computes_the_same() -> None:
    made = dcbench.distill("mmd", **MMD)
    here = dcbench.evaluate(made, **QUICKLY)
    with ProcessPoolExecutor(1) as pool:
        there = dcbench.evaluate(made, executor=pool, **QUICKLY)
    assert there.accuracies == here.accuracies


def _leave() -> None:
    os._exit(1)


@pytest.mark.parametrize("what", ["distill", "evaluate", "search"])
def test_an_executor_that_dies_is_one_error_and_leaves_nothing_half_done(
    what: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    calls: dict[str, Callable[[Any], object]] = {
        "distill": lambda pool: dcbench.distill("mmd", executor=pool, out=out, **MMD),
        "evaluate": lambda pool: dcbench.evaluate(
            dcbench.distill("random", threads=1), executor=pool, out=out, **QUICKLY
        ),
        "search": lambda pool: dcbench.search(
            "random:1", dataset="digits", sample=1, executor=pool, out=out, threads=1
        ),
    }
    with ProcessPoolExecutor(1, initializer=_leave) as pool, pytest.raises(ClusterError) as told:
        calls[what](pool)
    assert "\n" not in str(told.value)
    assert not list(out.rglob("record.json"))
    assert len(list(out.rglob("synthetic.pt"))) == (what == "evaluate")  # which was made before
    assert not [path for path in left_in(tmp_path) if path.name.endswith(".unfinished")]


@pytest.mark.usefixtures("unchecked")  # beartype draws from the randomness that is checked
def test_check_is_a_table_of_verdicts() -> None:
    verdicts = dcbench.check("random", threads=1)
    assert set(verdicts["outcome"]) == {"passed", "skipped"}, verdicts.to_string()
    by_command = done("check", "random", "--threads", "1", "--json").json["checks"]
    assert by_command == [{"method": "random", **row} for row in verdicts.to_dict("records")]


def test_what_a_notebook_shows() -> None:
    made = dcbench.distill("random", threads=1)
    scored = dcbench.evaluate(made, **QUICKLY)
    assert made._repr_png_().startswith(b"\x89PNG")
    assert "data:image/png;base64," in made._repr_html_()
    assert "random" in repr(made)
    assert "<table" in scored._repr_html_()
    assert "random on digits" in repr(scored)
    figure = dcbench.show(made)
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == list("0123456789")


def test_a_search_is_the_command_s(tmp_path: Path) -> None:
    made = dcbench.distill("random", ipc=2, threads=1, out=tmp_path / "out")
    options: dict[str, Any] = {"sample": 2, "epochs": 2, "truth_epochs": 1, "threads": 1}
    (found,) = rankings = dcbench.search(made, "convnet720", out=tmp_path / "out", **options)
    words = [str(word) for key in options for word in (f"--{key.replace('_', '-')}", options[key])]
    answer = done("nas", "--proxy", made.path or "", *words, "--out", tmp_path / "out", "--json")
    (study,) = answer.json["studies"]
    assert study["record"] == str(found.path)
    assert found.summary == study
    assert list(found.frame()["architecture"])
    assert "<table" in rankings._repr_html_()
    (listed,) = dcbench.search(["random:2"], dataset="digits", out=tmp_path / "out", **options)
    assert listed.record.proxy == "random"


def test_results_and_report(tmp_path: Path) -> None:
    out = tmp_path / "out"
    for method in ("random", "k-center"):
        dcbench.evaluate(dcbench.distill(method, threads=1, out=out), out=out, **QUICKLY)
    assert set(dcbench.read_results(out)["method"]) == {"random", "k-center"}
    (page,) = dcbench.write_report(out, tmp_path / "page")
    assert "k-center" in page.read_text(encoding="utf-8").lower()
    for form in ("markdown", "csv"):
        own, theirs = tmp_path / f"own-{form}", tmp_path / f"their-{form}"
        files = dcbench.write_report(out, own, form)
        answer = done("report", "--results", out, "--format", form, "--out", theirs, "--json")
        written = [Path(path).relative_to(theirs) for path in answer.json["files"]]
        assert [path.relative_to(own) for path in files] == written
        for path in written:
            if path.suffix in (".md", ".csv"):
                assert (own / path).read_bytes() == (theirs / path).read_bytes()


def test_sets_are_written_and_read(tmp_path: Path) -> None:
    made = dcbench.distill("random", threads=1)
    dcbench.write_set(made, tmp_path / "set.pt")
    assert dcbench.read_set(tmp_path / "set.pt").sha256 == made.sha256
    dcbench.write_set(tmp_path / "set.pt", tmp_path / "set.npz", "npz")
    back = dcbench.read_set(tmp_path / "set.npz", "plain", dataset="digits")
    assert torch.allclose(back.synthetic.pixels, made.synthetic.pixels, atol=1e-6)
    words = ("import", tmp_path / "set.npz", "--as", "plain", "--dataset", "digits")
    done(*words, "--to", tmp_path / "command.pt")
    assert read_artifact(tmp_path / "command.pt").sha256 == back.sha256


def test_what_is_known_of_a_foreign_set_needs_its_layout(tmp_path: Path) -> None:
    made = dcbench.write_set(dcbench.distill("random", threads=1), tmp_path / "set.pt")
    assert len(dcbench.read_set(made).labels) == 10
    for said in ({"space": "raw"}, {"name": "foo"}, {"resize": True}, {"dataset": "cifar10"}):
        with pytest.raises(OutOfRangeError, match="say its layout"):
            dcbench.read_set(made, **said)


def test_what_is_known_of_a_foreign_set_is_said_as_to_the_command(
    tmp_path: Path, first_images: tuple[torch.Tensor, torch.Tensor]
) -> None:
    images, labels = first_images[0].float() / 255, first_images[1]
    torch.save({"data": [[images, labels], [1 - images, labels]]}, tmp_path / "dm.pt")
    known: dict[str, Any] = {"dataset": "digits", "space": "pixels", "name": "theirs"}
    back = dcbench.read_set(tmp_path / "dm.pt", "dm", experiment=0, **known)
    words = [word for key, value in known.items() for word in (f"--{key}", value)]
    command = ("import", tmp_path / "dm.pt", "--as", "dm", "--experiment", "0", *words)
    done(*command, "--to", tmp_path / "command.pt")
    assert read_artifact(tmp_path / "command.pt").sha256 == back.sha256
    assert torch.allclose(back.synthetic.pixels, images, atol=1e-6)


WRONG: dict[str, tuple[Callable[[Any, Any], object], type[DcbenchError], str]] = {
    "shape": (
        lambda x, y: dcbench.evaluate(x[:, :, :7], y, dataset="digits"),
        FileFormatError,
        "wanted N×1×8×8 for digits",
    ),
    "fewer labels": (
        lambda x, y: dcbench.evaluate(x, y[:9], dataset="digits"),
        FileFormatError,
        "labels of (9,) for 10 images",
    ),
    "labels beyond": (
        lambda x, y: dcbench.evaluate(x, y + 1, dataset="digits"),
        FileFormatError,
        "numbered from 1?",
    ),
    "not finite": (
        lambda x, y: dcbench.evaluate(x * float("nan"), y, dataset="digits"),
        FileFormatError,
        "not finite",
    ),
    "no numbers": (
        lambda x, y: dcbench.evaluate(["a"], y, dataset="digits"),
        OutOfRangeError,
        "images must be a tensor, an array or lists of numbers, got list",
    ),
    "range": (
        lambda x, y: dcbench.evaluate(1000 * (x * 255).round(), y, dataset="digits"),
        FileFormatError,
        "wanted bytes from 0 to 255",
    ),
    "space": (
        lambda x, y: dcbench.evaluate(x, y, dataset="digits", space="pixel"),
        UnknownNameError,
        "did you mean 'pixels'?",
    ),
    "dataset": (
        lambda x, y: dcbench.evaluate(x, y, dataset="cifar1"),
        UnknownNameError,
        "did you mean 'cifar10",
    ),
    "dataset to load": (lambda x, y: dcbench.load_dataset("digit"), UnknownNameError, "'digits'?"),
    "no dataset": (dcbench.evaluate, OutOfRangeError, "wanted dataset"),
    "no labels": (
        lambda x, y: dcbench.evaluate(x, dataset="digits"),
        OutOfRangeError,
        "images without labels",
    ),
    "protocol": (
        lambda x, y: dcbench.evaluate(x, y, dataset="digits", protocol="qick"),
        UnknownNameError,
        "did you mean 'quick'?",
    ),
    "network": (
        lambda x, y: dcbench.evaluate(x, y, dataset="digits", network="convnt"),
        UnknownNameError,
        "did you mean 'convnet'?",
    ),
    "networks": (
        lambda x, y: dcbench.evaluate(x, y, dataset="digits", networks=0),
        OutOfRangeError,
        "networks must be at least 1, got 0",
    ),
    "device": (
        lambda x, y: dcbench.distill("dm", device="gpu"),
        UnknownNameError,
        "unknown device",
    ),
    "threads": (lambda x, y: dcbench.distill("dm", threads=0), OutOfRangeError, "threads must be"),
    "method": (lambda x, y: dcbench.distill("datadm"), UnknownNameError, "did you mean 'datadam'?"),
    "preset": (lambda x, y: dcbench.distill("dm", preset="quik"), UnknownNameError, "'quick'?"),
    "field": (
        lambda x, y: dcbench.distill("dm", fields={"iteration": 3}),
        UnknownNameError,
        "did you mean 'iterations'?",
    ),
    "field's value": (
        lambda x, y: dcbench.distill("dm", fields={"iterations": 0}),
        OutOfRangeError,
        "iterations must be at least 1, got 0",
    ),
    "ipc": (lambda x, y: dcbench.distill("dm", ipc=0), OutOfRangeError, "ipc must be at least 1"),
    "half an image": (
        lambda x, y: dcbench.distill("dm", ipc=0.5),  # type: ignore[arg-type]
        OutOfRangeError,
        "ipc must be a whole number, got 0.5",
    ),
    "seed": (lambda x, y: dcbench.distill("dm", seed=-1), OutOfRangeError, "seed must be at least"),
    "a class without a name": (
        lambda x, y: dcbench.distill(dcbench.Distiller),
        MismatchError,
        "wanted @dcbench.register",
    ),
    "another data set": (
        lambda x, y: dcbench.evaluate(dcbench.distill("random", threads=1), dataset="mnist"),
        MismatchError,
        "made from digits, not from mnist",
    ),
    "threads as an executor": (
        lambda x, y: dcbench.distill("random", executor=ThreadPoolExecutor(1)),
        OutOfRangeError,
        "wanted a ProcessPoolExecutor, got threads",
    ),
    "a file that is not there": (
        lambda x, y: dcbench.read_set("absent.pt"),
        FileFormatError,
        "no such file: absent.pt",
    ),
    "a layout": (
        lambda x, y: dcbench.read_set("x.pt", "mt", dataset="digits"),
        UnknownNameError,
        "did you mean 'mtt'?",
    ),
    "a hub path without a revision": (
        lambda x, y: dcbench.read_set("hf://ann/sets/x.pt", "plain", dataset="digits"),
        OutOfRangeError,
        "hf://ann/sets@COMMIT/x.pt",
    ),
    "results": (lambda x, y: dcbench.read_results("absent"), DataError, "no folder absent"),
    "a report's format": (
        lambda x, y: dcbench.write_report("absent", format_name="htm"),
        UnknownNameError,
        "did you mean 'html'?",
    ),
    "a search's space": (
        lambda x, y: dcbench.search("random", "convnet72"),
        UnknownNameError,
        "did you mean 'convnet720'?",
    ),
    "a proxy": (lambda x, y: dcbench.search("randm"), DcbenchError, "randm"),
    "no images": (
        lambda x, y: dcbench.evaluate(x[:0], y[:0], dataset="digits"),
        FileFormatError,
        "no images",
    ),
    "labels that are fractions": (
        lambda x, y: dcbench.evaluate(x, y + 0.5, dataset="digits"),
        FileFormatError,
        "labels are fractions",
    ),
    "label rows of fewer classes": (
        lambda x, y: dcbench.evaluate(x, torch.eye(10)[y, :9], dataset="digits"),
        FileFormatError,
        "labels of (10, 9) for 10 images",
    ),
    "a space of other images": (
        lambda x, y: given(x, y, space=Space("normalised", (0.1,) * 3, (0.1,) * 3)),
        FileFormatError,
        "space of 1 channels cannot have mean (0.1, 0.1, 0.1)",
    ),
    "a whitening of other images": (
        lambda x, y: given(x, y, space=Space("zca", (0.1,), (0.1,), torch.zeros(3), torch.eye(3))),
        FileFormatError,
        "a whitening of (3, 3) does not fit images of 64 values",
    ),
    "a space without spread": (
        lambda x, y: given(x, y, space=Space("normalised", (0.1,), (0.0,))),
        FileFormatError,
        "cannot have mean (0.1,) and std (0.0,)",
    ),
    "no space": (lambda x, y: given(x, y, space=None), UnknownNameError, "unknown space None"),
    "a set of other images": (
        lambda x, y: dcbench.evaluate(
            dcbench.SyntheticSet(digits_spec(), x.repeat(1, 3, 1, 1), y, Space()), out="out"
        ),
        FileFormatError,
        "do not fit 'digits'",
    ),
    "a set of another data set": (
        lambda x, y: dcbench.evaluate(
            dcbench.SyntheticSet(digits_spec(), x, y, Space()), dataset="cifar10", out="out"
        ),
        MismatchError,
        "made from digits, not from cifar10",
    ),
    "half a network": (
        lambda x, y: given(x, y, networks=1.5),
        OutOfRangeError,
        "networks must be a whole number, got 1.5",
    ),
    "epochs in words": (
        lambda x, y: given(x, y, epochs="3"),
        OutOfRangeError,
        "epochs must be a whole number, got '3'",
    ),
    "half a thread": (
        lambda x, y: given(x, y, threads=1.5),
        OutOfRangeError,
        "threads must be 1 to 1024, got 1.5",
    ),
    "a name that is none": (
        lambda x, y: given(x, y, name=""),
        FileFormatError,
        "field method must not be empty",
    ),
    "labels to learn": (
        lambda x, y: given(x, y, label_source=3),
        UnknownNameError,
        "unknown value of labels 3",
    ),
    "a progress": (
        lambda x, y: given(x, y, progress="bar"),
        OutOfRangeError,
        "progress must be True or a function, got 'bar'",
    ),
    "an executor's name": (
        lambda x, y: given(x, y, executor="ray"),
        OutOfRangeError,
        "executor must be a concurrent.futures.Executor of processes, got 'ray'",
    ),
    "tensors to show": (
        lambda x, y: dcbench.show(x),
        OutOfRangeError,
        "wanted a set or the path of one, got Tensor",
    ),
    "a field of a check": (
        lambda x, y: dcbench.check("dm", fields={"iteration": 3}),
        UnknownNameError,
        "did you mean 'iterations'?",
    ),
    "a branch of the hub": (
        lambda x, y: dcbench.read_set("hf://ann/sets@main/x.pt"),
        OutOfRangeError,
        "names the revision 'main'",
    ),
    "a path out of the hub's repository": (
        lambda x, y: dcbench.read_set(f"hf://ann/sets@{'a' * 40}/../x.pt"),
        OutOfRangeError,
        "no plain path",
    ),
    "classes of a foreign set": (
        lambda x, y: dcbench.read_set("x", "folder", dataset="digits", classes="by-nme"),
        UnknownNameError,
        "did you mean 'by-name'?",
    ),
    "half a sample": (
        lambda x, y: dcbench.search("random:1", dataset="digits", sample=half(), out="out"),
        OutOfRangeError,
        "sample must be a whole number, got 1.5",
    ),
    "a share": (
        lambda x, y: dcbench.search("random:1", dataset="digits", top=2, out="out"),
        OutOfRangeError,
        "top must be a share above 0 and at most 1, got 2",
    ),
    "a space to search with a set": (
        lambda x, y: dcbench.search(
            dcbench.SyntheticSet(digits_spec(), x, y, Space()), "convnet72", out="out"
        ),
        UnknownNameError,
        "did you mean 'convnet720'?",
    ),
    "a file as a folder": (
        lambda x, y: dcbench.distill("random", out=write(Path("taken")) / "out", threads=1),
        DcbenchError,
        "taken",
    ),
}


def given(images: Any, labels: Any, **more: Any) -> object:
    """Evaluate what is given as images of digits, and store it."""
    return dcbench.evaluate(images, labels, dataset="digits", out="out", **more)


def half() -> Any:
    return 1.5


def digits_spec() -> Any:
    return dcbench.load_dataset("digits").spec


def write(path: Path) -> Path:
    path.write_text("a file", encoding="utf-8")
    return path


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_one_error_and_leaves_nothing(
    what: str, tmp_path: Path, first_images: tuple[torch.Tensor, torch.Tensor]
) -> None:
    call, kind, said = WRONG[what]
    with pytest.raises(kind) as refused:
        call(first_images[0].float() / 255, first_images[1])
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not [path for path in left_in(tmp_path) if path.name != "taken"]


IMPORTED = """
import sys, time
begun = time.perf_counter()
import dcbench
taken = time.perf_counter() - begun
heavy = {"torch", "numpy", "pandas", "click", "rich", "matplotlib"} & set(sys.modules)
assert not heavy, heavy
assert "distill" in dir(dcbench)
sys.stdout.write(str(taken))
"""


def test_importing_costs_nothing() -> None:
    def asked() -> float:
        command = [sys.executable, "-c", IMPORTED]
        ran = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True)
        return float(ran.stdout)

    assert min(asked() for _ in range(3)) < 0.1


def test_every_public_name_is_there() -> None:
    for name in dcbench.__all__:
        assert getattr(dcbench, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'distil'"):
        dcbench.distil  # noqa: B018
