"""A method that returns something else than it promises: nothing is kept but the work that it took."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.commandline import QUICKLY, ask, done

STRAYING = '''
from dataclasses import dataclass, replace

import torch

from dcbench.distiller import Distiller, register
from dcbench.families.selection import chosen_set, random_members


@register("straying")
@dataclass(frozen=True)
class Straying(Distiller):
    """Strays as it is told."""

    how: str = ""

    def distill(self, train, ipc, run):
        chosen = chosen_set(train, random_members(train, ipc, run))
        images = chosen.images.clone()
        for step in run.steps(3, {"images": images}):
            images += 0.01
        made = replace(chosen, images=images)
        if self.how == "two loops":
            list(run.steps(3, {"images": images}, "again"))
        return {
            "": made,
            "short": replace(made, images=images[1:], labels=made.labels[1:]),
            "unequal": replace(made, labels=made.labels.clamp(max=8)),
            "beyond": replace(made, labels=made.labels + 1),
            "endless": replace(made, images=images / 0),
            "attached": replace(made, images=images.clone().requires_grad_()),
            "nothing": None,
            "two loops": made,
            "recipe": replace(made, recipe={"lr": 0.0}),
        }[self.how]
'''


@pytest.mark.parametrize(
    ("how", "complaint"),
    [
        (
            "short",
            "images of shape (9, 1, 8, 8), wanted (10, 1, 8, 8); [0, 1, 1, 1, 1, 1, 1, 1, 1, 1] images of the classes, wanted",
        ),
        ("unequal", "[1, 1, 1, 1, 1, 1, 1, 1, 2, 0] images of the classes, wanted 1 of each"),
        ("beyond", "labels from 1 to 10, but there are 10 classes"),
        ("endless", "the set has images that are not finite with how=endless"),
        ("attached", "images on cpu with a gradient, wanted .detach().cpu()"),
        ("nothing", "it returned nothing, wanted a SyntheticSet"),
        ("two loops", "a second loop of run.steps ('again' after 'distill')"),
        ("recipe", "the recipe must have a positive lr"),
    ],
)
def test_a_set_that_is_not_what_was_promised_is_not_kept(
    how: str, complaint: str, tmp_path: Path
) -> None:
    method = f"{tmp_path}/straying.py:Straying"
    (tmp_path / "straying.py").write_text(STRAYING, encoding="utf-8")
    answer = ask(
        "run", "--method", method, "--set", f"how={how}", *QUICKLY, "--out", tmp_path / "out"
    )
    assert answer.code == 1
    assert answer.line.startswith("dcbench: straying IPC 1 seed 0: ")
    assert complaint in answer.line
    kept = {path.name for path in (tmp_path / "out").rglob("*")}
    assert not kept & {"synthetic.pt", "straying.pt", "record.json", "distillation.json"}


def test_one_that_keeps_its_promise_is_kept(tmp_path: Path) -> None:
    (tmp_path / "straying.py").write_text(STRAYING, encoding="utf-8")
    done("run", "--method", f"{tmp_path}/straying.py:Straying", *QUICKLY, "--out", tmp_path / "out")
    assert (tmp_path / "out" / "straying.pt").is_file()
