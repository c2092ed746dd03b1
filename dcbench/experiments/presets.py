"""Presets: the fields of each method, the protocol and the whitening that a preset's name stands
for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dcbench.distiller import (
    Distiller,
    JudgedBy,
    defaults_of,
    fields_of,
    find,
    parsed_fields,
    registered,
)
from dcbench.evaluation.protocol import OWN, PROTOCOLS, Protocol, find_protocol
from dcbench.images import ImageSpec
from dcbench.system.errors import OutOfRangeError, UnknownNameError

DEFAULT = "paper"
WHITENED_BY_THE_PAPER = ("cifar10", "cifar100")
# on: whiten normalised values, as DataDAM's code does; pixels: whiten raw pixels, as MTT's does
# the space that each whitening leads to
SPACES = {"on": "zca", "pixels": "zca-pixels", "off": "normalised"}
ZCA = ("auto", *SPACES)

Method = type[Distiller]


def known_presets(methods: Iterable[Method] = ()) -> set[str]:
    """Return the presets of all registered methods and of ``methods``, and those named like a
    protocol.
    """
    every = (*registered().values(), *methods)
    return {DEFAULT, OWN, *PROTOCOLS, *(preset for method in every for preset in method.presets)}


def check_preset(preset: str, methods: Sequence[Method]) -> None:
    """Check that ``preset`` has a meaning for each of ``methods``.

    A preset that is named like a protocol leaves a method without fields for it at its defaults.

    Raises:
        UnknownNameError: If not.
    """
    if preset not in (known := known_presets(methods)):
        raise UnknownNameError("preset", preset, known)
    for method in methods:
        meant = preset in PROTOCOLS or preset == OWN or preset in method.presets
        if not meant and method.presets:
            known = {DEFAULT, OWN, *method.presets}
            raise UnknownNameError(f"preset of {method.name}", preset, known)


def preset_fields(
    method: Method, preset: str, spec: ImageSpec | None = None, ipc: int = 1
) -> dict[str, Any]:
    """Return the fields that a preset sets, for images of ``spec`` and a budget.

    Fields that the preset leaves open take the values that suit the images. Without ``spec``, only
    the fields that the preset sets for any data.
    """
    suited = {} if spec is None else method.suited_to(spec)
    own = {} if spec is None or preset != OWN else method.own_setting(spec, ipc).fields
    return {**suited, **method.presets.get(preset, {}), **own}


def build(
    name: str,
    preset: str,
    settings: Mapping[str, Any] | None = None,
    spec: ImageSpec | None = None,
    ipc: int = 1,
) -> Distiller:
    """Build the method ``name`` with a preset's fields, then ``settings``; strings are parsed.

    Raises:
        UnknownNameError: If the method or a field does not exist.
        OutOfRangeError: If a value is out of its range.
    """
    method = find(name)
    own = parsed_fields(method, settings or {})
    return method(**{**preset_fields(method, preset, spec, ipc), **own})


def changed_fields(distiller: Distiller, preset: str, spec: ImageSpec, ipc: int) -> dict[str, Any]:
    """Return the fields of ``distiller`` that differ from ``preset`` for images of ``spec``."""
    usual = defaults_of(type(distiller)) | preset_fields(type(distiller), preset, spec, ipc)
    return {name: value for name, value in fields_of(distiller).items() if value != usual[name]}


def protocol_for(
    method: Distiller | Method, preset: str, methods: Sequence[Method], name: str | None = None
) -> Protocol:
    """Return the protocol that evaluates a method's sets: ``name`` if given, else the preset's.

    All ``methods`` of a grid share the preset's protocol. A reference (the whole data) has a
    protocol of its own. The name ``own`` is the protocol of each method's own paper.

    Raises:
        UnknownNameError: If there is no such protocol.
        OutOfRangeError: If the methods disagree.
    """
    if name == OWN:
        return own_protocol(method)
    if name is not None:
        return find_protocol(name)
    if preset == OWN:
        _require_one({each.name: own_protocol(each).to_json() for each in methods if each.budgeted})
        return own_protocol(method)
    shared = _protocol_named_by(preset, methods)
    named = shared.protocol if isinstance(shared, JudgedBy) else shared
    own = method.protocols.get(preset, method.protocols.get(named, shared))
    return _judging(shared if method.budgeted else own)


def own_protocol(method: Distiller | Method) -> Protocol:
    """Return the protocol of the method's own paper; the default protocol if the method declares
    none.
    """
    return _judging(method.protocols.get(OWN, method.protocols.get(DEFAULT, DEFAULT)))


def _judging(judged: str | JudgedBy) -> Protocol:
    """Return the named protocol with the changes that a method's paper declares. Raises
    UnknownNameError.
    """
    if isinstance(judged, str):
        return find_protocol(judged)
    return find_protocol(judged.protocol).with_options(None, judged.epochs, judged.augment)


def _require_one(judged: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise OutOfRangeError unless all methods have the same protocol."""
    protocols = list(judged.values())
    if any(protocol != protocols[0] for protocol in protocols):
        raise OutOfRangeError(
            f"the papers of {', '.join(judged)} judge sets differently; wanted one protocol: "
            f"--protocol {OWN} (each as its own paper), or the same for all, such as --protocol "
            "lineage"
        )


def _protocol_named_by(preset: str, methods: Sequence[Method]) -> str | JudgedBy:
    """Return the protocol named like the preset, else the one ``methods`` declare for it, else the
    one any method declares.
    """
    if preset in PROTOCOLS:
        return preset
    for asked in (methods, registered().values()):
        named = {
            method.protocols[preset]: method.name
            for method in asked
            if method.budgeted and preset in method.protocols
        }
        if len(named) > 1 and asked is methods:
            names = ", ".join(f"{protocol} for {method}" for protocol, method in named.items())
            raise OutOfRangeError(
                f"preset {preset!r} means several protocols here ({names}); "
                "choose one with --protocol"
            )
        if named:
            return next(iter(named))
    return DEFAULT


def zca_of(zca: str, preset: str, method: Method, spec: ImageSpec, ipc: int) -> str:
    """Return how ``method``'s training images are whitened (``on``, ``pixels`` or ``off``), given
    ``--zca`` and the preset.
    """
    if zca == "auto" and preset == OWN:
        zca = method.own_setting(spec, ipc).zca
    if zca != "auto":
        return zca
    papers = preset in (DEFAULT, OWN) and spec.dataset in WHITENED_BY_THE_PAPER
    return "on" if papers else "off"


def whitening(zca: str) -> dict[str, bool]:
    """Translate the answer of ``zca_of`` for ``datasets.loading.load``."""
    return {"zca": zca in ("on", "pixels"), "of_pixels": zca == "pixels"}
