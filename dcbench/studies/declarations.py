"""The tables and figures of the DataDAM paper as declared grids of runs.

A study has two plans. ``paper`` is the setting that the paper prints. ``quick`` is a part of it in
minutes to tens of minutes on two cores: fewer steps and networks, one set each, and in some studies
fewer methods. ``dcbench reproduce`` computes what a plan costs from its operations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dcbench.system.errors import require_known

Fields = Mapping[str, str]  # a method's fields as text, as in ``--set``


@dataclass(frozen=True)
class StudyPart:
    """A grid of methods, budgets and seeds with one setting of their fields. Each set is evaluated
    with each network and augmentation.
    """

    methods: tuple[str, ...]
    ipcs: tuple[int, ...]
    seeds: tuple[int, ...] = (0,)
    fields: Fields = field(default_factory=dict)
    networks: tuple[str, ...] = ()  # for evaluation; none: the protocol's network
    augments: tuple[str, ...] = ()  # in evaluation; none: the protocol's augmentation
    protocols: tuple[str, ...] = ()  # for evaluation; none: the preset's protocol


@dataclass(frozen=True)
class Embedding:
    """The settings of an embedding: how the network is trained on the real data, and how many real
    images of each class t-SNE gets.
    """

    network: str
    epochs: int
    epoch_images: int | None  # None: an epoch is a pass over all images
    real_per_class: int
    perplexity: float = 30.0


@dataclass(frozen=True)
class PlannedSearch:
    """A search over architectures, with the plan's sets and these built-in proxies."""

    space: str
    proxies: tuple[str, ...]
    validation: int  # training images to rank architectures by, held out from distillation
    sample: int | None = None  # None: all architectures
    seeds: int = 1
    top: float = 0.2


@dataclass(frozen=True)
class Plan:
    """The work of one preset of a study. Its sets are evaluated, unless the plan traces, embeds or
    searches.
    """

    parts: tuple[StudyPart, ...]
    ensemble: int | None = None  # networks for each set; None: the protocol's number
    trace: tuple[int, ...] = ()  # steps after which a trace evaluates and pictures the set
    embedding: Embedding | None = None
    search: PlannedSearch | None = None
    dataset: str = "cifar10"


@dataclass(frozen=True)
class Study:
    """One table or figure of the paper: the published grid, what it varies, and a plan for each
    preset.
    """

    name: str
    title: str
    methods: tuple[str, ...]  # in the order of the table's rows
    dataset: str
    ipcs: tuple[int, ...]
    published: str = ""  # a name in dcbench.studies.published, if the paper prints numbers
    varies: str = "method"
    plans: Mapping[str, Plan] = field(default_factory=dict)

    def plan(self, preset: str) -> Plan:
        """Return the plan of ``preset``. Raises UnknownNameError."""
        require_known(f"preset of {self.name}", preset, self.plans)
        return self.plans[preset]


def find_study(name: str) -> Study:
    """Return the study called ``name``. Raises UnknownNameError with a suggestion."""
    require_known("study", name, STUDIES)
    return STUDIES[name]


def comparable(method: str, fields: Mapping[str, Any], varied: str) -> Mapping[str, Any]:
    """Return a record's fields as an ablation of ``varied`` compares them. A factor that makes a
    first step as long as the default's counts as the default.
    """
    value = fields.get(varied)
    as_far = AS_FAR.get((varied, value)) if method == "datadam" and isinstance(value, str) else None
    if as_far is None or fields.get("scale") != float(as_far):
        return fields
    return {**fields, "scale": 100.0}


SETS = (0, 1, 2)  # seeds of distillation in plans with three sets of each kind; the paper has one
# a learned set in about a minute on two cores
SHORT: Fields = {"iterations": "100", "real_batch": "64"}
FEW = 3  # networks of a quick plan
# The factor before the loss was chosen for squared errors of normalised maps, and the paper prints
# none. These take a first step as far as the default's 100 does (measured at IPC 10); at 100 the
# first step is 20 times as far with mae, and 3e8 times without normalisation.
AS_FAR: Mapping[tuple[str, str], str] = {("loss", "mae"): "5", ("map_norm", "none"): "3.5e-7"}
COMPARED = ("random", "dsa", "dm", "cafe", "datadam")


def _table3() -> Study:
    chosen, generated = ("random", "k-center", "herding"), ("dcvae", "cgan", "biggan", "gmmn")
    methods = (*chosen, *generated, "mmd", "dm", "datadam")
    plans = {
        "paper": Plan((StudyPart(methods, (1, 10, 50), SETS),)),
        "quick": Plan((StudyPart(("random", "mmd", "dm", "datadam"), (1, 10)),), ensemble=FEW),
    }
    title = "DataDAM beside coresets, generative models and matching methods"
    return Study(
        "table3", title, methods, "cifar10", (1, 10, 50), "table3", "method and IPC", plans
    )


def _ablation(
    name: str, title: str, varies: str, changes: Sequence[Fields], ipc: int = 10
) -> Study:
    """Return the parts of an ablation: DataDAM with one thing changed at a time."""
    plans = {
        "paper": Plan(tuple(StudyPart(("datadam",), (ipc,), SETS, change) for change in changes)),
        "quick": Plan(
            tuple(StudyPart(("datadam",), (10,), (0,), {**SHORT, **change}) for change in changes),
            ensemble=FEW,
        ),
    }
    return Study(name, title, ("datadam",), "cifar10", (ipc,), "", varies, plans)


def _trace(name: str, title: str) -> Study:
    noise = {"init": "noise"}
    plans = {
        "paper": Plan(
            (StudyPart(("datadam",), (50,), (0,), {**noise, "iterations": "40000"}),),
            trace=(0, 100, 500, 1000, 2000, 5000, 10_000, 20_000, 40_000),
        ),
        "quick": Plan(
            (StudyPart(("datadam",), (10,), (0,), {**SHORT, **noise}),),
            ensemble=2,
            trace=(0, 10, 25, 50, 100),
        ),
    }
    return Study(name, title, ("datadam",), "cifar10", (50,), "", "step of the distillation", plans)


def _augmentations() -> Study:
    augments = ("none", "autoaugment", "randaugment", "dsa")
    plans = {
        "paper": Plan((StudyPart(("datadam",), (10,), SETS, augments=augments),)),
        "quick": Plan(
            (StudyPart(("datadam",), (10,), (0,), SHORT, augments=augments),), ensemble=FEW
        ),
    }
    title = "DataDAM under other augmentations in evaluation, drawn for each image"
    return Study(
        "fig4", title, ("datadam",), "cifar10", (10,), "", "augmentation in evaluation", plans
    )


def _search(name: str, title: str, published: str = "") -> Study:
    """The 720 ConvNets. Quick on digits: there the truth, every architecture trained on all data,
    costs minutes and not hours.
    """
    builtins = ("random", "early-stopping", "whole")
    quick = PlannedSearch("convnet720", builtins, validation=287, sample=20)
    plans = {
        "paper": Plan(
            (StudyPart(COMPARED[1:], (50,)),),
            search=PlannedSearch("convnet720", builtins, validation=10_000),
        ),
        "quick": Plan(
            (StudyPart(("dm", "datadam"), (10,), (0,), SHORT),), search=quick, dataset="digits"
        ),
    }
    return Study(name, title, COMPARED, "cifar10", (50,), published, "proxy", plans)


def _nasbench() -> Study:
    methods = ("random", "dc", "dsa", "dm", "kip", "mtt", "datadam")
    paper = PlannedSearch(
        "nasbench201", ("random", "whole"), validation=10_000, sample=100, seeds=5
    )
    quick = PlannedSearch("nasbench201", ("random",), validation=10_000, sample=10)
    plans = {
        "paper": Plan((StudyPart(methods[1:], (50,)),), search=paper),
        "quick": Plan((StudyPart(("datadam",), (10,), (0,), SHORT),), search=quick),
    }
    title = (
        "Proxies for 100 architectures of NAS-Bench-201 (needs the benchmark's accuracies: --truth "
        "FILE)"
    )
    return Study("table5", title, methods, "cifar10", (50,), "table5", "proxy", plans)


def _embedding() -> Study:
    methods = ("dc", "dsa", "dm", "cafe", "datadam")
    plans = {
        "paper": Plan(
            (StudyPart(methods, (50,)),),
            embedding=Embedding("resnet18", epochs=30, epoch_images=None, real_per_class=500),
        ),
        "quick": Plan(
            (StudyPart(("random",), (10,)), StudyPart(("dm", "datadam"), (10,), (0,), SHORT)),
            embedding=Embedding("resnet18", epochs=4, epoch_images=10_000, real_per_class=100),
        ),
    }
    title = "t-SNE of real and synthetic images by their features in a trained ResNet-18"
    return Study("fig9", title, methods, "cifar10", (50,), "", "method", plans)


def _architectures() -> Study:
    names = ("convnet", "alexnet", "vgg11")
    paper = (
        StudyPart(("datadam",), (50,), SETS, {"network": name}, (*names, "resnet18"))
        for name in names
    )
    quick = (
        StudyPart(("datadam",), (10,), (0,), {**SHORT, "network": name}, names) for name in names
    )
    plans = {"paper": Plan(tuple(paper)), "quick": Plan(tuple(quick), ensemble=1)}
    title = "Sets distilled with one network, judged by others"
    varies = "network of the distillation and of the evaluation"
    return Study("fig10", title, ("datadam",), "cifar10", (50,), "", varies, plans)


def _each(field_name: str, *values: str) -> list[Fields]:
    return [{field_name: value} for value in values]


STUDIES: Mapping[str, Study] = {
    study.name: study
    for study in (
        _table3(),
        _search("table4", "Proxies for the search over 720 ConvNets", "table4"),
        _nasbench(),
        _ablation(
            "fig1",
            "The power p of DataDAM's attention map, and beside it the balance λ",
            "power; balance",
            [*_each("power", "1", "2", "4", "8"), *_each("balance", "0.001", "0.1", "1")],
        ),
        _trace("fig2", "Accuracy over the steps of DataDAM from Gaussian noise"),
        _trace("fig3", "Images over the steps of DataDAM from Gaussian noise"),
        _augmentations(),
        _ablation(
            "fig5",
            "The error in DataDAM's attention loss",
            "loss",
            [*_each("loss", "mse", "cosine"), {"loss": "mae", "scale": AS_FAR["loss", "mae"]}],
        ),
        _ablation(
            "fig6",
            "The normalisation of DataDAM's attention maps",
            "map_norm",
            [
                *_each("map_norm", "l1", "l2"),
                {"map_norm": "none", "scale": AS_FAR["map_norm", "none"]},
            ],
        ),
        _search(
            "fig7", "Accuracy on a proxy against accuracy on the whole data, all architectures"
        ),
        _search("fig8", "Accuracy on a proxy against accuracy on the whole data, the top 20 %"),
        _embedding(),
        _architectures(),
        _ablation(
            "fig11",
            "The components of DataDAM's loss",
            "components",
            _each("components", "mmd", "attention", "feature-maps", "both"),
        ),
        _ablation(
            "fig12",
            "The layers that DataDAM matches",
            "layer; components",
            [
                {"components": "mmd"},
                {"layer": "1"},
                {"layer": "2"},
                {"components": "attention"},
                {},
            ],
        ),
        _ablation(
            "fig13",
            "The images that DataDAM starts from",
            "init",
            _each("init", "random", "k-center", "noise"),
            ipc=50,
        ),
    )
}
