"""Train every architecture drawn on a proxy and measure it on real validation images.

One line for each architecture and seed is written as it ends, so that an interrupted study resumes.
The networks differ only in architecture and seed. The validation images are held out from every
built-in proxy.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from dcbench.datasets.loading import Loaded
from dcbench.evaluation.protocol import SearchProtocol
from dcbench.execution.task import Shared
from dcbench.experiments.context import Workspace
from dcbench.experiments.rows import append_row, intact_row
from dcbench.images import ImageSpec, TestSet
from dcbench.nas.proxies import Proxy
from dcbench.nas.space import SearchSpace
from dcbench.nas.tasks import ArchitectureTask, ProxyData
from dcbench.networks.costs import training_macs
from dcbench.run import fingerprint
from dcbench.system.errors import DataError, OutOfRangeError
from dcbench.system.fields import within
from dcbench.system.files import read_lines
from dcbench.system.layout import ARCHITECTURE_ROWS, search_folder
from dcbench.system.machine import Machine
from dcbench.system.wording import counted, in_words

VERSION = 1  # the study's version: raised by hand when the same spec gives other accuracies
Row = Mapping[str, Any]
Rows = dict[tuple[str, int], Row]


@dataclass(frozen=True)
class DrawnArchitectures:
    """The architectures of a study in the order they were drawn, and those that are impossible at
    this resolution.
    """

    architectures: tuple[str, ...]
    excluded: tuple[str, ...]
    macs: Mapping[str, float]  # of one image
    # the patterns of names among which they were drawn; empty: among all
    match: tuple[str, ...] = ()


def matching(space: SearchSpace, patterns: Sequence[str]) -> tuple[str, ...]:
    """Return the identifiers that match one of the shell ``patterns``; all if there are none.
    Raises OutOfRangeError if a pattern matches none.
    """
    identifiers = space.identifiers()
    fitting = [{name for name in identifiers if fnmatchcase(name, pattern)} for pattern in patterns]
    for pattern, found in zip(patterns, fitting, strict=True):
        if not found:
            part = max(re.findall(r"[\w~]+", identifiers[-1]), key=len)
            raise OutOfRangeError(
                f"no architecture of {space.name} matches {pattern!r:.120}; they are named like "
                f"{identifiers[-1]}, so that --match '*{part}*' finds some"
            )
    return tuple(
        name for name in identifiers if not patterns or any(name in found for found in fitting)
    )


def draw(
    space: SearchSpace, spec: ImageSpec, sample: int | None, seed: int, match: Sequence[str] = ()
) -> DrawnArchitectures:
    """Draw ``sample`` of the architectures that ``match``; None draws all.

    They are the first of one seeded order, so that a larger sample contains a smaller one. Because
    they are trained in this order, the time left is estimated from a fair sample.

    Raises:
        DataError: If fewer are possible at this resolution.
        OutOfRangeError: If a pattern matches none.
    """
    identifiers = matching(space, match)
    excluded = tuple(name for name in identifiers if space.refuses(name, spec))
    impossible = set(excluded)
    possible = [name for name in identifiers if name not in impossible]
    if sample is not None and sample > len(possible):
        raise DataError(
            f"a sample of {sample} architectures was asked, but only {len(possible)} of "
            f"{space.name} are possible at "
            f"{spec.size}×{spec.size}{' and match ' + ','.join(match) if match else ''}; choose a "
            "smaller --sample"
        )
    order = np.random.RandomState(seed).permutation(len(possible))[:sample]
    chosen = tuple(possible[place] for place in order)
    return DrawnArchitectures(
        chosen, excluded, {name: space.macs(name, spec) for name in chosen}, tuple(match)
    )


@dataclass(frozen=True, eq=False)
class ArchitectureStudy:
    """What is the same for every proxy. The holdout of ``loaded`` is the validation part."""

    space: SearchSpace
    loaded: Loaded
    protocol: SearchProtocol
    drawn: DrawnArchitectures
    sample: int | None
    seeds: int
    seed: int

    def __post_init__(self) -> None:
        within("seeds", self.seeds, 1)

    @property
    def validation(self) -> TestSet:
        """The real training images on which architectures are ranked."""
        if self.loaded.holdout is None:
            raise OutOfRangeError(
                "a search ranks by validation images, so their number must be at least 1"
            )
        return self.loaded.holdout

    @property
    def pairs(self) -> list[tuple[str, int]]:
        """Every architecture with every seed, the seeds of one architecture together."""
        return list(product(self.drawn.architectures, range(self.seeds)))

    def asked(self, proxy: Proxy, machine: Machine) -> dict[str, Any]:
        """Return the protocol for ``proxy``, without what the proxy's recipe asks for."""
        protocol = self.protocol.on_the_whole() if proxy.whole else self.protocol
        return protocol.to_json(machine.precision)

    def judged(self, proxy: Proxy) -> SearchProtocol:
        """Return the protocol with what the proxy's recipe asks for."""
        protocol = self.protocol.on_the_whole() if proxy.whole else self.protocol
        return protocol.with_recipe(proxy.recipe)

    def identity(self, proxy: Proxy, machine: Machine) -> dict[str, Any]:
        """Return what changes the accuracy of an architecture: not which others were drawn."""
        return {
            "version": VERSION,
            "space": self.space.name,
            "space_fields": dict(self.space.fields),
            "proxy": proxy.content,
            "protocol": self.asked(proxy, machine),
            "revision": self.loaded.spec.revision,
            "validation": self.loaded.train.holdout,
            "seed": self.seed,
        }

    def folder(self, proxy: Proxy, workspace: Workspace) -> Path:
        """Return the folder of what is trained on ``proxy``."""
        named = (self.space.name, proxy.name, fingerprint(self.identity(proxy, workspace.machine)))
        return search_folder(workspace.out, self.loaded.spec.dataset, *named)

    def on(self, machine: Machine, architecture: str, proxy: Proxy, done: Rows) -> Machine:
        """Return ``machine`` with the engine of the architecture's finished networks, else the one
        that suits all its seeds.
        """
        pairs = ((architecture, seed) for seed in range(self.seeds))
        before = [done[pair]["engine"] for pair in pairs if pair in done]
        if before and machine.engine == "auto":
            return replace(machine, engine=before[0])
        macs = self.macs(architecture, proxy) * self.seeds
        return machine.decide(macs, self.space.least_macs_to_compile(architecture))

    def macs(self, architecture: str, proxy: Proxy) -> float:
        """Return the multiply-accumulates of one network: training (forward and backward),
        validation, and the test if there is one.
        """
        tested = len(self.validation) + (len(self.loaded.test) if proxy.whole else 0)
        epochs = self.judged(proxy).schedule.epochs
        per_image = self.drawn.macs[architecture]
        return training_macs(per_image, proxy.images_per_epoch, epochs, tested)


def finished(study: ArchitectureStudy, proxy: Proxy, workspace: Workspace) -> Rows:
    """Return what of the study was trained before. A network whose training failed is left out, and
    tried again.
    """
    wanted, kept = set(study.pairs), kept_rows(study.folder(proxy, workspace))
    return {pair: row for pair, row in kept.items() if pair in wanted}


def kept_rows(folder: Path) -> Rows:
    """Return the intact rows of all networks trained to the end in a proxy's ``folder``, by this or
    other searches.
    """
    lines = map(intact_row, read_lines(folder / ARCHITECTURE_ROWS))
    return {
        (row["architecture"], row["seed"]): row
        for row in lines
        if row is not None and row["accuracy"] is not None
    }


def estimate_seconds(study: ArchitectureStudy, proxy: Proxy, workspace: Workspace) -> float:
    """Estimate how long the missing networks take here, from counted operations, to a factor of
    three or so.
    """
    done = finished(study, proxy, workspace)
    total = 0.0
    for architecture, _ in (pair for pair in study.pairs if pair not in done):
        machine = study.on(workspace.machine, architecture, proxy, done)
        total += machine.estimate_seconds(study.macs(architecture, proxy))
    return total


def announce(study: ArchitectureStudy, proxies: Sequence[Proxy], workspace: Workspace) -> float:
    """Say what the study will take on each proxy, before it starts. Returns the seconds."""
    seconds = [estimate_seconds(study, proxy, workspace) for proxy in proxies]
    parts = ", ".join(
        f"{proxy.label} {in_words(each)}" for proxy, each in zip(proxies, seconds, strict=True)
    )
    count, left_out = len(study.drawn.architectures), len(study.drawn.excluded)
    networks = counted(study.seeds, "network")
    workspace.say(
        f"{study.space.name}: {count} architectures, {networks} of each, about "
        f"{in_words(sum(seconds))} here ({parts})"
    )
    if left_out:
        size = study.loaded.spec.size
        workspace.say(
            f"{left_out} architectures are impossible at {size}×{size} and left out: the record "
            "lists them"
        )
    return sum(seconds)


def train_on(study: ArchitectureStudy, proxy: Proxy, workspace: Workspace) -> Rows:
    """Train what is missing of the study on ``proxy``. Raises DataError if every architecture
    failed.
    """
    folder = study.folder(proxy, workspace)
    with workspace.alone(folder):
        if not workspace.resumption.resume:
            (folder / ARCHITECTURE_ROWS).unlink(missing_ok=True)
        rows = finished(study, proxy, workspace)
        bar, total = f"{study.space.name} on {proxy.label}: networks", len(study.pairs)

        def keep(row: Row) -> None:
            append_row(folder / ARCHITECTURE_ROWS, row)
            rows[row["architecture"], row["seed"]] = row
            if row["failure"]:
                workspace.say(
                    f"{row['architecture']}, seed {row['seed']}, on {proxy.label}: {row['failure']}"
                )
            workspace.progress(bar, len(rows), total)

        tasks = list(_tasks(study, proxy, workspace, rows))
        if tasks:
            workspace.progress(bar, len(rows), total)
            workspace.execute_tasks(tasks, keep)
    if all(row["accuracy"] is None for row in rows.values()):
        first = next(iter(rows.values()))
        raise DataError(
            f"every architecture failed on {proxy.label}, first {first['architecture']}: "
            f"{first['failure']}"
        )
    return rows


def _tasks(
    study: ArchitectureStudy, proxy: Proxy, workspace: Workspace, done: Rows
) -> Iterator[ArchitectureTask]:
    """Yield tasks for what is not in ``done``. The seeds of one architecture are one task if one
    compiled network serves them all.
    """
    judging = (study.validation, study.loaded.test if proxy.whole else None)
    data = ProxyData(study.space, study.loaded.spec, proxy, study.judged(proxy), *judging)
    bench = Shared.of(data)
    label = f"{study.space.name} on {proxy.label}"
    for architecture in study.drawn.architectures:
        missing = tuple(seed for seed in range(study.seeds) if (architecture, seed) not in done)
        machine = study.on(workspace.machine, architecture, proxy, done)
        together = machine.engine == "compiled" and missing
        for seeds in [missing] if together else [(seed,) for seed in missing]:
            yield ArchitectureTask(label, machine, bench, architecture, seeds, study.seed)
