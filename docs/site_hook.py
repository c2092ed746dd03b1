"""Puts pages and files that lie outside ``docs/`` onto the site, and leads links to them.

In the repository every link is relative, so that it works there. On the site ``README.md`` is the
first page, a few other pages have an address of their own, and pictures and data are copied to
``project/``. A link to a folder becomes plain text. The page of commands is made of their help.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import click
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from dcbench.cli import cli

ROOT = Path(__file__).parents[1]
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "results/README.md": "reference/files.md",
    "examples/dcbench-blends/README.md": "examples/dcbench-blends.md",
}
COMMANDS = "<!-- commands -->"  # where the help of all commands goes
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|!?\[[^\]]*\](?:\([^)]*\))?)*)\]\(([^)\s#]+)(#[^)\s]*)?\)")


def site_address(place: str) -> str:
    """The address on the site of a file, by its path in the repository."""
    if place.startswith("docs/"):
        return place.removeprefix("docs/")
    return PAGES.get(place, f"project/{place}")


def repository_path(page: File) -> str:
    """The path in the repository of the file that a page is made of."""
    assert page.abs_src_path is not None  # noqa: S101 - each page here is made of a file
    return Path(page.abs_src_path).relative_to(ROOT).as_posix()


def target_of(link: str, place: str) -> str:
    """The path in the repository that a relative link in the file ``place`` leads to."""
    return os.path.normpath(PurePosixPath(place).parent / link)


def is_relative(link: str) -> bool:
    return not re.match(r"[a-z]+:|/", link)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of ``PAGES``, and whatever file outside ``docs/`` a page links to."""
    for place, address in PAGES.items():
        files.append(File.generated(config, address, abs_src_path=str(ROOT / place)))
    for page in list(files.documentation_pages()):
        place = repository_path(page)
        text = (ROOT / place).read_text(encoding="utf-8")
        for link in {match[3] for match in _LINK.finditer(text) if is_relative(match[3])}:
            path = ROOT / target_of(link, place)
            address = site_address(target_of(link, place))
            if path.is_file() and files.get_file_from_path(address) is None:
                files.append(File.generated(config, address, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead each relative link to where its target is on the site."""
    place = repository_path(page.file)
    here = PurePosixPath(page.file.src_uri).parent

    def lead(match: re.Match[str]) -> str:
        sign, text, link, anchor = match[1], match[2], match[3], match[4] or ""
        text = _LINK.sub(lead, text)
        if not is_relative(link):
            return match[0]
        target = target_of(link, place)
        if (ROOT / target).is_dir():
            return text
        return f"{sign}[{text}]({os.path.relpath(site_address(target), here)}{anchor})"

    return _LINK.sub(lead, markdown).replace(COMMANDS, "\n".join(described_commands()))


def described_commands() -> Iterator[str]:
    """The help of every command in Markdown: what it does, its usage, a table of its options."""
    group = click.Context(cli, info_name="dcbench")
    for name in cli.list_commands(group):
        command = cli.get_command(group, name)
        assert command is not None  # noqa: S101 - the group has just named it
        context = click.Context(command, info_name=name, parent=group)
        usage = " ".join(command.collect_usage_pieces(context))
        yield f"## `{name}`\n\n{command.help}\n\n```text\n{context.command_path} {usage}\n```\n"
        yield "| option | meaning |\n| --- | --- |"
        records = (parameter.get_help_record(context) for parameter in command.get_params(context))
        for option, meaning in filter(None, records):
            yield f"| `{option}` | {meaning.replace('|', chr(92) + '|')} |"
        yield ""
