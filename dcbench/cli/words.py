"""The names that options accept, checked before torch is imported.

Methods of the project are known from their files. Methods of installed packages or users' files are
known only after importing them: then the registry is asked later. Names that are declared in
modules that import torch or pandas are repeated here, and a test compares them.
"""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import click

from dcbench.artifacts.importers.catalogue import LAYOUTS
from dcbench.artifacts.importers.layout import CLASS_ORDERS, SPACE_WORDS
from dcbench.datasets.catalogue import DATASETS, alternatives
from dcbench.datasets.own import names_a_folder
from dcbench.system.errors import UnknownNameError, require_known

EXECUTORS = ("serial", "processes", "ray")
REPORT_FORMATS = ("latex", "markdown", "csv", "html")
_ENTRY_POINTS = "dcbench.distillers"  # entry points of installed packages with methods
_METHODS = "dcbench.distiller"  # the module that knows all methods
_AUGMENTATIONS = (
    *("dsa", "flip", "resized-crop", "shuffled-patches", "colour-and-warp"),
    *("autoaugment", "randaugment", "none"),
)
_MIXES = ("cutmix", "mixup")

NAMES: Mapping[str, Collection[str]] = {
    "augmentation": (
        *(*_AUGMENTATIONS, *_MIXES),
        *(f"{alone}+{mix}" for alone in _AUGMENTATIONS for mix in _MIXES),
    ),
    "protocol": (
        *("paper", "lineage", "released", "quick", "datm", "idc", "sre2l", "rded"),
        *("dd-ranking", "whole", "whole-quick", "own"),
    ),
    "network": ("convnet", "alexnet", "vgg11", "resnet18"),
    "precision": ("auto", "fp32", "bf16"),
    "engine": ("auto", "eager", "compiled"),
    "value of --zca": ("auto", "on", "pixels", "off"),
    "value of --judge-on": ("test", "holdout"),
    "value of --labels": ("hard", "stored", "teacher"),
    "search space": ("convnet720", "nasbench201"),
    "protocol of a search": tuple(
        f"search-{space}{quick}"
        for space in ("convnet720", "nasbench201")
        for quick in ("", "-quick")
    ),
    "preset of a search": ("paper", "released", "quick"),
    "proxy": ("random", "early-stopping", "whole"),
    "export format": ("safetensors", "npz", "folder", "parquet"),
    "format": REPORT_FORMATS,
    "space": SPACE_WORDS,
    "dataset": DATASETS,
    "layout": LAYOUTS,
    "executor": EXECUTORS,
    "device": ("auto", "cpu", "cuda"),
    "way to know classes": CLASS_ORDERS,
    "style": ("compact", "full"),
    "value of --published": ("none", "own", "all"),
}


def _presets() -> Collection[str] | None:
    """Return all presets; None if only importing the methods can tell."""
    if _METHODS in sys.modules:
        from dcbench.experiments.presets import known_presets

        return known_presets()
    return None if _others_may_add() else declared_presets()


def declared_presets() -> Collection[str]:
    """Return the presets of the project's own methods, and those that name a protocol."""
    from dcbench.studies.declared_methods import declared_methods

    own = (method.presets for method in declared_methods().values())
    return {"paper", *NAMES["protocol"], *(name for names in own for name in names)}


def known(kind: str) -> Callable[[click.Context, click.Parameter, Any], Any]:
    """Return an option's callback: it raises UnknownNameError unless the value, or each item of a
    list, is a name of this ``kind``.
    """

    def check(_context: click.Context, _option: click.Parameter, value: Any) -> Any:
        for word in value if isinstance(value, list) else [value]:
            check_word(kind, word)
        return value

    return check


def check_word(kind: str, word: str | None, called: str = "") -> None:
    """Raise UnknownNameError if ``word`` is given and is no name of this ``kind``. The message
    calls the kind ``called``.
    """
    if word is not None and _named_elsewhere(kind, word):
        return
    names = _presets() if kind == "preset" else NAMES[kind]
    if word is not None and names is not None and word not in names:
        meant = alternatives(word) if kind == "dataset" else names
        raise UnknownNameError(called or kind, word, meant)


def _named_elsewhere(kind: str, word: str) -> bool:
    """Return whether the word names a folder of own data, a network of timm, or something that an
    installed package adds.
    """
    if kind == "device":  # the machine checks the device's number and torch's other devices later
        return word.partition(":")[0] in (*NAMES[kind], "mps", "xpu", "meta")
    if kind not in ("dataset", "network"):
        return False
    apart = names_a_folder(word) if kind == "dataset" else word.startswith("timm:")
    added = importlib.metadata.entry_points(group=f"dcbench.{kind}s")
    return apart or any(point.name == word for point in added)


def check_methods(
    names: Sequence[str], preset: str | None = None, settings: Collection[str] = ()
) -> None:
    """Check names of methods, ``preset`` and ``settings`` as far as possible before methods are
    imported.

    ``settings`` are fields, as ``field`` or ``method.field``.

    Raises:
        UnknownNameError: If one is unknown.
    """
    if _METHODS in sys.modules or _others_may_add():
        return
    from dcbench.studies.declared_methods import declared_methods

    own = [name for name in names if ".py" not in name]
    for name in own:
        require_known("method", name, declared_methods())
    if len(own) < len(names):
        return
    check_word("preset", preset)
    fields = {name: declared_methods()[name].fields for name in own}
    there_are = {key for name in own for each in fields[name] for key in (each, f"{name}.{each}")}
    for key in settings:
        require_known(f"field of {', '.join(own)}", key, there_are)


def _others_may_add() -> bool:
    return bool(importlib.metadata.entry_points(group=_ENTRY_POINTS))
