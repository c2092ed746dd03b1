"""``dcbench check``: does a method keep the contract?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from dcbench.cli.options import Common, common

if TYPE_CHECKING:
    from dcbench.cli.console import Console
    from dcbench.conformance import Verdict
    from dcbench.distiller import Distiller


@click.command("check")
@click.argument("names", nargs=-1, required=True)
@click.option("--set", "settings", multiple=True, metavar="FIELD=VALUE", help="A field, where the method would otherwise take too long.")
@common
def command(shared: Common, names: tuple[str, ...], settings: tuple[str, ...]) -> None:
    """Try the methods NAMES (or ./file.py:Class) on tiny sets of real digits and show what of the contract they keep."""
    from dcbench.cli.console import Console

    methods = _methods(names, settings)
    with Console(shared.as_json) as console:
        found = {name: _check(distiller, shared, console) for name, distiller in methods.items()}
    for name, verdicts in found.items():
        _show(console, name, verdicts)
    failed = any(verdict.outcome == "failed" for verdicts in found.values() for verdict in verdicts)
    checks = [
        {"method": name, "check": each.check, "outcome": each.outcome, "why": each.why} for name, own in found.items() for each in own
    ]
    console.result({"checks": checks, "passed": not failed})
    if failed:
        raise click.exceptions.Exit(1)


def _methods(names: tuple[str, ...], settings: tuple[str, ...]) -> dict[str, Distiller]:
    """Each method with little to do; raises UnknownNameError, OutOfRangeError, DataError."""
    from dcbench.distiller import find, hyper_parameters
    from dcbench.errors import UnknownNameError
    from dcbench.grid import parse_settings
    from dcbench.trials import small

    words = parse_settings(settings)
    found = {}
    for distiller in map(find, names):
        fields = hyper_parameters(distiller)
        for key in words:
            if key not in fields:
                raise UnknownNameError(f"field of {distiller.name}", key, fields)
        found[distiller.name] = small(distiller, {key: fields[key].parse(distiller.name, value) for key, value in words.items()})
    return found


def _check(distiller: Distiller, shared: Common, console: Console) -> list[Verdict]:
    from dcbench.conformance import CHECKS, verdict
    from dcbench.datasets.loading import load
    from dcbench.trials import Candidate, samples

    machine = shared.workshop(console).machine.decide(0.0)
    candidate = Candidate(distiller, samples(load("digits", shared.places()).train), machine)
    verdicts = []
    for done, name in enumerate(CHECKS):
        console.progress(f"{distiller.name}: checks", done, len(CHECKS))
        verdicts.append(verdict(name, candidate))
    console.progress(f"{distiller.name}: checks", len(CHECKS), len(CHECKS))
    return verdicts


def _show(console: Console, name: str, verdicts: list[Verdict]) -> None:
    from dcbench.cli.console import Table

    rows: list[list[Any]] = [[each.check, each.outcome, each.why] for each in verdicts]
    console.table(Table(f"{name}: does it keep the contract?", ["check", "outcome", "why"], rows, words=3))
