"""KIP: the kernel and its regression against direct computations, the loss's gradient, and labels
that are learned.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from dcbench.artifacts.artifact import read_artifact, write_artifact
from dcbench.families.selection import first_images
from dcbench.images import TestSet, TrainSet, class_weights
from dcbench.methods.kip import KIP, Regression, centred, conjugate_kernel, ridge_prediction
from dcbench.networks.base import initialise
from dcbench.networks.catalogue import build_network
from dcbench.run import Run
from dcbench.system.errors import DivergedError
from tests.reference import kip as formulas


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def method(**fields: Any) -> KIP:
    return KIP(**{"iterations": 1, "real_batch": 6, "networks": 2, **fields})


def networks_of(distiller: KIP, train: TrainSet, run: Run) -> list[list[list[Tensor]]]:
    """Every convolution's weights (and its normalisation's), in float64, of each network of the
    first step.
    """
    drawn = []
    for index in range(distiller.networks):
        network = build_network(distiller.network, train.spec, distiller.normalisation)
        initialise(network, run.generator("network", 0, index))
        rows = [
            parameter.detach().double()
            for name, parameter in network.named_parameters()
            if name.startswith("blocks")
        ]
        each = 2 if distiller.normalisation == "none" else 4
        drawn.append([rows[start : start + each] for start in range(0, len(rows), each)])
    return drawn


def test_the_kernel_is_the_mean_product_of_features() -> None:
    left, right = (torch.randn(3, count, 5, generator=seeded(count)) for count in (4, 2))
    kernel = conjugate_kernel(left, right)
    for i in range(4):
        for j in range(2):
            products = [
                float(left[k, i, d]) * float(right[k, j, d]) for k in range(3) for d in range(5)
            ]
            assert float(kernel[i, j]) == pytest.approx(sum(products) / len(products), rel=1e-12)


@pytest.mark.parametrize("ridge", [0.0, 1e-6, 0.1, 10.0])
def test_the_prediction_is_that_of_a_plain_solve(ridge: float) -> None:
    square = torch.randn(7, 9, generator=seeded(0), dtype=torch.float64)
    K_ss, K_ts = square @ square.T, torch.randn(4, 7, generator=seeded(1), dtype=torch.float64)
    y_s = torch.randn(7, 3, generator=seeded(2), dtype=torch.float64)
    penalty = ridge * np.trace(K_ss.numpy()) / 7
    wanted = K_ts.numpy() @ np.linalg.solve(K_ss.numpy() + penalty * np.eye(7), y_s.numpy())
    assert np.allclose(ridge_prediction(K_ts, K_ss, y_s, ridge).numpy(), wanted, rtol=1e-9)


def test_a_singular_kernel_is_regularised_until_it_has_a_factor() -> None:
    twice = torch.ones(2, 2, dtype=torch.float64)  # the same image two times
    y_s = torch.tensor([[0.5, -0.5], [0.5, -0.5]], dtype=torch.float64)
    assert torch.allclose(ridge_prediction(twice, twice, y_s, 0.0), y_s, atol=1e-6)
    with pytest.raises(DivergedError, match="ridge"):
        ridge_prediction(-twice, -twice, y_s, 0.0)


@pytest.mark.parametrize(
    "fields", [{}, {"normalisation": "instance", "networks": 1}, {"ridge": 0.5}]
)
def test_loss_and_gradients_equal_the_formula(
    fields: dict[str, Any], colourful: TrainSet, run: Run
) -> None:
    distiller = method(**fields)
    images = first_images("random", colourful, 1, run)
    labels = centred(torch.arange(3), 3) + 0.1 * torch.randn(
        3, 3, generator=seeded(3), dtype=torch.float64
    )
    ours_images, ours_labels = images.clone().requires_grad_(), labels.clone().requires_grad_()
    loss = Regression(distiller, colourful, run).accumulate_gradient(ours_images, ours_labels, 0)
    chosen = torch.randperm(len(colourful), generator=run.generator("real", 0))[:6]
    leaf, y_s = images.double().requires_grad_(), labels.clone().requires_grad_()
    networks = networks_of(distiller, colourful, run)
    K_ts, K_ss = (
        formulas.kernel(colourful.values(chosen).double(), leaf, networks),
        formulas.kernel(leaf, leaf, networks),
    )
    wanted = formulas.loss(K_ts, K_ss, centred(colourful.labels[chosen], 3), y_s, distiller.ridge)
    wanted.backward()
    assert loss == pytest.approx(float(wanted.detach()), rel=1e-4)
    for ours, theirs in ((ours_images.grad, leaf.grad), (ours_labels.grad, y_s.grad)):
        assert ours is not None
        assert theirs is not None
        assert float((ours.double() - theirs).norm() / theirs.norm()) < 1e-3


def test_cutting_batches_changes_nothing_but_rounding(
    tiny: TrainSet, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = first_images("random", tiny, 1, run)
    labels = centred(torch.arange(10), 10)
    gradients = []
    for images_at_a_time in (1024, 3):
        monkeypatch.setattr(
            "dcbench.system.machine.CHUNK_BYTES", {"cpu": 4 * images_at_a_time * 128 * 8 * 8}
        )
        leaf = images.clone().requires_grad_()
        Regression(method(real_batch=20), tiny, run).accumulate_gradient(leaf, labels, 0)
        gradients.append(leaf.grad)
    assert gradients[0] is not None
    assert gradients[1] is not None
    assert float((gradients[0] - gradients[1]).norm() / gradients[0].norm()) < 1e-3


def test_a_centred_hard_label_is_the_hard_label_again() -> None:
    assert torch.equal(
        class_weights(centred(torch.tensor([2, 0]), 3)),
        torch.tensor([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]),
    )


@given(st.lists(st.lists(st.floats(-3, 3), min_size=4, max_size=4), min_size=1, max_size=5))
def test_learned_labels_become_probabilities_of_the_same_class(rows: list[list[float]]) -> None:
    labels = torch.tensor(rows, dtype=torch.float64)
    weights = class_weights(labels)
    assert bool((weights >= 0).all())
    assert torch.allclose(weights.sum(1), torch.ones(len(rows)))
    chosen = weights.gather(1, labels.argmax(1, keepdim=True)).flatten()
    assert bool((chosen >= weights.max(1).values - 1e-6).all())


def test_learned_labels_go_into_the_artifact_and_train_networks(
    tiny: TrainSet, tiny_test: TestSet, run: Run, tmp_path: Path
) -> None:
    from dcbench.evaluation.evaluate import evaluate
    from dcbench.evaluation.protocol import PROTOCOLS

    fixed = method(iterations=2).distill(tiny, 1, run)
    learned = method(iterations=2, learn_labels=True).distill(tiny, 1, run)
    assert torch.equal(fixed.labels, torch.arange(10))
    assert learned.labels.shape == (10, 10)
    assert not torch.equal(learned.labels, torch.eye(10))
    write_artifact(tmp_path / "synthetic.pt", learned, {})
    read = read_artifact(tmp_path / "synthetic.pt").synthetic
    assert torch.equal(read.labels, learned.labels)
    (result,) = evaluate(read, tiny_test, PROTOCOLS["quick"].with_options(epochs=1), [0], run)
    assert 0 <= result.accuracy <= 1


def test_more_images_than_a_kernel_matrix_can_hold_are_refused(tiny: TrainSet) -> None:
    assert "10010×10010" in KIP().refuses(tiny, 1001)
    assert KIP().refuses(tiny, 50) == ""


def test_the_loss_falls(tiny: TrainSet, run: Run) -> None:
    run = replace(run, history=[])
    method(iterations=15, real_batch=60).distill(tiny, 1, run)
    losses: Sequence[float] = [row["loss"] for row in run.history]
    assert sum(losses[-3:]) < 0.9 * sum(losses[:3])
