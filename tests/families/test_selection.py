"""Choosing among real images: the rules against brute force, uniform draws, and the shared network
that distances are measured in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from dcbench.baselines.herding import Herding
from dcbench.baselines.k_center import KCenter
from dcbench.experiments.presets import build
from dcbench.families.selection import (
    FeatureNetwork,
    chosen_set,
    farthest_first,
    first_images,
    herd,
    nearest_to_centres,
    random_members,
)
from dcbench.families.trajectory_matching import Experts
from dcbench.images import TrainSet
from dcbench.methods.mtt import MTT
from dcbench.networks.catalogue import build_network
from dcbench.run import Cost, Run, fingerprint
from dcbench.system.files import read_tensors, write_tensors
from dcbench.training.trainer import Schedule, train_network
from tests.reference import selection as brute_force


@st.composite
def clouds(draw: st.DrawFn) -> tuple[list[list[float]], int]:
    """Points in general position (no two candidates equally good), and how many to choose."""
    count, dimensions, seed = (
        draw(st.integers(1, 14)),
        draw(st.integers(1, 5)),
        draw(st.integers(0, 10_000)),
    )
    points = torch.randn(count, dimensions, generator=torch.Generator().manual_seed(seed))
    return points.tolist(), draw(st.integers(1, count))


@given(clouds())
@settings(max_examples=80)
def test_k_center_equals_brute_force(cloud: tuple[list[list[float]], int]) -> None:
    points, count = cloud
    assert farthest_first(torch.tensor(points), count).tolist() == brute_force.k_center(
        points, count
    )


@given(clouds())
@settings(max_examples=80)
def test_herding_equals_brute_force(cloud: tuple[list[list[float]], int]) -> None:
    points, count = cloud
    assert herd(torch.tensor(points), count).tolist() == brute_force.herding(points, count)


@pytest.mark.parametrize("rule", [farthest_first, herd, nearest_to_centres])
@given(points=st.lists(st.lists(st.integers(0, 1), min_size=2, max_size=2), min_size=1, max_size=9))
@settings(max_examples=50)
def test_no_point_is_chosen_twice_even_among_duplicates(
    rule: object, points: Sequence[Sequence[int]]
) -> None:
    assert callable(rule)
    assert sorted(rule(torch.tensor(points, dtype=torch.float32), len(points)).tolist()) == list(
        range(len(points))
    )


@given(clouds())
@settings(max_examples=30)
def test_k_means_takes_different_points_and_for_one_centre_the_point_nearest_the_mean(
    cloud: tuple[list[list[float]], int],
) -> None:
    """Where the points are assigned to their nearest centre, each centre is the mean of its own."""
    points, count = cloud
    chosen = nearest_to_centres(torch.tensor(points), count).tolist()
    assert len(set(chosen)) == count
    if count == 1:
        assert chosen == brute_force.k_center(points, 1)  # the point nearest the mean
    if count == len(points):
        assert sorted(chosen) == list(range(count))


def test_k_means_takes_a_prototype_of_each_group() -> None:
    generator = torch.Generator().manual_seed(3)
    groups = torch.tensor([[0.0, 0.0], [40.0, 0.0], [0.0, 40.0]])
    points = groups.repeat_interleave(9, 0) + torch.randn(27, 2, generator=generator)
    chosen = sorted(nearest_to_centres(points, 3).tolist())
    for group, index in enumerate(chosen):
        members = points[9 * group : 9 * group + 9].tolist()
        assert index == 9 * group + brute_force.k_center(members, 1)[0]


def test_k_center_goes_from_the_middle_to_the_ends() -> None:
    points = torch.tensor([[0.0], [1.0], [5.0], [6.0], [20.0]])
    assert farthest_first(points, 3).tolist() == [3, 4, 0]  # the mean is 6.4


def test_of_equally_good_points_the_first_is_chosen() -> None:
    assert farthest_first(torch.tensor([[0.0], [4.0], [-4.0]]), 2).tolist() == [0, 1]
    assert farthest_first(torch.tensor([[4.0], [-4.0], [1.0], [-1.0]]), 2).tolist() == [2, 1]
    assert herd(torch.tensor([[1.0], [-1.0]]), 1).tolist() == [0]


def test_random_is_uniform_over_the_images_of_a_class(tiny: TrainSet, run: Run) -> None:
    counts: Counter[int] = Counter()
    for seed in range(150):
        members = random_members(tiny, 2, replace(run, seed=seed))
        assert tiny.labels[members].tolist() == [label for label in range(10) for _ in range(2)]
        assert len(set(members.tolist())) == 20
        counts.update(members.tolist())
    assert chisquare([counts[index] for index in range(len(tiny))]).pvalue > 0.001


def test_learned_sets_start_from_the_very_images_that_random_takes(
    tiny: TrainSet, run: Run
) -> None:
    taken = build("random", "paper").distill(tiny, 3, run)
    assert torch.equal(first_images("random", tiny, 3, run), taken.images)


def test_chosen_images_are_copies_of_the_real_ones(tiny: TrainSet) -> None:
    members = torch.tensor([3, 1, 8])
    chosen = chosen_set(tiny, members)
    assert torch.equal(chosen.images, tiny.values(members))
    assert torch.equal(chosen.labels, tiny.labels[members])
    chosen.images.zero_()
    assert float(tiny.values(members).abs().max()) > 0


def test_features_are_those_of_a_network_trained_on_the_training_set(
    tiny: TrainSet, run: Run
) -> None:
    features = FeatureNetwork(epochs=2, lr=0.02).features(tiny, run)
    network = build_network("convnet", tiny.spec)
    train_network(
        network,
        tiny.values,
        tiny.labels,
        Schedule(epochs=2, lr=0.02, batch=256),
        run.part("feature-network"),
    )
    network.eval()
    assert features.shape == (120, 512)
    assert torch.allclose(
        features, network.observe(tiny.values(slice(0, 120))).features.detach(), atol=1e-4
    )


def test_k_center_and_herding_choose_per_class_in_these_features(
    tiny: TrainSet, run: Run, tmp_path: Path
) -> None:
    run = replace(run, shared=tmp_path)
    features = FeatureNetwork(epochs=1).features(tiny, run)
    for name, rule in (("k-center", brute_force.k_center), ("herding", brute_force.herding)):
        chosen = [
            int(members[index])
            for members in tiny.by_class
            for index in rule(features[members].double().tolist(), 3)
        ]
        distilled = build(name, "paper", {"feature_epochs": 1}).distill(tiny, 3, run)
        assert torch.equal(distilled.images, tiny.values(torch.tensor(chosen)))


@pytest.mark.parametrize("name", ["k-center", "herding", "dm"])
def test_a_set_costs_what_the_network_that_chose_its_images_cost(
    name: str, tiny: TrainSet, run: Run, tmp_path: Path
) -> None:
    """Whoever had it trained; one that was kept before its cost was is read all the same."""
    fields = {"feature_epochs": 1} if name != "dm" else {"init": "k-center", "iterations": 1}
    runs = [replace(run, shared=tmp_path, cost=Cost()) for _ in range(3)]
    sets = [build(name, "paper", fields).distill(tiny, 1, each) for each in runs[:2]]
    (path,) = tmp_path.glob("feature-network-*/result.pt")
    kept = read_tensors(path)
    seconds = kept.pop("seconds")
    assert seconds > 0
    assert all(each.cost.seconds >= seconds for each in runs[:2])
    write_tensors(path, kept)
    sets.append(build(name, "paper", fields).distill(tiny, 1, runs[2]))
    assert all(torch.equal(each.images, sets[0].images) for each in sets)


@pytest.mark.parametrize(("name", "method"), [("k-center", KCenter), ("herding", Herding)])
def test_another_version_of_a_method_has_another_feature_network(
    name: str,
    method: type,
    tiny: TrainSet,
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And the first version finds what was trained before versions were kept."""
    shared, chooser = replace(run, shared=tmp_path), build(name, "paper", {"feature_epochs": 1})
    spec = {"epochs": 1, "lr": 0.01}
    before = fingerprint(
        {
            "name": "feature-network",
            "spec": spec,
            "seed": run.seed,
            "precision": run.machine.precision,
        }
    )
    chooser.distill(tiny, 1, shared)
    assert [path.name for path in tmp_path.iterdir()] == [f"feature-network-{before}"]
    monkeypatch.setattr(method, "version", 2)
    chooser.distill(tiny, 1, shared)
    assert len(list(tmp_path.iterdir())) == 2


def test_shared_networks_choose_their_engine_by_themselves(
    tiny: TrainSet, run: Run, tmp_path: Path
) -> None:
    """Not by the cost of whatever job comes first: their bits would depend on the order."""
    long = replace(run, shared=tmp_path, machine=replace(run.machine, engine="auto").decide(1e18))
    build("k-center", "paper", {"feature_epochs": 1}).distill(tiny, 1, long)
    mtt = build("mtt", "quick", {"experts": 1, "max_start_epoch": 1, "expert_epochs": 1})
    assert isinstance(mtt, MTT)
    Experts(mtt, tiny, 1, long)
    kept = {
        path.parent.name.rpartition("-")[0]: read_tensors(path)["machine"]["engine"]
        for path in tmp_path.glob("*/result.pt")
    }
    assert kept == {"feature-network": "eager", "mtt-expert-0": "eager"}


def test_the_feature_network_is_trained_once_for_all_who_need_it(
    tiny: TrainSet, run: Run, tmp_path: Path
) -> None:
    """K-Center and herding at every budget share it; another seed or another number of epochs is
    another network.
    """
    trained: list[str] = []

    def note(name: str, done: int, total: int) -> None:
        if done == 0:
            trained.append(name)

    shared = replace(run, shared=tmp_path, progress=note)
    fresh = {}
    for name in ("k-center", "herding"):
        distiller = build(name, "paper", {"feature_epochs": 1})
        for ipc in (1, 2, 3):
            fresh[name, ipc] = distiller.distill(tiny, ipc, shared).images
    assert trained == ["train"]
    assert torch.equal(
        fresh["k-center", 2],
        build("k-center", "paper", {"feature_epochs": 1}).distill(tiny, 2, run).images,
    )
    build("herding", "paper", {"feature_epochs": 1}).distill(tiny, 1, replace(shared, seed=1))
    build("herding", "paper", {"feature_epochs": 2}).distill(tiny, 1, shared)
    assert trained == ["train"] * 3


def test_k_means_chooses_in_the_features_or_in_the_pixels(
    tiny: TrainSet, run: Run, tmp_path: Path
) -> None:
    run = replace(run, shared=tmp_path)
    features = FeatureNetwork(epochs=1).features(tiny, run)
    values = tiny.values(slice(0, len(tiny))).flatten(1)
    for name, points in (("network", features), ("pixels", values)):
        method = build("k-means", "paper", {"feature_epochs": 1, "features": name})
        nearest = [
            members[brute_force.k_center(points[members].double().tolist(), 1)[0]]
            for members in tiny.by_class
        ]
        assert torch.equal(method.distill(tiny, 1, run).images, tiny.values(torch.stack(nearest)))


@pytest.mark.parametrize("name", ["herding", "k-means"])
def test_a_learned_set_may_start_from_chosen_images(
    name: str, tiny: TrainSet, run: Run, tmp_path: Path
) -> None:
    run = replace(run, shared=tmp_path)
    chosen = build(name, "paper").distill(tiny, 2, run)
    assert torch.equal(first_images(name, tiny, 2, run), chosen.images)
    assert build("dm", "paper", {"init": name}).shared_macs(tiny, 2)
