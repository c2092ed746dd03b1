"""A loss that is no number stops a distillation and is never taken for a result; a network that
diverges counts, and is told of.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from dcbench.artifacts.artifact import read_artifact, write_artifact
from dcbench.records import read_record
from tests.commandline import QUICKLY, RANDOM, ask, done, rows

DIVERGING = '''
from dataclasses import dataclass
from dcbench.distiller import register
from dcbench.families.feature_matching import FeatureMatching

@register("diverging")
@dataclass(frozen=True)
class Diverging(FeatureMatching):
    """Goes wrong at step 3."""

    observes = False

    def describe(self, images, network):
        return (images.flatten(1),)

    def discrepancy(self, real, synthetic):
        object.__setattr__(self, "asked", getattr(self, "asked", 0) + 1)
        return (real[0] - synthetic[0]).square().sum() * (float("nan") if self.asked >= 3 * self.groups_per_step else 1.0)

    groups_per_step = 1
'''


def test_a_distillation_whose_loss_is_no_number(tmp_path: Path) -> None:
    (tmp_path / "diverging.py").write_text(DIVERGING, encoding="utf-8")
    words = (
        "run",
        "--method",
        f"{tmp_path}/diverging.py:Diverging",
        "--set",
        "iterations=5",
        "--set",
        "lr=0.5",
        *QUICKLY,
        "--out",
        tmp_path,
    )
    for _ in range(2):
        answer = ask(*words)
        assert answer.code == 1
        assert answer.line.startswith(
            "dcbench: diverging IPC 1 seed 0: loss became nan at step 3 with iterations=5, lr=0.5, momentum=0.5"
        )
        assert answer.line.endswith("try a smaller lr")
        assert not list(tmp_path.rglob("*.pt"))
        assert not list(tmp_path.rglob("record.json"))
    beside = ask(
        "run",
        "--method",
        f"{tmp_path}/diverging.py:Diverging,random",
        *QUICKLY,
        "--out",
        tmp_path,
        "--json",
    )
    assert beside.code == 1
    assert [run["method"] for run in beside.json["runs"]] == ["random"]


def test_a_network_that_diverges_counts(tmp_path: Path) -> None:
    done(*RANDOM, "--out", tmp_path)
    artifact = read_artifact(tmp_path / "random.pt")
    write_artifact(
        tmp_path / "steep.pt", replace(artifact.synthetic, recipe={"lr": 1e30}), artifact.provenance
    )
    answer = done("evaluate", tmp_path / "steep.pt", *QUICKLY, "--out", tmp_path / "out", "--json")
    (evaluation,) = answer.json["evaluations"]
    assert [row["loss"] for row in rows(tmp_path / "out")] == [None, None]
    assert all(0 <= accuracy <= 0.3 for accuracy in evaluation["accuracies"])
    record = read_record(Path(evaluation["record"])).to_json()
    assert [score["loss"] for score in record["networks"]] == [None, None]
    assert record["warnings"][0].startswith("2 of 2 networks diverged")
    assert "2 of 2 networks diverged" in answer.err
    assert (
        done("evaluate", tmp_path / "steep.pt", *QUICKLY, "--out", tmp_path / "out", "--json").json
        == answer.json
    )
