"""Words for names, numbers, intervals, budgets and protocols."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from dcbench.datasets import DATASETS
from dcbench.datasets.catalogue import revision_note
from dcbench.records.kinds import OfASet, set_in_words
from dcbench.studies.declared_methods import declared_methods

DASH = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"
TIMES = "\N{MULTIPLICATION SIGN}"

_LONGEST = 120

_TITLES = {  # of networks and augmentations; methods and data sets declare their own
    "convnet": "ConvNet",
    "alexnet": "AlexNet",
    "vgg11": "VGG-11",
    "resnet18": "ResNet-18",
    "dsa": "DSA",
    "autoaugment": "AutoAugment",
    "randaugment": "RandAugment",
}

_SETTINGS = (  # of a protocol, in the order in which they are said
    *("network", "normalisation", "epochs", "batch", "optimizer", "lr", "momentum"),
    *("weight_decay", "augment", "mix_share", "labels", "loss", "temperature", "teacher"),
    "precision",
)
_PHRASES = {  # of others the name and the value
    **dict.fromkeys(("network", "optimizer", "precision"), "{}"),
    **{name: f"{{}} {name}" for name in ("normalisation", "epochs", "labels")},
    "lr": "learning rate {}",
    "augment": "augmentation {}",
    "mix_share": "of a share {} of the batches mixed",
    "teacher": "teacher ({})",
}
USUAL_EPOCHS: Mapping[str, tuple[int, ...]] = {  # of each protocol (a test compares)
    **dict.fromkeys(("paper", "quick", "sre2l", "rded", "dd-ranking"), (300,)),
    "lineage": (1001, 301),  # with and without augmentation
    "released": (1801,),
    "datm": (1001,),
    "idc": (1000,),
    "whole": (100,),
    "whole-quick": (10,),
}
_DECAY = ("decay", "decay_every", "decay_after", "decay_at", "cosine_over", "fresh_momentum")


def title(name: str) -> str:
    """The usual spelling of a method, data set, network or augmentation, or the name itself."""
    declared = DATASETS.get(name) or declared_methods().get(name)
    return (declared and declared.title) or _TITLES.get(name) or one_line(name)


def data_title(dataset: str, revision: str, notes: Iterable[str] = ()) -> str:
    """The usual spelling of a data set, which copy of it this is where that is known, and what
    records note about it.
    """
    said = {revision_note(dataset, revision), *map(one_line, notes)}
    return ", ".join([title(dataset), *sorted(said - {""})])


def set_title(of: OfASet) -> str:
    """A set in a few words, with the usual spellings of its method and data."""
    return set_in_words(title(of.method), title(of.dataset), of.ipc, of.seed)


def one_line(text: str, longest: int = _LONGEST) -> str:
    """``text`` without line breaks, control and invisible characters, cut where it is too long."""
    visible = "".join(
        " " if unicodedata.category(character)[0] in "CZ" else character for character in text
    )
    joined = " ".join(visible.split())
    return joined if len(joined) <= longest else f"{joined[: longest - 3]}..."


def canonical(value: object) -> str:
    """JSON that is the same for the same value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def short_hash(text: str) -> str:
    """The first eight hexadecimal digits of the text's SHA-256."""
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def plain(value: object) -> str:
    """A value as people write it: JSON, but strings without quotation marks."""
    return one_line(value if isinstance(value, str) else canonical(value))


def natural(text: str) -> list[tuple[float, str]]:
    """A key that sorts the numbers in texts by value: 500 before 1,000."""
    parts = re.findall(r"(\d[\d,]*\.?\d*)|([^\d]+)", text)
    return [(float(number.replace(",", "")) if number else 0.0, words) for number, words in parts]


def file_name(*parts: str) -> str:
    """Join the parts into a file name of lower-case letters, digits and hyphens."""
    return "-".join(
        filter(None, (re.sub(r"[^a-z0-9]+", "-", part.lower()).strip("-")[:40] for part in parts))
    )


def decimals(value: float, count: int = 2) -> str:
    """A number with ``count`` decimals; what rounds to zero has no sign."""
    return f"{value:z.{count}f}".replace("-", MINUS)


def percent(fraction: float) -> str:
    """A fraction as percent with one decimal."""
    return decimals(100 * fraction, 1)


def signed(fraction: float) -> str:
    """A difference of two fractions in percentage points, with its sign."""
    shown = percent(fraction)
    return shown if shown.startswith(MINUS) or float(shown) == 0 else f"+{shown}"


def mean_and_std(mean: float, std: float | None) -> str:
    """Mean and standard deviation in percent."""
    return percent(mean) if std is None else f"{percent(mean)} ± {percent(std)}"


def bounds(interval: tuple[float, float] | None, show: Callable[[float], str] = percent) -> str:
    """An interval in brackets, each end written by ``show``; nothing if there is none."""
    return "" if interval is None else f"[{show(interval[0])}, {show(interval[1])}]"


def budget_label(ipc: int | None) -> str:
    """The number of images per class, in words."""
    return "no budget" if ipc is None else f"IPC {ipc}"


def size(count: float) -> str:
    """A number of bytes in the unit that suits it."""
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"


def listed(words: Iterable[str]) -> str:
    """a, b and c."""
    *first, last = list(words) or [""]
    return f"{', '.join(first)} and {last}" if first else last


def accuracy_words(protocol: Mapping[str, Any]) -> str:
    """Which accuracy a protocol measures."""
    return (
        "accuracy on training images kept from distillation"
        if protocol.get("judged_on") == "holdout"
        else "test accuracy"
    )


def protocol_name(protocol: Mapping[str, Any], otherwise: str = "") -> str:
    """The protocol's name, or ``otherwise`` if the record gives none."""
    return one_line(str(protocol.get("name", otherwise)))


def protocol_title(protocol: Mapping[str, Any], otherwise: str = "") -> str:
    """The protocol's name, with the number of epochs where it is not the protocol's own."""
    name, epochs = protocol_name(protocol, otherwise), protocol.get("epochs")
    unusual = epochs not in (None, *USUAL_EPOCHS.get(name, (epochs,)))
    return f"{name}, {plain(epochs)} epochs" if unusual else name


def protocol_words(protocol: Mapping[str, Any], network: str, augment: str) -> str:
    """The protocol's settings in words; a setting for which there are no words, by its name."""
    settings: dict[str, Any] = {}
    for key, value in protocol.items():
        nested = isinstance(value, Mapping) and key != "teacher"
        settings |= value if nested else {key: value}
    settings |= {"network": title(network), "augment": title(augment)}
    stated = [key for key in _SETTINGS if settings.get(key) is not None]
    phrases = {key: protocol_setting(key, settings[key]) for key in stated}
    if "lr" in phrases:
        phrases["lr"] += _decay({key: settings.get(key) for key in _DECAY})
    said = {"name", "version", "judged_on", *_SETTINGS, *_DECAY}
    rest = [
        protocol_setting(key, value)
        for key, value in sorted(settings.items())
        if value is not None and key not in said
    ]
    return ", ".join([*phrases.values(), *rest])


def protocol_setting(key: str, value: object) -> str:
    """One setting of a protocol in words; a teacher's are those of its own protocol."""
    if key == "teacher" and isinstance(value, Mapping):
        value = protocol_words(value, str(value.get("network")), str(value.get("augment")))
    if key in _PHRASES:
        return _PHRASES[key].format(plain(value))
    return f"{one_line(key).replace('_', ' ')} {plain(value)}"


def protocol_clause(protocol: Mapping[str, Any], network: str, augment: str) -> str:
    """The protocol's name with its settings in parentheses."""
    words = protocol_words(protocol, network, augment)
    return f"by protocol {protocol_name(protocol)} ({words})"


def _decay(decay: Mapping[str, Any]) -> str:
    factor = f"{TIMES}{plain(decay['decay'])}"
    if decay["decay_at"]:
        shares = listed(f"{percent(share)} %" for share in decay["decay_at"])
        return f" ({factor} at {shares} of the epochs)"
    if decay["decay_every"] is not None:
        return f" ({factor} every {plain(decay['decay_every'])} epochs)"
    if decay["decay_after"] is not None:
        momentum = " with fresh momentum" if decay["fresh_momentum"] else ""
        return f" ({factor} after epoch {plain(decay['decay_after'])}{momentum})"
    over = decay["cosine_over"] or 1
    end = "to zero" if over == 1 else f"of {plain(over)} times the epochs"
    return f" (along a cosine {end})" if decay["decay"] == 0 else ""
