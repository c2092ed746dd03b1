"""Every check of the contract finds the method that breaks it, and says what is wrong; what does
not apply is skipped with a reason.
"""

from __future__ import annotations

import inspect
import os
import random
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dcbench.conformance.checks import CHECKS, Verdict, verdict
from dcbench.conformance.trial_runs import IPC, USUAL, Candidate, samples
from dcbench.datasets.loading import Loaded
from dcbench.distiller import Distiller, hyper_parameters, registered
from dcbench.families.selection import chosen_set, random_members
from dcbench.images import Space, SyntheticSet, TrainSet
from dcbench.run import Run
from dcbench.system.machine import Machine, resolve
from tests.commandline import ask, done

pytestmark = pytest.mark.usefixtures("unchecked")
Change = Callable[[SyntheticSet, TrainSet, Run], SyntheticSet]
STEPS = 4


@dataclass(frozen=True)
class Learned(Distiller):
    """Random images with a little noise at each step; ``_change`` breaks the contract."""

    strength: float = 0.1
    name = "learned"
    paper = None

    def distill(self, train: TrainSet, ipc: int, run: Run) -> SyntheticSet:
        chosen = chosen_set(train, random_members(train, ipc, run))
        images = chosen.images.clone()
        for step in run.steps(STEPS, {"images": images}):
            images += self.strength * torch.randn(
                images.shape, generator=run.generator("noise", step)
            )
            run.log(step, size=float(images.norm()))
        return self._change(replace(chosen, images=images), train, run)

    def _change(self, made: SyntheticSet, train: TrainSet, run: Run) -> SyntheticSet:
        return made


def broken(change: Change) -> Distiller:
    return type(  # type: ignore[no-any-return]
        "Broken",
        (Learned,),
        {
            "__doc__": Learned.__doc__,
            "__module__": __name__,
            "_change": lambda _self, *made: change(*made),
        },
    )()


def spoilt(made: SyntheticSet, train: TrainSet, run: Run) -> SyntheticSet:
    train.images[0] = 0
    return made


def reordered(made: SyntheticSet, train: TrainSet, run: Run) -> SyntheticSet:
    """By way of what is derived from the labels, which stay."""
    train.by_class[0].fill_(0)
    return made


def rewhitened(made: SyntheticSet, train: TrainSet, run: Run) -> SyntheticSet:
    train.values(slice(None)).mul_(2)  # of a whitened set, a view of what is kept of it
    return made


def drawn(made: SyntheticSet, train: TrainSet, run: Run) -> SyntheticSet:
    torch.rand(1)
    return made


def unseeded(made: SyntheticSet, train: TrainSet, run: Run) -> SyntheticSet:
    return replace(made, images=made.images + torch.randn(made.images.shape))


def deaf(made: SyntheticSet, train: TrainSet, run: Run) -> SyntheticSet:
    return chosen_set(train, torch.cat([members[:IPC] for members in train.by_class]))


class Forgetful(Learned):
    """Keeps nothing of its images in its checkpoints."""

    def distill(self, train: TrainSet, ipc: int, run: Run) -> SyntheticSet:
        chosen = chosen_set(train, random_members(train, ipc, run))
        images = chosen.images.clone()
        for step in run.steps(STEPS, {}):
            images += torch.randn(images.shape, generator=run.generator("noise", step))
        return replace(chosen, images=images)


@dataclass(frozen=True)
class Rounded(Learned):
    """Its field does not come back as it was."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "strength", self.strength / 2)


@dataclass
class Careless(Distiller):
    strength: float = 0.1
    members = 100
    presets = {"quick": {"strenght": 0.2}}
    name = "careless"
    paper = None

    def distill(self, train: TrainSet, ipc: int, run: Run) -> SyntheticSet:
        return Learned(self.strength).distill(train, ipc, run)


BROKEN: dict[str, tuple[Distiller, str]] = {
    "declaration": (
        Careless(),
        "not frozen.*no docstring.*members = 100 is no hyper-parameter.*preset quick: unknown field .*'strenght'; did you mean 'strength'",
    ),
    "makes a set": (
        broken(lambda made, *_: replace(made, labels=made.labels.float())),
        r"labels are torch.float32 \(6,\) for 6 images",
    ),
    "values": (
        broken(lambda made, *_: replace(made, images=255 * made.space.leave(made.images))),
        r"\d\d% of its pixels are far outside \[0, 1\] \(grey\)",
    ),
    "budget": (
        broken(lambda made, *_: replace(made, images=made.images[1:], labels=made.labels[1:])),
        r"\(5, 1, 8, 8\), wanted \(6, 1, 8, 8\)",
    ),
    "balance": (
        broken(lambda made, *_: replace(made, labels=made.labels.clamp(max=1))),
        r"\[2, 4, 0\] images of the classes, wanted 2",
    ),
    "finite": (
        broken(lambda made, *_: replace(made, images=made.images / 0)),
        "images that are not finite",
    ),
    "detached": (
        broken(lambda made, *_: replace(made, images=made.images.clone().requires_grad_())),
        "with a gradient",
    ),
    "space": (broken(lambda made, *_: replace(made, space=Space())), "in the space raw"),
    "recipe": (
        broken(lambda made, *_: replace(made, recipe={"lr": -1.0})),
        "the recipe must have a positive lr",
    ),
    "same seed, same set": (broken(unseeded), "two sets of the same seed differ"),
    "another seed, another set": (broken(deaf), "run.generator decides nothing, or all 12 images"),
    "leaves all else alone": (broken(drawn), "global randomness of torch was drawn from or set"),
    "resumes": (Forgetful(), "killed at step 2 and gone on with, it ends in another set"),
    "hyper-parameters survive JSON": (Rounded(), "come back from JSON as others"),
}


@pytest.fixture
def tried(digits: Loaded, machine: Machine) -> Callable[[Distiller], Candidate]:
    """Fresh sets each time: some of these methods spoil them."""
    return lambda distiller: Candidate(distiller, samples(digits.train), machine)


def test_a_method_that_keeps_the_contract_passes(tried: Callable[[Distiller], Candidate]) -> None:
    candidate = tried(Learned())
    assert [(name, verdict(name, candidate).outcome) for name in CHECKS] == [
        (name, "passed") for name in CHECKS
    ]


@pytest.mark.parametrize("check", CHECKS)
def test_each_check_finds_the_method_that_breaks_it(
    check: str, tried: Callable[[Distiller], Candidate]
) -> None:
    distiller, complaint = BROKEN[check]
    found = verdict(check, tried(distiller))
    assert found.outcome == "failed"
    assert re.search(complaint, found.why), found.why


@pytest.mark.parametrize("change", [spoilt, reordered, rewhitened])
def test_data_that_was_changed_is_noticed(
    change: Change, tried: Callable[[Distiller], Candidate]
) -> None:
    candidate = tried(broken(change))
    if change is rewhitened:
        candidate = replace(candidate, sets={"whitened": candidate.sets["whitened"]})
    found = verdict("leaves all else alone", candidate)
    assert (found.outcome, found.why) == ("failed", "the training set was changed")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda: torch.set_default_dtype(torch.float64), "default dtype from torch.float32 to"),
        (lambda: torch.set_grad_enabled(False), "gradients from True to False"),
        (lambda: torch.set_num_threads(2), "threads from 1 to 2"),
        (lambda: os.chdir("/"), "working folder from"),
    ],
    ids=["dtype", "gradients", "threads", "folder"],
)
def test_settings_of_the_process_are_to_be_left_alone(
    change: Callable[[], None], said: str, tried: Callable[[Distiller], Candidate]
) -> None:
    """Though an earlier check has run the same method already."""

    def changing(made: SyntheticSet, *_: Any) -> SyntheticSet:
        change()
        return made

    candidate, here = tried(broken(changing)), Path.cwd()
    assert verdict("makes a set", candidate).outcome == "passed"
    assert said in verdict("leaves all else alone", candidate).why
    assert (torch.get_default_dtype(), torch.is_grad_enabled()) == (torch.float32, True)
    assert (torch.get_num_threads(), Path.cwd()) == (1, here)


def test_a_set_with_a_gradient_is_told_of_without_a_warning(
    tried: Callable[[Distiller], Candidate],
) -> None:
    """Torch warns of a figure that is read off such a tensor; the checks read none."""
    made = broken(lambda made, *_: replace(made, images=made.images.clone().requires_grad_()))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        candidate = tried(made)
        found = {check: verdict(check, candidate) for check in CHECKS}
    assert [check for check, each in found.items() if each.outcome == "failed"] == ["detached"]


def test_what_a_method_raises_is_a_finding(tried: Callable[[Distiller], Candidate]) -> None:
    def raising(*_made: Any) -> SyntheticSet:
        raise KeyError("lost")

    candidate = tried(broken(raising))
    line = inspect.getsourcelines(raising)[1] + 1
    assert verdict("makes a set", candidate).why == f"KeyError: 'lost' (test_checks.py:{line})"
    assert verdict("budget", candidate) == Verdict("budget", "skipped", "it makes no set")


@pytest.mark.parametrize(
    ("returned", "complaint"),
    [(None, "it returned nothing, wanted a SyntheticSet"), ((1, 2), "it returned a tuple, wanted")],
)
def test_what_is_no_set_is_named(
    returned: Any, complaint: str, tried: Callable[[Distiller], Candidate]
) -> None:
    assert complaint in verdict("makes a set", tried(broken(lambda *_: returned))).why


def test_what_is_not_a_number_is_no_other_seed(tried: Callable[[Distiller], Candidate]) -> None:
    """0 / 0 is found once: the sets are the same in every bit."""
    candidate = tried(broken(lambda made, *_: replace(made, images=made.images * 0 / 0)))
    assert {check for check in CHECKS if verdict(check, candidate).outcome == "failed"} == {
        "finite",
        "another seed, another set",
    }


@pytest.mark.parametrize(
    ("what", "draw"),
    [
        ("torch", lambda: torch.manual_seed(0)),
        ("Python", random.random),
        ("NumPy", np.random.random),
    ],
)
def test_global_randomness_of_any_library_is_to_be_left_alone(
    what: str, draw: Callable[[], Any], tried: Callable[[Distiller], Candidate]
) -> None:
    def drawing(made: SyntheticSet, *_: Any) -> SyntheticSet:
        draw()
        return made

    assert (
        f"of {what} was drawn from or set"
        in verdict("leaves all else alone", tried(broken(drawing))).why
    )


def test_two_loops_are_found_where_they_are_resumed(
    tried: Callable[[Distiller], Candidate],
) -> None:
    def looping(made: SyntheticSet, _train: TrainSet, run: Run) -> SyntheticSet:
        list(run.steps(STEPS, {"images": made.images}, "again"))
        return made

    assert (
        "a second loop of run.steps ('again' after 'distill')"
        in verdict("resumes", tried(broken(looping))).why
    )


def test_long_work_is_refused_instead_of_waited_for(tmp_path: Path) -> None:
    text = PLUGIN.replace(
        "noise: float = 0.5", "noise: float = 0.0\n    rounds: int = 3000"
    ).replace(
        "        if self.noise",
        "        for _ in run.steps(self.rounds, {}):\n            pass\n        if self.noise",
    )
    (tmp_path / "clocked.py").write_text(text, encoding="utf-8")
    answer = ask("check", f"{tmp_path / 'clocked.py'}:Clocked")
    assert answer.code == 2
    assert answer.err.splitlines()[-1] == (
        "dcbench: distill takes 3000 steps, too many to try (at most 200); name the field that makes it short: --set FIELD=VALUE"
    )
    assert done("check", f"{tmp_path / 'clocked.py'}:Clocked", "--set", "rounds=3").code == 0


def test_a_field_that_may_not_be_small_keeps_its_default(tmp_path: Path) -> None:
    """Though one of its name is made small where it may be."""
    text = PLUGIN.replace(
        "noise: float = 0.5",
        "noise: float = 0.0\n    batch: Annotated[int, Ge(8)] = 64\n    width: str = 'narrow'",
    )
    text = text.replace(
        "import torch\n",
        "from typing import Annotated\nimport torch\nfrom annotated_types import Ge\n",
    )
    (tmp_path / "clocked.py").write_text(text, encoding="utf-8")
    assert done("check", f"{tmp_path / 'clocked.py'}:Clocked").code == 0


def test_a_method_is_tried_with_what_it_says(tmp_path: Path) -> None:
    """Though no other method has a field of that name."""
    text = PLUGIN.replace(
        "noise: float = 0.5",
        "noise: float = 0.0\n    rounds: int = 3000\n    tried_with = {'rounds': 3}",
    ).replace(
        "        if self.noise",
        "        for _ in run.steps(self.rounds, {}):\n            pass\n        if self.noise",
    )
    (tmp_path / "clocked.py").write_text(text, encoding="utf-8")
    answer = done("check", f"{tmp_path / 'clocked.py'}:Clocked")
    assert "clocked: tried with rounds=3, all else at its default" in answer.err
    (tmp_path / "misspelt.py").write_text(
        text.replace("clocked", "misspelt").replace("{'rounds'", "{'ronds'"), encoding="utf-8"
    )
    refusal = "dcbench: unknown field of misspelt in tried_with 'ronds'; did you mean 'rounds'?"
    assert ask("check", f"{tmp_path / 'misspelt.py'}:Clocked").line == refusal


def test_the_usual_names_are_those_of_several_methods() -> None:
    names = [name for method in registered().values() for name in hyper_parameters(method)]
    assert not [name for name in USUAL if names.count(name) < 2]


def test_what_does_not_apply_is_skipped_with_its_reason(
    tried: Callable[[Distiller], Candidate],
) -> None:
    class Picky(Learned):
        def refuses(self, train: TrainSet, ipc: int) -> str:
            return "too small"

    found = verdict("budget", tried(Picky()))
    assert (found.outcome, found.why) == (
        "skipped",
        "it refuses every set that it could be tried on: too small",
    )


PLUGIN = """
from dataclasses import dataclass
import torch
from dcbench.distiller import Distiller, register
from dcbench.families.selection import chosen_set, random_members

@register("clocked")
@dataclass(frozen=True)
class Clocked(Distiller):
    '''Random images with noise that nobody seeds.'''

    noise: float = 0.5

    def distill(self, train, ipc, run):
        made = chosen_set(train, random_members(train, ipc, run))
        if self.noise:
            made.images.add_(self.noise * torch.randn(made.images.shape))
        return made
"""


def test_the_command_shows_what_passed_and_why_not(tmp_path: Path) -> None:
    assert done("check", "random", "--json").json["passed"] is True
    (tmp_path / "clocked.py").write_text(PLUGIN, encoding="utf-8")
    answer = ask("check", f"{tmp_path / 'clocked.py'}:Clocked", "--json")
    assert answer.code == 1
    outcomes = {entry["check"]: (entry["outcome"], entry["why"]) for entry in answer.json["checks"]}
    assert set(outcomes) == set(CHECKS)
    failed = {check for check, (outcome, _) in outcomes.items() if outcome == "failed"}
    assert failed == {"same seed, same set", "leaves all else alone"}
    assert "run.generator" in outcomes["same seed, same set"][1]
    assert done("check", f"{tmp_path / 'clocked.py'}:Clocked", "--set", "noise=0").code == 0


SPOILING = """
from dataclasses import dataclass

from dcbench.baselines.random_subset import RandomSubset
from dcbench.distiller import Distiller, register


@register("spoiling")
@dataclass(frozen=True)
class Spoiling(Distiller):
    '''Forgets the labels.'''

    def distill(self, train, ipc, run):
        made = RandomSubset().distill(train, ipc, run)
        train.labels.zero_()
        return made
"""


def test_what_one_method_does_to_its_images_the_next_does_not_see(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though they are loaded, and their whitening fitted, once."""
    made: list[TrainSet] = []

    def counted(digits: TrainSet) -> dict[str, TrainSet]:
        made.append(digits)
        return samples(digits)

    monkeypatch.setattr("dcbench.conformance.trial_runs.samples", counted)
    (tmp_path / "spoiling.py").write_text(SPOILING, encoding="utf-8")
    answer = ask("check", f"{tmp_path / 'spoiling.py'}:Spoiling", "random", "--json")
    failed = {entry["method"] for entry in answer.json["checks"] if entry["outcome"] == "failed"}
    assert failed == {"spoiling"}
    assert len(made) == 1


def test_methods_are_tried_on_the_processor_unless_a_gpu_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Bits are compared, and some gradients on CUDA have no fixed order."""
    asked: list[str] = []

    def resolved(device: str, *words: Any, **more: Any) -> Machine:
        asked.append(device)
        return resolve("cpu", *words, **more)

    monkeypatch.setattr("dcbench.system.machine.resolve", resolved)
    for words in ((), ("--device", "cuda")):
        ask("check", "random", *words)
    assert asked == ["cpu", "cuda"]


def test_a_wrong_word_is_refused(tmp_path: Path) -> None:
    assert ask("check", "randm").line == "dcbench: unknown method 'randm'; did you mean 'random'?"
    assert ask("check", "random", "--set", "noise=1").code == 2
