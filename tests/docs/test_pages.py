"""What every page says is there: commands, options, links, pictures, counts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import dcbench
from dcbench.cli import COMMANDS, cli
from dcbench.distiller import registered
from dcbench.studies.papers import papers
from tests.commandline import ROOT

PAGES = [
    path
    for pattern in ("*.md", "docs/**/*.md", "examples/*/README.md", "results/README.md")
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


def options_of(name: str) -> set[str]:
    command = cli.get_command(cli.make_context("dcbench", ["list"], resilient_parsing=True), name)
    assert command is not None
    return {option for parameter in command.params for option in parameter.opts}


@pytest.mark.parametrize(
    "name",
    [name for name in COMMANDS if name not in ("list", "show", "export", "compare", "merge")],
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


def test_each_method_is_listed_with_its_title_paper_and_first_sentence() -> None:
    page = (ROOT / "docs" / "reference" / "methods.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `([a-z0-9][a-z0-9-]*)` \| (.*) \|$", page, re.MULTILINE))
    assert rows.keys() == registered().keys()
    for name, method in registered().items():
        title, paper, does = rows[name].split(" | ")
        assert title == method.title
        assert does == " ".join((method.__doc__ or "").split("\n\n")[0].split()).replace("``", "`")
        cited = papers()[method.paper] if method.paper else ""
        published = re.search(r"title = \{(.*)\},?$", cited, re.MULTILINE)
        year = re.search(r"year = \{(\d+)\}", cited)
        assert (published is None) == (year is None) == (paper == "–")
        if published and year:
            assert f"*{re.sub('[{}]', '', published[1])}*" in paper
            assert paper.endswith(year[1])


def test_how_many_studies_agree_is_counted() -> None:
    results = ROOT / "docs" / "results"
    page = (results / "studies.md").read_text(encoding="utf-8")
    rows = [
        line for line in page.split("\n## ")[0].splitlines() if re.match(r"\| (Table|Figure)", line)
    ]
    agree, in_part = (
        sum(f"**{verdict}**" in row for row in rows) for verdict in ("agrees", "in part")
    )
    said = " ".join((results / "index.md").read_text(encoding="utf-8").split())
    assert f"of the {len(rows)} rows that" in said
    assert f"{agree} agree as far as so few steps show, {in_part} in part" in said


def test_the_citation_is_of_this_version() -> None:
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.findall(r"^version: (.+)$", citation, re.MULTILINE) == [dcbench.__version__]


def test_commands_are_found_in_blocks_and_in_lines() -> None:
    text = "```sh\ndcbench run --method dm  # one\nmake demo\n```\nSay `dcbench list`, or `dcbench` alone, or `dcbench --help`.\n"
    assert commands_in(text) == [["dcbench", "run", "--method", "dm"], ["dcbench", "list"]]
