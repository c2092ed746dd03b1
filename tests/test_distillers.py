"""The contract: what every registered distiller must do, whichever it is. A new method is tested by being there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from dcbench.datasets.preprocessing import whitening
from dcbench.distiller import Distiller, build, find, hyper_parameters, import_failures, registered
from dcbench.errors import DataError
from dcbench.images import SyntheticSet, TrainSet
from dcbench.machine import Machine
from dcbench.run import Run

NAMES = tuple(registered())
IPC = 2
# Whatever a method calls its amounts of work, these are small ones.
SMALL: dict[str, Any] = {
    "iterations": 4,
    "feature_epochs": 4,
    "code_iterations": 2,
    "real_batch": 4,
    "batch": 4,
    "width": 16,
    "code_width": 16,
    "latent": 8,
    "latent_chunk": 2,
    "latent_units": 8,
    "label_units": 8,
    "embedding": 8,
    "turns": 1,
    "negatives": 16,
    "networks": 1,
    "outer": 2,
    "inner": 1,
    "most_outer": 2,
    "most_inner": 2,
    "query": 4,
    "experts": 2,
    "expert_epochs": 1,
    "max_start_epoch": 1,
    "student_steps": 2,
}


class Killed(BaseException):
    """What ends a run from outside."""


@dataclass
class Steps:
    """A progress that counts the steps done, and can end the work at one of them."""

    end_at: int | None = None
    done: int = 0
    last: dict[str, int] = field(default_factory=dict)

    def __call__(self, text: str, done: int, total: int) -> None:
        if done > self.last.get(text, done):
            self.done += 1
        self.last[text] = done
        if self.done == self.end_at:
            raise Killed


@dataclass(frozen=True)
class Made:
    """A finished set with the history and the number of steps of its making."""

    synthetic: SyntheticSet
    history: list[dict[str, float]]
    steps: int


Distil = Callable[..., Made]


def small(name: str) -> Distiller:
    fields = hyper_parameters(find(name))
    return build(name, "paper", {key: value for key, value in SMALL.items() if key in fields})


@pytest.fixture(scope="session")
def sets(tiny: TrainSet, colourful: TrainSet) -> dict[str, TrainSet]:
    """Grey, in colour, and in a whitened space, of three classes each."""
    few = tiny.labels < 3
    spec = replace(tiny.spec, class_names=tiny.spec.class_names[:3])
    grey = TrainSet(spec, tiny.images[few], tiny.labels[few], tiny.space)
    whitened = replace(colourful, space=whitening(colourful.images, colourful.space))
    return {"grey": grey, "colour": colourful, "whitened": whitened}


@pytest.fixture(scope="session")
def distil(sets: dict[str, TrainSet], machine: Machine) -> Distil:
    """Distil with a method's small form, once for the same words."""
    done: dict[tuple[Any, ...], Made] = {}

    def make(name: str, kind: str, seed: int = 0, again: bool = False) -> Made:
        if (name, kind, seed, again) not in done:
            distiller, train = small(name), sets[kind]
            reason = distiller.refuses(train, IPC)
            if reason:
                pytest.skip(f"{name} refuses {kind}: {reason}")
            steps = Steps()
            run = Run(seed, machine, progress=steps)
            done[name, kind, seed, again] = Made(distiller.distill(train, IPC, run), run.history, steps.done)
        return done[name, kind, seed, again]

    return make


def same(ours: SyntheticSet, theirs: SyntheticSet) -> bool:
    return torch.equal(ours.images, theirs.images) and torch.equal(ours.labels, theirs.labels) and dict(ours.recipe) == dict(theirs.recipe)


def content(train: TrainSet) -> str:
    tensors = [train.images, train.labels, train.values(slice(0, len(train))), train.space.zca_matrix, train.space.zca_mean]
    return hashlib.sha256(b"".join(tensor.numpy().tobytes() for tensor in tensors if tensor is not None)).hexdigest()


def test_all_of_the_project_s_own_methods_import() -> None:
    assert import_failures() == {}
    assert {"datadam", "dm", "mmd", "random", "k-center", "herding", "whole"} <= set(NAMES)


@pytest.mark.parametrize("kind", ["grey", "colour", "whitened"])
@pytest.mark.parametrize("name", NAMES)
def test_a_set_keeps_to_its_budget_its_space_and_its_classes(name: str, kind: str, distil: Distil, sets: dict[str, TrainSet]) -> None:
    train, synthetic = sets[kind], distil(name, kind).synthetic
    ipc = IPC if find(name).budgeted else len(train) // train.spec.classes
    assert synthetic.images.shape == (ipc * train.spec.classes, *train.spec.shape)
    assert torch.bincount(synthetic.hard_labels, minlength=train.spec.classes).tolist() == [ipc] * train.spec.classes
    assert (synthetic.spec, synthetic.space.kind) == (train.spec, train.space.kind)
    assert torch.equal(synthetic.space.enter(train.images[:2] / 255), train.space.enter(train.images[:2] / 255))
    for tensor in (synthetic.images, synthetic.labels):
        assert bool(tensor.isfinite().all())
        assert not tensor.requires_grad
        assert tensor.device.type == "cpu"
    assert synthetic.images.dtype == torch.float32
    assert set(synthetic.recipe) <= {"network", "lr", "batch", "augment"}


@pytest.mark.parametrize("kind", ["grey", "colour"])
@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_set_and_leaves_all_else_alone(
    name: str, kind: str, distil: Distil, sets: dict[str, TrainSet]
) -> None:
    """Bit for bit, whatever state global randomness is in; and neither that nor the data is touched."""
    first, before = distil(name, kind), content(sets[kind])
    torch.manual_seed(len(name))
    state = torch.get_rng_state()
    second = distil(name, kind, again=True)
    assert same(first.synthetic, second.synthetic)
    assert first.history == second.history
    assert torch.equal(state, torch.get_rng_state())
    assert content(sets[kind]) == before


@pytest.mark.parametrize("name", [name for name in NAMES if find(name).budgeted])
def test_another_seed_gives_another_set(name: str, distil: Distil) -> None:
    """Or one of several does: networks of two seeds may see the same image as nearest the mean, on some processors and not on others."""
    first = distil(name, "grey").synthetic.images
    assert any(not torch.equal(first, distil(name, "grey", seed=seed).synthetic.images) for seed in range(1, 9))


@pytest.mark.parametrize("how", ["killed", "stopped"])
@pytest.mark.parametrize("name", NAMES)
def test_an_interrupted_run_ends_in_the_same_bits(
    name: str, how: str, distil: Distil, sets: dict[str, TrainSet], machine: Machine, tmp_path: Path
) -> None:
    """In the middle, by an exception between two checkpoints or by asking it to stop; what was done is not done again."""
    undisturbed = distil(name, "grey")
    if undisturbed.steps < 2:
        pytest.skip(f"{name} is done in one step")
    middle = undisturbed.steps // 2
    steps = Steps(end_at=middle if how == "killed" else None)
    run = Run(0, machine, tmp_path / "own", tmp_path / "shared", progress=steps, checkpoint_seconds=0)
    with pytest.raises((Killed, KeyboardInterrupt)):
        small(name).distill(sets["grey"], IPC, replace(run, stop=lambda: how == "stopped" and steps.done == middle))
    rest = Steps()
    run = Run(0, machine, tmp_path / "own", tmp_path / "shared", progress=rest)
    resumed = small(name).distill(sets["grey"], IPC, run)
    assert same(resumed, undisturbed.synthetic)
    assert run.history == undisturbed.history
    assert rest.done == undisturbed.steps - middle + (how == "killed")  # the step that was killed had not been saved


@pytest.mark.parametrize("name", NAMES)
def test_hyper_parameters_survive_json_and_the_command_line(name: str) -> None:
    for preset in ("paper", *find(name).presets):
        distiller = build(name, preset)
        fields = asdict(distiller)  # type: ignore[call-overload]
        assert build(name, "paper", json.loads(json.dumps(fields, allow_nan=False))) == distiller
        assert build(name, "paper", {key: str(value) for key, value in fields.items()}) == distiller


@pytest.mark.parametrize("name", [name for name in NAMES if find(name).budgeted])
def test_more_images_than_the_smallest_class_has_are_refused(name: str, sets: dict[str, TrainSet], run: Run) -> None:
    train = sets["colour"]
    fewer = TrainSet(train.spec, train.images[:-8], train.labels[:-8], train.space)
    with pytest.raises(DataError, match=r"ipc 2 .*'two' of colourful has 1 images"):
        small(name).distill(fewer, 2, run)


@pytest.mark.parametrize("name", NAMES)
def test_work_is_estimated_and_grows_with_the_iterations(name: str, tiny: TrainSet) -> None:
    distiller = small(name)
    cost = distiller.cost_macs(tiny, IPC)
    assert cost >= 0
    if cost and "iterations" in hyper_parameters(find(name)):
        assert replace(distiller, iterations=400).cost_macs(tiny, IPC) > 10 * cost  # type: ignore[type-var]
