"""Bad input: one line that names what was got and what was wanted; exit 2 where the words are
wrong, 1 where the world is.
"""

from __future__ import annotations

import os
import pickle
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from dcbench.artifacts.artifact import read_artifact, write_artifact
from dcbench.images import SyntheticSet
from tests.commandline import MMD, RANDOM, ask, dcbench, done

RUN = ("run", "--method", "datadam")
WRONG_WORDS: list[tuple[tuple[str, ...], str]] = [
    (
        ("frobnicate",),
        "unknown command 'frobnicate'; known: check, compare, evaluate, export, import",
    ),
    (("rum",), "unknown command 'rum'; did you mean 'run'?"),
    (("--frob",), "No such option"),  # click's own words differ by its version
    (("run",), "Missing option '--method'"),
    (("run", "--methd", "dm"), "--method"),
    (("run", "--method"), "'--method' requires an argument"),
    ((*RUN, "extra"), "unexpected extra argument (extra)"),
    (("run", "--method", "datadm"), "unknown method 'datadm'; did you mean 'datadam'?"),
    (
        ("run", "--method", "./mine.py"),
        "./mine.py names a file; wanted the class in it too, as ./mine.py:Class",
    ),
    ((*RUN, "--dataset", "digit"), "unknown dataset 'digit'; did you mean 'digits'?"),
    ((*RUN, "--network", "convnett"), "unknown network 'convnett'; did you mean 'convnet'?"),
    ((*RUN, "--preset", "papre"), "unknown preset 'papre'; did you mean 'paper'?"),
    ((*RUN, "--protocol", "quik"), "unknown protocol 'quik'; did you mean 'quick'?"),
    ((*RUN, "--augment", "das"), "unknown augmentation 'das'; did you mean 'dsa'?"),
    ((*RUN, "--zca", "maybe"), "unknown value of --zca 'maybe'; known: auto, off, on, pixels"),
    ((*RUN, "--precision", "fp16"), "unknown precision 'fp16'; did you mean 'bf16'?"),
    ((*RUN, "--engine", "fast"), "unknown engine 'fast'; known: auto, compiled, eager"),
    ((*RUN, "--executor", "rya"), "unknown executor 'rya'"),
    ((*RUN, "--device", "gpu"), "unknown device 'gpu'"),
    ((*RUN, "--set", "powr=3"), "unknown field of datadam 'powr'; did you mean 'power'?"),
    ((*RUN, "--set", "mmd.iterations=3"), "unknown field of datadam 'mmd.iterations'"),
    ((*RUN, "--set", "power"), "--set needs field=value, got 'power'"),
    (
        (*RUN, "--set", "power=2", "--set", "power=4"),
        "--set power is given twice, 2 and 4; leave one out",
    ),
    ((*RUN, "--set", "=3"), "--set needs field=value, got '=3'"),
    (
        ("run", "--method", "random", "--set", "power=3"),
        "unknown field of random 'power'; known: none",
    ),
    ((*RUN, "--set", "power=0.5"), "datadam: power must be at least 1, got 0.5"),
    ((*RUN, "--set", "power=abc"), "datadam: power must be float, got 'abc'"),
    ((*RUN, "--set", "power=none"), "datadam: power must be float, got 'none'"),
    ((*RUN, "--set", "lr=0"), "datadam: lr must be greater than 0, got 0"),
    ((*RUN, "--set", "lr=11"), "datadam: lr must be at most 10, got 11"),
    ((*RUN, "--set", "lr=nan"), "datadam: lr must be finite, got nan"),
    ((*RUN, "--set", "scale=inf"), "datadam: scale must be finite, got inf"),
    ((*RUN, "--set", "balance=-1"), "datadam: balance must be at least 0, got -1"),
    ((*RUN, "--set", "iterations=0"), "datadam: iterations must be at least 1, got 0"),
    ((*RUN, "--set", "iterations=1.5"), "datadam: iterations must be int, got '1.5'"),
    (
        (*RUN, "--set", "init=best"),
        "datadam: init must be one of random, k-center, noise, herding, k-means, facility-location, "
        "or a file of images such as ./images.pt, got 'best'",
    ),
    ((*RUN, "--set", "network=convne"), "unknown network 'convne'; did you mean 'convnet'?"),
    ((*RUN, "--ipc", "0"), "--ipc must be at least 1, got 0"),
    ((*RUN, "--ipc", "10,-1"), "--ipc must be at least 1, got -1"),
    ((*RUN, "--ipc", "x"), "--ipc must be a whole number or several with commas between, got 'x'"),
    (
        (*RUN, "--ipc", "1.5"),
        "--ipc must be a whole number or several with commas between, got '1.5'",
    ),
    ((*RUN, "--ipc", "1,,2"), "--ipc has an empty item, got '1,,2'"),
    (("run", "--method", "dm,"), "--method has an empty item, got 'dm,'"),
    ((*RUN, "--seed", "-1"), "--seed must be at least 0, got -1"),
    ((*RUN, "--seed", str(10**30)), "--seed must be at most 9223372036854775807"),
    ((*RUN, "--networks", "0"), "--networks must be at least 1, got 0"),
    ((*RUN, "--networks", "100001"), "--networks must be at most 100000, got 100001"),
    ((*RUN, "--networks", "x"), "Invalid value for '--networks': 'x' is not a valid integer"),
    ((*RUN, "--epochs", "0"), "--epochs must be at least 1, got 0"),
    ((*RUN, "--threads", "0"), "threads must be 1 to 1024, got 0"),
    ((*RUN, "--threads", "1000000"), "threads must be 1 to 1024, got 1000000"),
    ((*RUN, "--trace", "-1"), "--trace must be at least 0, got -1"),
    (
        (*RUN, "--trace", "1,9999"),
        "datadam takes 8000 steps at IPC 1; a trace may look at 0 to 8000, got 9999",
    ),
    (
        ("run", "--method", "datadam,random", "--trace", "0"),
        "random cannot be traced: it takes no steps on its images",
    ),
    (
        (*RUN, "--judge-on", "holdot", "--holdout", "9"),
        "unknown value of --judge-on 'holdot'; did you mean 'holdout'?",
    ),
    (
        (*RUN, "--judge-on", "holdout"),
        "--judge-on holdout needs images that are kept from distillation: say how many with --holdout",
    ),
    ((*RUN, "--holdout", "-1"), "--holdout must be at least 0, got -1"),
    (("evaluate",), "Missing argument 'PATHS...'"),
    (("evaluate", "set.pt", "--preset", "papre"), "unknown preset 'papre'; did you mean 'paper'?"),
    (
        ("evaluate", "set.pt", "--dataset", "digit"),
        "unknown dataset 'digit'; did you mean 'digits'?",
    ),
    (("evaluate", "set.pt", "--network", "convnet,vgg"), "unknown network 'vgg'"),
    (
        ("evaluate", "set.pt", "--augment", "dsa,das"),
        "unknown augmentation 'das'; did you mean 'dsa'?",
    ),
    (("evaluate", "set.pt", "--seed", "-1"), "--seed must be at least 0, got -1"),
    (("check", "random", "--preset", "quik"), "unknown preset 'quik'"),
    (("check", "random", "--executor", "rya"), "unknown executor 'rya'"),
    (
        ("import", "set.pt", "--as", "dm", "--dataset", "digits", "--protocol", "quik"),
        "unknown protocol 'quik'",
    ),
    (
        ("import", "set.pt", "--as", "dm", "--dataset", "digits", "--device", "gpu"),
        "unknown device 'gpu'",
    ),
    (
        ("reproduce", "fig1", "--protocol", "lineage"),
        "a study decides its protocol: choose another --preset",
    ),
    (("show", "set.pt", "--out", "set.pt"), "ends in .png or .pdf, got set.pt"),
    (("show", "set.pt", "--scale", "0", "--out", "set.pdf"), "--scale must be"),
    (("show", "set.pt", "--scale", "2"), "--scale is for a .pdf, and set.png is none"),
    (("export", "set.pt", "--as", "npz", "--to", "set.txt"), "a file of its own that ends in .npz"),
    (("export", "set.npz", "--as", "npz"), "npz is written to a file of its own"),
    (
        ("import", "a.npz", "--as", "plain", "--dataset", "digits", "--to", "./a.npz"),
        "a.npz is the set to read",
    ),
    (("show", "set.png"), "ends in .png or .pdf, got set.png"),
    (("report", "--format", "markdwon"), "unknown format 'markdwon'; did you mean 'markdown'?"),
    (("report", "--format", "pdf"), "unknown format 'pdf'; known: csv, html, latex, markdown"),
]


def refused(code: int, *words: str | Path) -> str:
    """The one line that answers ``words``; the exit code as expected, nothing on standard output."""
    answer = ask(*words)
    assert answer.code == code, answer.err
    assert answer.out == ""
    assert answer.line.startswith("dcbench: ")
    return answer.line


@pytest.mark.parametrize(
    ("words", "said"),
    WRONG_WORDS,
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_wrong_by_its_words_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert said in refused(2, *words)
    assert list(tmp_path.iterdir()) == []  # nothing was begun


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of a run, for those who leave them as they are."""
    folder = tmp_path_factory.mktemp("errors") / "out"
    done(*MMD, "--out", folder)
    return folder


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("--ipc", "140"),
            "ipc 140 asked, but class '8' of digits has 139 images; choose a smaller --ipc",
        ),
        (
            ("--holdout", "1437"),
            "a part of 1437 of 1438 images leaves a class without any outside it",
        ),
        (("--holdout", str(10**15)), "of 1438 images leaves a class without any outside it"),
        (("--device", "cuda:63"), "device 'cuda:63' is not there: this machine has"),
        (("--device", "mps"), "device 'mps' is not supported; use cpu or cuda"),
        (
            ("--method", "./absent.py:Mine"),
            "no such file: ./absent.py (wanted a Python file with a distiller called Mine)",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_wrong_by_the_data_or_the_machine(
    tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    assert said in refused(1, *RANDOM, "--out", tmp_path, *words)
    assert not list(tmp_path.rglob("*.pt"))


def test_data_that_are_not_there(tmp_path: Path) -> None:
    line = refused(
        1, *RANDOM, "--dataset", "cifar10", "--data-root", tmp_path, "--out", tmp_path / "out"
    )
    for place in (
        "cifar10/plain_text",
        "cifar10/data",
        "uoft-cs/cifar10",
        "cifar10/train",
        "cifar-10-batches-py",
    ):
        assert str(tmp_path / place) in line
    for remedy in ("--data-root", "DCBENCH_DATA", "--download"):
        assert remedy in line


def test_all_data_are_looked_for_before_any_work(tmp_path: Path) -> None:
    line = refused(
        1, *RANDOM, "--dataset", "digits,mnist", "--data-root", tmp_path, "--out", tmp_path / "out"
    )
    assert "mnist was not found" in line
    assert not (tmp_path / "out").exists()


def test_broken_data(tmp_path: Path) -> None:
    broken = tmp_path / "mnist" / "mnist" / "train-00000-of-00001.parquet"
    broken.parent.mkdir(parents=True)
    broken.write_bytes(b"PAR1 but no more")
    (broken.parent / "test-00000-of-00001.parquet").write_bytes(b"PAR1 but no more")
    assert str(broken.name) in refused(
        1, *RANDOM, "--dataset", "mnist", "--data-root", tmp_path, "--out", tmp_path / "out"
    )


@pytest.mark.parametrize("place", ["/proc/nowhere", "{file}/below"])
def test_a_place_that_cannot_be_written(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("in the way")
    line = refused(1, *RANDOM, "--out", place.format(file=tmp_path / "file"))
    assert f"cannot write {place.format(file=tmp_path / 'file')}" in line
    assert "a folder that can be written is needed" in line


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("def broken(", "failed to import: SyntaxError"),
        ("import nothing_of_that_name", "failed to import: ModuleNotFoundError"),
        (
            "class Other: pass",
            "has no registered distiller called 'Mine'; it has: none (see @register)",
        ),
    ],
)
def test_a_method_file_that_is_no_use(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "mine.py").write_text(content, encoding="utf-8")
    assert said in refused(1, "run", "--method", f"{tmp_path}/mine.py:Mine", "--out", tmp_path)


def change(path: Path, to: Path, **changes: Any) -> Path:
    """A copy of the artifact at ``path`` with other top-level values."""
    torch.save({**torch.load(path, weights_only=True), **changes}, to)
    return to


class Hostile:
    """Unpickled, it would make a file."""

    def __init__(self, made: Path) -> None:
        self.made = made

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.made),)


def test_a_hostile_pickle_is_refused_unexecuted(tmp_path: Path) -> None:
    torch.save({"format_version": Hostile(tmp_path / "made")}, tmp_path / "zipped.pt")
    (tmp_path / "bare.pt").write_bytes(pickle.dumps(Hostile(tmp_path / "made")))
    for command in ("show", "evaluate"):
        for name in ("zipped.pt", "bare.pt"):
            line = refused(1, command, tmp_path / name)
            assert "was refused unexecuted" in line
            assert "other objects than tensors and plain values)" in line
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("command", ["show", "evaluate"])
def test_files_that_are_no_artifacts(tmp_path: Path, out: Path, command: str) -> None:
    whole = (out / "mmd.pt").read_bytes()
    (tmp_path / "truncated.pt").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.pt").write_bytes(b"")
    (tmp_path / "words.pt").write_text("not tensors at all\n")
    flipped = bytearray(whole)
    flipped[whole.index(b"random")] ^= 1  # a letter of the provenance: still a fine pickle
    (tmp_path / "flipped.pt").write_bytes(flipped)
    got = {
        "truncated.pt": "it is cut short, or holds other objects",
        "empty.pt": "it is empty",
        "words.pt": "it is text, beginning 'not tensors at all'",
        "flipped.pt": "the checksum of",
    }
    for name, what in got.items():
        line = refused(1, command, tmp_path / name)
        assert f"{tmp_path / name} is damaged or not a file of plain tensors" in line
        assert what in line
    assert f"no such file: {tmp_path / 'absent.pt'}" in refused(1, command, tmp_path / "absent.pt")
    assert "is a folder, wanted a file" in refused(1, command, tmp_path)
    assert "format_version 2, wanted 1" in refused(
        1, command, change(out / "mmd.pt", tmp_path / "v2.pt", format_version=2)
    )
    assert "'extra'], wanted ['format_version', 'images'" in refused(
        1, command, change(out / "mmd.pt", tmp_path / "extra.pt", extra=1)
    )
    assert "images must be float32" in refused(
        1, command, change(out / "mmd.pt", tmp_path / "flat.pt", images=torch.zeros(10))
    )
    assert "labels must lie in 0 to 9" in refused(
        1, command, change(out / "mmd.pt", tmp_path / "labels.pt", labels=torch.arange(10) + 1)
    )


def with_recipe(path: Path, to: Path, **recipe: Any) -> Path:
    artifact = read_artifact(path)
    write_artifact(to, replace(artifact.synthetic, recipe=recipe), artifact.provenance)
    return to


def test_sets_that_do_not_belong_to_the_data_asked_for(tmp_path: Path, out: Path) -> None:
    line = refused(1, "evaluate", out / "mmd.pt", "--dataset", "cifar10", "--data-root", tmp_path)
    assert (
        f"{out / 'mmd.pt'} holds 1×8×8 images made from digits, not from cifar10; evaluate it with --dataset digits"
        in line
    )
    artifact = read_artifact(out / "mmd.pt")
    foreign = replace(artifact.synthetic, spec=replace(artifact.synthetic.spec, dataset="letters"))
    write_artifact(tmp_path / "letters.pt", foreign, artifact.provenance)
    assert (
        "made from letters, which is unknown here; name its folder, as in --dataset ./letters, or one of digits, mnist"
        in refused(1, "evaluate", tmp_path / "letters.pt")
    )
    large = replace(artifact.synthetic.spec, size=16)
    images = torch.nn.functional.interpolate(artifact.synthetic.images, size=16)
    write_artifact(
        tmp_path / "large.pt",
        SyntheticSet(large, images, artifact.synthetic.labels, artifact.synthetic.space),
        {},
    )
    line = refused(1, "evaluate", tmp_path / "large.pt")
    assert (
        "the synthetic set has images of 1×16×16 in 10 classes, but digits has 1×8×8 in 10" in line
    )


def test_what_no_record_could_hold_is_refused_before_any_network_is_trained(
    tmp_path: Path, out: Path
) -> None:
    artifact = read_artifact(out / "mmd.pt")
    for field, value in (("seed", "first"), ("ipc", 0), ("fields", [1]), ("method", 7)):
        write_artifact(
            tmp_path / "odd.pt", artifact.synthetic, {**artifact.provenance, field: value}
        )
        assert f"{tmp_path / 'odd.pt'}: field {field} must" in refused(
            1, "evaluate", tmp_path / "odd.pt", "--out", tmp_path
        )
    for recipe in ({"network": "vgg99"}, {"augment": "mirrors"}):
        path = with_recipe(out / "mmd.pt", tmp_path / "odd.pt", **recipe)
        assert "which is unknown here; known:" in refused(1, "evaluate", path, "--out", tmp_path)
    assert not list(tmp_path.rglob("networks.jsonl"))


def test_all_sets_are_looked_at_before_any_network_is_trained(tmp_path: Path, out: Path) -> None:
    shutil.copy(out / "mmd.pt", tmp_path / "copy.pt")
    refused(1, "evaluate", tmp_path / "copy.pt", tmp_path / "absent.pt", "--out", tmp_path)
    assert not list(tmp_path.rglob("networks.jsonl"))


def test_reports_without_records(tmp_path: Path) -> None:
    assert f"no folder {tmp_path / 'absent'}" in refused(
        1, "report", "--results", tmp_path / "absent"
    )
    assert f"no records below {tmp_path}; make some with `dcbench run`" in refused(
        1, "report", "--results", tmp_path
    )


def test_debug_adds_the_traceback(tmp_path: Path) -> None:
    plain, debug = (
        ask("show", tmp_path / "absent.pt"),
        ask("show", tmp_path / "absent.pt", "--debug"),
    )
    assert "Traceback" not in plain.err
    assert "Traceback (most recent call last):" in debug.err
    assert debug.err.endswith(plain.err)
    assert debug.code == plain.code == 1


def test_what_nobody_foresaw_is_one_line_too(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from dataclasses import dataclass\n"
        "from dcbench.distiller import Distiller, register\n"
        "@register('careless')\n@dataclass(frozen=True)\nclass Mine(Distiller):\n"
        "    def distill(self, train, ipc, run):\n        return {}['images']\n",
        encoding="utf-8",
    )
    line = refused(1, "run", "--method", f"{tmp_path}/mine.py:Mine", "--out", tmp_path)
    assert (
        line
        == "dcbench: KeyError: 'images' (mine.py:7; not foreseen; --debug shows where it came from)"
    )


def test_a_reference_that_makes_no_set_is_told_what_it_should_return(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from dataclasses import dataclass\n"
        "from dcbench.distiller import Distiller, register\n"
        "@register('nothing')\n@dataclass(frozen=True)\nclass Mine(Distiller):\n"
        "    budgeted = False\n"
        "    def distill(self, train, ipc, run):\n        return None\n",
        encoding="utf-8",
    )
    line = refused(1, "run", "--method", f"{tmp_path}/mine.py:Mine", "--out", tmp_path)
    assert "it returned nothing, wanted a SyntheticSet; see dcbench check" in line


def test_a_command_that_keeps_nothing_says_so_when_it_is_stopped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def stopped(*_anything: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("dcbench.cli.check._check", stopped)
    assert refused(130, "check", "random") == "dcbench: stopped"


def test_a_process_of_its_own_says_the_same() -> None:
    wrong, absent = dcbench("run", "--method", "datadm"), dcbench("show", "/absent.pt")
    assert (wrong.code, wrong.line) == (
        2,
        "dcbench: unknown method 'datadm'; did you mean 'datadam'?",
    )
    assert (absent.code, absent.line) == (1, "dcbench: no such file: /absent.pt")


@pytest.mark.parametrize("layout", ["dm", "datadam", "mtt", "idc"])
def test_an_artifact_of_ours_is_no_foreign_set(tmp_path: Path, out: Path, layout: str) -> None:
    foreign = ("--as", layout, "--dataset", "digits", "--out", tmp_path)
    for command in ("import", "evaluate"):
        assert f"{out / 'mmd.pt'} is an artifact of dcbench already" in refused(
            1, command, out / "mmd.pt", *foreign
        )
