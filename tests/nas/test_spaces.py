"""The two search spaces: every member, its name, and sizes counted by hand."""

from __future__ import annotations

import contextlib
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dcbench.images import ImageSpec
from dcbench.nas import convnet720, nasbench201
from dcbench.nas.catalogue import SPACES, find_space
from dcbench.networks.base import initialise
from dcbench.networks.costs import macs
from dcbench.run import Run
from dcbench.system.errors import OutOfRangeError, UnknownNameError
from dcbench.system.machine import Machine
from dcbench.training.trainer import Schedule, Trainer
from tests.reference.cells import unique_string

CIFAR = ImageSpec("cifar10", "0" * 12, 3, 32, tuple("0123456789"))
GREY = ImageSpec("mnist", "0" * 12, 1, 28, tuple("0123456789"), flips=False)
SMALL = ImageSpec("digits", "0" * 12, 1, 8, tuple("0123456789"), flips=False)

# A spread over all five axes; every value of each appears.
TRAINED = (
    "d1-w32-sigmoid-none-none",
    "d1-w256-relu-batch-max",
    "d1-w64-leaky-relu-layer-average",
    "d2-w32-relu-instance-none",
    "d2-w64-sigmoid-group-max",
    "d2-w128-leaky-relu-none-average",
    "d3-w32-leaky-relu-batch-max",
    "d3-w64-relu-layer-none",
    "d3-w128-relu-instance-average",
    "d4-w32-sigmoid-group-average",
    "d4-w64-leaky-relu-instance-max",
    "d4-w32-relu-none-none",
)


def parameters(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_the_grid_has_exactly_720_members_each_with_its_own_name() -> None:
    names = SPACES["convnet720"].identifiers()
    assert len(names) == len(set(names)) == 720
    assert names == tuple(map(str, convnet720.grid()))
    assert all(str(convnet720.parse(name)) == name for name in names)
    assert names[0] == "d1-w32-sigmoid-none-none"
    assert "d3-w128-relu-instance-average" in names


@pytest.mark.parametrize(
    ("spec", "every"),
    [(CIFAR, 7), (GREY, 11), pytest.param(CIFAR, 1, marks=pytest.mark.long)],
    ids=["32x32 colour", "28x28 grey", "32x32 colour, each"],
)
def test_all_720_take_images(spec: ImageSpec, every: int) -> None:
    space = SPACES["convnet720"]
    assert not any(space.refuses(name, spec) for name in space.identifiers())
    with torch.device("meta"):
        images = torch.zeros(2, *spec.shape)
        for name in space.identifiers()[::every]:
            assert space.build(name, spec)(images).shape == (2, 10)


@pytest.mark.parametrize("spec", [CIFAR, GREY], ids=["32x32 colour", "28x28 grey"])
def test_a_spread_of_them_takes_a_step_of_training(spec: ImageSpec, machine: Machine) -> None:
    generator = torch.Generator().manual_seed(0)
    images, labels = torch.randn(4, *spec.shape, generator=generator), torch.arange(4)
    for name in TRAINED:
        network = SPACES["convnet720"].build(name, spec)
        initialise(network, generator)
        before = [parameter.detach().clone() for parameter in network.parameters()]
        loss = Trainer(network, machine).train(
            images.__getitem__, labels, Schedule(epochs=1), Run(0, machine)
        )
        assert 0 < loss < 20
        assert any(
            not torch.equal(old, new) for old, new in zip(before, network.parameters(), strict=True)
        )


# Convolutions (9·in + 1)·w each; norm 2w (batch, instance, group) or 2·w·s·s (layer); linear (w·s·s
# + 1)·10.
HAND_COUNTED = {
    # the published 320,010
    "d3-w128-relu-instance-average": (28 * 128 + 256)
    + 2 * (1153 * 128 + 256)
    + (128 * 16 + 1) * 10,
    "d1-w32-sigmoid-none-none": 28 * 32 + (32 * 1024 + 1) * 10,
    "d2-w64-leaky-relu-layer-max": (28 * 64 + 2 * 64 * 1024)
    + (577 * 64 + 2 * 64 * 256)
    + (64 * 64 + 1) * 10,
    "d4-w256-relu-batch-max": (28 * 256 + 512) + 3 * (2305 * 256 + 512) + (256 * 4 + 1) * 10,
    "d4-w32-sigmoid-group-none": (28 * 32 + 64) + 3 * (289 * 32 + 64) + (32 * 1024 + 1) * 10,
}


@pytest.mark.parametrize("name", HAND_COUNTED)
def test_parameters_of_convnets_are_what_a_hand_counts(name: str) -> None:
    assert parameters(convnet720.parse(name).build(CIFAR)) == HAND_COUNTED[name]


def test_what_makes_a_twin_changes_no_operation_counted() -> None:
    for space in SPACES.values():
        for name in space.identifiers()[:: len(space.identifiers()) // 4]:
            with torch.device("meta"):
                network = space.build(name, SMALL) if not space.refuses(name, SMALL) else None
            assert space.macs(name, SMALL) == (
                0.0 if network is None else macs(network, SMALL.shape)
            )


def test_four_poolings_are_impossible_at_8_pixels() -> None:
    space = SPACES["convnet720"]
    impossible = {name for name in space.identifiers() if space.refuses(name, SMALL)}
    assert impossible == {
        name for name in space.identifiers() if name.startswith("d4") and not name.endswith("-none")
    }
    assert len(impossible) == 120


@pytest.mark.parametrize(
    "text",
    [
        "",
        "d5-w32-relu-none-none",
        "d3-w128-relu-instance",
        "d3-w128-relu-instance-average\n",
        "d3-w100-relu-none-max",
    ],
)
def test_a_malformed_convnet_is_named(text: str) -> None:
    with pytest.raises(OutOfRangeError, match="no such architecture of convnet720"):
        convnet720.parse(text)


def test_all_15625_cells_survive_being_written_down() -> None:
    names = SPACES["nasbench201"].identifiers()
    assert len(names) == len(set(names)) == 15_625
    assert all(str(nasbench201.parse(name)) == name for name in names)
    assert names[0] == "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"


def test_they_are_as_many_networks_as_the_benchmark_counts() -> None:
    assert len({unique_string(cell) for cell in nasbench201.cells()}) == 6_466


def test_isomorphs_are_recognised() -> None:
    def cell(*operations: str) -> nasbench201.CellDesign:
        return nasbench201.CellDesign(operations)

    # The same convolution, reached by skipping along another way.
    first = cell("nor_conv_3x3", "none", "skip_connect", "none", "none", "skip_connect")
    second = cell("skip_connect", "none", "nor_conv_3x3", "none", "none", "skip_connect")
    assert unique_string(first) != unique_string(
        cell("nor_conv_1x1", "none", "skip_connect", "none", "none", "skip_connect")
    )
    assert unique_string(first) == unique_string(second)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "malformed architecture ''"),
        ("|none~0|+|none~0|none~1|", "malformed"),
        ("|none~1|+|none~0|none~1|+|none~0|none~1|none~2|", "malformed"),
        ("|none~0|+|none~0|none~1|+|none~0|none~1|none~2|x", "malformed"),
        (
            "|nor_conv_5x5~0|+|none~0|none~1|+|none~0|none~1|none~2|",
            "unknown operation 'nor_conv_5x5'",
        ),
    ],
)
def test_a_malformed_cell_is_named(text: str, complaint: str) -> None:
    with pytest.raises(OutOfRangeError, match=complaint):
        nasbench201.parse(text)


@given(st.text(max_size=80))
def test_any_text_is_a_cell_or_refused(text: str) -> None:
    with contextlib.suppress(OutOfRangeError):
        assert str(nasbench201.parse(text)) == text


def slow_count(operations: tuple[str, ...], per_stage: int, channels: int) -> tuple[int, int]:
    """Parameters and multiply-accumulates of the published skeleton at 32×32 in 10 classes, layer
    by layer, with no network built.
    """
    kernels = [int(operation[-1]) for operation in operations if operation.startswith("nor_conv")]
    # inputs, outputs, kernel, pixels per side of the output: the stem
    layers = [(3, channels, 3, 32)]
    for width, size in ((channels, 32), (2 * channels, 16), (4 * channels, 8)):
        layers += [(width, width, kernel, size) for kernel in kernels] * per_stage
    shortcuts = []
    # between the stages: stride 2, and a shortcut after average pooling
    for width, size in ((2 * channels, 16), (4 * channels, 8)):
        layers += [(width // 2, width, 3, size), (width, width, 3, size)]
        shortcuts += [(width // 2, width, 1, size)]
    weights = sum(inputs * outputs * kernel**2 for inputs, outputs, kernel, _ in layers + shortcuts)
    multiplications = sum(
        inputs * outputs * kernel**2 * size**2
        for inputs, outputs, kernel, size in layers + shortcuts
    )
    # scale and shift; shortcuts have none, the end has one
    norms = 2 * sum(outputs for _, outputs, _, _ in layers) + 2 * 4 * channels
    return weights + norms + (4 * channels + 1) * 10, multiplications + 4 * channels * 10


COUNTED = [nasbench201.cells()[place] for place in range(0, 15_625, 1420)] + [
    nasbench201.CellDesign(("nor_conv_3x3",) * 6)
]


@pytest.mark.parametrize(
    ("per_stage", "channels", "counted"),
    [(5, 16, COUNTED), (1, 8, COUNTED[-3:])],
    ids=["published", "small"],
)
def test_parameters_and_operations_of_cells_are_what_a_hand_counts(
    per_stage: int, channels: int, counted: list[nasbench201.CellDesign]
) -> None:
    for cell in counted:
        with torch.device("meta"):
            network = nasbench201.CellNetwork(
                cell, (3, 32, 32), 10, per_stage=per_stage, channels=channels
            )
        assert (parameters(network), macs(network, (3, 32, 32))) == slow_count(
            cell.operations, per_stage, channels
        ), str(cell)
    assert len(COUNTED) >= 10


def test_the_largest_cell_has_the_published_size() -> None:
    """1.531546 M parameters and 220.11968 M multiply-accumulates, as the benchmark's own table has them (MB and FLOP)."""
    assert slow_count(("nor_conv_3x3",) * 6, 5, 16) == (1_531_546, 220_119_680)


def test_a_cell_computes_what_its_string_says(machine: Machine) -> None:
    """Node by node, with the network's own modules, written out."""
    cell = nasbench201.parse(
        "|nor_conv_3x3~0|+|avg_pool_3x3~0|skip_connect~1|+|none~0|nor_conv_1x1~1|skip_connect~2|"
    )
    network = nasbench201.CellNetwork(cell, (3, 8, 8), 10, per_stage=1, channels=4)
    network.eval()
    images = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    block = network.stages[0][0]  # type: ignore[index]
    node0 = network.stem(images)
    node1 = block.edges[0](node0)
    node2 = torch.nn.functional.avg_pool2d(node0, 3, 1, 1, count_include_pad=False) + node1
    node3 = block.edges[4](node1) + node2
    torch.testing.assert_close(block(node0), node3)
    seen = network.observe(images)
    assert [tap.shape[1:] for tap in seen.taps] == [(4, 8, 8), (8, 4, 4), (16, 2, 2)]
    assert seen.features.shape == (2, 16)
    torch.testing.assert_close(network.classifier(seen.features), seen.logits)


def test_cells_without_any_operation_still_train(machine: Machine) -> None:
    network = SPACES["nasbench201"].build(SPACES["nasbench201"].identifiers()[0], SMALL)
    images = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    assert (
        Trainer(network, machine).train(
            images.__getitem__, torch.arange(4), Schedule(epochs=1), Run(0, machine)
        )
        > 0
    )


def test_widths_of_a_stage_double() -> None:
    network = nasbench201.CellNetwork(
        nasbench201.CellDesign(("nor_conv_3x3",) * 6), (3, 32, 32), 10
    )
    widths = [stage[0].edges[0][1].out_channels for stage in network.stages]  # type: ignore[index]
    assert [len(stage) for stage in network.stages] == [5, 5, 5]  # type: ignore[arg-type]
    assert all(second == 2 * first for first, second in pairwise(widths))


def test_odd_images_are_refused() -> None:
    with pytest.raises(OutOfRangeError, match="multiple of 4 pixels, got 30"):
        nasbench201.CellNetwork(nasbench201.cells()[0], (3, 30, 30), 10)


def test_an_unknown_space_is_named() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'nasbench201'"):
        find_space("nasbench101")
