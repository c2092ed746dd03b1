"""Asking for help costs nothing: it answers at once and does not wait for torch."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
import time

import pytest

from dcbench import __version__
from dcbench.cli import COMMANDS
from dcbench.cli.words import NAMES, REPORT_FORMATS
from dcbench.distiller import hyper_parameters, registered
from dcbench.evaluation.protocol import PROTOCOL_NAMES
from dcbench.experiments.presets import known_presets
from dcbench.report import FORMATS
from dcbench.studies.declarations import STUDIES
from dcbench.studies.declared_methods import declared_methods
from tests.commandline import ask, environment

MOST_SECONDS = 0.5
PRESETS_OF_METHODS = {
    "paper",
    *(preset for method in registered().values() for preset in method.presets),
}
PRESETS_OF_STUDIES = {preset for study in STUDIES.values() for preset in study.plans}
HEAVY = ("torch", "pandas", "sklearn", "matplotlib")
LOADED = f"""
import sys
from dcbench.cli import main
try:
    main(sys.argv[1:])
finally:
    sys.stderr.write(" ".join(sorted(name for name in {HEAVY} if name in sys.modules)))
"""


def loaded_by(*words: str) -> tuple[str, list[str]]:
    """What ``dcbench words`` says, and which heavy libraries it imports."""
    command = [sys.executable, "-c", LOADED, *words]
    ran = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    return ran.stdout, ran.stderr.split()


def test_help_answers_at_once() -> None:
    def asked() -> float:
        begun = time.monotonic()
        subprocess.run(
            [sys.executable, "-m", "dcbench", "--help"],
            env=environment(),
            capture_output=True,
            check=True,
        )
        return time.monotonic() - begun

    assert min(asked() for _ in range(3)) < MOST_SECONDS


@pytest.mark.parametrize(
    "words", [(), *((name,) for name in COMMANDS)], ids=lambda words: " ".join(words) or "dcbench"
)
def test_help_loads_nothing_heavy(words: tuple[str, ...]) -> None:
    said, heavy = loaded_by(*words, "--help")
    assert "Usage: dcbench" in said
    assert heavy == []


def test_a_report_does_not_need_torch(tmp_path_factory: pytest.TempPathFactory) -> None:
    _, heavy = loaded_by("report", "--results", str(tmp_path_factory.mktemp("empty")))
    assert "torch" not in heavy


@pytest.mark.parametrize(
    ("command", "presets"), [("run", PRESETS_OF_METHODS), ("reproduce", PRESETS_OF_STUDIES)]
)
def test_help_names_the_presets_that_there_are(command: str, presets: set[str]) -> None:
    said = re.search(r"--preset (.*?)--", " ".join(ask(command, "--help").out.split()))
    assert said is not None
    assert presets == PRESETS_OF_METHODS & {word.strip(":;,.") for word in said[1].split()}


def test_no_arguments_give_help() -> None:
    answer = ask()
    assert answer.code == 2
    for name, what in COMMANDS.items():
        assert f"  {name}" in answer.err
        assert what.split(",")[0] in " ".join(answer.err.split())


def test_version() -> None:
    assert __version__ in ask("--version").out


MISSPELT = {
    "run --method datadm": "unknown method 'datadm'; did you mean 'datadam'?",
    "run --method dm,datadm": "unknown method 'datadm'; did you mean 'datadam'?",
    "run --method dm --preset papre": "unknown preset 'papre'; did you mean 'paper'?",
    "run --method dm --dataset digit": "unknown dataset 'digit'; did you mean 'digits'?",
    "run --method dm --protocol quik": "unknown protocol 'quik'; did you mean 'quick'?",
    "run --method dm --zca of": "unknown value of --zca 'of'; did you mean 'off'?",
    "run --methd dm": "No such option",
    "run --method dm --set iteration=3": "unknown field of dm 'iteration'; did you mean",
    "run --method dm --augment das": "unknown augmentation 'das'; did you mean 'dsa'?",
    "run --method dm --device cud:1": "unknown device 'cud:1'; did you mean 'cuda'?",
    "evaluate a.pt --augment dsa,cutmx": "unknown augmentation 'cutmx'; did you mean 'cutmix'?",
    "evaluate a.pt --as dm --space normalized": "unknown space 'normalized'; did you mean",
    "evaluate a.pt --network vgg": "unknown network 'vgg'; did you mean 'vgg11'?",
    "evaluate a.pt --as dmm": "unknown layout 'dmm'; did you mean 'dm'?",
    "reproduce tabel3": "unknown study 'tabel3'; did you mean 'table3'?",
    "reproduce table3 --preset qick": "unknown preset of table3 'qick'; did you mean 'quick'?",
    "check randm": "unknown method 'randm'; did you mean 'random'?",
    "nas --proxy a --space convnet": "unknown search space 'convnet'; did you mean",
    "report --format markdwon": "unknown format 'markdwon'; did you mean 'markdown'?",
}
ANSWERED = f"""
import contextlib, io, json, sys
from dcbench.cli import main
for words in sys.argv[1:]:
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.suppress(SystemExit):
        main(words.split())
    heavy = [name for name in {HEAVY} if name in sys.modules]
    sys.stdout.write(json.dumps([words, said.getvalue(), heavy]) + "\\n")
"""


def test_a_misspelt_word_is_answered_before_anything_heavy_is_loaded() -> None:
    """Where torch would take seconds to import."""
    command = [sys.executable, "-c", ANSWERED, *MISSPELT]
    ran = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True)
    answers = [json.loads(line) for line in ran.stdout.splitlines()]
    assert [words for words, _, _ in answers] == list(MISSPELT)
    for words, said, heavy in answers:
        assert said.startswith(f"dcbench: {MISSPELT[words]}"), said
        assert said.count("\n") == 1
        assert heavy == [], words


DECLARED = {
    "augmentation": ("dcbench.training.mixing", "AUGMENTATION_NAMES"),
    "protocol": ("dcbench.evaluation.protocol", "PROTOCOL_NAMES"),
    "network": ("dcbench.networks.catalogue", "NETWORKS"),
    "precision": ("dcbench.system.machine", "PRECISIONS"),
    "engine": ("dcbench.system.machine", "ENGINES"),
    "value of --zca": ("dcbench.experiments.presets", "ZCA"),
    "value of --judge-on": ("dcbench.evaluation.protocol", "JUDGED_ON"),
    "value of --labels": ("dcbench.evaluation.protocol", "LABEL_SOURCES"),
    "search space": ("dcbench.nas.catalogue", "SPACES"),
}


def test_words_that_are_spelt_out_are_those_that_there_are() -> None:
    for kind, (module, variable) in DECLARED.items():
        assert set(NAMES[kind]) == set(getattr(importlib.import_module(module), variable)), kind
    assert set(REPORT_FORMATS) == {*FORMATS, "html"}


def test_methods_are_known_by_their_files() -> None:
    declared = declared_methods()
    assert set(declared) == set(registered())
    for name, method in registered().items():
        assert set(declared[name].presets) == set(method.presets)
        assert declared[name].fields == set(hyper_parameters(method)), name
    own = {preset for method in declared.values() for preset in method.presets}
    assert {"paper", *PROTOCOL_NAMES, *own} == known_presets()
