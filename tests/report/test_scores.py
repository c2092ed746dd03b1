"""Scores against hand-made figures and simulation."""

from __future__ import annotations

import math
from collections.abc import Hashable

import numpy as np
import pytest

from dcbench.report import to_markdown
from dcbench.report.statistics.scores import (
    Score,
    ScoreInputs,
    Term,
    combined,
    normalised,
    scores,
)
from dcbench.report.tables.scores import score_tables
from tests.fixed_records import EXAMPLE, record
from tests.fixed_records import sets as stored_sets


def sets(*means: float) -> dict[Hashable, list[float]]:
    """Sets of two networks with these means."""
    return {seed: [mean - 0.01, mean + 0.01] for seed, mean in enumerate(means)}


def test_scores_equal_dd_ranking_s_formulas() -> None:
    """IOR = 0.5 - 0.3; HLR = 0.8 - 0.4; LRS of α = ½·0.2 - ½·0.4; ARS of ½·0.2 + ½·0.25."""
    found = scores(
        ScoreInputs(
            own=sets(0.49, 0.51),
            random=sets(0.3, 0.3),
            hard=sets(0.4, 0.4),
            whole=[0.79, 0.81],
            plain=sets(0.45, 0.45),
            random_plain=sets(0.2, 0.2),
        )
    )
    assert found.ior is not None
    assert found.hlr is not None
    assert found.ior.value == pytest.approx(0.2)
    assert found.hlr.value == pytest.approx(0.4)
    for score, alpha in ((found.lrs, -0.1), (found.ars, 0.225)):
        assert score is not None
        expected = (math.exp(alpha) - math.exp(-1)) / (math.e - math.exp(-1))
        assert score.value == pytest.approx(expected)


def test_the_weight_is_between_the_two_sides() -> None:
    judged = ScoreInputs(
        own=sets(0.5, 0.5), random=sets(0.3, 0.3), hard=sets(0.4, 0.4), whole=[0.8, 0.8]
    )
    ends = [scores(judged, weight).lrs for weight in (0.0, 1.0)]
    assert [end and end.value for end in ends] == pytest.approx(
        [normalised(Score(alpha, None)).value for alpha in (-0.4, 0.2)]
    )


def test_what_is_missing_leaves_out_what_needs_it() -> None:
    own = sets(0.5, 0.6)
    nothing = scores(ScoreInputs(own))
    assert (nothing.ior, nothing.hlr, nothing.lrs, nothing.ars) == (None, None, None, None)
    some = scores(ScoreInputs(own, random=sets(0.3, 0.4), hard=sets(0.4, 0.5)))
    assert some.ior is not None
    assert (some.hlr, some.lrs, some.ars) == (None, None, None)
    strangers: dict[Hashable, list[float]] = {7: [0.4, 0.5]}  # hard labels were tried on other sets
    assert scores(ScoreInputs(own, sets(0.3, 0.4), strangers, [0.8, 0.9])).lrs is None


def test_one_set_has_no_interval() -> None:
    found = scores(ScoreInputs(sets(0.5), random=sets(0.3, 0.4))).ior
    assert found is not None
    assert found.ci95 is None


def test_the_interval_is_welch_s() -> None:
    from scipy.stats import ttest_ind

    a, b = [0.50, 0.55, 0.51], [0.30, 0.42, 0.33, 0.36]
    found = combined([Term(1, dict(enumerate(a))), Term(-1, dict(enumerate(b)))])
    low, high = ttest_ind(a, b, equal_var=False).confidence_interval(0.95)
    assert found.ci95 == pytest.approx((low, high))


def test_the_interval_of_lrs_covers_the_truth() -> None:
    """Four sets, whose networks' noise and own noise are both there, also where both accuracies of
    a method are of the same sets.
    """
    draw = np.random.default_rng(0)
    truth = normalised(Score(0.5 * 0.2 - 0.5 * 0.4, None)).value
    covered = 0
    for _ in range(400):
        shared = draw.normal(0, 0.02, 4)

        def measured(mean: float, offsets: np.ndarray) -> dict[Hashable, list[float]]:
            return {
                seed: list(mean + offset + draw.normal(0, 0.01, 3))
                for seed, offset in enumerate(offsets)
            }

        found = scores(
            ScoreInputs(
                measured(0.5, shared),
                measured(0.3, draw.normal(0, 0.02, 4)),
                measured(0.4, shared),
                list(0.8 + draw.normal(0, 0.01, 5)),
            )
        ).lrs
        assert found is not None
        assert found.ci95 is not None
        covered += found.ci95[0] <= truth <= found.ci95[1]
    assert 0.92 <= covered / 400 <= 0.985


# ------------------------------------------------------------------------------------------ tables

PLAIN = {**EXAMPLE["protocol"], "augment": "none"}
TAUGHT = {**EXAMPLE["protocol"], "labels": "teacher", "loss": "kl", "temperature": 4.0}
HARD = {"labels": "classes", "format_version": 2, "content": "said"}
SOFT = {**HARD, "labels": "teacher", "protocol": TAUGHT}
WHOLE = record("whole", (0.80, 0.82), ipc=None, seed=0)


def test_a_table_holds_what_the_records_allow() -> None:
    own = stored_sets("dm", ((0.44, 0.46), (0.45, 0.47)), **HARD)
    random = stored_sets("random", ((0.28, 0.30), (0.29, 0.31)))
    (table,) = score_tables([*own, *random])
    (row,) = table.rows
    assert [cell.text for cell in row] == [
        "DM, quick",
        "IPC 10",
        "quick, ConvNet, DSA, bf16",
        "+16.0",
        *("–",) * 3,
    ]
    missing = (
        "Missing, and made by: dcbench run --method whole --dataset cifar10 --protocol whole"
        " --precision bf16; dcbench run --method dm,random --ipc 10 --seed 0,1 --dataset cifar10"
        " --preset quick --protocol quick --networks 2 --epochs 300 --augment none"
        " --precision bf16"
    )
    assert table.notes[1] == missing
    plain = [
        *stored_sets("dm", ((0.40, 0.42), (0.41, 0.43)), augment="none", protocol=PLAIN),
        *stored_sets("random", ((0.25, 0.27), (0.26, 0.28)), augment="none", protocol=PLAIN),
    ]
    tables = score_tables([*own, *random, *plain, WHOLE])
    full = next(row for row in tables[0].rows if "DSA" in row[2].text)
    alpha, beta = 0.5 * 0.16 - 0.5 * (0.81 - 0.455), 0.5 * 0.16 + 0.5 * 0.15
    expected = [normalised(Score(value, None)).value for value in (alpha, beta)]
    assert [cell.text for cell in full[3:]] == [
        "+16.0",
        "+35.5",
        *(f"{value:.3f}" for value in expected),
    ]
    assert all(cell.detail.startswith("[") for cell in full[3:])
    assert "dcbench run --method whole" not in "".join(tables[0].notes)
    assert "DD-Ranking's own code" in to_markdown(tables[0])


def test_soft_labels_are_set_beside_random_images_with_the_same_teacher() -> None:
    """And beside themselves with classes for HLR."""
    taught = stored_sets("dm", ((0.60, 0.62), (0.61, 0.63)), **SOFT)
    random = stored_sets("random", ((0.28, 0.30), (0.29, 0.31)))
    assert score_tables([*taught, *random, WHOLE]) == []
    alike = stored_sets("random", ((0.57, 0.59), (0.58, 0.60)), **SOFT)
    (table,) = score_tables([*taught, *random, *alike, WHOLE])
    (row,) = table.rows
    assert [cell.text for cell in row[2:5]] == [
        "quick, ConvNet, DSA, labels: teacher, bf16",
        "+3.0",
        "–",
    ]
    assert (
        "dcbench run --method dm --ipc 10 --seed 0,1 --dataset cifar10 --preset quick"
        " --protocol quick --networks 2 --epochs 300 --labels hard --augment dsa --precision bf16"
        in table.notes[1]
    )
    hard = stored_sets("dm", ((0.44, 0.46), (0.45, 0.47)), **HARD)
    (table,) = score_tables([*taught, *alike, *hard, WHOLE])
    assert [row[4].text for row in table.rows] == ["+35.5"]


def test_ablations_and_snapshots_have_no_row() -> None:
    own = stored_sets("dm", ((0.44,), (0.45,)))
    other = record("dm", (0.5,), fields={"lr": 3.0}, artifact_hash="other", seed=0)
    snapshot = record("dm", (0.3,), changed={"stopped_after": 5}, artifact_hash="early", seed=0)
    random = stored_sets("random", ((0.28,), (0.29,)))
    (table,) = score_tables([*own, other, snapshot, *random])
    assert [row[3].text for row in table.rows] == ["+16.0"]


def test_a_compact_table_is_there_for_more_than_the_gain_over_random_images() -> None:
    own = [
        *stored_sets("dm", ((0.44,), (0.46,)), **HARD),
        *stored_sets("random", ((0.28,), (0.3,))),
    ]
    assert score_tables(own, compact=True) == []
    (table,) = score_tables([*own, WHOLE], compact=True)
    assert table.compact
    assert [cell.text for cell in table.rows[0][3:5]] == ["+16.0", "+36.0"]
    assert not any(cell.detail for cell in table.rows[0])


def test_commands_say_what_made_and_judged_the_sets() -> None:
    """And leave out what no command can name: a method of one's own file, data of nobody knows
    where.
    """
    changes = {"lr": 3.0, "init": "noise"}
    fields = EXAMPLE["fields"] | changes
    made = {
        **HARD,
        "fields": fields,
        "changed": changes,
        "holdout": "100 of 5000 images, stratified, seed 0",
        "space": "zca",
    }
    random = stored_sets("random", ((0.28,), (0.3,)))
    own = stored_sets("datadam", ((0.44,), (0.46,)), **made)
    (table,) = score_tables([*own, *random, WHOLE], data_root="../my data")
    words = "--set datadam.init=noise --set datadam.lr=3.0 --zca on --holdout 100 --protocol quick"
    assert f"--dataset cifar10 --data-root '../my data' --preset quick {words}" in table.notes[1]
    mine = stored_sets("mine", ((0.44,), (0.46,)), **HARD)
    (table,) = score_tables([*mine, *random])
    assert [text.split()[3] for text in table.notes[1].split("; ")[1:]] == ["random"]
    for folder, count in (("./mydata", 2), ("", 0)):
        there = {"dataset": "mydata", "dataset_revision": "x", "data_folder": folder}
        elsewhere = [
            *stored_sets("dm", ((0.44,), (0.46,)), **HARD, **there),
            *stored_sets("random", ((0.28,), (0.3,)), **there),
        ]
        (table,) = score_tables(elsewhere)
        said = "".join(table.notes[1:])
        assert said.count(f"--dataset {folder} ") == count
    unaugmented = [
        *stored_sets("dm", ((0.4,), (0.42,)), augment="none", protocol=PLAIN, **HARD),
        *stored_sets("random", ((0.28,), (0.3,)), augment="none", protocol=PLAIN),
        WHOLE,
    ]
    assert len(score_tables(unaugmented)[0].notes) == 1  # nothing more can be made
