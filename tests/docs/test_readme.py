"""The README and the pages beside it keep their word: the example is complete, and commands and
options are ones that there are.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dcbench.cli import COMMANDS, cli
from tests.commandline import forked

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [
    path
    for pattern in ("*.md", "docs/*.md", "examples/*/README.md", "results/README.md")
    for path in sorted(ROOT.glob(pattern))
]


def commands_in(text: str) -> list[list[str]]:
    """The words of each ``dcbench`` command: of the lines of blocks for a shell, and of what stands
    in running text.
    """
    blocks = "".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL))
    lines = re.findall(r"^dcbench .*$", blocks, re.MULTILINE) + re.findall(
        r"`(dcbench [a-z][^`]+)`", text
    )
    return [line.split("#")[0].split() for line in lines]


def test_the_example_method_is_complete(tmp_path: Path) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    (tmp_path / "blends.py").write_text(example, encoding="utf-8")
    (asked,) = [
        words
        for words in commands_in(README)
        if words[1] == "run" and "./blends.py:Blends" in words
    ]
    quickly = ["--networks", "1", "--epochs", "5", "--out", "out", "--json"]
    ran = forked(*asked[1:], *quickly, cwd=tmp_path)
    assert ran.code == 0, ran.err
    (run,) = ran.json["runs"]
    assert (run["method"], run["ipc"]) == ("blends", 1)
    assert run["mean"] > 0.3  # ten classes: far above chance


@pytest.mark.parametrize("name", ["Moments", "Absolute"])
def test_the_examples_of_the_page_on_methods_keep_the_contract(name: str, tmp_path: Path) -> None:
    examples = re.findall(
        r"```python\n(.*?)```",
        (ROOT / "docs" / "methods.md").read_text(encoding="utf-8"),
        re.DOTALL,
    )
    (example,) = [text for text in examples if f"class {name}(" in text]
    path = tmp_path / f"{name.lower()}.py"
    path.write_text(example, encoding="utf-8")
    ran = forked("check", f"{path}:{name}", "--json")
    assert ran.code == 0, ran.err
    assert {each["outcome"] for each in ran.json["checks"]} == {"passed"}


def options_of(name: str) -> set[str]:
    command = cli.get_command(cli.make_context("dcbench", ["list"], resilient_parsing=True), name)
    assert command is not None
    return {option for parameter in command.params for option in parameter.opts}


@pytest.mark.parametrize(
    "name", [name for name in COMMANDS if name not in ("list", "show", "export")]
)
def test_the_same_words_fit_all_commands(name: str) -> None:
    words = "preset protocol data-root out seed device threads precision engine executor json debug"
    assert {f"--{word}" for word in words.split()} <= options_of(name)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_documented_commands_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for words in commands_in(text):
        assert words[1] in COMMANDS, words
        assert {word for word in words if word.startswith("--")} <= options_of(words[1]), words
    alone = set(re.findall(r"`(--[a-z-]+)", text))
    assert alone <= set().union(*map(options_of, COMMANDS))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_pictures_lead_to_files(page: Path) -> None:
    assert [
        target
        for target in targets_in(page.read_text(encoding="utf-8"))
        if not (page.parent / target).exists()
    ] == []


def targets_in(text: str) -> list[str]:
    """Where each link and picture of this folder leads."""
    found = re.findall(r"\]\(<?([^)\s#>]+)", text) + re.findall(r"(?:src|href)=\"([^\"#]+)", text)
    return [target for target in found if not re.match(r"[a-z]+:", target)]


def test_links_and_pictures_are_found() -> None:
    text = '[a](b/c.md#d) ![e](f.png) [g](https://h.i) [j](#k) <img src="l.png">'
    assert targets_in(text) == ["b/c.md", "f.png", "l.png"]


def test_how_many_studies_agree_is_counted() -> None:
    page = (ROOT / "docs" / "measured-studies.md").read_text(encoding="utf-8")
    rows = [
        line for line in page.split("\n## ")[0].splitlines() if re.match(r"\| (Table|Figure)", line)
    ]
    agree, in_part = (
        sum(f"**{verdict}**" in row for row in rows) for verdict in ("agrees", "in part")
    )
    assert (
        f"of its {len(rows)} rows {agree} agree as far as so few steps show, {in_part} in part"
        in " ".join(README.split())
    )


def test_commands_are_found_in_blocks_and_in_lines() -> None:
    text = "```sh\ndcbench run --method dm  # one\nmake demo\n```\nSay `dcbench list`, or `dcbench` alone, or `dcbench --help`.\n"
    assert commands_in(text) == [["dcbench", "run", "--method", "dm"], ["dcbench", "list"]]
