"""What a preset means: the fields of each method, the protocol, and the whitening of the data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dcbench.distiller import (
    Distiller,
    JudgedBy,
    defaults_of,
    fields_of,
    find,
    hyper_parameters,
    registered,
)
from dcbench.evaluation.protocol import OWN, PROTOCOLS, Protocol, find_protocol
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
    return {DEFAULT, OWN, *PROTOCOLS, *(preset for method in every for preset in method.presets)}


def check_preset(preset: str, methods: Sequence[Method]) -> None:
    """Raises UnknownNameError unless ``preset`` means something for each of ``methods``.

    A preset that names a protocol means the defaults to a method without fields for it.
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
    """The fields that a preset sets for images of ``spec`` and a budget, and where it is silent
    those that suit the images. Without ``spec``, what it sets whatever the data.
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
    """The method ``name`` with a preset's fields and then ``settings``; strings are parsed.

    Raises:
        UnknownNameError: for a method or a field that does not exist.
        OutOfRangeError: for a value out of its range.
    """
    method = find(name)
    fields, values = hyper_parameters(method), preset_fields(method, preset, spec, ipc)
    for key, value in (settings or {}).items():
        if key not in fields:
            raise UnknownNameError(f"field of {name}", key, fields)
        values[key] = fields[key].parse(name, value) if isinstance(value, str) else value
    return method(**values)


def changed_fields(distiller: Distiller, preset: str, spec: ImageSpec, ipc: int) -> dict[str, Any]:
    """The fields of ``distiller`` that are not what ``preset`` means for images of ``spec``."""
    usual = defaults_of(type(distiller)) | preset_fields(type(distiller), preset, spec, ipc)
    return {name: value for name, value in fields_of(distiller).items() if value != usual[name]}


def protocol_for(
    method: Distiller | Method, preset: str, methods: Sequence[Method], name: str | None = None
) -> Protocol:
    """The protocol that judges a method's sets: ``name`` if given, else the preset's.

    The preset's protocol is one for all ``methods`` of a grid; a reference (the whole data) has one
    of its own, and by ``own`` each is judged as its own paper does. Raises UnknownNameError, and
    OutOfRangeError if the methods disagree.
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
    """How the method's own paper judges its sets; the default's where the method says nothing."""
    return _judging(method.protocols.get(OWN, method.protocols.get(DEFAULT, DEFAULT)))


def _judging(judged: str | JudgedBy) -> Protocol:
    """The protocol of a name, with what a method's paper changes in it; raises UnknownNameError."""
    if isinstance(judged, str):
        return find_protocol(judged)
    return find_protocol(judged.protocol).with_options(None, judged.epochs, judged.augment)


def _require_one(judged: Mapping[str, Mapping[str, Any]]) -> None:
    """Raises OutOfRangeError unless the protocols of all methods are one."""
    protocols = list(judged.values())
    if any(protocol != protocols[0] for protocol in protocols):
        raise OutOfRangeError(
            f"the papers of {', '.join(judged)} judge sets differently; wanted one protocol: "
            f"--protocol {OWN} (each as its own paper), or the same for all, such as --protocol "
            "lineage"
        )


def _protocol_named_by(preset: str, methods: Sequence[Method]) -> str | JudgedBy:
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


def zca_of(zca: str, preset: str, method: Method, spec: ImageSpec, ipc: int) -> str:
    """How ``method``'s training images are whitened, ``on``, ``pixels`` or ``off``, given ``--zca``
    and the preset.
    """
    if zca == "auto" and preset == OWN:
        zca = method.own_setting(spec, ipc).zca
    if zca != "auto":
        return zca
    papers = preset in (DEFAULT, OWN) and spec.dataset in WHITENED_BY_THE_PAPER
    return "on" if papers else "off"


def whitening(zca: str) -> dict[str, bool]:
    """What ``zca_of`` says, for ``datasets.loading.load``."""
    return {"zca": zca in ("on", "pixels"), "of_pixels": zca == "pixels"}
