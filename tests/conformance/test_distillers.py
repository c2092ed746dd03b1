"""The contract: what every registered distiller must do, whichever it is. A new method is tested by
being there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import jaxtyping
import pytest

import dcbench
from dcbench.conformance.checks import CHECKS, verdict
from dcbench.conformance.trial_runs import IPC, Candidate, samples, small
from dcbench.datasets.loading import Loaded
from dcbench.distiller import PACKAGES, find, hyper_parameters, import_failures, registered
from dcbench.images import TrainSet
from dcbench.run import Run
from dcbench.system.errors import DataError
from dcbench.system.machine import Machine

NAMES = tuple(registered())
MODULES = [
    f"{package}.{path.stem}"
    for package in PACKAGES
    for path in sorted((Path(dcbench.__path__[0]) / package.rpartition(".")[2]).glob("*.py"))
    if path.stem != "__init__"
]


@pytest.fixture(scope="session")
def sets(digits: Loaded) -> dict[str, TrainSet]:
    return samples(digits.train)


@pytest.fixture(scope="session")
def candidate(sets: dict[str, TrainSet], machine: Machine) -> Callable[[str], Candidate]:
    """A method that does little, once for all checks."""
    found: dict[str, Candidate] = {}
    return lambda name: found.setdefault(name, Candidate(small(find(name)), sets, machine))


def test_all_of_the_project_s_own_methods_import() -> None:
    assert import_failures() == {}


@pytest.mark.parametrize("module", MODULES)
def test_each_file_of_a_method_registers_one(module: str) -> None:
    assert len([name for name in NAMES if find(name).__module__ == module]) == 1


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", NAMES)
def test_it_keeps_the_contract(
    name: str, check: str, candidate: Callable[[str], Candidate], monkeypatch: pytest.MonkeyPatch
) -> None:
    # the checks of annotations draw samples by Python's global randomness
    if check == "leaves all else alone":
        monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    found = verdict(check, candidate(name))
    if found.outcome == "skipped":
        pytest.skip(found.why)
    assert (found.outcome, found.why) == ("passed", "")


@pytest.mark.parametrize("name", [name for name in NAMES if find(name).budgeted])
def test_more_images_than_the_smallest_class_has_are_refused(
    name: str, sets: dict[str, TrainSet], run: Run
) -> None:
    train = sets["colour"]
    fewer = TrainSet(train.spec, train.images[:-11], train.labels[:-11], train.space)
    with pytest.raises(DataError, match=r"ipc 2 .*'2' of colourful has 1 images"):
        small(find(name)).distill(fewer, 2, run)


@pytest.mark.parametrize("name", NAMES)
def test_work_is_estimated_and_grows_with_the_iterations(name: str, tiny: TrainSet) -> None:
    distiller = small(find(name))
    cost = distiller.cost_macs(tiny, IPC)
    assert cost >= 0
    if cost and "iterations" in hyper_parameters(find(name)):
        assert replace(distiller, iterations=400).cost_macs(tiny, IPC) > 10 * cost  # type: ignore[type-var]
