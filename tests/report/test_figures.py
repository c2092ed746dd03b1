"""Figures from fixed records: the plotted data, that nothing else is drawn, and which records may
meet in one figure.
"""

from __future__ import annotations

import csv
import dataclasses
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from PIL import Image

from dcbench.records import (
    EmbeddingRecord,
    RecordsFound,
    StoredEmbedding,
    StoredRecord,
    StoredTrace,
    TraceRecord,
    find_records,
    write_record,
)
from dcbench.report import build_tables
from dcbench.report.figures import Drawing, draw_figures, write_figures
from dcbench.report.figures.ablations import ablation_drawings, ablations
from dcbench.report.figures.embeddings import embedding_drawings
from dcbench.report.figures.evaluation_conditions import condition_drawings
from dcbench.report.figures.pictures import Picture, first_of_each_class, pictures_drawing
from dcbench.report.figures.plotting import draw_series, look
from dcbench.report.figures.storage import storage_drawings, stored_bytes
from dcbench.report.figures.traces import trace_drawings
from dcbench.report.selection import method_variants, row_names
from tests.fixed_records import EXAMPLE, FOREIGN, SETS, fixed, record, sets

POWER_1 = {**EXAMPLE["fields"], "power": 1.0}


def variant(accuracies: Sequence[Sequence[float]], **fields: Any) -> list[StoredRecord]:
    """Sets of DataDAM with some of its fields changed."""
    return sets(
        "datadam", accuracies, fields={**EXAMPLE["fields"], **fields}, artifact_hash=str(fields)
    )


def trace(method: str, seed: int = 0, **changes: Any) -> StoredTrace:
    names = [field.name for field in dataclasses.fields(TraceRecord)]
    points = [
        {
            "step": step,
            "image": f"step-{step}.png",
            "networks": [
                {
                    "network": 0,
                    "accuracy": 0.2 + step / 1000 + seed / 100,
                    "loss": 0.5,
                    "seconds": 1.0,
                }
            ],
        }
        for step in (0, 100, 250)
    ]
    own = {
        "method": method,
        "seed": seed,
        "points": points,
        "seconds": 1.0,
        "artifact_hash": f"{method} hash",
    }
    value = {name: {**EXAMPLE, **own, **changes}[name] for name in names}
    return StoredTrace(
        Path(f"trace-{method}-{seed}/record.json"),
        TraceRecord.from_json({"kind": "trace", "format_version": 1, **value}),
    )


def embedding(method: str, **changes: Any) -> StoredEmbedding:
    names = [field.name for field in dataclasses.fields(EmbeddingRecord)]
    points = [
        {"x": float(place), "y": -float(place), "label": place % 2, "synthetic": place > 3}
        for place in range(6)
    ]
    own: dict[str, Any] = {
        **{
            "method": method,
            "class_names": ["cat", "dog"],
            "network": "resnet18",
            "network_seed": 0,
            "network_accuracy": 0.91,
        },
        **{
            "embedding_seed": 0,
            "settings": {"perplexity": 30.0},
            "kl_divergence": 1.25,
            "points": points,
            "seconds": 1.0,
        },
    }
    value = {name: {**EXAMPLE, **own, **changes}[name] for name in names}
    return StoredEmbedding(
        Path("record.json"),
        EmbeddingRecord.from_json({"kind": "embedding", "format_version": 1, **value}),
    )


def plotted(drawing: Drawing) -> set[tuple[float, float]]:
    """Every point of every series, as it stands on the axes."""
    found: set[tuple[float, float]] = set()
    for panel in drawing.figure().axes:
        for container in panel.containers:
            assert isinstance(container, ErrorbarContainer)
            line = container.lines[0]
            assert line is not None
            found |= {
                (round(x, 6), round(y, 6)) for x, y in np.asarray(line.get_xydata(), float).tolist()
            }
    return found


def in_data(drawing: Drawing) -> set[tuple[float, float]]:
    return {
        (round(float(x), 6), round(100 * float(mean), 6))
        for x, mean in zip(drawing.data["x"], drawing.data["mean"], strict=True)
    }


def test_a_field_that_was_varied_alone_is_found_and_drawn() -> None:
    (drawing,) = ablation_drawings(
        [
            *variant(SETS["datadam"]),
            *variant(SETS["dm"], power=1.0),
            *sets("random", SETS["random"]),
        ]
    )
    assert drawing.name.startswith("ablation-cifar10-datadam-power-quick-")
    rows = drawing.data.to_dict("records")
    assert [
        (row["value"], row["ipc"], row["interval_over"], row["sets"], row["networks"])
        for row in rows
    ] == [
        ("1.0", 10, "sets", 3, 6),
        ("4.0", 10, "sets", 3, 6),
    ]
    assert [row["mean"] for row in rows] == pytest.approx([0.4476667, 0.452], abs=1e-6)
    assert rows[1]["ci95_low"] == pytest.approx(0.44542, abs=1e-4)
    assert plotted(drawing) == in_data(drawing) == {(1.0, 44.766667), (4.0, 45.2)}


def test_fields_varied_together_are_no_ablation() -> None:
    assert (
        ablations([*variant(SETS["datadam"]), *variant(SETS["dm"], power=1.0, balance=0.1)]) == []
    )
    assert (
        ablations(
            [
                *variant(SETS["datadam"]),
                *sets(
                    "datadam", SETS["dm"], space="zca", fields={**EXAMPLE["fields"], "power": 1.0}
                ),
            ]
        )
        == []
    )


def test_a_cross_of_two_fields_gives_two_ablations_at_the_point_where_they_meet() -> None:
    records = [
        *variant(SETS["datadam"]),
        *variant(SETS["dm"], power=1.0),
        *variant(SETS["random"], balance=0.1),
    ]
    assert [(each.field, len(each.groups)) for each in ablations(records)] == [
        ("balance", 1),
        ("power", 1),
    ]


def test_words_stand_in_places_of_their_own_and_budgets_in_panels() -> None:
    records = [
        stored
        for ipc in (1, 10)
        for loss in ("mse", "cosine", "mae")
        for stored in variant(SETS["dm"], loss=loss)
    ]
    records = [
        dataclasses.replace(each, record=dataclasses.replace(each.record, ipc=1 + 9 * (place >= 9)))
        for place, each in enumerate(records)
    ]
    (drawing,) = ablation_drawings(records)
    figure = drawing.figure()
    assert [panel.get_title() for panel in figure.axes] == ["IPC 1", "IPC 10"]
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == [
        "cosine",
        "mae",
        "mse",
    ]
    assert plotted(drawing) == {(float(place), 44.766667) for place in range(3)}


def test_a_field_that_came_later_is_at_its_default_where_the_record_is_silent() -> None:
    records = [
        *variant(SETS["datadam"]),
        *variant(SETS["dm"], loss="mae"),
        *variant(SETS["dm"], loss="cosine"),
    ]
    (drawing,) = ablation_drawings(records)
    assert drawing.name.startswith("ablation-cifar10-datadam-loss-")
    assert [(row["value"], row["x"]) for row in drawing.data.to_dict("records")] == [
        ("cosine", 0.0),
        ("mae", 1.0),
        ("mse", 2.0),
    ]
    normed = [*variant(SETS["datadam"]), *variant(SETS["dm"], map_norm="none")]
    assert [row[0].text for row in build_tables(normed)[0].rows] == [
        "DataDAM",
        "DataDAM (map norm none)",
    ]


def test_a_loss_with_a_factor_of_its_own_stands_beside_the_others_and_the_axis_says_so() -> None:
    default, as_far = (
        variant(SETS["datadam"], scale=100.0),
        variant(SETS["dm"], loss="mae", scale=5.0),
    )
    (drawing,) = ablation_drawings([*default, *as_far])
    assert drawing.name.startswith("ablation-cifar10-datadam-loss-")
    assert [row["value"] for row in drawing.data.to_dict("records")] == ["mae (scale 5)", "mse"]
    assert "Where a scale is said" in drawing.caption
    assert not ablation_drawings([*default, *variant(SETS["dm"], loss="mae", scale=7.0)])


def test_a_loss_with_its_own_factor_and_with_the_default_s_are_two_points() -> None:
    as_far, literal = (
        variant([(0.42,)] * 3, loss="mae", scale=5.0),
        variant([(0.12,)] * 3, loss="mae", scale=100.0),
    )
    loss, scale = ablation_drawings([*variant(SETS["datadam"], scale=100.0), *as_far, *literal])
    assert [(row["value"], row["sets"]) for row in loss.data.to_dict("records")] == [
        ("mae", 3),
        ("mae (scale 5)", 3),
        ("mse", 3),
    ]
    assert list(loss.data["mean"]) == pytest.approx([0.12, 0.42, 0.452])
    assert [row["value"] for row in scale.data.to_dict("records")] == ["5.0", "100.0"]
    assert [each.field for each in ablations([*as_far, *literal])] == ["scale"]


def test_artifacts_that_no_known_setting_tells_apart_are_points_of_their_own() -> None:
    twins = [
        *sets("datadam", [(0.4,)], fields=POWER_1, artifact_hash="a"),
        *sets("datadam", [(0.2,)], fields=POWER_1, artifact_hash="b"),
    ]
    (drawing,) = ablation_drawings([*variant(SETS["datadam"]), *twins])
    found = {
        row["value"]: (row["sets"], round(row["mean"], 3))
        for row in drawing.data.to_dict("records")
    }
    assert found == {"4.0": (3, 0.452), "1.0 (artifact a)": (1, 0.4), "1.0 (artifact b)": (1, 0.2)}


def test_fields_of_any_value_are_drawn() -> None:
    (drawing,) = ablation_drawings(
        [*variant(SETS["dm"], loss=["a"]), *variant(SETS["dm"], loss={"b": [1]})]
    )
    assert list(drawing.data["value"]) == ['["a"]', '{"b":[1]}']


def test_one_set_has_the_interval_of_its_networks_and_says_so() -> None:
    (drawing,) = ablation_drawings([*variant([(0.4, 0.42)]), *variant([(0.3,)], power=1.0)])
    rows = drawing.data.to_dict("records")
    assert [row["interval_over"] for row in rows] == ["networks", "networks"]
    assert np.isnan(rows[0]["ci95_low"])
    assert rows[1]["ci95_low"] < 0.41 < rows[1]["ci95_high"]
    assert "interval_over" in drawing.caption


def test_protocols_never_meet_in_an_ablation() -> None:
    other = {**EXAMPLE["protocol"], "name": "paper"}
    assert (
        ablations(
            [
                *variant(SETS["datadam"]),
                *sets(
                    "datadam",
                    SETS["dm"],
                    fields={**EXAMPLE["fields"], "power": 1.0},
                    protocol=other,
                ),
            ]
        )
        == []
    )


def test_accuracy_against_stored_bytes() -> None:
    (drawing,) = storage_drawings([*fixed(), *sets("dm", SETS["random"], ipc=1, budget_images=10)])
    found = {(row["series"], row["ipc"]): row["x"] for row in drawing.data.to_dict("records")}
    assert found == {
        ("DM", 1): 10 * (4 * 3072 + 8),
        ("DM", 10): 100 * (4 * 3072 + 8),
        ("DataDAM", 10): 100 * (4 * 3072 + 8),
        ("Random", 10): 100 * (4 * 3072 + 8),
    }
    assert plotted(drawing) == in_data(drawing)
    assert stored_bytes(record("whole", [0.9], ipc=None, budget_images=50_000).record) == 50_000 * (
        3072 + 8
    )
    assert storage_drawings(sets("dm", SETS["dm"], dataset="of a stranger")) == []


def test_methods_of_one_budget_each_have_no_curve() -> None:
    assert (
        storage_drawings(
            [*sets("dm", SETS["dm"]), *sets("random", SETS["random"], ipc=1, budget_images=10)]
        )
        == []
    )


@pytest.mark.parametrize(
    "name", ["dm", "a-method-with-a-very-long-name-and-some-fields-that-tell-it-from-others"]
)
def test_a_legend_stays_within_its_figure(name: str) -> None:
    data = pd.DataFrame(
        {"series": f"{name} {number}", "x": number, "mean": 0.5, "ci95_low": 0.4, "ci95_high": 0.6}
        for number in range(5)
    )

    def draw() -> Figure:
        figure, _ = draw_series(data, 2.6, joined=False)
        figure.draw_without_rendering()
        return figure

    figure = Drawing("name", "caption", data, draw).figure()
    (legend,) = figure.legends
    box, whole = legend.get_window_extent(), figure.bbox
    assert whole.x0 <= box.x0 < box.x1 <= whole.x1
    # rows
    assert len({text.get_window_extent().y0 for text in legend.get_texts()}) == (
        2 if name == "dm" else 5
    )


def test_a_set_is_drawn_at_the_bytes_of_its_own_images() -> None:
    larger = record("idc", [0.5], budget_images=400, **FOREIGN)
    (drawing,) = storage_drawings(
        [*sets("dm", SETS["dm"]), larger, *sets("dm", SETS["random"], ipc=1, budget_images=10)]
    )
    found = {(row["series"], row["ipc"]): row["x"] for row in drawing.data.to_dict("records")}
    assert found["IDC (foreign)", 10] == 4 * found["DM", 10] == 400 * (4 * 3072 + 8)


def test_the_same_sets_under_other_augmentations_and_networks() -> None:
    base = [*sets("dm", SETS["dm"]), *sets("datadam", SETS["datadam"])]
    none = {"augment": "none", "protocol": {**EXAMPLE["protocol"], "augment": "none"}}
    vgg = {
        "network": "vgg11",
        "protocol": {**EXAMPLE["protocol"], "network": "vgg11", "normalisation": "batch"},
    }
    records = [
        *base,
        *sets("dm", SETS["random"], **none),
        *sets("dm", SETS["random"], **vgg),
        *sets("datadam", SETS["random"], **vgg),
    ]
    augmentations, networks = condition_drawings(records)
    assert augmentations.name.startswith("augmentations-cifar10-ipc10-quick-")
    assert [(row["series"], row["condition"]) for row in augmentations.data.to_dict("records")] == [
        ("DM", "dsa"),
        ("DM", "none"),
    ]
    assert networks.name.startswith("networks-cifar10-ipc10-quick-")
    assert len(networks.data) == 6
    (matrix,) = networks.figure().axes
    shown = [text.get_text() for text in matrix.texts]
    assert sorted(shown) == sorted(f"{100 * mean:.1f}" for mean in networks.data["mean"])
    assert [label.get_text() for label in matrix.get_xticklabels()] == [
        "ConvNet",
        "VGG-11",
        "mean over\nunseen",
    ]
    assert "ranked within one network only" in networks.caption
    assert condition_drawings(base) == []
    other = {**none, "protocol": {**EXAMPLE["protocol"], "augment": "none", "epochs": 7}}
    assert condition_drawings([*base, *sets("dm", SETS["random"], **other)]) == []


def by(network: str) -> dict[str, Any]:
    return {"network": network, "protocol": {**EXAMPLE["protocol"], "network": network}}


def test_the_mean_over_networks_that_a_set_was_not_distilled_with() -> None:
    """Record by record; a set that one of them did not judge does not count."""
    draw = np.random.default_rng(0)
    made: dict[str, tuple[str, dict[str, Any]]] = {
        "DM": ("dm", {"fields": {"network": "convnet"}}),
        "DM (made with VGG-11)": ("dm", {"fields": {"network": "vgg11"}, "artifact_hash": "vgg"}),
        "RDED": ("rded", {"fields": {"teacher": "convnet"}}),
        "Random": ("random", {"fields": {}}),
        "MTT (foreign)": ("mtt", {**FOREIGN, "artifact_sha256": "0" * 64}),
    }
    saw = {"DM": "convnet", "DM (made with VGG-11)": "vgg11", "RDED": "convnet"}
    stored = {
        label: [
            record(
                method, draw.random(2 + seed).tolist(), **{"seed": seed, **by(network), **fields}
            )
            for network in ("convnet", "vgg11", "alexnet", "timm:resnet10t")
            for seed in range(1 if "foreign" in label else 3)
            if (label, network, seed) != ("DM", "alexnet", 2)
        ]
        for label, (method, fields) in made.items()
    }
    (drawing,) = condition_drawings([each for own in stored.values() for each in own])
    rows = drawing.data[drawing.data["condition"] == "mean over unseen"].set_index("series")
    assert sorted(rows.index) == ["DM", "DM (made with VGG-11)", "RDED", "Random"]
    for label, row in rows.iterrows():
        hidden = [saw[str(label)]] if label in saw else ["convnet", "vgg11"]
        means = []
        for seed in range(3):
            own = [
                sum(each.record.accuracies) / len(each.record.accuracies)
                for each in stored[str(label)]
                if each.record.seed == seed and each.record.network not in hidden
            ]
            if len(own) == 4 - len(hidden):
                means.append(sum(own) / len(own))
        assert row["mean"] == pytest.approx(sum(means) / len(means)), label
        assert row["sets"] == len(means) == (2 if label == "DM" else 3)
    texts = [text.get_text() for text in drawing.figure().axes[0].texts]
    assert texts.count("–") == 1  # of the foreign set
    assert "a set was not distilled with" in drawing.caption


def test_a_single_set_has_no_interval_over_unseen_networks() -> None:
    records = [
        record("random", [0.2, 0.4], fields={}, **by(network)) for network in ("convnet", "vgg11")
    ]
    (drawing,) = condition_drawings(records)
    (row,) = drawing.data[drawing.data["condition"] == "mean over unseen"].to_dict("records")
    assert row["mean"] == pytest.approx(0.3)
    assert np.isnan(float(row["ci95_low"] or "nan"))


def test_sets_made_in_other_ways_are_series_of_their_own() -> None:
    none: dict[str, Any] = {
        "augment": "none",
        "protocol": {**EXAMPLE["protocol"], "augment": "none"},
    }
    zca: dict[str, Any] = {"space": "zca", "artifact_hash": "whitened"}
    records = [
        stored
        for seen in (dict[str, Any](), none)
        for stored in (
            *sets("dm", [(0.42,)] * 3, **seen),
            *sets("dm", [(0.12,)] * 3, **seen, **zca),
            record("dm", [0.3], **seen, **FOREIGN),
        )
    ]
    (drawing,) = condition_drawings(records)
    found = {
        (row["series"], row["condition"]): round(row["mean"], 6)
        for row in drawing.data.to_dict("records")
    }
    expected = {"DM": 0.42, "DM (ZCA)": 0.12, "DM (foreign)": 0.3}
    assert found == {
        (series, condition): mean
        for series, mean in expected.items()
        for condition in ("dsa", "none")
    }
    (over_steps,) = trace_drawings([trace("dm"), trace("dm", 0, **zca)], Path())
    assert set(over_steps.data["series"]) == {"DM", "DM (ZCA)"}


def test_long_names_that_begin_alike_are_series_of_their_own() -> None:
    traces = [
        trace("dm", 0, fields={"note": "x" * 200 + ending}, artifact_hash=ending) for ending in "ab"
    ]
    (drawing,) = trace_drawings(traces, Path())
    assert drawing.data["series"].nunique() == 2
    assert set(drawing.data["sets"]) == {1}


def test_many_records_of_one_method_are_named_in_linear_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[object] = []

    def counted(value: object) -> str:
        asked.append(value)
        return str(value)

    monkeypatch.setattr(method_variants, "canonical", counted)
    row_names.labels(
        [record("mine", [0.4], fields={"a": 1, "b": float(number)}).record for number in range(50)]
    )
    assert len(asked) <= 3 * 50


def test_a_trace_is_drawn_over_its_steps_with_seeds_as_sets(tmp_path: Path) -> None:
    (drawing,) = trace_drawings([trace("dm"), trace("dm", 1), trace("random")], tmp_path)
    rows = drawing.data.to_dict("records")
    assert [(row["series"], row["x"], row["sets"]) for row in rows] == [
        *(("DM", step, 2) for step in (0, 100, 250)),
        *(("Random", step, 1) for step in (0, 100, 250)),
    ]
    assert [row["mean"] for row in rows[:3]] == pytest.approx([0.205, 0.305, 0.455])
    assert plotted(drawing) == in_data(drawing)
    stored = trace("dm")
    (middle,) = stored.record.points[1:2]
    again = dataclasses.replace(
        middle, networks=(*middle.networks, dataclasses.replace(middle.networks[0], network=1))
    )
    short = StoredTrace(stored.path, dataclasses.replace(stored.record, points=(again,)))
    (twice,) = trace_drawings([stored, short, trace("random")], tmp_path)
    # judged twice, counted once
    assert [row["networks"] for row in twice.data.to_dict("records") if row["series"] == "DM"] == [
        1,
        2,
        1,
    ]
    apart = trace_drawings(
        [trace("dm"), trace("dm", protocol={**EXAMPLE["protocol"], "name": "paper"})], tmp_path
    )
    assert len(apart) == 2


def test_images_over_steps_are_those_whose_files_can_be_read(tmp_path: Path) -> None:
    stored = trace("dm")
    write_record(tmp_path / "trace" / "record.json", stored.record)
    Image.new("RGB", (8, 8), "red").save(tmp_path / "trace" / "step-0.png")
    Image.new("RGB", (8, 8), "blue").save(tmp_path / "trace" / "step-250.png")
    (tmp_path / "trace" / "step-100.png").write_bytes(b"cut short")
    found = find_records(tmp_path)
    images = draw_figures(found, tmp_path)[-1]
    assert list(images.data["title"]) == ["step 0", "step 250"]
    assert list(images.data["file"]) == ["trace/step-0.png", "trace/step-250.png"]
    (panel,) = images.figure().axes
    sheet = np.asarray(panel.images[0].get_array())
    assert [sheet[1, 1].tolist(), sheet[-4, 1].tolist()] == [[255, 0, 0], [0, 0, 255]]


def test_an_embedding_shows_every_image_of_each_set() -> None:
    (drawing,) = embedding_drawings([embedding("dm"), embedding("datadam")])
    assert len(drawing.data) == 12
    assert list(drawing.data["series"].unique()) == ["DM", "DataDAM"]
    figure = drawing.figure()
    shown = {
        tuple(point)
        for scatter in figure.axes[0].collections
        for point in np.asarray(scatter.get_offsets()).tolist()
    }
    assert shown == {(float(place), -float(place)) for place in range(6)}
    assert "KL divergence: DM 1.25, DataDAM 1.25" in drawing.caption
    assert len(embedding_drawings([embedding("dm"), embedding("dm", network_seed=1)])) == 2


def tiles(colours: Sequence[str], ipc: int) -> Image.Image:
    """A picture as a run leaves it: a class of one colour in each row of tiles."""
    sheet = Image.new("RGB", (34 * min(10, ipc) + 2, 34 * len(colours) + 2), "white")
    for row, colour in enumerate(colours):
        for column in range(ipc):
            sheet.paste(Image.new("RGB", (32, 32), colour), (34 * column + 2, 34 * row + 2))
    return sheet


CLASSES = ["red", "lime", "blue", "black", "cyan", "magenta", "yellow", "gray", "navy", "teal"]


def test_the_first_image_of_each_class_is_cut_from_a_run_s_picture() -> None:
    for ipc in (1, 10):
        own = record("dm", [0.4], ipc=ipc, budget_images=10 * ipc).record
        found = first_of_each_class(tiles(CLASSES, ipc), own)
        assert [tile.size for tile in found] == [(32, 32)] * 10
        assert [tile.getpixel((5, 5)) for tile in found] == [
            Image.new("RGB", (1, 1), colour).getpixel((0, 0)) for colour in CLASSES
        ]
    other = Image.new("RGB", (50, 34))
    assert first_of_each_class(other, own) == [other]


def test_images_are_a_row_for_each_method_and_other_settings_stand_elsewhere(
    tmp_path: Path,
) -> None:
    precisely = {**EXAMPLE["distillation"], "precision": "fp32"}
    other: dict[str, Any] = {
        "protocol": {**EXAMPLE["protocol"], "precision": "fp32"},
        "artifact_hash": "c",
        "distillation": precisely,
    }
    made = [
        ("dm", "red", {}),
        ("random", "blue", {}),
        ("datadam", "red", {}),
        ("dm", "green", other),
    ]
    for number, (method, colour, changes) in enumerate(made):
        for stored in sets(method, SETS[method], **changes):
            folder = tmp_path / f"{method}{number}-{stored.record.seed}"
            write_record(folder / "evaluations" / "hash" / "record.json", stored.record)
            tiles([colour] * 10, 10).save(folder / "images.png")
    main, elsewhere = draw_figures(find_records(tmp_path), tmp_path)[-2:]
    assert main.name == "images-cifar10-ipc10-f40c4d4d"
    assert list(zip(main.data["title"], main.data["file"], strict=True)) == [
        ("Random", "random1-0/images.png"),
        ("DM", "dm0-0/images.png"),
        ("DataDAM", "datadam2-0/images.png"),
    ]
    (panel,) = main.figure().axes
    assert [label.get_text() for label in panel.get_yticklabels()] == ["Random", "DM", "DataDAM"]
    assert panel.get_xticklabels()[0].get_text() == "airplane"
    assert elsewhere.name == "images-settings-cifar10-ipc10-f40c4d4d-0"
    assert list(elsewhere.data["title"]) == ["DM (made in fp32)"]


def test_a_set_that_was_judged_elsewhere_keeps_its_picture(tmp_path: Path) -> None:
    (stored,) = sets("dm", SETS["dm"][:1])
    set_folder = Path("cifar10/ipc10/dm/quick-abc/seed0")
    write_record(
        tmp_path / "precision" / set_folder / "evaluations" / "hash" / "record.json", stored.record
    )
    (tmp_path / set_folder).mkdir(parents=True)
    tiles(CLASSES, 10).save(tmp_path / set_folder / "images.png")
    (drawing,) = draw_figures(find_records(tmp_path), tmp_path)
    assert list(drawing.data["file"]) == [str(set_folder / "images.png")]


@pytest.mark.parametrize("count", [1, 4, 15])
def test_pictures_stay_large_beside_long_names_on_one_page(count: int, tmp_path: Path) -> None:
    for number in range(count):
        tiles(CLASSES, 10).save(tmp_path / f"{number}.png")
    words = "DataDAM (balance=0.01, init=random, iterations=100, network=convnet, power=4.0)"
    own = record("dm", [0.4]).record
    shown = [
        Picture(f"{number} {words}", tmp_path / f"{number}.png", own) for number in range(count)
    ]
    drawing = pictures_drawing("many", "Many.", shown, tmp_path)
    assert drawing is not None
    figure = drawing.figure()
    figure.draw_without_rendering()
    assert figure.get_figheight() <= 9.2
    (panel,) = figure.axes
    whole = figure.bbox
    assert all(label.get_window_extent().x0 >= whole.x0 for label in panel.get_yticklabels())
    assert panel.get_window_extent().height / figure.dpi / count > 0.38  # inches


def test_each_figure_is_written_with_its_data_and_caption_the_same_each_time(
    tmp_path: Path,
) -> None:
    found = RecordsFound(
        (*variant(SETS["datadam"]), *variant(SETS["dm"], power=1.0)),
        (),
        (),
        (trace("dm"),),
        (embedding("dm"),),
    )
    paths = write_figures(found, tmp_path, tmp_path / "figures")
    assert [path.suffix for path in paths] == [".pdf", ".png", ".csv", ".tex"] * 3
    for drawing, path in zip(draw_figures(found, tmp_path), paths[2::4], strict=True):
        rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
        assert list(rows[0]) == list(drawing.data.columns)
        assert len(rows) == len(drawing.data)
    assert paths[0].read_bytes().startswith(b"%PDF")
    with Image.open(paths[1]) as picture:
        assert 700 < picture.width < 800  # a journal's column at 220 dots per inch
    assert rf"\includegraphics[width=\linewidth]{{{paths[3].stem}}}" in paths[3].read_text(
        encoding="utf-8"
    )
    again = write_figures(found, tmp_path, tmp_path / "again")
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in paths]


@pytest.mark.parametrize("count", [2, 5, 10])
def test_series_are_told_apart_in_grey(count: int) -> None:
    looks = [look(number, count) for number in range(count)]
    greys = [
        0.299 * red + 0.587 * green + 0.114 * blue
        for red, green, blue in (each["color"] for each in looks)
    ]
    assert greys == sorted(greys)
    assert max(greys) < 0.8  # seen on white
    assert len({(each["marker"], each["linestyle"]) for each in looks}) == count


def test_hostile_names_are_drawn_as_they_stand(tmp_path: Path) -> None:
    name = "$\\frac{1}{0}$ ../../x\n<b>"
    records = [
        stored
        for power in (1.0, 2.0)
        for stored in sets(name, SETS["dm"], fields={name: power}, artifact_hash=str(power))
    ]
    found = RecordsFound((*records, *sets("dm", SETS["dm"], **FOREIGN)), ())
    paths = write_figures(found, tmp_path, tmp_path / "figures")
    assert {path.parent for path in paths} == {tmp_path / "figures"}
    assert "\\frac" not in "".join(
        path.read_text(encoding="utf-8") for path in paths if path.suffix == ".tex"
    )


def test_without_records_there_is_no_figure(tmp_path: Path) -> None:
    assert draw_figures(RecordsFound((), ()), tmp_path) == []


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
@pytest.mark.slow
def test_the_fragments_compile_in_an_article(tmp_path: Path) -> None:
    found = RecordsFound(
        (*variant(SETS["datadam"]), *variant(SETS["dm"], power=1.0)),
        (),
        (),
        (trace("dm"),),
        (embedding("dm"),),
    )
    names = [
        path.name
        for path in write_figures(found, tmp_path, tmp_path / "figures")
        if path.suffix == ".tex"
    ]
    inputs = "\n".join(rf"\input{{figures/{name}}}" for name in names)
    head = r"\documentclass{article}\usepackage{graphicx}\graphicspath{{figures/}}"
    (tmp_path / "main.tex").write_text(
        rf"{head}\begin{{document}}{inputs}\end{{document}}", encoding="utf-8"
    )
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "main.tex"]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, errors="replace", check=False
    )
    assert done.returncode == 0, done.stdout[-2000:]
