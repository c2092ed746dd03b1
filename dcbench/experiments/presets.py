"""What a preset means: the fields of each method, the protocol, and the whitening of the data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dcbench.distiller import (
    Distiller,
    defaults_of,
    fields_of,
    find,
    hyper_parameters,
    registered,
)
from dcbench.evaluation.protocol import PROTOCOLS, Protocol, find_protocol
from dcbench.images import ImageSpec
from dcbench.system.errors import OutOfRangeError, UnknownNameError

DEFAULT = "paper"
WHITENED_BY_THE_PAPER = ("cifar10", "cifar100")
# on: of normalised values, as DataDAM's code; pixels: of pixels as they are, as MTT's
ZCA = ("auto", "on", "pixels", "off")

Method = type[Distiller]


def known_presets(methods: Iterable[Method] = ()) -> set[str]:
    """The presets of all registered methods and of ``methods``, and those that name a protocol."""
    every = (*registered().values(), *methods)
    return {DEFAULT, *PROTOCOLS, *(preset for method in every for preset in method.presets)}


def check_preset(preset: str, methods: Sequence[Method]) -> None:
    """Raises UnknownNameError unless ``preset`` means something for each of ``methods``.

    A preset that names a protocol means the defaults to a method without fields for it.
    """
    if preset not in (known := known_presets(methods)):
        raise UnknownNameError("preset", preset, known)
    for method in methods:
        if preset not in PROTOCOLS and method.presets and preset not in method.presets:
            raise UnknownNameError(f"preset of {method.name}", preset, {DEFAULT, *method.presets})


def preset_fields(method: Method, preset: str, spec: ImageSpec | None = None) -> dict[str, Any]:
    """The fields that a preset sets, and where it is silent those that suit images of ``spec``."""
    suited = {} if spec is None else method.suited_to(spec)
    return {**suited, **method.presets.get(preset, {})}


def build(
    name: str,
    preset: str,
    settings: Mapping[str, Any] | None = None,
    spec: ImageSpec | None = None,
) -> Distiller:
    """The method ``name`` with a preset's fields and then ``settings``; strings are parsed.

    Raises:
        UnknownNameError: for a method or a field that does not exist.
        OutOfRangeError: for a value out of its range.
    """
    method = find(name)
    fields, values = hyper_parameters(method), preset_fields(method, preset, spec)
    for key, value in (settings or {}).items():
        if key not in fields:
            raise UnknownNameError(f"field of {name}", key, fields)
        values[key] = fields[key].parse(name, value) if isinstance(value, str) else value
    return method(**values)


def changed_fields(distiller: Distiller, preset: str, spec: ImageSpec) -> dict[str, Any]:
    """The fields of ``distiller`` that are not what ``preset`` means for images of ``spec``."""
    usual = defaults_of(type(distiller)) | preset_fields(type(distiller), preset, spec)
    return {name: value for name, value in fields_of(distiller).items() if value != usual[name]}


def protocol_for(
    method: Distiller | Method, preset: str, methods: Sequence[Method], name: str | None = None
) -> Protocol:
    """The protocol that judges a method's sets: ``name`` if given, else the preset's.

    The preset's protocol is one for all ``methods`` of a grid; a reference (the whole data) has one
    of its own. Raises UnknownNameError, and OutOfRangeError if the methods disagree.
    """
    if name is not None:
        return find_protocol(name)
    shared = _protocol_named_by(preset, methods)
    own = method.protocols.get(preset, method.protocols.get(shared, shared))
    return find_protocol(shared if method.budgeted else own)


def _protocol_named_by(preset: str, methods: Sequence[Method]) -> str:
    """The protocol of the preset's name, else what ``methods`` say, else what any method says."""
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


def whitening(zca: str, preset: str, dataset: str) -> dict[str, bool]:
    """How ``datasets.loading.load`` whitens a data set, given ``--zca`` and the preset."""
    papers = zca == "auto" and preset == DEFAULT and dataset in WHITENED_BY_THE_PAPER
    return {"zca": papers or zca in ("on", "pixels"), "of_pixels": zca == "pixels"}
