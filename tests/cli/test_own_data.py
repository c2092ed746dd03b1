"""The three commands of the guide on a folder of one's own images, with a network of timm's."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

import dcbench
from dcbench.records import find_records
from dcbench.report.figures.evaluation_conditions import condition_drawings
from tests.commandline import ROOT, ask, done
from tests.datasets.test_own import folder

GUIDE = ROOT / "docs" / "guides" / "data-and-networks.md"
SHORT = ("--epochs", "2", "--networks", "2", "--threads", "1", "--engine", "eager")


def refused(*words: str) -> str:
    """The one line of a command that finds its data wanting."""
    answer = ask(*words)
    assert answer.code == 1, answer
    return answer.err.strip().splitlines()[-1]


def commands() -> list[list[str]]:
    """The guide's commands on ``./mydata``, without the word dcbench."""
    lines = GUIDE.read_text(encoding="utf-8").splitlines()
    part = lines[lines.index("## Your own images") :]
    found = [line for line in part if line.startswith("dcbench ")]
    return [shlex.split(line)[1:] for line in found[:3]]


def test_own_images_are_distilled_judged_and_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("timm")
    monkeypatch.chdir(tmp_path)
    folder(tmp_path / "mydata", toml="size = 16")
    run, evaluate, report = commands()
    assert [words[0] for words in (run, evaluate, report)] == ["run", "evaluate", "report"]
    made = done(*run, *SHORT, "--set", "iterations=2", "--json").json["runs"]
    assert {one["dataset"] for one in made} == {"mydata"}
    judged = done(*evaluate, *SHORT, "--json").json["evaluations"]
    assert [one["network"] for one in judged] == ["convnet", "timm:resnet10t"]
    assert [one["protocol"]["normalisation"] for one in judged] == ["instance", "own"]
    text = done(*report).out
    assert "mydata" in text
    assert "published" not in text.lower()
    (matrix,) = condition_drawings(find_records(Path("results")).records)
    accuracies = {row["condition"]: row["mean"] for row in matrix.data.to_dict("records")}
    own = [one["mean"] for one in judged]
    assert list(accuracies.values()) == pytest.approx([*own, own[1]])  # timm's is the unseen one
    assert list(accuracies) == ["convnet", "mean over unseen", "timm:resnet10t"]
    line = refused("evaluate", "results/dm.pt", *SHORT)
    assert (
        "made from mydata, which is unknown here; name its folder, as in --dataset ./mydata" in line
    )
    (tmp_path / "mydata" / "dcbench.toml").write_text("colour = 1")
    assert "unknown key 'colour'" in refused(*run)
    folder(tmp_path / "one", images=1)
    line = refused(*run[:-2], "--dataset", "./one")
    assert "class 'cat' of one has 1 image in one/train; wanted at least 2" in line
    line = refused(*run[:-2], "--dataset", "./nothing")
    assert "nothing is no image folder" in line
    answer = ask(*run[:-2], "--dataset", "mydata")
    assert (answer.code, "did you mean './mydata'?" in answer.line) == (2, True)


def test_own_images_are_named_by_their_folder_in_commands_to_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder(tmp_path / "mydata", toml="size = 16")
    done("run", "--method", "random", "--dataset", "./mydata", "--preset", "quick", *SHORT)
    exported = done("export", "results/random.pt", "--as", "npz", "--to", "back.npz")
    said = exported.out + exported.err
    back = said.partition("read back by: dcbench ")[2].splitlines()[0]
    assert "--dataset ./mydata" in back
    done(*shlex.split(back))
    line = refused("evaluate", "results/random.pt", "--dataset", "digits", *SHORT)
    assert line.endswith("evaluate it with --dataset ./mydata")


def test_own_images_are_searched_on_and_named_by_a_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder(tmp_path / "mydata", toml="size = 16")
    assert dcbench.load_dataset(Path("mydata")).spec.dataset == "mydata"
    done("run", "--method", "random", "--dataset", "./mydata", "--preset", "quick", *SHORT)
    short = ("--epochs", "1", "--threads", "1", "--engine", "eager")
    words = ("nas", "--proxy", "results/random.pt", "--sample", "2", "--preset", "quick", *short)
    done(*words, "--dataset", "./mydata")
    assert "of your own data say the folder: --dataset ./mydata" in refused(*words)
