"""Selection of real images: the features to choose by, the rules, and the start of learned sets."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated

import torch
from annotated_types import Ge, Gt
from jaxtyping import Float, Int64
from torch import Tensor

from dcbench.distiller import Distiller, JudgedBy
from dcbench.images import SyntheticSet, TrainSet
from dcbench.networks.base import weights_of
from dcbench.networks.catalogue import build_network
from dcbench.networks.costs import network_macs, training_macs, widest_activation
from dcbench.run import Run, versioned
from dcbench.system.errors import DataError
from dcbench.system.fields import Fulfils, check_fields
from dcbench.training.trainer import Schedule, in_chunks, train_network

# k-means: the real images nearest to the centres; all but random and noise see by FeatureNetwork
STARTS = ("random", "k-center", "noise", "herding", "k-means", "facility-location")


def names_a_file(init: str) -> bool:
    """Return whether ``init`` names a file: ``./images.pt``, ``datadam:./images.pt`` (another
    project's layout), or ``file:`` with the hash of the content.
    """
    return init not in STARTS and any(sign in init for sign in "./:")


START = Fulfils(
    lambda init: init in STARTS or names_a_file(init),
    f"be one of {', '.join(STARTS)}, or a file of images such as ./images.pt",
    "|".join((*STARTS, "FILE")),
)
Initialisation = Annotated[str, START]
Rule = Callable[[Float[Tensor, "n d"], int], Int64[Tensor, " count"]]


@dataclass(frozen=True)
class FeatureNetwork:
    """The network in whose last features selection methods measure distances.

    It is trained on the whole training set.
    """

    epochs: Annotated[int, Ge(1)] = 20
    lr: Annotated[float, Gt(0)] = 0.01
    # of the method that chooses by it; what learned sets start from is chosen by this one, raised
    # by hand
    version: Annotated[int, Ge(1)] = 1

    def __post_init__(self) -> None:
        check_fields(self, "feature network")

    def cost_macs(self, train: TrainSet) -> float:
        """Return the multiply-accumulates of training it and of one pass over every image."""
        images = len(train)
        return training_macs(network_macs("convnet", train.spec), images, self.epochs, images)

    def shared_macs(self, train: TrainSet) -> dict[str, float]:
        """Return ``cost_macs`` by a name that identifies this network."""
        return {str(self): self.cost_macs(train)}

    def features(self, train: TrainSet, run: Run) -> Float[Tensor, "n d"]:
        """Return the last features of every training image, on the CPU.

        The network is trained once for a data set and seed (``run.once``).
        """
        network = build_network("convnet", train.spec)
        machine = run.machine.decide(self.cost_macs(train))
        train = train.held_on(machine)

        def build(part: Run) -> dict[str, Tensor]:
            schedule = Schedule(epochs=self.epochs, lr=self.lr, batch=256)
            train_network(network, train.values, train.labels, schedule, part)
            return weights_of(network)

        spec = versioned({"epochs": self.epochs, "lr": self.lr}, self.version)
        network.load_state_dict(replace(run, machine=machine).once("feature-network", spec, build))
        machine.place_network(network)
        network.eval()
        observe = machine.accelerate(lambda images: network.observe(images).features)
        widest = widest_activation(network, train.spec.shape)
        return in_chunks(observe, train.values, len(train), machine, widest)


class Selection(Distiller):
    """Base of the methods that choose real images.

    They are judged without augmentation in DC's paper, whose figures for them the literature
    repeats.
    """

    own_zca = "off"
    protocols = {"own": JudgedBy("lineage", augment="none")}

    @abstractmethod
    def choose(self, train: TrainSet, ipc: int, run: Run) -> Int64[Tensor, " chosen"]:
        """Return the indices of ``ipc`` training images of each class, classes in order."""

    def distill(self, train: TrainSet, ipc: int, run: Run) -> SyntheticSet:
        train.require(ipc)
        return chosen_set(train, self.choose(train, ipc, run))

    def cost_macs(self, train: TrainSet, ipc: int) -> float:
        return sum(self.shared_macs(train, ipc).values(), 0.0)


@dataclass(frozen=True)
class FeatureSelection(Selection):
    """Base of the methods that choose by last features of a network trained on the training set."""

    feature_epochs: Annotated[int, Ge(1)] = 20
    feature_lr: Annotated[float, Gt(0)] = 0.01

    presets = {"quick": {"feature_epochs": 2}}

    @staticmethod
    @abstractmethod
    def rule(features: Float[Tensor, "n d"], count: int) -> Int64[Tensor, " count"]:
        """Choose ``count`` images of one class by their features."""

    def choose(self, train: TrainSet, ipc: int, run: Run) -> Int64[Tensor, " chosen"]:
        return class_by_class(self.rule, self._network.features(train, run), train, ipc)

    def shared_macs(self, train: TrainSet, ipc: int) -> Mapping[str, float]:
        return self._network.shared_macs(train)

    @property
    def _network(self) -> FeatureNetwork:
        return FeatureNetwork(self.feature_epochs, self.feature_lr, self.version)


def farthest_first(features: Float[Tensor, "n d"], count: int) -> Int64[Tensor, " count"]:
    """K-Center's greedy rule: from the point nearest the mean, repeatedly the point farthest from
    all chosen ones.

    Sener & Savarese (ICLR 2018); per class and from the mean as in DC's baselines. Ties go to the
    lower index.
    """
    points = features.double()
    chosen = [int((points - points.mean(0)).square().sum(1).argmin())]
    nearest = (points - points[chosen[0]]).square().sum(1)
    while len(chosen) < count:
        # never again, not even where all that is left are its duplicates
        nearest[chosen[-1]] = -1.0
        chosen.append(int(nearest.argmax()))
        nearest = torch.minimum(nearest, (points - points[chosen[-1]]).square().sum(1))
    return torch.tensor(chosen)


def herd(features: Float[Tensor, "n d"], count: int) -> Int64[Tensor, " count"]:
    """Choose greedily the image that brings the mean of the chosen features nearest the class's
    mean, none twice.
    """
    points = features.double()
    mean, total = points.mean(0), torch.zeros_like(points[0])
    chosen: list[int] = []
    for size in range(1, count + 1):
        distances = (mean - (total + points) / size).square().sum(1)
        distances[chosen] = torch.inf
        chosen.append(int(distances.argmin()))
        total += points[chosen[-1]]
    return torch.tensor(chosen)


def nearest_to_centres(
    features: Float[Tensor, "n d"], count: int, seed: int = 0
) -> Int64[Tensor, " count"]:
    """Return the points nearest to the ``count`` centres of k-means, none twice.

    The centres are the best of ten runs of scikit-learn's KMeans (Lloyd's algorithm from
    k-means++). Each centre takes its nearest free point; centres with a near point come first.
    """
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    points = features.double()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer different points than centres
        clusters = KMeans(count, n_init=10, random_state=seed)  # type: ignore[no-untyped-call]
        found = clusters.fit(points.numpy())
    distances = torch.cdist(torch.from_numpy(found.cluster_centers_), points)
    chosen: dict[int, int] = {}
    for centre in distances.min(1).values.argsort(stable=True).tolist():
        distances[centre, list(chosen.values())] = torch.inf
        chosen[centre] = int(distances[centre].argmin())
    return torch.tensor([chosen[centre] for centre in range(count)])


def most_representative(features: Float[Tensor, "n d"], count: int) -> Int64[Tensor, " count"]:
    """Facility location's greedy rule: repeatedly choose the point that adds most to Σ_i max_j s(i,
    j) over the chosen j, where s is the largest distance minus the distance.

    Ties go to the lower index. Memory: a few n × n matrices.
    """
    distances = torch.cdist(features.double(), features.double())
    similarity = distances.max() - distances
    best, chosen = torch.zeros(len(features), dtype=torch.float64), list[int]()
    for _ in range(count):
        gains = (similarity - best[:, None]).clamp_(min=0).sum(0)
        gains[chosen] = -1.0  # never chosen again, even if no other point gains anything
        chosen.append(int(gains.argmax()))
        best = torch.maximum(best, similarity[:, chosen[-1]])
    return torch.tensor(chosen)


def class_by_class(
    rule: Rule, features: Float[Tensor, "n d"], train: TrainSet, ipc: int
) -> Int64[Tensor, " chosen"]:
    """Choose ``ipc`` images of each class by ``rule`` from their features, classes in order."""
    return torch.cat([members[rule(features[members], ipc)] for members in train.by_class])


def random_members(train: TrainSet, ipc: int, run: Run) -> Int64[Tensor, " n"]:
    """Choose ``ipc`` random images of each class, classes in order."""
    classes = range(train.spec.classes)
    chosen = [train.draw(label, ipc, run.generator("random", label)) for label in classes]
    return torch.cat(chosen)


def first_images(
    init: Initialisation, train: TrainSet, ipc: int, run: Run
) -> Float[Tensor, "n channels size size"]:
    """Return the images that a learned set starts from: Gaussian noise, real images chosen by a
    rule, or the images that the harness read from a file (``run.start``).

    Raises DataError if ``init`` names a file and nothing was read.
    """
    if names_a_file(init):
        if run.start is None:
            raise DataError(
                f"init is the file {init}, but a method reads none: dcbench run --set init={init} "
                "hands its images over, and in Python Run(start=images)"
            )
        return run.start.clone()
    if init == "noise":
        shape = (ipc * train.spec.classes, *train.spec.shape)
        return torch.randn(shape, generator=run.generator("noise"))
    if init == "random":
        members = random_members(train, ipc, run)
    else:
        rules: dict[str, Rule] = {
            "k-center": farthest_first,
            "herding": herd,
            "k-means": partial(nearest_to_centres, seed=seed_of(run)),
            "facility-location": most_representative,
        }
        features = FeatureNetwork().features(train, run)
        members = class_by_class(rules[init], features, train, ipc)
    return train.values(members).clone()


def seed_of(run: Run) -> int:
    """Return the seed of k-means, as scikit-learn takes it."""
    return run.generator("k-means").initial_seed() % 2**32


def start_macs(init: Initialisation, train: TrainSet) -> dict[str, float]:
    """Return the multiply-accumulates of the network that chooses first images, if there is one."""
    chosen = init in STARTS and init not in ("random", "noise")
    return FeatureNetwork().shared_macs(train) if chosen else {}


def chosen_set(train: TrainSet, members: Int64[Tensor, " n"]) -> SyntheticSet:
    """Make a set of the real images with these indices."""
    images, labels = train.values(members).clone(), train.labels[members].clone()
    return SyntheticSet(train.spec, images, labels, train.space)
