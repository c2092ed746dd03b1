"""The checks of ``dcbench check``: does a method keep the contract on tiny sets of real images?

A check yields each fault that it finds; a check that yields nothing has passed. The project's own
tests run the checks over every registered method.
"""

from __future__ import annotations

import inspect
import json
import random
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from dcbench.conformance.requirements import (
    Aspect,
    wrong_balance,
    wrong_place,
    wrong_recipe,
    wrong_shape,
    wrong_space,
    wrong_values,
)
from dcbench.conformance.trial_runs import (
    IPC,
    PER_CLASS,
    Candidate,
    TooMuchWorkError,
    content,
    same,
)
from dcbench.distiller import Distiller, fields_of, hyper_parameters
from dcbench.system.errors import DcbenchError, require_known
from dcbench.system.progress import Progress, silent

ODD_SEED = 0x5EED_0DD  # a seed that no method sets by itself
# try so many seeds for one that gives another set: two seeds may select the same images
SEEDS_TRIED = 8


class NotApplicableError(Exception):
    """Raised by a check that does not apply to this method, with the reason."""


@dataclass(frozen=True)
class Verdict:
    """The result of one check: passed, failed or skipped, and why."""

    check: str
    outcome: Literal["passed", "failed", "skipped"]
    why: str = ""


def verdict(name: str, candidate: Candidate) -> Verdict:
    """Run the check called ``name``. An exception of the method counts as a fault.

    Raises:
        TooMuchWorkError: If the method would take long even on a tiny set.
    """
    try:
        if name not in DECLARED:
            _require_sets(name, candidate)
        found = list(CHECKS[name](candidate))
    except NotApplicableError as reason:
        return Verdict(name, "skipped", str(reason))
    except TooMuchWorkError:
        raise
    except Exception as error:
        found = [_told(error, candidate)]
    return Verdict(name, "failed" if found else "passed", "; ".join(found)[:500])


def verdicts(candidate: Candidate, progress: Progress = silent) -> list[Verdict]:
    """Run every check. ``progress`` is called before each and at the end, and may raise to stop.

    Raises TooMuchWorkError if the method would take long even on a tiny set.
    """
    text, found = f"{candidate.distiller.name}: checks", []
    for done, name in enumerate(CHECKS):
        progress(text, done, len(CHECKS))
        found.append(verdict(name, candidate))
    progress(text, len(CHECKS), len(CHECKS))
    return found


def _require_sets(name: str, candidate: Candidate) -> None:
    if not candidate.accepted:
        reason = candidate.distiller.refuses(next(iter(candidate.sets.values())), IPC)
        raise NotApplicableError(f"it refuses every set that it could be tried on: {reason}")
    if candidate.failure is not None and name != MAKES:
        raise NotApplicableError("it makes no set")


def _told(error: Exception, candidate: Candidate) -> str:
    """Return the error in one line, with the line of the method's file that raised it."""
    file = str(getattr(sys.modules[type(candidate.distiller).__module__], "__file__", ""))
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == file
    ]
    return f"{type(error).__name__}: {' '.join(str(error).split())}" + (
        f" ({Path(file).name}:{lines[-1]})" if lines else ""
    )


def _declaration(candidate: Candidate) -> Iterator[str]:
    """Check what users see of a method before it runs: docstring, fields, presets."""
    distiller = type(candidate.distiller)
    fields = hyper_parameters(distiller)
    if not distiller.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        yield "its dataclass is not frozen: wanted @dataclass(frozen=True)"
    # the docstring that dataclass generates if there is none
    if (distiller.__doc__ or f"{distiller.__name__}(").startswith(f"{distiller.__name__}("):
        yield "its class has no docstring: dcbench list has nothing to say of it"
    inherited = {
        key
        for base in distiller.__mro__[1:]
        for key in (*vars(base), *inspect.get_annotations(base))
    }
    for key, value in vars(distiller).items():
        known = key in fields or key in inherited or key.startswith("_")
        if isinstance(value, bool | int | float | str) and not known:
            yield (
                f"{key} = {value!r} is no hyper-parameter without a type: wanted {key}: "
                f"{type(value).__name__} = {value!r}, or ClassVar"
            )
    for preset, settings in distiller.presets.items():
        try:
            _check_settings(distiller, settings)
        except DcbenchError as error:
            yield f"preset {preset}: {error}"


def _check_settings(distiller: type[Distiller], settings: Mapping[str, Any]) -> None:
    fields = hyper_parameters(distiller)
    for key, value in settings.items():
        require_known(f"field of {distiller.name}", key, fields)
        fields[key].check(distiller.name, value)


def _makes_a_set(candidate: Candidate) -> Iterator[str]:
    if candidate.failure is not None:
        yield _told(candidate.failure, candidate)


def _promised(aspect: Aspect) -> Callable[[Candidate], Iterator[str]]:
    """Return the check that each set meets this requirement."""

    def check(candidate: Candidate) -> Iterator[str]:
        for kind, train in candidate.accepted.items():
            wrong = aspect(
                candidate.trial(kind).synthetic,
                train,
                IPC if candidate.distiller.budgeted else None,
            )
            if wrong:
                yield f"{wrong} ({kind})"

    return check


def _values(candidate: Candidate) -> Iterator[str]:
    for kind in candidate.accepted:
        strange = candidate.trial(kind).synthetic.strange_values
        if strange:
            yield f"{strange} ({kind})"


def _same_seed(candidate: Candidate) -> Iterator[str]:
    """Check that one seed gives the same set to the bit, whatever the state of global random
    generators.
    """
    for kind in candidate.accepted:
        first = candidate.trial(kind)
        with _other_global_randomness():
            second = candidate.repeat(kind)
        if not same(first.synthetic, second.synthetic):
            yield (
                "two sets of the same seed differ: all randomness must come from run.generator "
                f"({kind})"
            )
        elif first.history != second.history:
            yield f"two histories of the same seed differ ({kind})"


@contextmanager
def _other_global_randomness() -> Iterator[None]:
    """Give the global random generators an unusual state; restore them afterwards."""
    of_python, of_numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        torch.set_rng_state(torch.Generator().manual_seed(ODD_SEED).get_state())
        random.setstate(random.Random(ODD_SEED).getstate())  # noqa: S311 - no secret
        np.random.set_state(np.random.RandomState(ODD_SEED).get_state())
        try:
            yield
        finally:
            random.setstate(of_python)
            np.random.set_state(of_numpy)


def _other_seed(candidate: Candidate) -> Iterator[str]:
    if not candidate.distiller.budgeted:
        raise NotApplicableError("a reference is the same whatever the seed")
    kind = next(iter(candidate.accepted))
    first = candidate.trial(kind).synthetic
    if all(
        same(first, candidate.trial(kind, seed).synthetic) for seed in range(1, SEEDS_TRIED + 1)
    ):
        yield (
            f"the same set of {SEEDS_TRIED + 1} seeds: run.generator decides nothing, or all "
            f"{PER_CLASS} images of these tiny classes are "
            "taken (then --set a field that takes fewer)"
        )


def _leaves_alone(candidate: Candidate) -> Iterator[str]:
    train = deepcopy(next(iter(candidate.accepted.values())))
    before = content(train)
    with _other_global_randomness():
        states = _random_states()
        changed = candidate.tried_on(train).changed_settings
        touched = [name for name, state in _random_states().items() if state != states[name]]
    if content(train) != before:
        yield "the training set was changed"
    if touched:
        names = " and ".join(touched)
        yield f"global randomness of {names} was drawn from or set: use run.generator"
    if changed:
        yield f"it changed settings of the whole process: {', '.join(changed)}"


def _random_states() -> dict[str, bytes]:
    of_numpy = [
        value.tobytes() if isinstance(value, np.ndarray) else value
        for value in np.random.get_state()
    ]
    return {
        "torch": torch.get_rng_state().numpy().tobytes(),
        "Python": repr(random.getstate()).encode(),
        "NumPy": repr(of_numpy).encode(),
    }


def _resumes(candidate: Candidate) -> Iterator[str]:
    """Check that an interrupted run does no step twice, and ends with the same bits."""
    kind = next(iter(candidate.accepted))
    undisturbed = candidate.trial(kind)
    if undisturbed.steps < 2:
        raise NotApplicableError("it is done in one step")
    middle = undisturbed.steps // 2
    for how, killed in (("killed", True), ("stopped", False)):
        with tempfile.TemporaryDirectory() as folder:
            resumed = candidate.interrupted(kind, middle, killed, Path(folder))
        # the step during which it was killed was not saved
        wanted = undisturbed.steps - middle + killed
        if (
            not same(resumed.synthetic, undisturbed.synthetic)
            or resumed.history != undisturbed.history
        ):
            yield (
                f"{how} at step {middle} and gone on with, it ends in another set: all that "
                "changes must be in run.steps' state"
            )
        elif resumed.steps != wanted:
            yield f"{how} at step {middle}, it took {resumed.steps} more steps, wanted {wanted}"


def _json(candidate: Candidate) -> Iterator[str]:
    distiller = type(candidate.distiller)
    for preset in ("paper", *distiller.presets):
        try:
            made = distiller(**distiller.presets.get(preset, {}))
        except (TypeError, DcbenchError):
            continue  # the check of the declaration reports it
        fields = fields_of(made)
        if distiller(**json.loads(json.dumps(fields, allow_nan=False))) != made:
            yield f"the fields of preset {preset} come back from JSON as others"
        if distiller(**_from_words(distiller, fields)) != made:
            yield f"the fields of preset {preset} come back from the command line as others"


def _from_words(distiller: type[Distiller], fields: Mapping[str, Any]) -> dict[str, Any]:
    known = hyper_parameters(distiller)
    return {key: known[key].parse(distiller.name, str(value)) for key, value in fields.items()}


DECLARATION, MAKES, JSON = "declaration", "makes a set", "hyper-parameters survive JSON"
DECLARED = frozenset({DECLARATION, JSON})  # checks that need no set
CHECKS: Mapping[str, Callable[[Candidate], Iterator[str]]] = {
    DECLARATION: _declaration,
    MAKES: _makes_a_set,
    "budget": _promised(wrong_shape),
    "balance": _promised(wrong_balance),
    "finite": _promised(wrong_values),
    "detached": _promised(wrong_place),
    "space": _promised(wrong_space),
    "recipe": _promised(wrong_recipe),
    "values": _values,
    "same seed, same set": _same_seed,
    "another seed, another set": _other_seed,
    "leaves all else alone": _leaves_alone,
    "resumes": _resumes,
    JSON: _json,
}
