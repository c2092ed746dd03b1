"""Trial runs for the checks: tiny sets, little work, and runs that are interrupted."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dcbench.conformance.requirements import wrong_type
from dcbench.datasets.preprocessing import whitening
from dcbench.distiller import Distiller, hyper_parameters, parsed_fields
from dcbench.images import ImageSpec, Space, SyntheticSet, TrainSet
from dcbench.run import Resumption, Run
from dcbench.system.errors import OutOfRangeError, require_known
from dcbench.system.fields import TypedField
from dcbench.system.machine import Machine

IPC = 2
CLASSES, PER_CLASS = 3, 12
# Small values for fields that set the amount of work and have the same name in several methods. A
# method declares such values for other fields itself (``tried_with``).
USUAL: Mapping[str, Any] = {
    "iterations": 4,
    "feature_epochs": 4,
    "real_batch": 4,
    "batch": 4,
    "width": 16,
    "latent": 8,
    "turns": 1,
}


MOST_STEPS = 200  # most steps of one loop in a trial


class Killed(BaseException):
    """Raised to interrupt a run from outside, like a kill."""


class TooMuchWorkError(OutOfRangeError):
    """Raised if a method would take long even on a tiny set."""


@dataclass
class StepCounter:
    """A progress function that counts steps, and can interrupt the work at one of them."""

    end_at: int | None = None
    done: int = 0
    last: dict[str, int] = field(default_factory=dict)

    def __call__(self, text: str, done: int, total: int) -> None:
        if total > MOST_STEPS:
            raise TooMuchWorkError(
                f"{text} takes {total} steps, too many to try (at most {MOST_STEPS}); name the "
                "field that makes it short: --set FIELD=VALUE"
            )
        if done > self.last.get(text, done):
            self.done += 1
        self.last[text] = done
        if self.done == self.end_at:
            raise Killed


@dataclass(frozen=True)
class Trial:
    """A set made in a trial run, with its history and number of steps."""

    synthetic: SyntheticSet
    history: list[dict[str, float]]
    steps: int
    changed_settings: tuple[str, ...] = ()  # settings of the whole process that the method changed


@dataclass(frozen=True)
class Candidate:
    """The method under test, reduced to little work, and the tiny sets that it is tried on."""

    distiller: Distiller
    sets: Mapping[str, TrainSet]
    machine: Machine

    @cached_property
    def accepted(self) -> dict[str, TrainSet]:
        """The tiny sets that the method does not refuse."""
        return {
            kind: train
            for kind, train in self.sets.items()
            if not self.distiller.refuses(train, IPC)
        }

    @cached_property
    def failure(self) -> Exception | None:
        """Return the error of making a set; empty if there is none.

        Raises TooMuchWorkError.
        """
        for kind, train in self.accepted.items():
            try:
                wrong = wrong_type(self.trial(kind).synthetic, train)
            except TooMuchWorkError:
                raise
            except Exception as error:  # a method of unknown origin can raise anything
                return error
            if wrong:
                return TypeError(wrong)
        return None

    @cached_property
    def _made(self) -> dict[tuple[str, int], Trial]:
        return {}

    def trial(self, kind: str, seed: int = 0) -> Trial:
        """Return the set made of the tiny images ``kind``; made once for each seed."""
        if (kind, seed) not in self._made:
            self._made[kind, seed] = self.repeat(kind, seed)
        return self._made[kind, seed]

    def repeat(self, kind: str, seed: int = 0) -> Trial:
        """Make the same set again, from a fresh copy of the images: the method may have changed
        them.
        """
        return self.tried_on(deepcopy(self.sets[kind]), seed)

    def tried_on(self, train: TrainSet, seed: int = 0) -> Trial:
        """Make a set of these images."""
        steps = StepCounter()
        run = Run(seed, self.machine, progress=steps)
        with _settings_kept() as changed:
            made = self.distiller.distill(train, IPC, run)
        return Trial(made, run.history, steps.done, tuple(changed))

    def interrupted(self, kind: str, middle: int, killed: bool, folder: Path) -> Trial:
        """Make the same set in two parts: interrupt the run at step ``middle``, then resume it.

        The run is interrupted by an exception between two checkpoints, or by a request to stop.
        ``steps`` are those of the second part.
        """
        steps = StepCounter(end_at=middle if killed else None)
        run = Run(
            0,
            self.machine,
            folder / "own",
            folder / "shared",
            progress=steps,
            resumption=Resumption(checkpoint_seconds=0),
        )
        with suppress(Killed, KeyboardInterrupt), _settings_kept():
            self.distiller.distill(
                deepcopy(self.sets[kind]),
                IPC,
                replace(run, stop=lambda: not killed and steps.done == middle),
            )
        rest = StepCounter()
        run = Run(0, self.machine, folder / "own", folder / "shared", progress=rest)
        with _settings_kept():
            made = self.distiller.distill(deepcopy(self.sets[kind]), IPC, run)
        return Trial(made, run.history, rest.done)


# how each setting is read and set; a changed one would affect all later work of the process
_SETTINGS: Mapping[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "default dtype": (torch.get_default_dtype, torch.set_default_dtype),
    "gradients": (torch.is_grad_enabled, torch.set_grad_enabled),
    "threads": (torch.get_num_threads, torch.set_num_threads),
    "deterministic algorithms": (
        torch.are_deterministic_algorithms_enabled,
        torch.use_deterministic_algorithms,
    ),
    "working folder": (Path.cwd, os.chdir),
}


@contextmanager
def _settings_kept() -> Iterator[list[str]]:
    """Restore the process's settings afterwards; the list receives those that the method
    changed.
    """
    before = {name: read() for name, (read, _) in _SETTINGS.items()}
    changed: list[str] = []
    try:
        yield changed
    finally:
        for name, (read, restore) in _SETTINGS.items():
            if (now := read()) != before[name]:
                changed.append(f"{name} from {before[name]} to {now}")
                restore(before[name])


def small(distiller: type[Distiller], settings: Mapping[str, Any] | None = None) -> Distiller:
    """Reduce ``distiller`` to little work, using ``tried_with`` and fields with usual names.

    ``settings`` override both; raises UnknownNameError, OutOfRangeError where they are wrong.
    """
    return distiller(**(reduced(distiller) | parsed_fields(distiller, settings or {})))


def reduced(distiller: type[Distiller]) -> dict[str, Any]:
    """Return small values for the fields with usual names, within their ranges, and ``tried_with``.

    Raises UnknownNameError if ``tried_with`` names no field.
    """
    fields = hyper_parameters(distiller)
    for key in distiller.tried_with:
        require_known(f"field of {distiller.name} in tried_with", key, fields)
    usual = {
        key: value
        for key, value in USUAL.items()
        if key in fields and _may_be(distiller.name, fields[key], value)
    }
    return usual | dict(distiller.tried_with)


def _may_be(method: str, field: TypedField, value: Any) -> bool:
    try:
        field.check(method, value)
    except OutOfRangeError:
        return False
    return True


def samples(digits: TrainSet) -> dict[str, TrainSet]:
    """Return tiny training sets of three classes, cut from real ``digits``: grey images, colour
    images, and colour images in a whitened space.

    Each channel of a colour image is another digit of its class. Their declaration says that a
    mirrored image keeps its class.
    """
    names = digits.spec.class_names[:CLASSES]
    few = torch.cat([members[:PER_CLASS] for members in digits.by_class[:CLASSES]]).sort().values
    grey = TrainSet(
        replace(digits.spec, class_names=names),
        digits.images[few],
        digits.labels[few],
        digits.space,
    )
    stacked = torch.cat(
        [
            digits.images[members[: 3 * PER_CLASS]].unflatten(0, (PER_CLASS, 3)).squeeze(2)
            for members in digits.by_class[:CLASSES]
        ]
    )
    spec = ImageSpec(
        "colourful", "0" * 12, channels=3, size=digits.spec.size, class_names=names, flips=True
    )
    labels = torch.arange(CLASSES).repeat_interleave(PER_CLASS)
    colour = TrainSet(spec, stacked, labels, Space("normalised", (0.3, 0.3, 0.3), (0.4, 0.35, 0.3)))
    return {
        "grey": grey,
        "colour": colour,
        "whitened": replace(colour, space=whitening(colour.images, colour.space)),
    }


def same(ours: SyntheticSet, theirs: SyntheticSet) -> bool:
    """Return whether two tensors are equal bit for bit; NaN equals NaN."""
    return _bits(ours) == _bits(theirs) and dict(ours.recipe) == dict(theirs.recipe)


def _bits(synthetic: SyntheticSet) -> list[tuple[Any, ...]]:
    tensors = (synthetic.images.detach().cpu(), synthetic.labels.detach().cpu())
    return [
        (tensor.dtype, tensor.shape, tensor.contiguous().numpy().tobytes()) for tensor in tensors
    ]


def content(train: TrainSet) -> str:
    """Hash everything that a method can reach: images, labels, classes, values, space."""
    tensors: list[Tensor | None] = [train.images, train.labels, train.values(slice(0, len(train)))]
    tensors += [*train.by_class, train.space.zca_matrix, train.space.zca_mean]
    return hashlib.sha256(
        b"".join(tensor.numpy().tobytes() for tensor in tensors if tensor is not None)
    ).hexdigest()
