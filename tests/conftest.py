"""What the tests share: shapes checked while they run, the real digits, tiny sets cut from them,
and a run.

Every function of dcbench that a test calls has its annotations checked by jaxtyping and beartype.
Compiled code is the exception: dynamo cannot trace beartype's wrappers, so the few tests of the
compiled engine start a process of their own, where no hook is.
"""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

# Before torch is imported: the tests share the processors with one another and not with the threads
# of each, in their subprocesses as well.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["HF_ENDPOINT"] = "http://127.0.0.1:9"  # no test speaks to the hub: nobody answers there
if "DCBENCH_TESTS_CACHE" not in os.environ:  # else a worker's, which shares that of the whole run
    os.environ["DCBENCH_TESTS_CACHE"] = tempfile.mkdtemp(prefix="dcbench-tests-")
    atexit.register(shutil.rmtree, os.environ["DCBENCH_TESTS_CACHE"], ignore_errors=True)

import hypothesis
import jaxtyping
import pytest

ROOT = Path(__file__).parents[1]
# the hook sees only what is found on the path; also for tests.reference
sys.path.insert(0, str(ROOT))
import tests.checker  # noqa: E402, F401  # the hook does not import it by itself

jaxtyping.install_import_hook("dcbench", "tests.checker.check")
hypothesis.settings.register_profile("busy", deadline=None)  # a busy machine is no failure
hypothesis.settings.load_profile("busy")

import torch  # noqa: E402
from torch import Tensor  # noqa: E402

from dcbench import distiller as registry  # noqa: E402
from dcbench.datasets.loading import Loaded, load  # noqa: E402
from dcbench.datasets.places import Places  # noqa: E402
from dcbench.experiments.tasks import Distil  # noqa: E402
from dcbench.images import ImageSpec, Space, SyntheticSet, TestSet, TrainSet  # noqa: E402
from dcbench.run import Run  # noqa: E402
from dcbench.system.machine import Machine, resolve  # noqa: E402

CACHE = Path(os.environ["DCBENCH_TESTS_CACHE"])  # one for all workers and their subprocesses


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """No checks of annotations, as in a user's process: what is refused must be refused by the code
    itself.
    """
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@pytest.fixture(autouse=True)
def forget_plugin_files() -> Iterator[None]:
    """A method from a test's own file is not known to the next test: its name is free again."""
    yield
    for name, method in list(registry._registry.items()):
        if method.__module__.startswith("dcbench_plugin_"):
            del registry._registry[name]
    registry._class_in.cache_clear()


@pytest.fixture(scope="session")
def machine() -> Machine:
    """The CPU, in the precision and engine that are the reference."""
    return resolve("cpu", precision="fp32", engine="eager")


@pytest.fixture
def run(machine: Machine) -> Run:
    """A run that keeps nothing."""
    return Run(0, machine)


@pytest.fixture(scope="session")
def digits() -> Loaded:
    """scikit-learn's digits: real, always there."""
    return load("digits", Places(None, CACHE))


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The label of each set as it is made."""
    labels: list[str] = []
    distill = Distil.distill

    def counted(task: Distil, train: TrainSet, run: Run) -> SyntheticSet:
        labels.append(task.label)
        return distill(task, train, run)

    monkeypatch.setattr(Distil, "distill", counted)
    return labels


def first_of_each_class(labels: Tensor, classes: int, count: int) -> Tensor:
    """Indices of the first ``count`` images of each of the first ``classes`` classes."""
    return torch.cat([torch.nonzero(labels == label).flatten()[:count] for label in range(classes)])


@pytest.fixture(scope="session")
def tiny(digits: Loaded) -> TrainSet:
    """Twelve digits of each class, in no order of classes."""
    members = first_of_each_class(digits.train.labels, 10, 12).sort().values
    return TrainSet(
        digits.spec, digits.train.images[members], digits.train.labels[members], digits.train.space
    )


@pytest.fixture(scope="session")
def tiny_test(digits: Loaded) -> TestSet:
    """Five digits of each class that are not in ``tiny``."""
    members = first_of_each_class(digits.test.labels, 10, 5)
    return TestSet(
        digits.spec, digits.test.images[members], digits.test.labels[members], digits.test.space
    )


@pytest.fixture(scope="session")
def colourful(digits: Loaded) -> TrainSet:
    """Three classes of nine images in colour: each channel another digit of the same class.
    Mirroring keeps their class.
    """
    members = first_of_each_class(digits.train.labels, 3, 27)
    images = digits.train.images[members].view(27, 3, 8, 8)
    spec = ImageSpec(
        "colourful", "0" * 12, channels=3, size=8, class_names=("zero", "one", "two"), flips=True
    )
    return TrainSet(
        spec,
        images,
        torch.arange(3).repeat_interleave(9),
        Space("normalised", (0.3, 0.3, 0.3), (0.4, 0.35, 0.3)),
    )


@pytest.fixture(scope="session")
def cifar_root() -> Path:
    """Where the real CIFAR-10 is: DCBENCH_DATA or beside the project."""
    root = Path(os.environ.get("DCBENCH_DATA") or ROOT.parent / "shared" / "data")
    if not (root / "cifar10").is_dir():
        pytest.skip(f"no CIFAR-10 in {root}: put it there or name its place with DCBENCH_DATA")
    return root


@pytest.fixture(scope="session")
def cifar(cifar_root: Path) -> Loaded:
    """The real CIFAR-10, decoded once for all tests."""
    return load("cifar10", Places(cifar_root, CACHE))
