"""Scores of difficulty against slow transcriptions; networks trained once for all who score by them."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from dcbench.baselines.el2n import EL2N
from dcbench.baselines.forgetting import Forgetting
from dcbench.baselines.grand import GraNd
from dcbench.experiments.presets import build
from dcbench.families.difficulty import by_difficulty, error_norms, gradient_norms
from dcbench.families.selection import most_representative
from dcbench.images import TrainSet
from dcbench.networks.base import initialise
from dcbench.networks.catalogue import build_network
from dcbench.run import Run
from dcbench.system.files import read_tensors
from dcbench.training.trainer import Schedule, Trainer, train_network
from tests.reference import selection as slow


@given(st.integers(0, 10_000), st.integers(1, 12), st.data())
@settings(max_examples=60)
def test_facility_location_gains_most_at_each_turn(
    seed: int, count: int, data: st.DataObject
) -> None:
    """Two points may gain exactly alike, so what is compared is what is gained."""
    points = torch.randn(count, 3, generator=torch.Generator().manual_seed(seed))
    wanted = data.draw(st.integers(1, count))
    chosen, rows = most_representative(points, wanted).tolist(), points.tolist()
    assert len(set(chosen)) == wanted
    for size in range(1, wanted + 1):
        before = chosen[: size - 1]
        most = max(
            slow.covered(rows, [*before, index]) for index in range(count) if index not in before
        )
        assert slow.covered(rows, chosen[:size]) == pytest.approx(most, rel=1e-5, abs=1e-5)


def test_duplicates_are_chosen_once() -> None:
    assert sorted(most_representative(torch.ones(4, 2), 4).tolist()) == [0, 1, 2, 3]


def test_scores_of_a_network_equal_their_formulas(tiny: TrainSet, run: Run) -> None:
    """EL2N by its formula; GraNd by the gradient of each image's loss in the classifier."""
    network = build_network("convnet", tiny.spec)
    part = run.part("young-network-0")
    train_network(network, tiny.values, tiny.labels, Schedule(epochs=1), part)
    classifier = list(network.parameters())[-2:]
    assert [parameter.shape[0] for parameter in classifier] == [10, 10]
    expected: dict[str, list[float]] = {"el2n": [], "grand": []}
    for index in range(20):
        logits = network(tiny.values(slice(index, index + 1)))
        label = int(tiny.labels[index])
        expected["el2n"].append(slow.el2n(logits[0].tolist(), label))
        gradients = torch.autograd.grad(
            F.cross_entropy(logits, tiny.labels[index : index + 1]), classifier
        )
        squares = sum(float(gradient.square().sum()) for gradient in gradients)
        expected["grand"].append(squares**0.5)
    for method in (EL2N, GraNd):
        scores = method(feature_networks=1, feature_epochs=1).scores(tiny, run)
        assert scores[:20].tolist() == pytest.approx(expected[method.name], rel=1e-4)


def test_norms_of_made_up_logits() -> None:
    logits, labels = torch.randn(9, 4) * 3, torch.arange(9) % 4
    expected = [
        slow.el2n(row, int(label)) for row, label in zip(logits.tolist(), labels, strict=True)
    ]
    assert error_norms(logits, labels).tolist() == pytest.approx(expected, rel=1e-5)
    assert gradient_norms(torch.tensor([2.0]), torch.tensor([8.0])).item() == pytest.approx(6.0)


def test_networks_are_trained_once_for_both_scores_and_averaged(
    tiny: TrainSet, run: Run, tmp_path: Path
) -> None:
    shared = replace(run, shared=tmp_path)
    pair = EL2N(feature_networks=2, feature_epochs=1).scores(tiny, shared)
    kept = sorted(path.name for path in tmp_path.iterdir())
    assert len(kept) == 2
    GraNd(feature_networks=2, feature_epochs=1).scores(tiny, shared)
    first = EL2N(feature_networks=1, feature_epochs=1).scores(tiny, shared)
    assert sorted(path.name for path in tmp_path.iterdir()) == kept
    each = [read_tensors(path)["el2n"] for path in sorted(tmp_path.glob("*/result.pt"))]
    assert torch.equal(first, each[0])
    assert torch.allclose(pair, (each[0] + each[1]) / 2)
    assert not torch.equal(pair, first)


def test_forgetting_is_counted_over_the_epochs_of_one_training(tiny: TrainSet, run: Run) -> None:
    """At a rate so high that images are forgotten."""
    network = build_network("convnet", tiny.spec)
    part = run.part("forgetting")
    initialise(network, part.generator("network"))
    trainer, right = Trainer(network, run.machine), []
    schedule = Schedule(epochs=6, lr=0.3)
    for _ in trainer.epochs(tiny.values, tiny.labels, schedule, part):
        seen = copy.deepcopy(network).eval()(tiny.values(slice(0, 120))).argmax(1)
        right.append((seen == tiny.labels).tolist())
    expected = [slow.forgotten(history) for history in zip(*right, strict=True)]
    events = Forgetting(feature_epochs=6, feature_lr=0.3).scores(tiny, run)
    assert events.tolist() == expected
    assert len(set(expected)) > 1


def test_the_ends_of_each_class_are_taken(tiny: TrainSet, run: Run) -> None:
    scores = torch.rand(len(tiny), generator=torch.Generator().manual_seed(0))
    hard = by_difficulty(scores, tiny, 3, "hard", run)
    easy = by_difficulty(scores, tiny, 3, "easy", run)
    for label, members in enumerate(tiny.by_class):
        order = sorted(members.tolist(), key=lambda index: float(scores[index]))
        assert set(easy[label * 3 : label * 3 + 3].tolist()) == set(order[:3])
        assert set(hard[label * 3 : label * 3 + 3].tolist()) == set(order[-3:])


def test_equals_are_drawn_at_random_by_the_seed(tiny: TrainSet, run: Run) -> None:
    equal = torch.zeros(len(tiny), dtype=torch.int64)
    first = by_difficulty(equal, tiny, 2, "hard", run)
    assert torch.equal(first, by_difficulty(equal, tiny, 2, "hard", run))
    assert not torch.equal(first, by_difficulty(equal, tiny, 2, "hard", replace(run, seed=1)))


def test_the_methods_choose_by_these_scores(tiny: TrainSet, run: Run) -> None:
    few = {"feature_networks": 1, "feature_epochs": 1}
    for name, settings_ in (("el2n", few), ("grand", few), ("forgetting", {"feature_epochs": 2})):
        sets = {
            end: build(name, "paper", {**settings_, "end": end}).distill(tiny, 2, run)
            for end in ("hard", "easy")
        }
        assert not torch.equal(sets["hard"].images, sets["easy"].images)
    scores = EL2N(feature_networks=1, feature_epochs=1).scores(tiny, run)
    members = by_difficulty(scores, tiny, 2, "easy", run)
    made = build("el2n", "paper", {**few, "end": "easy"}).distill(tiny, 2, run)
    assert torch.equal(made.images, tiny.values(members))
