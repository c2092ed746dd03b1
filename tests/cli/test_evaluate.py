"""``dcbench evaluate``, ``list``, ``show`` and ``report``: what they find, where they put it, what they say."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from rich.cells import cell_len

from dcbench.artifacts.artifact import read_artifact, write_artifact
from dcbench.artifacts.importers.catalogue import LAYOUTS
from dcbench.artifacts.pictures import figure
from dcbench.datasets.catalogue import DATASETS
from dcbench.distiller import registered
from dcbench.evaluation.protocol import PROTOCOLS
from dcbench.networks.catalogue import NETWORKS
from tests.commandline import MMD, QUICKLY, RANDOM, RUN_FIELDS, ask, done, rows


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of one run; copied by those who change them."""
    out = tmp_path_factory.mktemp("kept") / "out"
    done(*MMD, "--out", out)
    return out


@pytest.fixture
def out(kept: Path, tmp_path: Path) -> Path:
    shutil.copytree(kept, tmp_path / "out")
    return tmp_path / "out"


def evaluations(*words: str | Path) -> list[dict[str, Any]]:
    answer = done("evaluate", *words, *QUICKLY, "--json")
    assert list(answer.json) == ["evaluations"]
    found = answer.json["evaluations"]
    assert isinstance(found, list)
    return found


def home_of(out: Path) -> Path:
    (path,) = out.glob("digits/*/*/*/*/synthetic.pt")
    return path.parent


@pytest.mark.parametrize("place", ["its folder", "the copy of the latest", "another out"])
def test_a_set_of_ours_is_evaluated_where_it_was_made(
    out: Path, tmp_path: Path, place: str
) -> None:
    home, before = home_of(out), rows(out)
    path = home / "synthetic.pt" if place == "its folder" else out / "mmd.pt"
    where = tmp_path / "elsewhere" if place == "another out" else out
    (evaluation,) = evaluations(path, "--out", where)
    assert sorted(evaluation) == sorted(
        {*RUN_FIELDS, "network", "augment"} - {"distill_seconds", "step_seconds"}
    )
    assert Path(evaluation["record"]).is_relative_to(home)
    assert evaluation["accuracies"] == [row["accuracy"] for row in before]
    assert rows(out) == before  # the same protocol: nothing was trained again
    assert (evaluation["network"], evaluation["augment"], evaluation["seed"]) == (
        "convnet",
        "dsa",
        0,
    )


def test_a_copy_from_elsewhere_gets_a_folder_named_by_its_content(
    out: Path, tmp_path: Path
) -> None:
    artifact = read_artifact(out / "mmd.pt")
    (tmp_path / "downloads").mkdir()
    shutil.copy(out / "mmd.pt", tmp_path / "downloads" / "set.pt")
    (evaluation,) = evaluations(tmp_path / "downloads" / "set.pt", "--out", tmp_path / "mine")
    assert (
        Path(evaluation["record"]).parents[2]
        == tmp_path / "mine" / "digits" / "evaluated" / artifact.sha256[:12]
    )
    assert evaluation["synthetic"] == str(tmp_path / "downloads" / "set.pt")
    # the same set, seed and protocol: the same networks
    assert evaluation["accuracies"] == [row["accuracy"] for row in rows(out)]
    pictures = [
        next(folder.rglob("images.png")).read_bytes() for folder in (tmp_path / "mine", out)
    ]
    assert pictures[0] == pictures[1]


def test_a_set_is_judged_by_other_networks_than_it_was_made_with(out: Path) -> None:
    found = evaluations(
        out / "mmd.pt", "--network", "convnet,alexnet", "--networks", "1", "--out", out
    )
    assert [evaluation["network"] for evaluation in found] == ["convnet", "alexnet"]
    assert found[0]["accuracies"] != found[1]["accuracies"]


def test_a_network_that_cannot_see_the_images_is_named_before_anything_is_trained(
    out: Path, tmp_path: Path
) -> None:
    other = tmp_path / "elsewhere"
    answer = ask(
        "evaluate", out / "mmd.pt", "--network", "convnet,vgg11", "--networks", "3", "--out", other
    )
    assert answer.code == 1
    assert (
        answer.line
        == "dcbench: vgg11 pools too often for 8×8 images; it needs at least 32×32: choose another"
    )
    assert not list(other.rglob("networks.jsonl"))
    answer = ask(*MMD, "--network", "resnet18", "--out", other)
    assert answer.code == 1
    assert (
        answer.line == "dcbench: resnet18 needs images of at least 16×16, got 8×8: choose another"
    )
    assert not (other / "mmd.pt").exists()


@pytest.mark.parametrize(
    "words",
    [
        ("--space", "zca"),
        ("--name", "ours"),
        ("--experiment", "1"),
        ("--classes", "by-position"),
        ("--resize",),
    ],
)
def test_what_is_said_of_foreign_sets_needs_a_layout(words: tuple[str, ...], out: Path) -> None:
    answer = ask("evaluate", out / "mmd.pt", *words, "--out", out)
    assert answer.code == 2
    assert answer.line.startswith(
        "dcbench: --space, --experiment, --classes, --resize and --name are of another project's set; "
        "say its layout with --as"
    )


def test_several_sets_networks_and_augmentations(out: Path) -> None:
    done(*RANDOM, "--out", out)
    found = evaluations(
        out / "mmd.pt",
        out / "random.pt",
        out / "mmd.pt",
        "--augment",
        "dsa,none",
        "--network",
        "convnet",
        "--out",
        out,
    )
    asked = [(method, augment) for method in ("mmd", "random") for augment in ("dsa", "none")]
    assert [(evaluation["method"], evaluation["augment"]) for evaluation in found] == asked
    assert len({evaluation["record"] for evaluation in found}) == 4


def test_other_seeds_give_other_networks_and_records_of_their_own(out: Path) -> None:
    (own,) = evaluations(out / "mmd.pt", "--out", out)
    (other,) = evaluations(out / "mmd.pt", "--seed", "7", "--out", out)
    assert other["seed"] == own["seed"]  # of the set
    assert other["accuracies"] != own["accuracies"]
    assert Path(other["record"]).parent.name.endswith("-seed7")


def test_what_a_set_asks_for_itself_is_honoured_and_recorded(out: Path, tmp_path: Path) -> None:
    artifact = read_artifact(out / "mmd.pt")
    write_artifact(
        tmp_path / "own.pt",
        replace(artifact.synthetic, recipe={"augment": "none", "lr": 0.05}),
        artifact.provenance,
    )
    (evaluation,) = evaluations(tmp_path / "own.pt", "--out", tmp_path / "own")
    assert evaluation["augment"] == "none"
    # what was asked; the record's recipe says what the set asked
    assert evaluation["protocol"]["augment"] == "dsa"
    record = json.loads(Path(evaluation["record"]).read_text(encoding="utf-8"))
    assert record["recipe"] == {"augment": "none", "lr": 0.05}


def test_another_revision_of_the_data_is_told_and_kept_apart(out: Path, tmp_path: Path) -> None:
    artifact = read_artifact(out / "mmd.pt")
    old = replace(artifact.synthetic, spec=replace(artifact.synthetic.spec, revision="0" * 12))
    write_artifact(tmp_path / "old.pt", old, artifact.provenance)
    answer = done("evaluate", tmp_path / "old.pt", *QUICKLY, "--out", tmp_path / "other", "--json")
    assert "was made from another revision of digits (000000000000, here" in answer.err
    (evaluation,) = answer.json["evaluations"]
    assert f"on-{artifact.synthetic.spec.revision}" in evaluation["record"]


def test_a_set_whose_classes_are_in_another_order_is_refused(out: Path, tmp_path: Path) -> None:
    """As sets that were made of an image folder ``zero`` to ``nine`` once were: by the alphabet."""
    artifact = read_artifact(out / "mmd.pt")
    words = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    for names, right in ((words, True), (tuple(sorted(words)), False), (tuple("qwertyuiop"), True)):
        spec = replace(artifact.synthetic.spec, revision="0" * 12, class_names=names)
        old = replace(artifact.synthetic, spec=spec)
        write_artifact(tmp_path / "old.pt", old, artifact.provenance)
        answer = ask("evaluate", tmp_path / "old.pt", *QUICKLY, "--out", tmp_path / "other")
        assert answer.code == (0 if right else 1)
        if not right:
            assert "has the classes of digits in another order: eight, five, four" in answer.line
            assert "wanted 0, 1, 2, 3, 4, 5, 6, 7, 8, 9: make it again" in answer.line


def test_a_table_for_people(out: Path) -> None:
    answer = done("evaluate", out / "mmd.pt", *QUICKLY, "--augment", "dsa,none", "--out", out)
    assert "Accuracy on digits; 2 networks each; convnet; protocol paper, 3 epochs" in answer.out
    assert [
        line.split()[:2] for line in answer.out.splitlines() if line.strip().startswith("mmd")
    ] == [["mmd", "dsa"], ["mmd", "none"]]
    assert answer.err.splitlines()[0] == "Kept in:"


def test_list_names_all_there_is() -> None:
    found = done("list", "--json").json
    assert sorted(found["methods"]) == sorted(registered())
    assert found["methods"]["datadam"]["fields"]["power"] == 4.0
    assert found["methods"]["datadam"]["presets"] == ["own", "paper", "quick", "released"]
    assert found["methods"]["datadam"]["settings"]["quick"] == {"iterations": 250}
    assert found["methods"]["datadam"]["domains"]["momentum"] == "≥0, ≤1"
    assert sorted(found["layouts"]) == sorted(LAYOUTS)
    assert sorted(found["datasets"]) == sorted(DATASETS)
    assert sorted(found["protocols"]) == sorted(PROTOCOLS)
    assert found["protocols"]["paper"]["networks"] == 100
    said = done("list").out
    assert "preset quick: iterations=250" in said
    for name in (*registered(), *DATASETS, *PROTOCOLS, *LAYOUTS):
        assert f"\n{name} " in said
    assert max(map(cell_len, said.splitlines())) <= 100


def test_list_shows_one_kind_or_one_method() -> None:
    assert done("list", "networks", "--json").json == {"networks": sorted(NETWORKS)}
    (methods,) = done("list", "dm", "--json").json.values()
    assert list(methods) == ["dm"]
    said = done("list", "dm").out
    assert said.splitlines()[1].startswith("dm  Matches mean features")
    assert "datadam" not in said
    assert "unknown kind or method 'dmm'; did you mean 'dm'?" in ask("list", "dmm").line


def test_show_describes_a_set_and_draws_it(out: Path, tmp_path: Path) -> None:
    shown = done("show", out / "mmd.pt", "--json").json
    assert (shown["method"], shown["dataset"], shown["ipc"], shown["images"]) == (
        "mmd",
        "digits",
        1,
        [10, 1, 8, 8],
    )
    assert shown["fields"]["iterations"] == 3
    assert shown["picture"] == str(out / "mmd.png")
    with Image.open(out / "mmd.png") as picture:
        assert picture.format == "PNG"
        assert picture.size[1] > picture.size[0]  # a row for each of ten classes, one image in each
    said = done("show", out / "mmd.pt", "--out", tmp_path / "drawn.png").out
    assert (tmp_path / "drawn.png").read_bytes() == (out / "mmd.png").read_bytes()
    assert read_artifact(out / "mmd.pt").sha256 in said
    assert "iterations=3" in said
    assert "10×1×8×8" in said
    inches = {}
    for scale in ("1", "2"):
        done("show", out / "mmd.pt", "--out", tmp_path / "grid.pdf", "--scale", scale)
        content = (tmp_path / "grid.pdf").read_bytes()
        (box,) = re.findall(rb"/MediaBox \[ 0 0 ([\d.]+) ([\d.]+) \]", content)
        inches[scale] = [float(side) / 72 for side in box]
    # ten classes of 1 cm and the space between them
    assert inches["1"][1] == pytest.approx(10 / 2.54, rel=0.02)
    assert inches["2"][1] == pytest.approx(20 / 2.54, rel=0.02)
    (panel,) = figure(read_artifact(out / "mmd.pt").synthetic).axes
    assert [text.get_text() for text in panel.get_yticklabels()] == list("0123456789")


def test_reports_in_each_format(out: Path, tmp_path: Path) -> None:
    marked = {"latex": r"\begin{tabular*}", "markdown": "| method |", "csv": "method,column,"}
    endings = {"latex": ".tex", "markdown": ".md", "csv": ".csv"}
    for fmt, mark in marked.items():
        printed = done("report", "--results", out, "--format", fmt)
        assert mark in printed.out
        answer = done("report", "--results", out, "--format", fmt, "--out", tmp_path / fmt)
        assert answer.out == ""
        files = sorted(
            path.name
            for path in (tmp_path / fmt).iterdir()
            if path.is_file() and not path.stem.endswith("-notes")
        )
        assert [name for name in files if name != "records.csv"] == [
            next(name for name in files if name.startswith("digits-"))
        ]
        assert files[0].endswith(endings[fmt])
        assert (tmp_path / fmt / files[0]).read_text(
            encoding="utf-8"
        ).strip() == printed.out.strip()
        said = [line for line in answer.err.splitlines() if line.startswith("written: ")]
        assert f"written: {tmp_path / fmt / files[0]}" in said
        drawn = len({path.stem for path in (tmp_path / fmt / "figures").glob("*")})
        counted = [line for line in said if line.endswith(f" in {tmp_path / fmt / 'figures'}")]
        assert drawn
        assert counted == [
            f"written: {drawn} figure{'s' * (drawn > 1)} in {tmp_path / fmt / 'figures'}"
        ]
        assert not any("-notes" in line for line in said)
    networks = list(
        csv.DictReader((tmp_path / "csv" / "records.csv").read_text(encoding="utf-8").splitlines())
    )
    assert [float(row["accuracy"]) for row in networks] == [row["accuracy"] for row in rows(out)]


def test_report_as_json(out: Path) -> None:
    reported = done("report", "--results", out, "--json").json
    (row,) = reported["summary"]
    assert (row["method"], row["sets"]) == ("mmd", 1)
    assert row["mean"] == pytest.approx(sum(line["accuracy"] for line in rows(out)) / 2)
    assert reported["problems"] == []


def test_a_report_names_what_it_passes_over(out: Path) -> None:
    (record,) = out.rglob("record.json")
    broken = out / "broken" / "record.json"
    broken.parent.mkdir()
    broken.write_bytes(record.read_bytes()[:100])
    answer = done("report", "--results", out)
    assert f"passed over: {broken} is not a readable record" in answer.err


def test_a_report_with_records_does_without_torch(out: Path) -> None:
    check = "import sys; from dcbench.cli import main\ntry: main(sys.argv[1:])\nfinally: assert 'torch' not in sys.modules"
    command = [sys.executable, "-c", check, "report", "--results", str(out), "--format", "markdown"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "| method |" in ran.stdout


def test_a_broken_pipe_is_no_error_to_speak_of(out: Path) -> None:
    command = f"{sys.executable} -m dcbench report --results {out} | head -c 1 > /dev/null"
    ran = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)  # noqa: S602 - a pipe needs a shell
    assert ran.stderr == ""


def test_an_evaluation_says_when_a_set_taught_nothing(out: Path, tmp_path: Path) -> None:
    artifact = read_artifact(out / "mmd.pt")
    write_artifact(
        tmp_path / "blank.pt",
        replace(artifact.synthetic, images=artifact.synthetic.images * 0),
        artifact.provenance,
    )
    assert (
        "chance-level accuracy"
        in ask("evaluate", tmp_path / "blank.pt", *QUICKLY, "--out", tmp_path / "blank").err
    )
