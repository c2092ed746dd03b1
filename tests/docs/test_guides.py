"""Whoever follows the README or a guide from top to bottom, in an empty folder, meets no error.

Every command of a page is carried out in its order, in a quick form: on digits, with one network
of one epoch and few steps.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from dcbench.distiller import find
from tests.commandline import ROOT, ask, forked

GUIDES = sorted((ROOT / "docs" / "guides").glob("*.md"))
METHODS = ROOT / "docs" / "guides" / "add-a-method.md"
# what needs other processes (tests/execution), a download, other people's records, the benchmark's own files, or a name that readers choose
ELSEWHERE = re.compile(r"--executor|--download|nasbench201|their-results|hf://|\b[A-Z]{4,}\b|…")
TRAINING = ("--epochs", "1", "--threads", "1")
QUICK = {
    "run": ("--networks", "1", *TRAINING, "--seed", "0", "--ipc", "1", "--preset", "quick"),
    "evaluate": ("--networks", "1", *TRAINING, "--preset", "quick"),
    "nas": (
        *TRAINING,
        "--truth-epochs",
        "1",
        "--sample",
        "2",
        "--match",
        "d1-w32-*",
        "--preset",
        "quick",
    ),
    "reproduce": ("--preset", "quick", "--estimate", "--threads", "1"),
}
FEW_STEPS = "iterations=2"
OPTIONS = {"--dataset": "digits", "--trace": "0,1,2", "--holdout": "200", "--validation": "200"}


def commands_of(page: Path) -> Iterator[list[str]]:
    """The words of each line for a shell that calls dcbench, less those that cannot run here."""
    blocks = re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    for line in "".join(blocks).replace("\\\n", " ").splitlines():
        if line.startswith("dcbench ") and not ELSEWHERE.search(line):
            yield shlex.split(line, comments=True)[1:]


def quickly(words: list[str]) -> list[str]:
    """The command on digits, with as little work as its options allow; of an option given twice the
    last counts.
    """
    command, *rest = words
    rest = [OPTIONS.get(before, word) for before, word in zip(words, rest, strict=False)]
    rest = [re.sub(r"^iterations=\d+", FEW_STEPS, word) for word in rest]
    if command == "run" and takes_steps(rest) and FEW_STEPS not in rest:
        rest += ["--set", FEW_STEPS]
    if "./study.toml" in rest:  # names its own preset
        return [command, *rest, "--estimate", "--threads", "1"]
    return [command, *rest, *QUICK.get(command, ())]


def takes_steps(words: list[str]) -> bool:
    methods = words[words.index("--method") + 1].split(",")
    return any(hasattr(find(method), "iterations") for method in methods)


def leave_what_readers_have(folder: Path) -> None:
    """The methods of the guide, and files as other people publish them."""
    for name, code in methods_of_the_guide():
        (folder / f"{name.lower()}.py").write_text(code, encoding="utf-8")
    images, labels = torch.rand(10, 1, 8, 8), torch.arange(10)
    torch.save(torch.randn(10, 1, 8, 8), folder / "images_best.pt")
    torch.save(labels, folder / "labels_best.pt")
    torch.save(torch.tensor(0.01), folder / "lr_best.pt")
    torch.save({"data": [[images, labels]]}, folder / "res_DM_CIFAR10_ConvNet_10ipc.pt")
    np.savez(folder / "mine.npz", images=images.numpy(), labels=labels.numpy())
    study = (ROOT / "docs" / "guides" / "declare-a-study.md").read_text(encoding="utf-8")
    (declaration,) = re.findall(r"```toml\n(.*?)```", study, re.DOTALL)
    (folder / "study.toml").write_text(declaration, encoding="utf-8")


def methods_of_the_guide() -> list[tuple[str, str]]:
    blocks = re.findall(r"```python\n(.*?)```", METHODS.read_text(encoding="utf-8"), re.DOTALL)
    return [(name[1], code) for code in blocks if (name := re.search(r"class (\w+)\(", code))]


@pytest.mark.parametrize("page", [ROOT / "README.md", *GUIDES], ids=lambda page: page.stem)
def test_its_commands_run_one_after_the_other(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    leave_what_readers_have(tmp_path)
    commands = list(commands_of(page))
    assert commands or page.stem in ("clusters", "notebook")
    for words in commands:
        if words[0] != "check":  # below
            told = ask(*quickly(words))
            assert told.code == 0, (words, told.err)


def test_the_methods_of_the_guide_keep_the_contract(tmp_path: Path) -> None:
    """Those that no command of the guide checks, too; only what a method of one step has none of is
    skipped.
    """
    leave_what_readers_have(tmp_path)
    names = [f"./{name.lower()}.py:{name}" for name, _ in methods_of_the_guide()]
    assert len(names) == 3
    told = forked("check", *names, "--json", cwd=tmp_path)
    assert told.code == 0, told.err
    assert {each["check"] for each in told.json["checks"] if each["outcome"] != "passed"} == {
        "resumes"
    }


def test_the_first_method_of_the_guide_beats_chance(tmp_path: Path) -> None:
    leave_what_readers_have(tmp_path)
    quickly = ("--preset", "quick", "--networks", "1", "--epochs", "5", "--set", "members=50")
    told = forked(
        "run", "--method", "./blends.py:Blends", *quickly, "--threads", "1", "--json", cwd=tmp_path
    )
    (run,) = told.json["runs"]
    assert (run["method"], run["ipc"]) == ("blends", 1)
    assert run["mean"] > 0.3  # ten classes
