"""The grid of cells that one command asks for. Names and ranges are checked before any data is
loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

from dcbench.datasets.catalogue import find as find_dataset
from dcbench.datasets.loading import UNVERIFIED, Loaded, declared_spec, load
from dcbench.datasets.places import Places
from dcbench.distiller import Distiller, find, hyper_parameters
from dcbench.evaluation.protocol import Protocol
from dcbench.experiments.context import Cell, Workspace
from dcbench.experiments.presets import ZCA, build, check_preset, protocol_for, whitening, zca_of
from dcbench.experiments.starts import read_start
from dcbench.networks.catalogue import find_network
from dcbench.system.errors import OutOfRangeError, require_known


@dataclass(frozen=True)
class Grid:
    """Methods × datasets × budgets × seeds under one preset."""

    methods: Sequence[str]
    datasets: Sequence[str]
    ipcs: Sequence[int]
    seeds: Sequence[int]
    preset: str = "paper"
    # value by field, or by METHOD.FIELD for one method; text is parsed
    settings: Mapping[str, Any] = field(default_factory=dict)
    zca: str = "auto"
    holdout: int = 0

    @property
    def several(self) -> bool:
        """Whether the grid has more than one cell: then one failing cell does not stop the
        others.
        """
        return len(self.methods) * len(self.datasets) * len(self.ipcs) * len(self.seeds) > 1

    def distillers(self) -> dict[str, Distiller]:
        """Return each method with its fields.

        Raises:
            UnknownNameError, OutOfRangeError: If a method, field or value is wrong.
            DataError: If a method's file cannot be used.
        """
        for name in self.methods:
            if name.endswith(".py"):
                raise OutOfRangeError(
                    f"--method {name} names a file; wanted the class in it too, as {name}:Class"
                )
        check_preset(self.preset, [find(name) for name in self.methods])
        require_known("value of --zca", self.zca, ZCA)
        for dataset in self.datasets:
            find_dataset(dataset)
        settings = {name: self._settings_of(name) for name in self.methods}
        self._check_all_used()
        distillers = {name: build(name, self.preset, settings[name]) for name in self.methods}
        for distiller in distillers.values():
            check_network(getattr(distiller, "network", None))
        return distillers

    def cells(
        self,
        places: Places,
        workspace: Workspace,
        count: Callable[[Sequence[Cell]], None] = lambda _cells: None,
    ) -> Iterator[Cell]:
        """Yield the cells, data set by data set, and within one method by method. A reference
        without a budget appears once per seed.

        Before the first cell, ``count`` is called with the cells of each data set.
        """
        self.distillers()
        for dataset in self.datasets[1:]:
            # decode all data now: missing data is reported at once, not after hours of work
            count(self._load_cells(dataset, places, workspace))
        for index, dataset in enumerate(self.datasets):
            cells = self._load_cells(dataset, places, workspace)
            if index == 0:
                count(cells)
            yield from cells
            del cells  # free it before the next data set is loaded

    def _load_cells(self, dataset: str, places: Places, workspace: Workspace) -> list[Cell]:
        loaded = cache(partial(self.load, dataset, places, workspace))
        return self.cells_of(dataset, loaded, places)

    def cells_of(self, dataset: str, loaded: Callable[[str], Loaded], places: Places) -> list[Cell]:
        """Yield the cells of one data set. ``loaded`` returns its images, given how they are
        whitened. Raises what ``read_start`` raises.
        """
        cells: list[Cell] = []
        for name in self.distillers():
            method, settings = find(name), self._settings_of(name)
            for ipc in self.ipcs if method.budgeted else self.ipcs[:1]:
                data = loaded(self._zca(method, dataset, ipc))
                suited = build(name, self.preset, settings, data.spec, ipc)
                distiller, start = read_start(suited, data, ipc, places)
                cells += [
                    Cell(distiller, self.preset, data, ipc, seed, start) for seed in self.seeds
                ]
        return cells

    def load(
        self, dataset: str, places: Places, workspace: Workspace, zca: str | None = None
    ) -> Loaded:
        """Load one of the grid's data sets, whitened as ``zca`` says, else as the preset asks for
        the first cell.
        """
        zca = zca or self.usual_zca(dataset)
        progress = workspace.stoppable_progress
        loaded = load(dataset, places, **whitening(zca), holdout=self.holdout, progress=progress)
        if UNVERIFIED in loaded.note:
            workspace.say(
                f"{dataset}: records call the {loaded.source} an unverified copy, because no "
                "published number of images tells whether it is this data set; name images of your "
                "own by their folder, as --dataset ./mydata"
            )
        return loaded

    def usual_zca(self, dataset: str) -> str:
        """Return how the first cell's images are whitened."""
        return self._zca(find(self.methods[0]), dataset, self.ipcs[0])

    def _zca(self, method: type[Distiller], dataset: str, ipc: int) -> str:
        return zca_of(self.zca, self.preset, method, declared_spec(dataset), ipc)

    def protocol_of(self, distiller: Distiller, name: str | None) -> Protocol:
        """Return the protocol that evaluates ``distiller``'s sets: ``name`` if given, else the
        preset's.
        """
        return protocol_for(distiller, self.preset, [find(method) for method in self.methods], name)

    def _settings_of(self, method: str) -> dict[str, Any]:
        distiller = find(method)
        fields = hyper_parameters(distiller)
        shared = {key: value for key, value in self.settings.items() if key in fields}
        own = {
            key.partition(".")[2]: value
            for key, value in self.settings.items()
            if key.partition(".")[0] == distiller.name
        }
        return {**shared, **own}

    def _check_all_used(self) -> None:
        found = [find(method) for method in self.methods]
        known = {
            key
            for method in found
            for field in hyper_parameters(method)
            for key in (field, f"{method.name}.{field}")
        }
        for key in self.settings:
            require_known(f"field of {', '.join(method.name for method in found)}", key, known)


def parse_settings(texts: Sequence[str]) -> dict[str, str]:
    """Parse words ``field=value`` into a mapping.

    Raises:
        OutOfRangeError: If a word has no =, or a field is given twice.
    """
    settings: dict[str, str] = {}
    for text in texts:
        key, equals, value = (part.strip() for part in text.partition("="))
        if not key or not equals:
            raise OutOfRangeError(f"--set needs field=value, got {text!r}")
        if settings.setdefault(key, value) != value:
            raise OutOfRangeError(
                f"--set {key} is given twice, {settings[key]} and {value}; leave one out"
            )
    return settings


def check_network(name: str | None) -> None:
    """Raise UnknownNameError unless ``name`` is a network or None."""
    if name is not None:
        find_network(str(name))
