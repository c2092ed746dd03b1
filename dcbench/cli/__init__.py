"""The command line: one file for each command. The only code that knows click and rich; it computes
nothing.
"""

from __future__ import annotations

import importlib
import io
import os
import shlex
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

import click

import dcbench
from dcbench.system.errors import OUT_OF_MEMORY, DcbenchError, OutOfRangeError, UnknownNameError
from dcbench.system.wording import printable

COMMANDS = {
    "run": "distil synthetic sets, evaluate them, store the results and print a table",
    "evaluate": "train networks on synthetic sets that exist, yours or other people's",
    "nas": "rank the architectures of a search space on synthetic sets, and compare with the truth",
    "reproduce": "reproduce a study: a table or figure of the DataDAM paper, or your own file",
    "check": "check whether a method keeps the contract, and say why not",
    "report": "make tables, figures or a page of all records, measured beside published",
    "compare": "compare two methods, presets or folders, with statistical tests",
    "merge": "copy other people's records and sets into a results folder",
    "list": "show methods, data sets, networks, protocols, layouts, studies",
    "import": "convert another project's synthetic set into an artifact",
    "export": "convert an artifact into safetensors, .npz, a folder of pictures or parquet",
    "show": "describe an artifact and draw its images",
}
# a module called list would hide the builtin in this package
MODULES = {"import": "importing", "list": "listing"}
RESUMABLE = frozenset({"run", "evaluate", "nas", "reproduce"})
STOPPED = 130  # the exit code of a command that was interrupted
DISTRIBUTION = "dcbench-distillation"


class _Lazy(click.Group):
    """Imports a command's module when the command is used, so that --help answers at once."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(
            f"dcbench.cli.{MODULES.get(cmd_name, cmd_name)}"
        ).command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        unknown = args[0] not in COMMANDS and not args[0].startswith("-")
        if unknown and not ctx.resilient_parsing:  # which is how a shell's completion parses
            raise UnknownNameError("command", args[0], COMMANDS)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as stopped:  # click would answer with an empty line
            raise click.Abort from stopped
        # the reader has closed the pipe, as head and pagers do: not a failure
        except BrokenPipeError:
            _discard_output()
            return None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"], "show_default": True}
)
@click.version_option(getattr(dcbench, "__version__", ""), prog_name="dcbench")
def cli() -> None:
    """Compare dataset-distillation methods under one protocol."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line. Exit code 0: done; 2: the command itself is wrong; 1: any other
    error.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    _replace_what_cannot_be_encoded()
    _require_own_package()
    try:
        sys.exit(cli.main(words, prog_name="dcbench", standalone_mode=False, obj=words) or 0)
    except click.exceptions.Exit as finished:
        sys.exit(finished.exit_code)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        sys.exit(2)
    except click.ClickException as error:
        _fail(error.format_message(), 2)
    except (UnknownNameError, OutOfRangeError) as error:
        _fail(str(error), 2, words)
    except (KeyboardInterrupt, click.Abort):
        _fail(_stopped(words), STOPPED, words)
    except DcbenchError as error:
        _fail(str(error), 1, words)
    # an error of a plugin, a library or ours: show one line; --debug shows the traceback
    except Exception as error:
        _fail(_not_foreseen(error), 1, words)


def _require_own_package() -> None:
    """Check that the package is not mixed with another project's, which is called dcbench too: in
    one environment, files of the one installed last win.
    """
    if getattr(dcbench, "__distribution__", None) != DISTRIBUTION:
        _fail(
            f"the package in {Path(__file__).parents[1]} is mixed with another project's, which "
            "the index calls dcbench; an environment can hold one of them: pip uninstall dcbench, "
            f"then install {DISTRIBUTION} again as it was, with --force-reinstall --no-deps "
            "(docs/guides/install.md)",
            1,
        )


def _replace_what_cannot_be_encoded() -> None:
    """Let the terminal's encoding replace characters that it lacks: finished work must not fail
    while printing.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _discard_output() -> None:
    """Discard buffered output whose reader is gone."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())


def _stopped(words: Sequence[str]) -> str:
    if not RESUMABLE & set(words):
        return "stopped"
    again = shlex.join(["dcbench", *(word for word in words if word != "--no-resume")])
    return f"stopped; what is done is kept. The same command goes on from there: {again}"


def _not_foreseen(error: Exception) -> str:
    """Describe an unexpected error. Errors of memory are recognised by their text: torch has no
    class for them on a CPU, and not every command imports it.
    """
    if isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(sign in str(error) for sign in OUT_OF_MEMORY)
    ):
        return (
            f"out of memory ({str(error)[:200]}); what is done is kept. Try a smaller --ipc or "
            "batch, or a machine with more memory"
        )
    return (
        f"{type(error).__name__}: {str(error)[:500]} ({_place(error)}not foreseen; --debug shows "
        "where it came from)"
    )


def _place(error: Exception) -> str:
    """Return the last line of the traceback that is not a library's: usually a method's."""
    libraries = ("site-packages", "dist-packages", str(Path(shlex.__file__).parent))
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not any(place in frame.filename for place in libraries)]
    return f"{Path(own[-1].filename).name}:{own[-1].lineno}; " if own else ""


def _fail(message: str, code: int, words: Sequence[str] = ()) -> None:
    if "--debug" in words:
        traceback.print_exc()
    click.echo(f"dcbench: {printable(' '.join(message.split()))}", err=True)
    sys.exit(code)
