"""Studies that a file declares."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dcbench.distiller import find, hyper_parameters
from dcbench.evaluation.protocol import PROTOCOLS
from dcbench.records import find_records
from dcbench.studies.declarations import STUDIES, Plan, StudyPart
from dcbench.studies.files import read_study, study_named
from dcbench.system.errors import DcbenchError
from tests.commandline import ROOT, ask, done
from tests.small_studies import SHORT

SMALL = """
dataset = "digits"
preset = "quick"
networks = 1
protocol = ["quick", "whole-quick"]
seed = [0, 1]
[[sets]]
method = "random"
[[sets]]
method = "mmd"
seed = 0
fields = { iterations = 3, lr = [0.1, 0.2] }
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "study.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_what_a_file_declares(tmp_path: Path) -> None:
    study = read_study(written(tmp_path, SMALL))
    both = ("quick", "whole-quick")
    lrs = [{"iterations": "3", "lr": lr} for lr in ("0.1", "0.2")]
    assert study.plans == {
        "quick": Plan(
            (
                StudyPart(("random",), (1,), (0, 1), protocols=both),
                *(StudyPart(("mmd",), (1,), (0,), fields, protocols=both) for fields in lrs),
            ),
            ensemble=1,
            dataset="digits",
        )
    }
    assert (study.name, study.title, study.methods) == ("study", "study", ("random", "mmd"))
    assert study.varies == "method; protocol; iterations; lr"


def test_a_folder_of_data_lies_beside_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, SMALL.replace('"digits"', '"./mine"'))
    assert read_study(path).dataset == f"{tmp_path}/mine"
    monkeypatch.chdir(tmp_path)
    assert read_study(Path(path.name)).dataset == "./mine"


def test_one_grid_needs_no_sets_and_a_method_s_file_lies_beside_it(tmp_path: Path) -> None:
    text = 'dataset = "digits"\nmethod = ["dm", "./mine.py:Mine"]\nipc = 10\nfields = {lr = [1, 2]}'
    study = read_study(written(tmp_path, text))
    first, second = study.plan("paper").parts
    assert first.methods == ("dm", f"{tmp_path / 'mine.py'}:Mine")
    assert (first.ipcs, first.seeds) == ((10,), (0,))
    assert [part.fields for part in (first, second)] == [{"lr": "1"}, {"lr": "2"}]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("dataset = 'digits'\nmetod = 'dm'", "key of study.toml 'metod'; did you mean 'method'?"),
        ("dataset = 'digits'\n[[sets]]\nipcs = 1", "key of [[sets]] in study.toml 'ipcs'"),
        ("dataset = 'digits'", "no method is named"),
        ("method = 'dm'", "dataset must be text, got nothing"),
        ("dataset = 'digits'\nmethod = 3", "method must be text or a list, got 3"),
        ("dataset = 'digits'\nmethod = 'dm'\nipc = 0", "ipc must be at least 1, got 0"),
        ("dataset = 'digits'\nmethod = 'dm'\nipc = true", "ipc must be a whole number"),
        ("dataset = 'digits'\nmethod = 'dm'\nseed = []", "seed is an empty list"),
        ("dataset = 'digits'\nmethod = 'dm'\nnetworks = [1, 2]", "one number, got [1, 2]"),
        ("dataset = 'digits'\nmethod = 'dm'\nfields = {lr = []}", "the field lr takes a value"),
        ("dataset = 'digits'\nmethod = 'dm'\nfields = 3", "fields is a table"),
        ("dataset = 'digits'\nsets = 3", "sets are tables that begin with [[sets]]"),
        ("dataset = 'digits'\nmethod = 'dm'\nlr = 3", "key of study.toml 'lr'"),
        (
            "dataset = 'digits'\nmethod = 'dm'\ntrace = [0, 5]\nprotocol = ['paper', 'quick']",
            "a trace is judged in one way",
        ),
        ("dataset = ", "study.toml is not TOML"),
    ],
)
def test_a_slip_is_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(DcbenchError) as refused:
        read_study(written(tmp_path, text))
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("method = 'datadm'", 2, "did you mean 'datadam'?"),
        ("method = 'dm'\nfields = {iteration = 3}", 2, "did you mean 'iterations'?"),
        ("method = 'dm'\nprotocol = 'qick'", 2, "did you mean 'quick'?"),
        ("method = 'dm'\nnetwork = 'convnt'", 2, "did you mean 'convnet'?"),
        ("method = 'dm'\naugment = 'das'", 2, "did you mean 'dsa'?"),
        ("method = 'dm'\npreset = 'qick'", 2, "did you mean 'quick'?"),
        ("method = 'dm'\nfields = {iterations = 'many'}", 2, "iterations must be int"),
        ("method = 'random'\ntrace = [0, 5]", 2, "cannot be traced"),
        ("method = './absent.py:Mine'", 1, "no such file"),
    ],
)
def test_a_slip_is_named_before_anything_is_computed(
    tmp_path: Path, line: str, code: int, said: str
) -> None:
    path = written(tmp_path, f"dataset = 'digits'\n{line}\n")
    answer = ask("reproduce", path, "--out", tmp_path / "out")
    assert (answer.code, said in answer.line) == (code, True), answer.err
    assert not list((tmp_path / "out").rglob("*.pt"))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    answer = ask("reproduce", tmp_path / "absent.toml")
    assert answer.code == 1
    assert "absent.toml" in answer.line


def test_it_is_estimated_carried_out_and_resumed(
    tmp_path: Path, made: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PROTOCOLS, "quick", SHORT)
    words = ("reproduce", written(tmp_path, SMALL), "--threads", "1", "--out", tmp_path / "out")
    estimated = done(*words, "--estimate", "--json").json
    assert estimated["estimate_seconds"] > 0
    assert not list((tmp_path / "out").rglob("*.pt"))
    ran = done(*words, "--json").json
    assert ran["preset"] == "quick"
    found = [
        (run["method"], run["fields"].get("lr"), run["seed"], run["protocol"]["name"])
        for run in ran["runs"]
    ]
    both = ("quick", "whole-quick")
    assert sorted(found, key=str) == sorted(
        [
            *(("random", None, seed, name) for seed in (0, 1) for name in both),
            *(("mmd", lr, 0, name) for lr in (0.1, 0.2) for name in both),
        ],
        key=str,
    )
    assert len(find_records(tmp_path / "out").records) == 8
    assert len(made) == 4
    again = done(*words, "--json").json
    assert len(made) == 4  # nothing is made twice
    assert [run["accuracies"] for run in again["runs"]] == [
        run["accuracies"] for run in ran["runs"]
    ]


def test_the_page_s_example_is_a_study(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "guides" / "declare-a-study.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    study = read_study(written(tmp_path, example))
    assert set(study.methods) == {"random", "dm", "datadam"}
    for part in study.plan("quick").parts:
        for method in part.methods:
            assert set(part.fields) <= set(hyper_parameters(find(method)))


def test_names_of_the_paper_s_studies_stay() -> None:
    assert study_named("table3") is STUDIES["table3"]
