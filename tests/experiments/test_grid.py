"""The grid: its cells in order, each method's fields from preset and settings, and what is refused
by its words.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dcbench.datasets.loading import Loaded, load
from dcbench.datasets.places import Places
from dcbench.distiller import find
from dcbench.experiments.context import Workspace
from dcbench.experiments.grid import Grid, check_network, parse_settings
from dcbench.methods.datadam import DataDAM
from dcbench.methods.dm import DM
from dcbench.system.errors import DataError, OutOfRangeError, UnknownNameError
from dcbench.system.machine import Machine

METHODS = ("datadam", "dm", "random", "herding")
lists = {
    "methods": st.lists(st.sampled_from(METHODS), min_size=1, max_size=3, unique=True),
    "ipcs": st.lists(st.integers(1, 5), min_size=1, max_size=3, unique=True),
    "seeds": st.lists(st.integers(0, 9), min_size=1, max_size=3, unique=True),
}


@pytest.fixture
def workspace(tmp_path: Path, machine: Machine) -> Workspace:
    return Workspace(tmp_path / "out", machine)


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Places:
    return Places(None, tmp_path_factory.mktemp("cache"))


@given(**lists)
@settings(
    deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_every_combination_once_in_order(
    workspace: Workspace, places: Places, methods: list[str], ipcs: list[int], seeds: list[int]
) -> None:
    grid = Grid(methods, ["digits"], ipcs, seeds)
    cells = list(grid.cells(places, workspace))
    assert [(cell.distiller.name, cell.ipc, cell.seed) for cell in cells] == list(
        itertools.product(methods, ipcs, seeds)
    )
    assert len({cell.folder(workspace) for cell in cells}) == len(cells)
    assert grid.several == (len(cells) > 1)


def test_the_reference_appears_once_whatever_the_budgets(
    workspace: Workspace, places: Places
) -> None:
    cells = list(Grid(["whole", "random"], ["digits"], [1, 10], [0, 1]).cells(places, workspace))
    assert [cell.distiller.name for cell in cells] == ["whole"] * 2 + ["random"] * 4


def test_fields_come_from_the_preset_and_then_from_the_settings() -> None:
    shared = {"iterations": "7", "datadam.power": "2", "datadam.iterations": "9"}
    found = Grid(
        ["datadam", "dm"], ["digits"], [1], [0], preset="released", settings=shared
    ).distillers()
    datadam, dm = found["datadam"], found["dm"]
    assert isinstance(datadam, DataDAM)
    assert isinstance(dm, DM)
    assert (datadam.iterations, datadam.power, datadam.normalisation) == (9, 2.0, "batch")
    # which has no such preset, and so its defaults
    assert (dm.iterations, dm.normalisation) == (7, "instance")


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"methods": ["datadma"]}, UnknownNameError, "did you mean 'datadam'"),
        ({"datasets": ["cifar-10"]}, UnknownNameError, "did you mean 'cifar10'"),
        ({"preset": "released2"}, UnknownNameError, "did you mean 'released'"),
        (
            {"preset": "two-cores"},
            UnknownNameError,
            "unknown preset of datadam 'two-cores'; known: own, paper, quick, released",
        ),
        ({"zca": "yes"}, UnknownNameError, "known: auto, off, on, pixels"),
        ({"settings": {"datadam": "1"}}, UnknownNameError, "unknown field of datadam 'datadam'"),
        ({"settings": {"datadam.powr": "1"}}, UnknownNameError, "did you mean 'datadam.power'"),
        ({"settings": {"power": "0"}}, OutOfRangeError, "power must be at least 1"),
        ({"settings": {"network": "vgg"}}, UnknownNameError, "unknown network 'vgg'"),
        ({"methods": ["x.py"]}, OutOfRangeError, "x.py:Class"),
        ({"methods": ["x.py:X"]}, DataError, "no such file: x.py"),
    ],
    ids=str,
)
def test_what_is_wrong_is_found_before_anything_is_loaded(
    changes: dict[str, object], error: type[Exception], said: str
) -> None:
    plain: dict[str, object] = {
        "methods": ["datadam"],
        "datasets": ["digits"],
        "ipcs": [1],
        "seeds": [0],
    }
    with pytest.raises(error, match=said):
        Grid(**{**plain, **changes}).distillers()  # type: ignore[arg-type]


def test_a_preset_names_a_protocol_too() -> None:
    grid = Grid(["datadam", "whole"], ["digits"], [1], [0], preset="quick")
    datadam, whole = grid.distillers().values()
    assert grid.protocol_of(datadam, None).name == "quick"
    assert grid.protocol_of(whole, None).name == "whole-quick"
    assert grid.protocol_of(whole, "lineage").name == "lineage"
    with pytest.raises(UnknownNameError, match="unknown protocol 'papre'; did you mean 'paper'"):
        grid.protocol_of(datadam, "papre")


@pytest.mark.parametrize("preset", ["paper", "lineage", "released"])
def test_the_whole_data_are_never_passed_as_often_as_a_few_images(preset: str) -> None:
    (whole,) = (grid := Grid(["whole"], ["digits"], [1], [0], preset=preset)).distillers().values()
    assert grid.protocol_of(whole, None).name == "whole"


def test_a_preset_names_one_protocol_for_all_methods() -> None:
    """Whichever of them has fields for it, and whether the one that says which protocol is meant is
    in the grid or not.
    """
    for methods in (["random", "cgan", "whole"], ["random", "whole"]):
        grid = Grid(methods, ["digits"], [1], [0], preset="two-cores")
        judged = {
            name: grid.protocol_of(distiller, None).name
            for name, distiller in grid.distillers().items()
        }
        assert judged == {name: "whole-quick" if name == "whole" else "quick" for name in methods}
        assert grid.distillers()["random"] == find("random")()
    assert (
        Grid(["random"], ["digits"], [1], [0], preset="released")
        .protocol_of(find("random")(), None)
        .name
        == "released"
    )


def test_methods_that_disagree_on_a_preset_s_protocol_are_told_apart_by_the_user(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(find("gmmn"), "protocols", {"two-cores": "lineage"})
    grid = Grid(["cgan", "gmmn"], ["digits"], [1], [0], preset="two-cores")
    with pytest.raises(
        OutOfRangeError,
        match=r"several protocols here .quick for cgan, lineage for gmmn.; choose one with --protocol",
    ):
        grid.protocol_of(find("cgan")(), None)
    assert grid.protocol_of(find("cgan")(), "paper").name == "paper"


def test_whitening_is_the_papers_own_for_cifar_alone(workspace: Workspace, places: Places) -> None:
    def space(**changes: str) -> str:
        return (
            Grid(["random"], ["digits"], [1], [0], **changes)  # type: ignore[arg-type]
            .load("digits", places, workspace)
            .train.space.name
        )

    assert space() == "normalised"
    assert space(zca="on") == "zca"
    assert space(zca="pixels") == "zca-pixels"
    assert space(zca="off") == "normalised"


@pytest.mark.parametrize(
    ("preset", "zca", "space"),
    [
        ("paper", "auto", (True, False)),
        ("quick", "auto", (False, False)),
        ("quick", "pixels", (True, True)),
        ("paper", "off", (False, False)),
    ],
)
def test_what_is_whitened(
    preset: str,
    zca: str,
    space: tuple[bool, bool],
    workspace: Workspace,
    places: Places,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[dict[str, Any]] = []

    def digits(_dataset: str, where: Places, **how: Any) -> Loaded:
        asked.append(how)
        return load("digits", where)

    monkeypatch.setattr("dcbench.experiments.grid.load", digits)
    Grid(["random"], ["cifar10"], [1], [0], preset, zca=zca).load("cifar10", places, workspace)
    assert (asked[0]["zca"], asked[0]["of_pixels"]) == space


@given(
    st.dictionaries(
        st.from_regex(r"[a-z][a-z_.]*", fullmatch=True),
        st.from_regex(r"[!-~]+", fullmatch=True),
        max_size=4,
    )
)
def test_settings_are_read_as_they_are_written(given_: dict[str, str]) -> None:
    assert parse_settings([f"{name}={value}" for name, value in given_.items()]) == given_


@pytest.mark.parametrize("text", ["", "=", "=1", "power"])
def test_settings_need_a_field_and_a_sign(text: str) -> None:
    with pytest.raises(OutOfRangeError, match="needs field=value"):
        parse_settings([text])


def test_networks_by_name() -> None:
    check_network(None)
    check_network("convnet")
    with pytest.raises(UnknownNameError, match="did you mean 'convnet'"):
        check_network("convnets")
