"""EvaluationOptions a set: networks that do not depend on one another, the last epoch and no other, and the
space that the set was made for.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from dcbench.datasets.loading import Loaded
from dcbench.datasets.preprocessing import whitening
from dcbench.distiller import Distiller
from dcbench.evaluation.evaluate import evaluate, evaluation_macs
from dcbench.evaluation.protocol import LABEL_SOURCES, PROTOCOLS, Protocol, find_protocol
from dcbench.experiments.presets import build
from dcbench.images import Space, SyntheticSet, TestSet, TrainSet
from dcbench.networks.base import initialise
from dcbench.networks.catalogue import build_network
from dcbench.run import Run, fingerprint
from dcbench.system.errors import MismatchError, OutOfRangeError, UnknownNameError
from dcbench.system.machine import Machine
from dcbench.training.supervision import Loss
from dcbench.training.teacher import Teacher, TeacherSettings, trained_teacher
from dcbench.training.trainer import Schedule

BRIEF = Protocol("brief", 1, Schedule(epochs=3), networks=2)


@pytest.fixture(scope="module")
def synthetic(tiny: TrainSet, machine: Machine) -> SyntheticSet:
    """Two real images of each class."""
    return build("random", "paper").distill(tiny, 2, Run(0, machine))


def accuracies(
    synthetic: SyntheticSet, test: TestSet, protocol: Protocol, networks: Sequence[int], run: Run
) -> list[float]:
    return [result.accuracy for result in evaluate(synthetic, test, protocol, networks, run)]


@pytest.mark.parametrize("augment", ["dsa", "none", "randaugment"])
def test_a_network_is_the_same_whichever_were_trained_before_it(
    augment: str, synthetic: SyntheticSet, tiny_test: TestSet, run: Run
) -> None:
    protocol = replace(BRIEF, augment=augment)
    together = {
        result.network: result for result in evaluate(synthetic, tiny_test, protocol, range(4), run)
    }
    (alone,) = evaluate(synthetic, tiny_test, protocol, [3], run)
    assert list(together) == [0, 1, 2, 3]
    assert (alone.accuracy, alone.loss) == (together[3].accuracy, together[3].loss)
    assert len({result.loss for result in together.values()}) == 4


def test_with_batch_normalisation_nothing_is_handed_from_network_to_network(
    synthetic: SyntheticSet, tiny_test: TestSet, run: Run
) -> None:
    protocol = replace(BRIEF, normalisation="batch")
    together = list(evaluate(synthetic, tiny_test, protocol, range(3), run))
    (alone,) = evaluate(synthetic, tiny_test, protocol, [2], run)
    assert (alone.accuracy, alone.loss) == (together[2].accuracy, together[2].loss)


def test_results_depend_on_the_seed_and_on_nothing_global(
    synthetic: SyntheticSet, tiny_test: TestSet, run: Run
) -> None:
    losses: list[list[float | None]] = []
    for seed in (0, 0, 1):
        torch.manual_seed(len(losses))
        losses.append(
            [
                result.loss
                for result in evaluate(
                    synthetic, tiny_test, BRIEF, range(2), replace(run, seed=seed)
                )
            ]
        )
    assert losses[0] == losses[1]
    assert set(losses[0]).isdisjoint(losses[2])


def test_the_accuracy_is_the_last_epoch_s_and_not_the_best(
    synthetic: SyntheticSet, tiny_test: TestSet, run: Run
) -> None:
    """At a rate far too high accuracies go up and down; a plain loop says after which epoch each
    was reached.
    """
    protocol = Protocol("wild", 1, Schedule(epochs=8, lr=0.3, batch=256), augment="none")
    network = build_network("convnet", synthetic.spec)
    initialise(network, run.part("network 0").generator("network"))
    sgd = torch.optim.SGD(network.parameters(), 0.3, 0.9, weight_decay=5e-4)
    after = []
    images = tiny_test.values(slice(0, len(tiny_test)))
    for _ in range(8):
        sgd.zero_grad()
        F.cross_entropy(network(synthetic.images), synthetic.labels).backward()
        sgd.step()
        after.append(float((network(images).argmax(1) == tiny_test.labels).double().mean()))
    epochs = next(
        epochs for epochs in range(8, 0, -1) if after[epochs - 1] < max(after[:epochs]) - 0.05
    )
    protocol = replace(protocol, schedule=replace(protocol.schedule, epochs=epochs))
    (accuracy,) = accuracies(synthetic, tiny_test, protocol, [0], run)
    # one image of 50: sums in another order
    assert accuracy == pytest.approx(after[epochs - 1], abs=0.021)
    assert accuracy < max(after[:epochs])


def test_test_images_are_taken_into_the_set_s_space(digits: Loaded, run: Run) -> None:
    """The same images in four spaces are judged alike; a set that lies about its space is judged
    far worse.
    """
    chosen = build("random", "paper").distill(digits.train, 10, run)
    inverted = Space("normalised", (1.0,), (-1.0,))
    spaces = {
        "normalised": chosen.space,
        "raw": Space(),
        "inverted": inverted,
        "whitened": whitening(digits.train.images, chosen.space),
    }
    protocol = Protocol("short", 1, Schedule(epochs=30, decay=0.0))
    reached = {}
    for name, space in spaces.items():
        moved = replace(chosen, images=space.enter(chosen.pixels), space=space)
        (reached[name],) = accuracies(moved, digits.test, protocol, [0], run)
    (lied,) = accuracies(
        replace(chosen, images=inverted.enter(chosen.pixels), space=Space()),
        digits.test,
        protocol,
        [0],
        run,
    )
    assert min(reached.values()) > 0.7, reached
    assert lied < min(reached.values()) - 0.2


def test_soft_labels_are_learned_from(
    synthetic: SyntheticSet, tiny_test: TestSet, run: Run
) -> None:
    """One-hot rows teach what hard labels teach, and rows that name another class teach that."""
    rows = F.one_hot(synthetic.labels, 10).float()
    protocol = replace(BRIEF, schedule=Schedule(epochs=20))
    hard, soft, shifted = (
        accuracies(replace(synthetic, labels=labels), tiny_test, protocol, [0], run)[0]
        for labels in (synthetic.labels, rows, rows.roll(1, 1))
    )
    assert soft == pytest.approx(hard, abs=0.021)
    assert shifted < 0.2 < hard


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"size": 16}, "1×16×16 in 10"),
        ({"channels": 3}, "3×8×8 in 10"),
        ({"class_names": ("a", "b")}, "1×8×8 in 2"),
    ],
)
def test_a_set_of_other_images_is_refused(
    change: dict[str, object], names: str, synthetic: SyntheticSet, tiny_test: TestSet, run: Run
) -> None:
    spec = replace(synthetic.spec, dataset="other", **change)  # type: ignore[arg-type]
    other = SyntheticSet(spec, torch.zeros(2, *spec.shape), torch.tensor([0, 1]), Space())
    with pytest.raises(
        MismatchError,
        match=f"images of {names} .* digits has 1×8×8 in 10; evaluate it with --dataset ./other",
    ):
        accuracies(other, tiny_test, BRIEF, [0], run)


# -------------------------------------------------------------------------------------------------------------
# protocols


def test_how_many_networks_are_trained_stands_in_no_protocol() -> None:
    """So that asking for 100 after 10 trains 90."""
    plain = BRIEF.to_json()
    assert plain == replace(BRIEF, networks=100).to_json()
    assert json.loads(json.dumps(plain)) == plain
    for change in (
        {"network": "x"},
        {"augment": "none"},
        {"version": 2},
        {"schedule": Schedule(epochs=4)},
        {"normalisation": "batch"},
    ):
        assert replace(BRIEF, **change).to_json() != plain
    assert {
        "epochs": 3,
        "lr": 0.01,
        "batch": 256,
        "momentum": 0.9,
        "weight_decay": 5e-4,
    }.items() <= plain.items()


def test_what_came_later_is_in_no_older_hash() -> None:
    """The hashes that records were stored under before protocols knew teachers, losses and mixes."""
    hashes = {
        "paper": "98f8c36e500b",
        "lineage": "3f4735cc239f",
        "released": "b96894453ea3",
        "quick": "798cbd60f24f",
        "whole": "8157223967b7",
        "whole-quick": "88606c24c200",
    }
    for name, known in hashes.items():
        plain = PROTOCOLS[name].to_json()
        assert fingerprint({**plain, "precision": "fp32"}) == known
        changed: tuple[dict[str, Any], ...] = (
            {"labels": "hard"},
            {"loss": Loss("kl", 4.0)},
            {"mix_share": 0.5},
            {"schedule": replace(PROTOCOLS[name].schedule, optimizer="adamw")},
        )
        assert all(replace(PROTOCOLS[name], **change).to_json() != plain for change in changed)


def test_a_teacher_is_said_where_it_teaches() -> None:
    teacher = TeacherSettings(epochs=3)
    assert replace(BRIEF, teacher=teacher).to_json() == BRIEF.to_json()
    taught = replace(BRIEF, labels="teacher", teacher=teacher).to_json()
    assert taught == BRIEF.to_json() | {"labels": "teacher", "teacher": teacher.to_json()}
    assert json.loads(json.dumps(taught)) == taught
    rded = PROTOCOLS["rded"]
    assert {
        "loss": "kl",
        "temperature": 20.0,
        "labels": "teacher",
    }.items() <= rded.to_json().items()
    hard = rded.with_options(labels="hard")
    assert (hard.labels, hard.loss) == ("hard", Loss())
    assert hard.on_classes().labels == "stored"


def test_labels_come_from_where_the_protocol_says(
    synthetic: SyntheticSet, tiny: TrainSet, tiny_test: TestSet, run: Run
) -> None:
    """Soft labels that name the next class mislead; taken hard they mislead alike; a teacher does not
    look at them.
    """
    shifted = replace(synthetic, labels=F.one_hot(synthetic.labels, 10).float().roll(1, 1))
    protocol = replace(BRIEF, schedule=Schedule(epochs=20, lr=0.02), augment="none")
    settings = TeacherSettings(epochs=10, lr=0.05, batch=32, augment="none")
    teacher = trained_teacher(settings, tiny, run)
    reached = {
        labels: next(
            evaluate(shifted, tiny_test, replace(protocol, labels=labels), [0], run, teacher)
        )
        for labels in LABEL_SOURCES
    }
    assert reached["stored"].accuracy < 0.2 < reached["teacher"].accuracy
    assert reached["hard"].accuracy == pytest.approx(reached["stored"].accuracy, abs=0.021)
    assert reached["hard"].teacher_accuracy is None
    told = reached["teacher"].teacher_accuracy
    predicted = teacher.network(tiny_test.values(slice(0, 50))).argmax(1)
    assert told == pytest.approx(float((predicted == tiny_test.labels).double().mean()))
    with pytest.raises(MismatchError, match="there is no teacher"):
        next(evaluate(shifted, tiny_test, replace(protocol, labels="teacher"), [0], run))


@pytest.mark.parametrize("name", ["datm", "idc", "rded", "sre2l", "dd-ranking"])
def test_protocols_of_other_papers_train_networks(
    name: str, tiny: TrainSet, tiny_test: TestSet, run: Run
) -> None:
    """With their own networks, teachers, labels and augmentations, for one epoch; ResNet-18 needs
    larger images.
    """
    spec = replace(tiny.spec, size=32)
    members = torch.cat([own[:2] for own in tiny.by_class])
    large = [
        images.repeat_interleave(4, 2).repeat_interleave(4, 3)
        for images in (tiny.images[members], tiny_test.images[::5])
    ]
    train = TrainSet(spec, large[0], tiny.labels[members], tiny.space)
    test = TestSet(spec, large[1], tiny_test.labels[::5], tiny_test.space)
    protocol = PROTOCOLS[name].with_options(epochs=1)
    protocol = replace(protocol, teacher=replace(protocol.teacher, epochs=1))
    taught = protocol.labels == "teacher"
    teacher = trained_teacher(protocol.teacher, train, run) if taught else None
    chosen = build("random", "paper").distill(train, 1, run)
    if not taught:
        chosen = replace(chosen, labels=F.one_hot(chosen.labels, 10).float() * 0.9 + 0.01)
    (found,) = evaluate(chosen, test, protocol, [0], run, teacher)
    assert found.loss is not None
    assert (found.teacher_accuracy is not None) == taught
    (other,) = evaluate(chosen, test, replace(protocol, augment="none"), [0], run, teacher)
    assert other.loss != found.loss


def test_a_teacher_of_other_data_teaches_no_set(
    synthetic: SyntheticSet, tiny: TrainSet, tiny_test: TestSet, run: Run
) -> None:
    other = replace(tiny, spec=replace(tiny.spec, dataset="letters"))
    settings = TeacherSettings(epochs=1, augment="none")
    protocol = replace(BRIEF, labels="teacher", teacher=settings)
    teacher = trained_teacher(settings, other, run)
    with pytest.raises(MismatchError, match=r"teacher was trained on letters .*set is of digits"):
        next(evaluate(synthetic, tiny_test, protocol, [0], run, teacher))
    soft = replace(synthetic, labels=F.one_hot(synthetic.labels, 10).float())
    wants_classes = replace(protocol, loss=Loss("mse-gt"))
    with pytest.raises(MismatchError, match=r"mse-gt needs the class of each image"):
        next(
            evaluate(soft, tiny_test, wants_classes, [0], run, Teacher(teacher.network, tiny.spec))
        )


def test_published_protocols() -> None:
    """Facts: 100 networks, DSA and InstanceNorm, but BatchNorm in the released code; DC's 300
    epochs without augmentation, plus one.
    """
    for name in ("paper", "lineage", "released"):
        protocol = find_protocol(name)
        assert (protocol.networks, protocol.augment, protocol.network) == (100, "dsa", "convnet")
        assert protocol.normalisation == ("batch" if name == "released" else "instance")
    plain = PROTOCOLS["lineage"].with_options(augment="none").schedule
    assert (plain.epochs, plain.decay_after) == (301, 151)
    assert PROTOCOLS["paper"].with_options(augment="none").schedule.epochs == 300
    with pytest.raises(UnknownNameError, match="did you mean 'lineage'"):
        find_protocol("linage")


def test_options_change_what_they_name_and_nothing_else() -> None:
    lineage = PROTOCOLS["lineage"]
    assert lineage.with_options() == lineage
    shorter = lineage.with_options(epochs=101)
    assert (shorter.schedule.epochs, shorter.schedule.decay_after) == (101, 51)
    assert shorter == replace(
        lineage, schedule=replace(lineage.schedule, epochs=101, decay_after=51)
    )
    assert PROTOCOLS["paper"].with_options(epochs=40).schedule == replace(
        PROTOCOLS["paper"].schedule, epochs=40
    )
    assert lineage.with_options(augment="none", epochs=50).schedule.epochs == 50
    with pytest.raises(OutOfRangeError, match="epochs must be at least 1, got 0"):
        lineage.with_options(epochs=0)


def test_a_set_s_own_recipe_is_followed(
    synthetic: SyntheticSet, tiny_test: TestSet, run: Run
) -> None:
    judged = BRIEF.with_recipe({"lr": 0.03, "batch": 7, "augment": "none"})
    assert judged == replace(
        BRIEF, augment="none", schedule=replace(BRIEF.schedule, lr=0.03, batch=7)
    )
    assert BRIEF.with_recipe({}) == BRIEF
    quick, recipe = PROTOCOLS["quick"], {"network": "vgg11", "augment": "none"}
    assert (quick.with_recipe(recipe).network, quick.with_recipe(recipe).augment) == (
        "vgg11",
        "none",
    )
    chosen = quick.with_options(network="alexnet", augment="randaugment").with_recipe(recipe)
    # what the user chose stays
    assert (chosen.network, chosen.augment) == ("alexnet", "randaugment")
    # also where it is the protocol's own
    same = quick.with_options(network=quick.network).with_recipe(recipe)
    assert (same.network, same.augment) == (quick.network, "none")
    # and is not forgotten
    assert (
        quick.with_options(network="alexnet").with_options(epochs=9).with_recipe(recipe).network
        == "alexnet"
    )
    results = [
        next(evaluate(synthetic, tiny_test, protocol, [0], run)).loss
        for protocol in (BRIEF, judged)
    ]
    assert results[0] != results[1]


def test_work_is_counted_from_training_and_testing(
    synthetic: SyntheticSet, tiny_test: TestSet
) -> None:
    """20 images forward and backward in each of three epochs, and 50 forward once."""
    per_image = 8**2 * 9 * 128 + 4**2 * 9 * 128**2 + 512 * 10
    macs = evaluation_macs(BRIEF, tiny_test.spec, len(synthetic), len(tiny_test))
    assert macs == per_image * (3 * 20 * 3 + 50)


# ------------------------------------------------------------------------------------------------------------
# real images


def mean_over_networks(
    distiller: Distiller, train: TrainSet, test: TestSet, protocol: Protocol, run: Run
) -> float:
    """Of the set that ``distiller`` makes with the run's seed, at one image per class."""
    reached = accuracies(
        distiller.distill(train, 1, run), test, protocol, range(protocol.networks), run
    )
    return sum(reached) / len(reached)


@pytest.mark.slow
def test_on_digits_datadam_and_dm_beat_random_at_one_image_per_class(
    digits: Loaded, machine: Machine
) -> None:
    """Over three sets of each, four networks on each: DataDAM by ten points or more, and the worst
    of its sets beats Random's best.
    """
    protocol = Protocol("short", 1, Schedule(epochs=20, decay=0.0), networks=4)
    learned = {
        "random": {},
        "dm": {"iterations": 10, "real_batch": 64},
        "datadam": {"iterations": 60, "real_batch": 32},
    }
    reached = {
        method: [
            mean_over_networks(
                build(method, "quick", fields),
                digits.train,
                digits.test,
                protocol,
                Run(seed, machine),
            )
            for seed in range(3)
        ]
        for method, fields in learned.items()
    }
    means = {method: sum(values) / len(values) for method, values in reached.items()}
    assert means["datadam"] > means["random"] + 0.10, reached
    assert means["dm"] > means["random"] + 0.05, reached
    for method in ("dm", "datadam"):
        assert min(reached[method]) > max(reached["random"]), reached


@pytest.mark.slow
def test_on_digits_a_teacher_teaches_more_than_classes(digits: Loaded, machine: Machine) -> None:
    """The same three sets of random images, one per class: by the KL divergence from a teacher's
    answers networks learn more than by classes, on every set and by five points on average.
    """
    run = Run(0, machine)
    settings = TeacherSettings(epochs=8, lr=0.05, batch=64, augment="none")
    teacher = trained_teacher(settings, digits.train, run)
    schedule = Schedule(60, 0.003, decay=0.0, optimizer="adamw", weight_decay=0.01)
    hard = Protocol("short", 1, schedule)
    soft = replace(hard, labels="teacher", loss=Loss("kl", 4.0))
    gains = []
    for seed in range(3):
        own = Run(seed, machine)
        chosen = build("random", "paper").distill(digits.train, 1, own)
        by_classes, taught = (
            next(evaluate(chosen, digits.test, protocol, [0], own, teacher)).accuracy
            for protocol in (hard, soft)
        )
        gains.append(taught - by_classes)
    assert min(gains) > 0, gains
    assert sum(gains) / 3 > 0.05, gains
