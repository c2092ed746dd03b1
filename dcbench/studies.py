"""The tables and figures of the paper as declared grids of runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Study:
    """A grid of runs: every method at every budget with every seed, and the published table that it is set beside."""

    name: str
    title: str
    methods: tuple[str, ...]  # in the order of the table's rows
    dataset: str
    ipcs: tuple[int, ...]
    seeds: tuple[int, ...]
    published: str  # a name in dcbench.report.published


STUDIES: Mapping[str, Study] = {
    study.name: study
    for study in (
        Study(
            name="table3",
            title="DataDAM beside coresets, generative models and matching methods",
            methods=("random", "k-center", "herding", "dcvae", "cgan", "biggan", "gmmn", "mmd", "dm", "datadam"),
            dataset="cifar10",
            ipcs=(1, 10, 50),
            seeds=(0, 1, 2),
            published="table3",
        ),
    )
}
