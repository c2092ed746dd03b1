"""``dcbench list``: methods, data sets, networks, protocols, layouts and studies to choose from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click
from click.shell_completion import CompletionItem

from dcbench.cli.completion import names_of
from dcbench.cli.options import speaking

KINDS = ("methods", "datasets", "networks", "protocols", "layouts", "studies")


def _complete(_context: Any, _argument: Any, begun: str) -> list[CompletionItem]:
    known = (*KINDS, *sorted(names_of("method")))
    return [CompletionItem(name) for name in known if name.startswith(begun)]


@click.command("list")
@click.argument("what", required=False, shell_complete=_complete)
@speaking
def command(what: str | None, as_json: bool) -> None:
    """Show methods with their fields and presets, data sets, networks, protocols, foreign layouts
    and studies.

    WHAT is one of these (methods, datasets, networks, protocols, layouts, studies), or the name of
    a method; without it everything is shown.
    """
    from dcbench.artifacts.importers.catalogue import LAYOUTS
    from dcbench.cli.console import Console
    from dcbench.datasets.catalogue import DATASETS
    from dcbench.distiller import import_failures, registered
    from dcbench.evaluation.protocol import PROTOCOLS
    from dcbench.networks.catalogue import NETWORKS
    from dcbench.studies.declarations import STUDIES
    from dcbench.system.errors import UnknownNameError

    found: dict[str, Any] = {
        "methods": {name: _method(distiller) for name, distiller in registered().items()},
        "datasets": {
            name: f"{set_.channels}×{set_.size}×{set_.size}, {set_.classes} classes"
            for name, set_ in DATASETS.items()
        },
        "networks": sorted(NETWORKS),
        "protocols": {
            name: protocol.to_json() | {"networks": protocol.networks}
            for name, protocol in PROTOCOLS.items()
        },
        "layouts": {name: layout.title for name, layout in LAYOUTS.items()},
        "studies": {name: study.title for name, study in STUDIES.items()},
        "failed_to_import": import_failures(),
    }
    if what in KINDS:
        found = {what: found[what]}
    elif what in found["methods"]:
        found = {"methods": {what: found["methods"][what]}}
    elif what is not None:
        raise UnknownNameError("kind or method", what, (*KINDS, *found["methods"]))
    console = Console(as_json)
    if not as_json:
        _show(console, found)
    console.result(found)


def _method(distiller: Any) -> dict[str, Any]:
    from dcbench.distiller import hyper_parameters

    summary = " ".join((distiller.__doc__ or "").replace("``", "").split("\n\n")[0].split())
    parameters = hyper_parameters(distiller)
    return {
        "summary": summary,
        "paper": distiller.paper,
        "fields": {name: parameter.default for name, parameter in parameters.items()},
        "domains": {
            name: parameter.domain for name, parameter in parameters.items() if parameter.domain
        },
        "presets": sorted({"paper", "own", *distiller.presets}),
        "settings": {
            preset: dict(settings) for preset, settings in sorted(distiller.presets.items())
        },
    }


def _show(console: Any, found: dict[str, Any]) -> None:
    titles = {
        "methods": "Methods, with their presets and fields (--preset, --set field=value)",
        "datasets": "Data sets (--dataset)",
        "protocols": "Protocols (--protocol)",
        "networks": "Networks (--network)",
        "layouts": "Layouts of foreign sets (--as)",
        "studies": "Studies (dcbench reproduce)",
    }
    in_words: dict[str, Callable[[Any], list[tuple[str, str]]]] = {
        "methods": _methods,
        "protocols": _protocols,
        "networks": _networks,
    }
    for kind, heading in titles.items():
        if kind in found:
            console.pairs(heading, in_words.get(kind, _items)(found[kind]))
    for plugin, reason in found.get("failed_to_import", {}).items():
        console.say(f"{plugin} failed to import: {reason}")


def _items(words: dict[str, str]) -> list[tuple[str, str]]:
    return list(words.items())


def _networks(names: list[str]) -> list[tuple[str, str]]:
    return [(name, "") for name in names]


def _protocols(protocols: dict[str, Any]) -> list[tuple[str, str]]:
    from dcbench.report.formatting import protocol_words

    return [
        (
            name,
            f"{entry['networks']} networks: "
            + protocol_words(_judging(entry), entry["network"], entry["augment"]),
        )
        for name, entry in protocols.items()
    ]


def _methods(methods: dict[str, Any]) -> list[tuple[str, str]]:
    return [(name, "\n".join(_lines(entry))) for name, entry in methods.items()]


def _lines(entry: dict[str, Any]) -> list[str]:
    fields = _assigned(
        entry["fields"], {name: f" [{domain}]" for name, domain in entry["domains"].items()}
    )
    named = [
        f"preset {preset}: {_assigned(settings) or 'the defaults'}"
        for preset, settings in entry["settings"].items()
    ]
    return [entry["summary"], f"fields: {fields or 'none'}", *named]


def _assigned(values: dict[str, Any], after: dict[str, str] | None = None) -> str:
    return " ".join(
        f"{key}={'none' if value is None else value}{(after or {}).get(key, '')}"
        for key, value in values.items()
    )


def _judging(entry: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if key != "networks"}
