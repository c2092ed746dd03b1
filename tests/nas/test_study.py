"""The study from the command line and from within: the same figures however often it is
interrupted, and nothing trained twice.
"""

from __future__ import annotations

import json
import math
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

import pytest
import torch

from dcbench.artifacts.artifact import read_artifact, write_artifact
from dcbench.cli import main
from dcbench.datasets.loading import Loaded, load
from dcbench.datasets.places import Places
from dcbench.evaluation.protocol import SearchProtocol
from dcbench.experiments.context import Workspace
from dcbench.families.selection import chosen_set, random_members
from dcbench.images import ImageSpec, Space, SyntheticSet
from dcbench.nas.catalogue import SPACES
from dcbench.nas.outcome import TopShare, TrainedOnProxy, store, trained_truth
from dcbench.nas.proxies import make_proxies, open_artifacts, parse_requests, whole
from dcbench.nas.space import SearchSpace
from dcbench.nas.study import ArchitectureStudy, DrawnArchitectures, Rows, draw, train_on
from dcbench.nas.truth import Truth
from dcbench.networks.base import Network
from dcbench.networks.convnet import ConvNet
from dcbench.records import SearchRecord, read_record
from dcbench.run import Run
from dcbench.system.errors import DataError, MismatchError
from dcbench.system.layout import ARCHITECTURE_ROWS
from dcbench.system.machine import Machine
from dcbench.training.trainer import Schedule, Trainer

CHEAP = ("--sample", "6", "--seed", "97")  # six shallow ConvNets
QUICK = (
    "--preset",
    "quick",
    "--epochs",
    "3",
    "--truth-epochs",
    "1",
    "--threads",
    "1",
    "--device",
    "cpu",
    "--validation",
    "100",
)
STUDY_KEYS = {
    *(
        "space",
        "proxy",
        "architectures",
        "failed",
        "spearman",
        "spearman_ci95",
        "kendall",
        "spearman_top",
        "top1_accuracy",
        "regret",
    ),
    *("seconds", "storage_images", "storage_bytes", "validation_seen_by_proxy", "record"),
}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def held(cache: Path) -> Loaded:
    """The digits with 100 training images kept apart."""
    return load("digits", Places(None, cache), holdout=100)


@pytest.fixture(scope="module")
def artifacts(
    held: Loaded, digits: Loaded, machine: Machine, tmp_path_factory: pytest.TempPathFactory
) -> Mapping[str, Path]:
    """One set made without the validation images, one made with them, one of other data, one of
    another size.
    """
    folder = tmp_path_factory.mktemp("artifacts")
    run = Run(0, machine)
    made: dict[str, SyntheticSet] = {
        "apart": chosen_set(held.train, random_members(held.train, 5, run)),
        "seen": chosen_set(digits.train, random_members(digits.train, 5, run)),
    }
    spec = made["seen"].spec
    made["mnist"] = replace(made["seen"], spec=replace(spec, dataset="mnist"))
    made["stranger"] = replace(made["seen"], spec=replace(spec, dataset="stranger"))
    larger = torch.nn.functional.interpolate(made["seen"].images, scale_factor=2)
    made["larger"] = replace(made["seen"], spec=replace(spec, size=16), images=larger)
    for name, synthetic in made.items():
        origin = {
            "method": "mine",
            "ipc": 5,
            "seed": 3,
            "fields": {"lr": 1.0},
            "holdout": held.train.holdout if name == "apart" else "",
        }
        write_artifact(folder / f"{name}.pt", synthetic, origin)
    return {name: folder / f"{name}.pt" for name in made}


Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """``dcbench nas`` with these words: exit code, standard output, standard error."""
    monkeypatch.setenv("DCBENCH_CACHE", str(cache))
    monkeypatch.delenv("DCBENCH_DATA", raising=False)

    def run(*words: object, out: Path = tmp_path / "out") -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(
                ["nas", *map(str, words), "--out", str(out), "--data-root", str(tmp_path / "data")]
            )
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run


def comparable(record: SearchRecord) -> dict[str, Any]:
    """A record without what differs between two runs of the same."""
    plain = record.to_json()
    for entry in plain["architectures"]:
        for run in entry["runs"]:
            run.pop("seconds")
    return {key: value for key, value in plain.items() if key not in ("seconds", "created")}


def lines_of(out: Path, proxy: str) -> list[str]:
    (path,) = out.glob(f"digits/search/*/{proxy}-*/{ARCHITECTURE_ROWS}")
    return path.read_text(encoding="utf-8").splitlines()


ALL_PROXIES = ("--proxy", "{apart},{seen}", "--proxy", "random,early-stopping,whole")


def chosen_by_validation(record: SearchRecord) -> bool:
    """Whether its top share is the best by validation accuracies, which are there."""
    validated = {each.architecture: each.truth_validation for each in record.architectures}
    if record.proxy == "whole":  # the networks whose test accuracy is the truth
        assert validated == {each.architecture: each.accuracy for each in record.architectures}
    return record.top_by == "validation" and dict(record.top_figures) == validated


def test_from_proxies_to_records(
    command: Command, artifacts: Mapping[str, Path], tmp_path: Path
) -> None:
    words = (*(word.format(**artifacts) for word in ALL_PROXIES), *CHEAP, *QUICK, "--json")
    code, printed, said = command(*words)
    assert code == 0, said
    assert list(json.loads(printed)) == ["studies"]
    studies = json.loads(printed)["studies"]
    assert all(set(study) == STUDY_KEYS for study in studies)
    columns = {key: [study[key] for study in studies] for key in STUDY_KEYS}
    assert columns["proxy"] == ["mine", "mine", "random", "early-stopping", "whole"]
    assert columns["validation_seen_by_proxy"] == [False, True, False, False, False]
    assert columns["storage_images"] == [50, 50, 50, 1338, 1338]
    assert (
        columns["storage_bytes"]
        == [50 * (4 * 64 + 8)] * 2 + [50 * (64 + 8)] + [1338 * (64 + 8)] * 2
    )
    assert (
        set(columns["architectures"]),
        set(columns["failed"]),
        set(columns["spearman_top"]),
    ) == ({6}, {0}, {None})
    assert all(-1 <= correlation <= 1 for correlation in columns["spearman"])
    assert "about" in said  # the estimate
    assert "120 architectures are impossible at 8×8" in said
    records = [record_of(study) for study in studies]
    truths = [
        {score.architecture: score.truth for score in record.architectures} for record in records
    ]
    assert all(truth == truths[0] for truth in truths)
    assert all(map(chosen_by_validation, records))
    assert [record.iterations for record in records] == [3, 3, 3, 3, 6]
    assert all(len(record.excluded) == 120 for record in records)
    for study in studies:
        assert study["top1_accuracy"] + study["regret"] == pytest.approx(
            max(filter(None, truths[0].values()))
        )

    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob(ARCHITECTURE_ROWS)}
    assert json.loads(command(*words)[1]) == json.loads(printed)
    assert {
        path: path.read_bytes() for path in (tmp_path / "out").rglob(ARCHITECTURE_ROWS)
    } == before

    (other,) = json.loads(
        command(
            "--proxy",
            "random",
            "--proxy",
            artifacts["apart"],
            *words[4:],
            "--top",
            "1",
            "--top-by",
            "test",
        )[1]
    )["studies"][:1]
    assert (record_of(other).top, record_of(other).top_by) == (1, "test")
    # another share of the best takes nothing away
    assert [record_of(study).top for study in studies] == [0.2] * 5
    assert [record_of(study).top_by for study in studies] == ["validation"] * 5


def test_a_truth_can_be_shared(command: Command, tmp_path: Path) -> None:
    words = ("--proxy", "random:5", "--dataset", "digits", *CHEAP, *QUICK, "--json")
    code, trained, said = command(*words)
    assert code == 0, said
    (table,) = (tmp_path / "out").rglob("truth.csv")
    code, shared, said = command(*words, "--truth", table, out=tmp_path / "elsewhere")
    assert code == 0, said
    (own,), (study,) = (json.loads(printed)["studies"] for printed in (trained, shared))
    assert all(
        study[key] == own[key]
        for key in ("spearman", "spearman_ci95", "kendall", "top1_accuracy", "regret")
    )
    assert not list((tmp_path / "elsewhere").glob("digits/search/convnet720/whole-*"))
    assert record_of(study).top_by == record_of(own).top_by == "validation"
    assert record_of(study).top_figures == record_of(own).top_figures

    rows = [line.split(",") for line in table.read_text(encoding="utf-8").splitlines()]
    table.write_text("\n".join(",".join(row[:2]) for row in rows), encoding="utf-8")
    code, printed, said = command(*words, "--truth", table, out=tmp_path / "elsewhere")
    assert record_of(json.loads(printed)["studies"][0]).top_by == "test"  # all that it says
    code, _, said = command(*words, "--truth", table, "--top-by", "validation")
    assert code == 1
    assert (
        "no validation_accuracy of each architecture drawn; choose --top-by test"
        in said.splitlines()[-1]
    )
    assert "unknown value of --top-by 'valid'" in command(*words, "--top-by", "valid")[2]


def record_of(study: Mapping[str, Any]) -> SearchRecord:
    record = read_record(Path(study["record"]))
    assert isinstance(record, SearchRecord)
    return record


def test_a_larger_sample_trains_only_what_is_new(
    command: Command, truth_of_all: Path, tmp_path: Path
) -> None:
    words = (
        "--proxy",
        "random:1",
        "--dataset",
        "digits",
        "--truth",
        truth_of_all,
        "--seed",
        "97",
        *QUICK,
    )
    assert command(*words, "--sample", "3")[0] == 0
    few = lines_of(tmp_path / "out", "random")
    assert command(*words, "--sample", "5")[0] == 0
    more = lines_of(tmp_path / "out", "random")
    assert (len(few), len(more)) == (3, 5)
    assert more[:3] == few
    assert command(*words, "--sample", "3", "--seeds", "2")[0] == 0
    assert len(lines_of(tmp_path / "out", "random")) == 8


def test_architectures_are_drawn_among_those_that_match(
    command: Command, truth_of_all: Path, held: Loaded
) -> None:
    words = (
        "--proxy",
        "random:1",
        "--dataset",
        "digits",
        "--truth",
        truth_of_all,
        *QUICK,
        "--sample",
        "4",
        "--json",
    )
    code, printed, said = command(*words, "--match", "d1-w32-*-none-*,d1-w64-*-none-*")
    assert code == 0, said
    record = record_of(json.loads(printed)["studies"][0])
    assert record.match == ("d1-w32-*-none-*", "d1-w64-*-none-*")
    assert all(
        re.fullmatch(r"d1-w(32|64)-[a-z-]+-none-[a-z]+", score.architecture)
        for score in record.architectures
    )
    assert record.excluded == ()  # one pooling is possible at 8×8
    chosen = draw(SPACES["convnet720"], held.spec, 4, 0, record.match).architectures
    assert sorted(chosen) == [score.architecture for score in record.architectures]


@pytest.fixture(scope="module")
def truth_of_all(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A made-up truth of all 720."""
    path = tmp_path_factory.mktemp("truth") / "truth.csv"
    rows = (
        f"{name},{(place * 37 % 720) / 720}\n"
        for place, name in enumerate(SPACES["convnet720"].identifiers())
    )
    path.write_text("architecture,test_accuracy\n" + "".join(rows), encoding="utf-8")
    return path


HALTING = """
import sys, time
import dcbench.evaluation.evaluate as loop
from dcbench.cli import main
begun = []
initialise = loop.initialise
def halting(network, generator):
    begun.append(network)
    if len(begun) == 4:
        sys.stdout.write("in the middle\\n")
        sys.stdout.flush()
        time.sleep(600)
    initialise(network, generator)
loop.initialise = halting
main(sys.argv[1:])
"""


def test_killed_and_started_again_it_ends_as_if_undisturbed(
    command: Command, cache: Path, truth_of_all: Path, tmp_path: Path
) -> None:
    words = [
        "--proxy",
        "random:5",
        "--dataset",
        "digits",
        "--truth",
        str(truth_of_all),
        "--sample",
        "8",
        "--seed",
        "273",
        *QUICK,
    ]
    out = tmp_path / "killed"
    start = [
        sys.executable,
        "-c",
        HALTING,
        "nas",
        *words,
        "--out",
        str(out),
        "--data-root",
        str(tmp_path / "data"),
    ]
    child = subprocess.Popen(
        start, env={**os.environ, "DCBENCH_CACHE": str(cache)}, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "in the middle\n"
    child.send_signal(signal.SIGKILL)
    child.communicate()
    before = lines_of(out, "random")
    assert len(before) == 3
    assert not list(out.rglob("record.json"))

    code, first, said = command(*words, "--json", out=out)
    assert code == 0, said
    after = lines_of(out, "random")
    assert after[:3] == before
    trained = [(row["architecture"], row["seed"]) for row in map(json.loads, after)]
    assert len(trained) == len(set(trained)) == 8

    code, second, said = command(*words, "--json", out=tmp_path / "undisturbed")
    assert code == 0, said
    ended = [record_of(json.loads(printed)["studies"][0]) for printed in (first, second)]
    assert comparable(ended[0]) == comparable(ended[1])


BAD: Mapping[str, tuple[tuple[str, ...], int, str]] = {
    "other data": (("--proxy", "{apart},{mnist}"), 1, "mnist.pt was made from 'mnist', not digits"),
    "other data than asked": (
        ("--proxy", "{apart}", "--dataset", "mnist"),
        1,
        "apart.pt was made from 'digits', not mnist",
    ),
    "unknown data": (
        ("--proxy", "{stranger}"),
        1,
        "stranger.pt was made from 'stranger', which is no data set",
    ),
    "other resolution": (
        ("--proxy", "{larger}"),
        1,
        "larger.pt: the synthetic set has images of 1×16×16 in 10 classes, but digits has 1×8×8",
    ),
    "no such artifact": (("--proxy", "gone.pt"), 1, "no such file: gone.pt"),
    "no data set": (("--proxy", "random:1"), 2, "--dataset is needed"),
    "size from nothing": (
        ("--proxy", "early-stopping", "--dataset", "digits"),
        2,
        "proxy early-stopping takes its size from another proxy",
    ),
    "random of nothing": (
        ("--proxy", "random:0", "--dataset", "digits"),
        2,
        "'random:0' needs a number of images per class",
    ),
    "random of a word": (("--proxy", "random:many", "--dataset", "digits"), 2, "'random:many'"),
    "more than there are": (
        ("--proxy", "random:500", "--dataset", "digits"),
        1,
        "ipc 500 asked, but class",
    ),
    "empty sample": (
        ("--proxy", "{apart}", "--sample", "0"),
        2,
        "--sample must be at least 1, got 0",
    ),
    "sample above the space": (
        ("--proxy", "{apart}", "--sample", "721"),
        2,
        "a sample of 721 architectures was asked; convnet720 has 720",
    ),
    "sample above the matching": (
        ("--proxy", "{apart}", "--sample", "19", "--match", "d1-w32-*-none-*,d1-w64-*-none-*"),
        2,
        "a sample of 19 architectures was asked; convnet720 has 18 that match, wanted 1 to 18",
    ),
    "sample above the possible and matching": (
        ("--proxy", "{apart}", "--sample", "16", "--match", "d4-w32-*"),
        1,
        r"only 15 of convnet720 are possible at 8×8 and match d4-w32-\*",
    ),
    "a pattern that fits none": (
        ("--proxy", "{apart}", "--match", "w32"),
        2,
        "no architecture of convnet720 matches 'w32'; they are named like d4-w256-",
    ),
    "sample above the possible": (
        ("--proxy", "{apart}", "--sample", "601"),
        1,
        "only 600 of convnet720 are possible at 8×8",
    ),
    "no top": (
        ("--proxy", "{apart}", "--top", "0"),
        2,
        "top must be a share above 0 and at most 1, got 0.0",
    ),
    "not a top": (
        ("--proxy", "{apart}", "--top", "nan"),
        2,
        "top must be a share above 0 and at most 1, got nan",
    ),
    "no seeds": (("--proxy", "{apart}", "--seeds", "0"), 2, "--seeds must be at least 1, got 0"),
    "unknown space": (
        ("--proxy", "{apart}", "--space", "nasbench101"),
        2,
        "did you mean 'nasbench201'",
    ),
    "unknown protocol": (
        ("--proxy", "{apart}", "--protocol", "lineage"),
        2,
        "unknown protocol of convnet720 'lineage'",
    ),
    "no truth": (
        ("--proxy", "{apart}", "--space", "nasbench201"),
        2,
        "give --truth FILE: a CSV or parquet table .* nats-bench",
    ),
    "column of no table": (
        ("--proxy", "{apart}", "--truth-column", "x"),
        2,
        "no --truth FILE was given",
    ),
    "truth is gone": (("--proxy", "{apart}", "--truth", "gone.csv"), 1, "no such file: gone.csv"),
    "truth lacks some": (
        ("--proxy", "{apart}", "--truth", "{lacking}"),
        1,
        "lacks 599 of the 600 architectures drawn, first d",
    ),
    "truth has one twice": (
        ("--proxy", "{apart}", "--truth", "{twice}"),
        1,
        "row 3: architecture d1-w32-relu-none-none stands there twice",
    ),
    "truth is malformed": (
        ("--proxy", "{apart}", "--truth", "{malformed}"),
        1,
        "row 2: no such architecture of convnet720: 'd9'",
    ),
    "a built-in misspelt": (
        ("--proxy", "randm:10"),
        2,
        "unknown proxy .and no such file. 'randm'; did you mean 'random'",
    ),
    "no file is meant": (
        ("--proxy", "{apart},datadam"),
        2,
        "unknown proxy .*'datadam'; known: FILE.pt, early-stopping, random, whole",
    ),
    "the file is gone": (("--proxy", "gone.pt"), 1, "no such file: gone.pt"),
    "too many to keep apart": (
        ("--proxy", "{apart}", "--validation", "5000"),
        1,
        "a part of 5000 of 1438 images",
    ),
    "nothing to rank by": (
        ("--proxy", "{apart}", "--validation", "0"),
        2,
        "--validation must be at least 1, got 0",
    ),
}


@pytest.mark.parametrize(("words", "code", "complaint"), BAD.values(), ids=BAD.keys())
def test_bad_input_is_refused_in_one_line_before_anything_is_trained(
    command: Command,
    artifacts: Mapping[str, Path],
    tmp_path: Path,
    words: tuple[str, ...],
    code: int,
    complaint: str,
) -> None:
    head, row = "architecture,test_accuracy\n", "d1-w32-relu-none-none,0.5\n"
    tables = {"lacking": head + row, "twice": head + row + row, "malformed": head + "d9,0.5\n"}
    for name, content in tables.items():
        (tmp_path / f"{name}.csv").write_text(content, encoding="utf-8")
    places = {
        **{name: str(path) for name, path in artifacts.items()},
        **{name: str(tmp_path / f"{name}.csv") for name in tables},
    }
    ended, printed, said = command(*(word.format(**places) for word in words))
    assert (ended, printed) == (code, "")
    (line,) = [line for line in said.splitlines() if line.startswith("dcbench: ")]
    assert re.search(complaint.replace("(", r"\("), line), line
    assert not list(tmp_path.rglob(ARCHITECTURE_ROWS))


def test_a_foreign_set_is_not_called_as_the_real_data_is(
    command: Command, artifacts: Mapping[str, Path], tmp_path: Path
) -> None:
    write_artifact(
        tmp_path / "whole.pt", read_artifact(artifacts["apart"]).synthetic, {"method": "whole"}
    )
    ended, _, said = command("--proxy", str(tmp_path / "whole.pt"))
    assert ended == 1
    assert (
        f"proxy {tmp_path}/whole.pt is called whole, as the real data is here; import it under another name with --name"
        in said
    )


@final
@dataclass(frozen=True)
class Rough(SearchSpace):
    """Three architectures, of which one runs out of memory and one diverges."""

    name = "rough"
    protocol = quick_protocol = SearchProtocol(
        "rough", 1, Schedule(epochs=2, lr=0.1), truth_epochs=1
    )
    truth_trained, truth_most, truth_help = True, 1.0, ""

    def identifiers(self) -> tuple[str, ...]:
        return ("fine", "hungry", "wild")

    def canonical(self, text: str) -> str:
        return text

    def build(self, identifier: str, spec: ImageSpec) -> Network:
        if identifier == "hungry" and str(torch.empty(0).device) == "cpu":
            raise RuntimeError("DefaultCPUAllocator: can't\nallocate memory")
        network = ConvNet(spec.shape, spec.classes, depth=1, width=32, normalisation="none")
        if identifier == "wild":
            network.classifier.register_forward_hook(
                lambda _module, _images, logits: logits * math.inf
            )
        return network

    def twin(self, identifier: str) -> str:
        return "fine"

    def truth_column(self, dataset: str) -> str:
        return "test_accuracy"


def rough_study(held: Loaded) -> ArchitectureStudy:
    space = Rough()
    return ArchitectureStudy(
        space, held, space.protocol, draw(space, held.spec, None, 0), None, 1, 0
    )


def test_failures_are_counted_and_end_nothing(
    held: Loaded, machine: Machine, tmp_path: Path
) -> None:
    told: list[str] = []
    workspace = Workspace(tmp_path, machine, say=told.append)
    study = rough_study(held)
    (proxy,) = make_proxies(parse_requests(["random:2"]), {}, held, Run(0, machine))
    rows = train_on(study, proxy, workspace)
    assert any(
        "hungry, seed 0, on random IPC 2 seed 0: RuntimeError: DefaultCPUAllocator: can't allocate memory"
        in line
        for line in told
    )
    truth = Truth({"fine": 0.9, "hungry": 0.8, "wild": 0.1}, {"source": "table"})
    record, path = store(TrainedOnProxy(study, proxy, rows, workspace), truth, TopShare())
    assert read_record(path) == record
    by_name = {score.architecture: score.runs[0] for score in record.architectures}
    assert (by_name["fine"].failure, by_name["hungry"].accuracy, by_name["wild"].loss) == (
        "",
        None,
        None,
    )
    assert "DivergedError" in by_name["wild"].failure
    assert by_name["wild"].accuracy is not None  # what a search would have seen
    assert (record.failed, sorted(record.ranked)) == (2, ["fine", "wild"])

    train_on(study, proxy, workspace)
    lines = (
        (study.folder(proxy, workspace) / ARCHITECTURE_ROWS)
        .read_text(encoding="utf-8")
        .splitlines()
    )
    # tried again; the others are done
    assert [json.loads(line)["architecture"] for line in lines[3:]] == ["hungry"]


def test_where_everything_fails_the_reason_is_given(
    held: Loaded, machine: Machine, tmp_path: Path
) -> None:
    study = rough_study(held)
    (proxy,) = make_proxies(parse_requests(["random:2"]), {}, held, Run(0, machine))
    with pytest.raises(
        DataError,
        match="every architecture failed on random IPC 2 seed 0, first hungry: RuntimeError",
    ):
        train_on(
            replace(study, drawn=DrawnArchitectures(("hungry",), (), {"hungry": 1.0})),
            proxy,
            Workspace(tmp_path, machine),
        )


def test_a_stop_keeps_what_is_done(held: Loaded, machine: Machine, tmp_path: Path) -> None:
    study = rough_study(held)
    study = replace(study, drawn=DrawnArchitectures(("fine", "wild"), (), dict(study.drawn.macs)))
    (proxy,) = make_proxies(parse_requests(["random:2"]), {}, held, Run(0, machine))
    done: list[int] = []
    workspace = Workspace(
        tmp_path,
        machine,
        progress=lambda _text, count, _total: done.append(count),
        stop=lambda: done[-1] == 1,
    )
    with pytest.raises(KeyboardInterrupt):
        train_on(study, proxy, workspace)
    assert (
        len(
            (study.folder(proxy, workspace) / ARCHITECTURE_ROWS)
            .read_text(encoding="utf-8")
            .splitlines()
        )
        == 1
    )


def test_the_truth_is_of_the_test_set_and_the_ranking_of_the_validation_part(
    held: Loaded, machine: Machine, tmp_path: Path
) -> None:
    study = replace(rough_study(held), drawn=DrawnArchitectures(("fine",), (), {"fine": 1.0}))
    workspace = Workspace(tmp_path, machine)
    reference = whole(held)
    rows = train_on(study, reference, workspace)
    truth = trained_truth(TrainedOnProxy(study, reference, rows, workspace))
    row = rows["fine", 0]
    assert truth.accuracies == {"fine": row["test_accuracy"]}
    assert (row["test_accuracy"] * len(held.test)) % 1 == pytest.approx(0, abs=1e-6)
    assert (row["accuracy"] * 100) % 1 == pytest.approx(0, abs=1e-6)
    assert len(reference.labels) == len(held.train)  # the validation part is not trained on


def test_early_stopping_takes_the_proxys_steps_over_the_whole_data(
    held: Loaded, machine: Machine, artifacts: Mapping[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = parse_requests(["early-stopping", str(artifacts["apart"])])
    dataset, opened = open_artifacts(requests, None)
    assert dataset == "digits"
    proxy, artifact = make_proxies(requests, opened, held, Run(0, machine))
    assert proxy.images_per_epoch == artifact.images_per_epoch == 50
    seen: list[torch.Tensor] = []

    def values(chosen: torch.Tensor) -> torch.Tensor:
        seen.append(chosen)
        return proxy.placed(machine)(chosen)

    epochs = -(-len(held.train) // 50)
    trainer = Trainer(ConvNet(held.spec.shape, 10, depth=1, width=8), machine, proxy.epoch_images)
    trainer.train(values, proxy.labels, Schedule(epochs=epochs, batch=32), Run(0, machine))
    # the steps and batches of a run on 50 images
    assert [len(chosen) for chosen in seen] == [32, 18] * epochs
    # a pass, then the next
    assert torch.cat(seen)[: len(held.train)].sort().values.equal(torch.arange(len(held.train)))


def test_built_in_proxies_live_in_the_space_of_the_first_artifact(
    held: Loaded, machine: Machine, artifacts: Mapping[str, Path]
) -> None:
    requests = parse_requests([str(artifacts["seen"]), "random", "early-stopping", "whole"])
    _, opened = open_artifacts(requests, None)
    artifact, random, early, reference = make_proxies(requests, opened, held, Run(0, machine))
    assert random.space is early.space is artifact.space
    assert reference.space is held.train.space
    assert random.ipc == 5
    assert random.labels.equal(artifact.labels)


def test_real_images_are_trained_on_from_the_device(held: Loaded, machine: Machine) -> None:
    proxy = whole(held)
    chosen = torch.tensor([3, 1, 2])
    assert proxy.placed(machine)(chosen).equal(held.train.values(chosen))
    assert proxy.images is held.train
    assert proxy.placed(replace(machine, device=torch.device("meta")))(chosen).device.type == "meta"


def test_proxies_and_the_truth_start_from_the_same_weights(
    held: Loaded, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of each architecture and seed, as the table's caption says."""
    study = replace(
        rough_study(held), drawn=DrawnArchitectures(("fine",), (), {"fine": 1.0}), seeds=2
    )
    (random,) = make_proxies(parse_requests(["random:2"]), {}, held, Run(0, machine))
    begun: list[torch.Tensor] = []

    def untrained(trainer: Trainer, *_: Any) -> float:
        begun.append(
            torch.nn.utils.parameters_to_vector(trainer.network.parameters()).detach().clone()
        )
        return 0.0

    monkeypatch.setattr(Trainer, "train", untrained)
    for proxy in (random, whole(held)):
        train_on(study, proxy, Workspace(tmp_path, machine))
    assert len(begun) == 4
    assert begun[0].equal(begun[2])
    assert begun[1].equal(begun[3])
    assert not begun[0].equal(begun[1])


def test_two_whitenings_are_two_early_stoppings(held: Loaded, machine: Machine) -> None:
    """Of other images of the same data, both have the mean and deviation that the data set is known
    by.
    """
    size = held.train.images[0].numel()

    def content(scale: float) -> str:
        space = Space("zca", (0.5,), (0.25,), torch.zeros(size), scale * torch.eye(size))
        train = replace(held, train=replace(held.train, space=space))
        return make_proxies(
            parse_requests(["random:2", "early-stopping"]), {}, train, Run(0, machine)
        )[1].content

    assert content(1.0) == content(1.0000001) != content(1.001)


def test_an_architectures_figure_does_not_depend_on_the_others(
    held: Loaded, machine: Machine, tmp_path: Path
) -> None:
    space = SPACES["convnet720"]
    (proxy,) = make_proxies(parse_requests(["random:2"]), {}, held, Run(0, machine))
    protocol = space.quick_protocol.with_epochs(2, None)
    drawn = draw(space, held.spec, 3, 97)
    together = ArchitectureStudy(space, held, protocol, drawn, 3, 2, 0)
    alone = replace(together, drawn=replace(drawn, architectures=drawn.architectures[2:]), seeds=1)
    all_rows = train_on(together, proxy, Workspace(tmp_path / "together", machine))
    one_row = train_on(alone, proxy, Workspace(tmp_path / "alone", machine))
    key = (drawn.architectures[2], 0)
    assert all_rows[key]["loss"] == one_row[key]["loss"]
    assert all_rows[key]["loss"] != all_rows[drawn.architectures[2], 1]["loss"]  # seeds differ


def test_what_changes_an_accuracy_changes_the_folder(
    held: Loaded, digits: Loaded, machine: Machine, tmp_path: Path
) -> None:
    study, workspace = rough_study(held), Workspace(tmp_path, machine)
    first, second = make_proxies(
        parse_requests(["random:2", "random:3"]), {}, held, Run(0, machine)
    )
    folders = {
        study.folder(first, workspace),
        study.folder(second, workspace),
        replace(study, seed=1).folder(first, workspace),
        replace(study, protocol=study.protocol.with_epochs(7, None)).folder(first, workspace),
        replace(study, loaded=digits).folder(first, workspace),
        study.folder(first, replace(workspace, machine=replace(machine, precision="bf16"))),
    }
    assert len(folders) == 6
    same = replace(
        study,
        seeds=5,
        sample=2,
        drawn=DrawnArchitectures(("fine",), (), {}),
        protocol=study.protocol.with_epochs(None, 9),
    )
    assert same.folder(first, workspace) == study.folder(first, workspace)


def test_only_what_repays_it_is_compiled(held: Loaded, machine: Machine) -> None:
    space = SPACES["convnet720"]
    names = ("d4-w128-relu-instance-none", "d4-w128-relu-group-none")
    drawn = DrawnArchitectures(names, (), dict.fromkeys(names, 1e8))
    free, proxy = replace(machine, engine="auto"), whole(held)

    def engines(images: float, seeds: int = 1, done: Rows | None = None) -> list[str]:
        """Of both, where a truth is trained for about so many images, with as many operations for
        each.
        """
        protocol = space.protocol.with_epochs(None, max(1, round(images / len(held.train))))
        study = ArchitectureStudy(space, held, protocol, drawn, 2, seeds, 0)
        return [study.on(free, name, proxy, done or {}).engine for name in names]

    assert engines(5e3) == ["eager", "eager"]  # 1.5e12
    assert engines(2e4) == ["compiled", "eager"]  # 6e12
    # one compiled network serves all seeds
    assert engines(2e4, seeds=9) == ["compiled", "compiled"]
    assert engines(2e5) == ["compiled", "compiled"]  # 6e13
    first: Rows = {(names[0], 0): {"engine": "eager"}}
    # later seeds are trained as the first was
    assert engines(2e5, seeds=2, done=first) == ["eager", "compiled"]


def test_a_torn_line_is_trained_again(held: Loaded, machine: Machine, tmp_path: Path) -> None:
    study, workspace = (
        replace(rough_study(held), drawn=DrawnArchitectures(("fine",), (), {"fine": 1.0})),
        Workspace(tmp_path, machine),
    )
    (proxy,) = make_proxies(parse_requests(["random:2"]), {}, held, Run(0, machine))
    rows = train_on(study, proxy, workspace)
    path = study.folder(proxy, workspace) / ARCHITECTURE_ROWS
    line = path.read_text(encoding="utf-8")
    path.write_text(
        line.replace(f'"accuracy": {rows["fine", 0]["accuracy"]}', '"accuracy": 0.99') + line[:40],
        encoding="utf-8",
    )
    assert train_on(study, proxy, workspace)["fine", 0]["accuracy"] == rows["fine", 0]["accuracy"]


def test_cells_are_searched_against_a_table(
    command: Command, artifacts: Mapping[str, Path], tmp_path: Path
) -> None:
    names = SPACES["nasbench201"].identifiers()
    rows = (f"{name},{10 + place % 80}\n" for place, name in enumerate(names))
    (tmp_path / "table.csv").write_text(
        "arch,cifar10_test_200ep\n" + "".join(rows), encoding="utf-8"
    )
    words = (
        "--proxy",
        artifacts["apart"],
        "--space",
        "nasbench201",
        "--truth",
        tmp_path / "table.csv",
        "--sample",
        "3",
        "--seed",
        "15",
    )
    refused, _, why = command(*words, *QUICK)
    assert (refused, "knows no accuracies on digits, only on cifar10, cifar100" in why) == (1, True)
    code, printed, said = command(*words, "--truth-column", "cifar10_test_200ep", *QUICK, "--json")
    assert code == 0, said
    (study,) = json.loads(printed)["studies"]
    record = record_of(study)
    assert record.space_fields == {"per_stage": 1, "channels": 16}
    assert {score.architecture: score.truth for score in record.architectures} == {
        score.architecture: pytest.approx((10 + names.index(score.architecture) % 80) / 100)
        for score in record.architectures
    }


def test_a_set_of_another_size_is_refused_from_within(
    held: Loaded, machine: Machine, artifacts: Mapping[str, Path]
) -> None:
    requests = parse_requests([str(artifacts["larger"])])
    _, opened = open_artifacts(requests, None)
    with pytest.raises(MismatchError, match=r"larger\.pt"):
        make_proxies(requests, opened, held, Run(0, machine))


def test_the_table_of_truths_holds_all_that_was_ever_trained(
    command: Command, artifacts: Mapping[str, Path], tmp_path: Path
) -> None:
    """A smaller search, or one of fewer seeds, takes nothing out of it."""
    words = (
        "--proxy",
        artifacts["apart"],
        "--match",
        "d1-w32-relu-*",
        "--epochs",
        "1",
        "--truth-epochs",
        "1",
        "--validation",
        "100",
        "--json",
    )

    def table(*more: str) -> tuple[str, dict[str, Any]]:
        code, out, said = command(*words, *more)
        assert code == 0, said
        (path,) = (tmp_path / "out").rglob("truth.csv")
        record = json.loads(
            Path(json.loads(out)["studies"][0]["record"]).read_text(encoding="utf-8")
        )
        return path.read_text(encoding="utf-8"), record["architectures"][0]

    first, _ = table("--sample", "2", "--seeds", "2")
    assert [row.split(",")[3] for row in first.splitlines()[1:]] == ["2", "2"]
    smaller, scored = table("--sample", "1")
    assert smaller == first
    (path,) = (tmp_path / "out").rglob("whole-*/architectures.jsonl")
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    (own,) = (
        row for row in rows if (row["architecture"], row["seed"]) == (scored["architecture"], 0)
    )
    assert own["test_accuracy"] == scored["truth"]  # the record's truth is that of its own seeds
