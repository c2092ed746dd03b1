"""``dcbench check``: does a method keep the contract?"""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from dcbench.cli.completion import completing
from dcbench.cli.options import (
    DEBUG,
    EXECUTOR_OPTIONS,
    Hardware,
    hardware,
    places,
    speaking,
    unneeded,
)
from dcbench.cli.words import check_methods

if TYPE_CHECKING:
    from dcbench.cli.console import Console
    from dcbench.conformance.checks import Verdict
    from dcbench.distiller import Distiller
    from dcbench.system.machine import Machine


@click.command("check")
@click.argument("names", nargs=-1, required=True, shell_complete=completing("method"))
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="FIELD=VALUE",
    help="A field of the method, to make its trial short.",
)
@hardware
@speaking
@unneeded("preset", "protocol", "data-root", "out", "seed", *EXECUTOR_OPTIONS)
def command(
    hardware: Hardware, as_json: bool, names: tuple[str, ...], settings: tuple[str, ...]
) -> None:
    """Check whether the methods NAMES (or ./file.py:Class) keep the contract, on tiny sets of real
    digits.
    """
    check_methods(names)

    from dcbench.cli.console import Console
    from dcbench.system.machine import EXACT

    methods = _methods(names, settings)
    with Console(as_json) as console:
        here = replace(hardware, device=EXACT) if hardware.device == "auto" else hardware
        found = _check(methods, here.machine(), console)
    for name, verdicts in found.items():
        _show(console, name, verdicts)
    failed = any(verdict.outcome == "failed" for verdicts in found.values() for verdict in verdicts)
    checks = [
        {"method": name, "check": each.check, "outcome": each.outcome, "why": each.why}
        for name, own in found.items()
        for each in own
    ]
    console.result({"checks": checks, "passed": not failed})
    if failed:
        raise click.exceptions.Exit(1)


def _methods(names: tuple[str, ...], settings: tuple[str, ...]) -> dict[str, Distiller]:
    """Return each method, reduced to little work. Raises UnknownNameError, OutOfRangeError,
    DataError.
    """
    from dcbench.conformance.trial_runs import small
    from dcbench.distiller import find
    from dcbench.experiments.grid import parse_settings

    words = parse_settings(settings)
    return {method.name: small(method, words) for method in map(find, names)}


def _check(
    methods: Mapping[str, Distiller], machine: Machine, console: Console
) -> dict[str, list[Verdict]]:
    """Run each method's checks; with --debug also show where its exceptions came from."""
    from dcbench.conformance.checks import verdicts
    from dcbench.conformance.trial_runs import Candidate, samples
    from dcbench.datasets.loading import load

    def told(text: str, done: int, total: int) -> None:
        console.progress(text, done, total, even=False)
        if console.stopping():
            raise KeyboardInterrupt

    sets = samples(load("digits", places(None)).train)
    found: dict[str, list[Verdict]] = {}
    for name, distiller in methods.items():
        console.say(f"{name}: tried with {_amounts(distiller)}")
        candidate = Candidate(distiller, sets, machine.decide(0.0))
        found[name] = verdicts(candidate, told)
        if candidate.failure is not None and click.get_current_context().meta.get(DEBUG):
            console.say("".join(traceback.format_exception(candidate.failure)))
    return found


def _amounts(distiller: Distiller) -> str:
    """List the fields that were made small, which also shows those that were not."""
    from dcbench.distiller import defaults_of, fields_of

    usual = defaults_of(type(distiller))
    changed = {key: value for key, value in fields_of(distiller).items() if value != usual[key]}
    if not changed:
        return "all fields at their defaults"
    words = " ".join(f"{name}={value}" for name, value in changed.items())
    return f"{words}, all else at its default"


def _show(console: Console, name: str, verdicts: list[Verdict]) -> None:
    from dcbench.cli.console import TextTable

    title, head = f"{name}: does it keep the contract?", ["check", "outcome", "why"]
    rows: list[list[Any]] = [[each.check, each.outcome, each.why] for each in verdicts]
    console.table(TextTable(title, head, rows, words=3, folded=True))
