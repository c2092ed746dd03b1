"""timm's networks as judges: what they see, how they are seeded, what is refused."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import EntryPoint

import pytest
import torch

from dcbench.evaluation.evaluate import evaluate
from dcbench.evaluation.protocol import Protocol
from dcbench.experiments.presets import build
from dcbench.images import ImageSpec, TestSet, TrainSet
from dcbench.networks.base import Network, initialise
from dcbench.networks.catalogue import ENTRY_POINTS, build_network, find_network
from dcbench.networks.convnet import ConvNet, Normalisation
from dcbench.networks.costs import widest_activation
from dcbench.run import Run
from dcbench.system.errors import MismatchError, UnknownNameError
from dcbench.training.trainer import Schedule

timm = pytest.importorskip("timm")

NAME = "timm:test_resnet"
BRIEF = Protocol("brief", 1, Schedule(epochs=2), augment="none")


def test_it_is_a_network_like_others(colourful: TrainSet) -> None:
    network = build_network(NAME, colourful.spec, "own").eval()
    images = colourful.values(slice(0, 4))
    observed = network.observe(images)
    assert torch.allclose(observed.logits, network(images), atol=1e-6)
    assert observed.logits.shape == (4, 3)
    assert observed.features.ndim == 2
    assert widest_activation(network, colourful.spec.shape) >= 8 * 8


def test_each_network_has_its_own_seed(colourful: TrainSet, run: Run) -> None:
    first, second = (build_network(NAME, colourful.spec, "own") for _ in range(2))
    for network in (first, second):
        initialise(network, run.generator("network"))
    for ours, theirs in zip(first.state_dict().values(), second.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs)


def test_a_set_is_judged_by_it(tiny: TrainSet, tiny_test: TestSet, run: Run) -> None:
    protocol = BRIEF.with_options(network=NAME)
    chosen = build("random", "paper").distill(tiny, 2, run)
    together = list(evaluate(chosen, tiny_test, protocol, range(2), run))
    (alone,) = evaluate(chosen, tiny_test, protocol, [1], run)
    assert (alone.accuracy, alone.loss) == (together[1].accuracy, together[1].loss)


def test_what_cannot_be_seen_or_seeded_is_refused(colourful: TrainSet) -> None:
    with pytest.raises(MismatchError, match=r"timm:test_vit cannot see images of 3×8×8 .*another"):
        build_network("timm:test_vit", colourful.spec, "own")
    large = replace(colourful.spec, size=160)
    with pytest.raises(MismatchError, match=r"parameters .*cls_token.*, which cannot be drawn"):
        build_network("timm:test_vit", large, "own")
    with pytest.raises(UnknownNameError, match="did you mean 'test_resnet'"):
        find_network("timm:test_resnt")


def test_records_say_that_the_normalisation_is_its_own(tiny: TrainSet) -> None:
    """Chosen by the user or asked for by the set; networks that take the protocol's keep it."""
    chosen, asked = BRIEF.with_options(network=NAME), BRIEF.with_recipe({"network": NAME})
    for protocol in (chosen, asked):
        assert protocol.to_json() == BRIEF.to_json() | {"network": NAME, "normalisation": "own"}
    assert BRIEF.with_options(network="vgg11").normalisation == "instance"
    assert chosen.with_recipe({"network": "vgg11"}) == chosen
    with pytest.raises(MismatchError, match=r"its own normalisation and takes no other, got batch"):
        build_network(NAME, tiny.spec, "batch")
    with pytest.raises(UnknownNameError, match="unknown normalisation 'own'"):
        build_network("convnet", tiny.spec, "own")


def test_a_method_sees_by_it_where_its_fields_say_what_is_true(tiny: TrainSet, run: Run) -> None:
    fields = {"iterations": 1, "real_batch": 4, "network": NAME}
    own = build("dm", "paper", {**fields, "normalisation": "own"}).distill(tiny, 1, run)
    start = build("random", "paper").distill(tiny, 1, run)
    assert not torch.equal(own.images, start.images)
    with pytest.raises(MismatchError, match=r"got instance; set normalisation=own"):
        build("dm", "paper", fields).distill(tiny, 1, run)


def small(spec: ImageSpec, normalisation: Normalisation) -> Network:
    """What a package would add."""
    return ConvNet(spec.shape, spec.classes, width=8, normalisation=normalisation)


def test_installed_packages_add_networks(tiny: TrainSet, monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("small", "tests.networks.test_timm:small", ENTRY_POINTS)
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: [point])
    assert sum(each.numel() for each in build_network("small", tiny.spec).parameters()) < 10_000
    with pytest.raises(UnknownNameError, match="did you mean 'small'"):
        build_network("smal", tiny.spec)
