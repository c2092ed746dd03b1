"""Every declared study can be carried out: its methods, fields, networks and spaces exist, and its
plans are what the paper varies.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dcbench.datasets.catalogue import DATASETS
from dcbench.datasets.loading import declared, load
from dcbench.datasets.places import Places
from dcbench.distiller import find, hyper_parameters, recorded_fields, registered
from dcbench.evaluation.protocol import PROTOCOLS
from dcbench.experiments.context import Workspace
from dcbench.experiments.grid import Grid
from dcbench.experiments.presets import build
from dcbench.networks.catalogue import NETWORKS
from dcbench.reproduction.reproduce import Reproduction
from dcbench.studies.declarations import STUDIES, Plan, Study, comparable, find_study
from dcbench.studies.declared_methods import declared_methods
from dcbench.system.errors import OutOfRangeError, UnknownNameError
from dcbench.system.machine import Machine
from dcbench.system.wording import in_words
from dcbench.training.augment import AUGMENTATIONS

ROOT = Path(__file__).parents[2]
NAMES = ["table3", "table4", "table5", *(f"fig{number}" for number in range(1, 14))]
PRESETS = ("paper", "quick")
PLANS = [(name, preset) for name in NAMES for preset in PRESETS]


def test_each_table_and_figure_is_declared() -> None:
    assert sorted(STUDIES) == sorted(NAMES)
    assert all(set(study.plans) == set(PRESETS) for study in STUDIES.values())
    assert all(
        name == study.name and study.title and study.varies for name, study in STUDIES.items()
    )


@pytest.fixture(scope="module")
def costs(tmp_path_factory: pytest.TempPathFactory, machine: Machine) -> dict[str, list[str]]:
    """About how long each plan takes from nothing on two threads in fp32. It depends on how many
    images there are, not on their space.
    """
    found: list[tuple[Plan, str]] = []  # of equal plans, one
    two, kept = (
        Workspace(Path(), Machine(machine.device, 2, "fp32")),
        tmp_path_factory.mktemp("digits"),
    )
    for study in STUDIES.values():
        for preset in PRESETS:
            plan = study.plan(preset)
            if all(plan != other for other, _ in found):
                reproduction = Reproduction(study, preset, Places(None, Path()), two)
                holdout = plan.search.validation if plan.search else 0
                counted = declared(plan.dataset, holdout=holdout) or load(
                    plan.dataset, Places(None, kept), holdout=holdout
                )
                vars(reproduction)["_whitened"] = lambda _zca, counted=counted: counted
                found.append(
                    (plan, in_words(sum(piece.seconds for piece in reproduction.estimate())))
                )
    told = {name: [study.plan(preset) for preset in PRESETS] for name, study in STUDIES.items()}
    return {
        name: [next(words for other, words in found if other == plan) for plan in plans]
        for name, plans in told.items()
    }


def test_the_page_tells_what_each_study_varies() -> None:
    rows = [row for row in table_of_the_page() if row[0] in STUDIES]
    budgets = {name: ["", ""] for name in STUDIES}
    for name, study in STUDIES.items():
        for place, preset in enumerate(PRESETS):
            plan = study.plan(preset)
            ipcs = ", ".join(
                str(ipc) for ipc in sorted({ipc for part in plan.parts for ipc in part.ipcs})
            )
            budgets[name][place] = f"IPC {ipcs}" + (
                " on digits" if plan.dataset == "digits" else ""
            )
    assert [row[:5] for row in rows] == [
        [name, study.title, study.varies, *budgets[name]] for name, study in STUDIES.items()
    ]


@pytest.mark.slow
def test_the_page_tells_what_each_study_costs(costs: dict[str, list[str]]) -> None:
    assert {row[0]: row[5:] for row in table_of_the_page() if row[0] in STUDIES} == costs


def table_of_the_page() -> list[list[str]]:
    lines = (
        (ROOT / "docs" / "guides" / "reproduce-studies.md").read_text(encoding="utf-8").splitlines()
    )
    return [
        [cell.strip() for cell in line.strip("|").split(" | ")]
        for line in lines
        if line.startswith("|")
    ]


def test_an_unknown_study_is_refused_with_a_suggestion() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'table3'"):
        find_study("tabel3")
    with pytest.raises(UnknownNameError, match=r"preset of fig1 'quik'.*did you mean 'quick'"):
        find_study("fig1").plan("quik")


@pytest.mark.parametrize(("name", "preset"), PLANS)
def test_its_sets_can_be_made_and_judged(name: str, preset: str) -> None:
    plan = STUDIES[name].plan(preset)
    assert plan.dataset in DATASETS
    assert preset in PROTOCOLS
    for part in plan.parts:
        distillers = Grid(
            part.methods, (plan.dataset,), part.ipcs, part.seeds, preset, part.fields
        ).distillers()
        assert set(distillers) == set(part.methods)
        assert set(part.networks) <= set(NETWORKS)
        assert set(part.augments) <= set(AUGMENTATIONS)
        assert part.seeds
        assert part.ipcs
        if plan.trace:
            (distiller,) = distillers.values()
            assert plan.trace[0] == 0
            assert plan.trace[-1] == distiller.iterations  # type: ignore[attr-defined]


@pytest.mark.parametrize(("name", "preset"), PLANS)
def test_its_words_are_right(name: str, preset: str, machine: Machine, tmp_path: Path) -> None:
    truth = tmp_path / "truth.csv" if STUDIES[name].plan(preset).search else None
    Reproduction(
        STUDIES[name], preset, Places(None, tmp_path), Workspace(tmp_path, machine), truth
    ).check()


def test_a_table_of_truths_is_asked_where_none_is_trained_and_refused_where_there_is_no_search(
    machine: Machine, tmp_path: Path
) -> None:
    where = (Places(None, tmp_path), Workspace(tmp_path, machine))
    with pytest.raises(OutOfRangeError, match="give --truth FILE"):
        Reproduction(STUDIES["table5"], "quick", *where).check()
    with pytest.raises(OutOfRangeError, match="fig1 does not"):
        Reproduction(STUDIES["fig1"], "quick", *where, truth=tmp_path / "truth.csv").check()


def values(study: Study, preset: str, field: str) -> set[object]:
    """What a field of DataDAM is in the sets of a plan."""
    found = set()
    for part in study.plan(preset).parts:
        (method,) = part.methods
        found.add(getattr(build(method, preset, part.fields), field))
    return found


@pytest.mark.parametrize("preset", PRESETS)
def test_the_ablations_vary_what_the_paper_varies(preset: str) -> None:
    varied: dict[str, dict[str, set[object]]] = {
        "fig1": {"power": {1.0, 2.0, 4.0, 8.0}, "balance": {0.001, 0.01, 0.1, 1.0}},
        "fig5": {"loss": {"mse", "mae", "cosine"}, "scale": {100.0, 5.0}},
        "fig6": {"map_norm": {"l1", "l2", "none"}, "scale": {100.0, 3.5e-7}},
        "fig10": {"network": {"convnet", "alexnet", "vgg11"}},
        "fig11": {"components": {"mmd", "attention", "feature-maps", "both"}},
        "fig12": {"layer": {None, 1, 2}, "components": {"both", "mmd", "attention"}},
        "fig13": {"init": {"random", "k-center", "noise"}},
    }
    for name, fields in varied.items():
        own = {
            field: values(STUDIES[name], preset, field)
            for field in hyper_parameters(find("datadam"))
        }
        assert {field: found for field, found in own.items() if len(found) > 1} == fields


@pytest.mark.parametrize("name", ["fig1", "fig5", "fig6", "fig11", "fig13"])
def test_an_ablation_s_sets_differ_in_one_field_when_they_are_compared(name: str) -> None:
    """But for a factor that goes as far as the default's. A record is silent on what came later and
    is at its default.
    """
    for field in STUDIES[name].varies.split("; "):
        parts = [part for part in STUDIES[name].plan("quick").parts if field in part.fields]
        recorded = [recorded_fields(build("datadam", "quick", part.fields)) for part in parts]
        compared = [comparable("datadam", fields, field) for fields in recorded]
        assert len({str(fields.get(field)) for fields in compared}) == len(parts)
        rests = [
            {key: value for key, value in fields.items() if key != field} for fields in compared
        ]
        assert all(rest == rests[0] for rest in rests)


@pytest.mark.parametrize(
    ("method", "fields", "varied", "scale"),
    [
        ("datadam", {"loss": "mae", "scale": 5.0}, "loss", 100.0),
        ("datadam", {"loss": "mae", "scale": 5.0}, "power", 5.0),
        ("datadam", {"loss": "mae", "scale": 50.0}, "loss", 50.0),
        ("datadam", {"scale": 5.0}, "loss", 5.0),
        ("datadam", {"loss": ["mae"], "scale": 5.0}, "loss", 5.0),
        ("dm", {"loss": "mae", "scale": 5.0}, "loss", 5.0),
    ],
)
def test_a_factor_counts_as_the_default_s_only_where_it_was_chosen_to(
    method: str, fields: dict[str, Any], varied: str, scale: float
) -> None:
    assert comparable(method, fields, varied)["scale"] == scale


def test_published_plans_have_the_published_budgets() -> None:
    budgets = {
        name: {ipc for part in STUDIES[name].plan("paper").parts for ipc in part.ipcs}
        for name in NAMES
    }
    at_ten = {"fig1", "fig4", "fig5", "fig6", "fig11", "fig12"}
    assert budgets == {
        name: {1, 10, 50} if name == "table3" else {10} if name in at_ten else {50}
        for name in NAMES
    }
    assert {name: set(STUDIES[name].ipcs) for name in NAMES} == budgets
    searches = {name: plan.search for name in NAMES if (plan := STUDIES[name].plan("paper")).search}
    assert set(searches) == {"table4", "table5", "fig7", "fig8"}
    assert all(search and search.validation == 10_000 for search in searches.values())


def test_plans_are_what_the_page_says_of_the_presets() -> None:
    def methods(name: str, preset: str) -> list[str]:
        return [method for part in STUDIES[name].plan(preset).parts for method in part.methods]

    in_threes = {
        name
        for name in NAMES
        if any(part.seeds == (0, 1, 2) for part in STUDIES[name].plan("paper").parts)
    }
    assert in_threes == {
        "table3",
        "fig1",
        "fig4",
        "fig5",
        "fig6",
        "fig10",
        "fig11",
        "fig12",
        "fig13",
    }
    quick = [
        part
        for name in NAMES
        for part in STUDIES[name].plan("quick").parts
        if part.methods != ("random",)
    ]
    assert [part.methods for part in quick if dict(part.fields).get("iterations") != "100"] == [
        ("random", "mmd", "dm", "datadam")
    ]
    assert len(methods("table3", "paper")) == 10
    assert {
        name: (methods(name, "quick"), len(methods(name, "paper")))
        for name in ("table4", "fig7", "fig8", "table5", "fig9")
    } == {
        **dict.fromkeys(("table4", "fig7", "fig8"), (["dm", "datadam"], 4)),
        **{"table5": (["datadam"], 6), "fig9": (["random", "dm", "datadam"], 5)},
    }
    searches = [
        STUDIES[name].plan(preset).search for name in ("table4", "table5") for preset in PRESETS
    ]
    assert [search and search.sample for search in searches] == [None, 20, 100, 10]


def test_a_quick_plan_has_one_set_of_each_and_few_networks() -> None:
    plans: list[Plan] = [study.plan("quick") for study in STUDIES.values()]
    assert all(part.seeds == (0,) for plan in plans for part in plan.parts)
    assert all(plan.search or plan.embedding or (plan.ensemble or 0) in (1, 2, 3) for plan in plans)


def test_titles_read_from_the_files_are_those_of_the_methods() -> None:
    own = {
        name: method.title
        for name, method in registered().items()
        if method.__module__.startswith("dcbench.")
    }
    assert own == {name: method.title for name, method in declared_methods().items()}
