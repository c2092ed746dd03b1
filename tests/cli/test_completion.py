"""The shell completes the values of options, at once: by click's protocol, and without torch."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from dcbench.artifacts.exporting import FORMATS
from dcbench.cli.completion import names_of
from dcbench.datasets.catalogue import DATASETS
from dcbench.distiller import registered
from dcbench.experiments.presets import known_presets
from dcbench.nas.catalogue import SPACES
from dcbench.nas.proxies import BUILT_IN
from dcbench.nas.space import PRESETS
from dcbench.studies.declarations import STUDIES
from tests.commandline import environment

# what is typed, the last word being completed, and some of what is offered; an empty set: nothing
TYPED: dict[str, set[str]] = {
    "run --method da": {"datadam"},
    "run --method dm,da": {"dm,datadam"},
    "run --method dm,d": {"dm,dc", "dm,datadam"},
    "run --method ./mine": {"file ./mine"},
    "run --dataset cifar": {"cifar10", "cifar100"},
    "run --preset two": {"two-cores"},
    "run --protocol dd": {"dd-ranking"},
    "run --zca pix": {"pixels"},
    "run --dataset ./my": {"dir ./my"},
    "run --ipc 1": set(),
    "evaluate x.pt --network convnet,vgg": {"convnet,vgg11"},
    "evaluate x.pt --as mt": {"mtt"},
    "evaluate x.pt --preset qu": {"quick"},
    "nas --proxy random,ear": {"random,early-stopping"},
    "nas --protocol search-conv": {"search-convnet720", "search-convnet720-quick"},
    "nas --preset re": {"released"},
    "nas --space nas": {"nasbench201"},
    "reproduce table": {"table3", "table4", "table5"},
    "reproduce --preset qu": {"quick"},
    "check herd": {"herding"},
    "compare dm ran": {"random"},
    "list da": {"datasets", "datadam"},
    "report --format mark": {"markdown"},
    "report --method dm,her": {"dm,herding"},
    "export x.pt --as par": {"parquet"},
    "no-command --method d": set(),
    "run --no-option x --method dat": {"datadam"},
}
COMPLETED = """
import contextlib, io, json, os, sys
from dcbench.cli import main
for typed in json.loads(sys.argv[1]):
    words = ["dcbench", *typed.split()]
    os.environ |= {"COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)}
    said = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
    with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
        main([])
    offered = [line.split(",", 1) for line in said.buffer.getvalue().decode().splitlines() if line]
    heavy = sorted({"torch", "pandas", "numpy", "matplotlib"} & set(sys.modules))
    sys.stdout.write(json.dumps([typed, offered, heavy]) + "\\n")
"""


def test_values_are_completed_before_anything_heavy_is_loaded() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", COMPLETED, json.dumps(list(TYPED))],
        env=environment(_DCBENCH_COMPLETE="bash_complete"),
        capture_output=True,
        text=True,
        check=True,
    )
    answers = [json.loads(line) for line in ran.stdout.splitlines()]
    assert [typed for typed, _, _ in answers] == list(TYPED)
    for typed, offered, heavy in answers:
        found = {word if kind == "plain" else f"{kind} {word}" for kind, word in offered}
        assert TYPED[typed] <= found, typed
        assert all(word.startswith(typed.split()[-1]) for _, word in offered), typed
        assert bool(found) == bool(TYPED[typed]), typed
        assert heavy == [], typed


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_gets_its_script(shell: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "dcbench"],
        env=environment(_DCBENCH_COMPLETE=f"{shell}_source"),
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"_DCBENCH_COMPLETE={shell}_complete" in ran.stdout


@pytest.mark.parametrize(
    ("kind", "known"),
    [
        ("method", set(registered())),
        ("preset", known_presets()),
        ("dataset", set(DATASETS)),
        ("study", set(STUDIES)),
        ("preset of a study", {name for study in STUDIES.values() for name in study.plans}),
        ("preset of a search", set(PRESETS)),
        (
            "protocol of a search",
            {
                protocol.name
                for space in SPACES.values()
                for protocol in (space.protocol, space.quick_protocol)
            },
        ),
        ("proxy", set(BUILT_IN)),
        ("export format", set(FORMATS)),
    ],
)
def test_the_names_that_are_offered_are_those_that_there_are(kind: str, known: set[str]) -> None:
    assert set(names_of(kind)) == known
