"""``python -m benchmarks.presets``: the tables of ``docs/reference/presets.md``: what each preset of each method
sets on CIFAR-10, how its sets are judged, and what a set costs.

Nothing is timed. Costs are operations counted by ``cost_macs``; hours are these by the rate that
``dcbench.system.machine`` assumes of two cores with bf16, good to a factor of three.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.costs import CIFAR, CPU_RATE, TEST, TRAIN
from dcbench.datasets.loading import declared_spec
from dcbench.distiller import Distiller, defaults_of, fields_of, find, registered
from dcbench.evaluation.evaluate import evaluation_macs
from dcbench.evaluation.protocol import OWN, PROTOCOLS, Protocol
from dcbench.experiments.presets import DEFAULT, build, own_protocol, protocol_for, zca_of
from dcbench.system.errors import OutOfRangeError
from dcbench.system.wording import in_words

PRESETS = (OWN, DEFAULT, "released", "quick", "two-cores")
JUDGES = ("paper", "lineage", "released", "quick")
BUDGETS = (1, 10, 50)
WHITENED = {"off": "none", "on": "ZCA", "pixels": "ZCA of pixels"}
MTT_DATA = ("cifar10", "cifar100", "tinyimagenet")


def methods() -> list[str]:
    """The project's own methods; a plugin that is installed here is none of the page's."""
    packages = ("dcbench.methods.", "dcbench.baselines.")
    return [name for name, kind in registered().items() if kind.__module__.startswith(packages)]


def presets_of(name: str) -> list[str]:
    """The presets that mean something of their own to a method."""
    known = find(name).presets
    return [preset for preset in PRESETS if preset in (OWN, DEFAULT) or preset in known]


def plain(value: Any) -> str:
    """A field's value as it is set on the command line."""
    return f"{value:g}" if isinstance(value, float) else str(value).lower()


def changes(distiller: Distiller) -> str:
    """The fields that are not at their defaults."""
    defaults = defaults_of(type(distiller))
    changed = {key: own for key, own in fields_of(distiller).items() if own != defaults[key]}
    return ", ".join(f"`{key}={plain(value)}`" for key, value in changed.items()) or "the defaults"


def judge(protocol: Protocol) -> str:
    """A protocol in a few words."""
    usual = PROTOCOLS[protocol.name]
    said = [f"`{protocol.name}`"]
    if protocol.augment != usual.augment:
        said.append(f"augmentation {protocol.augment}")
    if protocol.schedule.epochs != usual.schedule.epochs:
        said.append(f"{protocol.schedule.epochs} epochs")
    return ", ".join(said)


def costs(name: str, preset: str) -> Iterator[str]:
    """Time of one set at each budget, with the work that several sets share; nothing if seconds."""
    for ipc in BUDGETS if find(name).budgeted else ():
        seconds = build(name, preset, {}, CIFAR, ipc).cost_macs(TRAIN, ipc) / CPU_RATE
        yield in_words(seconds) if seconds >= 1 else "–"


def preset_table() -> list[str]:
    """Each method's presets on CIFAR-10, the fields at IPC 10."""
    lines = [
        "| method | preset | whitening | fields that are not the defaults | judged by | a set at IPC 1 / 10 / 50 |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name in methods():
        for preset in presets_of(name):
            made = build(name, preset, {}, CIFAR, 10)
            zca = WHITENED[zca_of("auto", preset, find(name), CIFAR, 10)]
            words = (name, f"`{preset}`", zca, changes(made), judge(_judge(name, preset)))
            lines.append(f"| {' | '.join((*words, ' / '.join(costs(name, preset)) or '–'))} |")
    return lines


def _judge(name: str, preset: str) -> Protocol:
    try:
        return protocol_for(find(name), preset, [find(name)])
    except OutOfRangeError:
        return own_protocol(find(name))


def judging_table() -> list[str]:
    """What a network of each protocol costs."""
    lines = ["| protocol | a network at IPC 1 / 10 / 50 |", "| --- | --- |"]
    for name in JUDGES:
        macs = [evaluation_macs(PROTOCOLS[name], CIFAR, 10 * ipc, len(TEST)) for ipc in BUDGETS]
        lines.append(f"| `{name}` | {' / '.join(in_words(each / CPU_RATE) for each in macs)} |")
    return lines


def mtt_table() -> list[str]:
    """MTT's own settings by data set and budget."""
    names = ("student_steps", "expert_epochs", "max_start_epoch", "student_batch")
    rates = ("lr", "rate_lr", "student_lr")
    lines = [
        f"| data | IPC | whitening | {' | '.join(f'`{name}`' for name in (*names, *rates))} |",
        f"| --- | ---: | --- |{' ---: |' * len(names + rates)}",
    ]
    for dataset in MTT_DATA:
        spec = declared_spec(dataset)
        for ipc in BUDGETS:
            made = fields_of(build("mtt", OWN, {}, spec, ipc))
            zca = WHITENED[zca_of("auto", OWN, find("mtt"), spec, ipc)]
            values = [plain(made[name]) for name in (*names, *rates)]
            lines.append(f"| {dataset} | {ipc} | {zca} | {' | '.join(values)} |")
    return lines


def main() -> None:
    for table in (preset_table(), mtt_table(), judging_table()):
        print("\n".join(table), end="\n\n")


if __name__ == "__main__":
    main()
