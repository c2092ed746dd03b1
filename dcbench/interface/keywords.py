"""Keywords that public functions share. Each is declared and described once, in a TypedDict."""

from __future__ import annotations

import difflib
import inspect
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypedDict, TypeVar

import torch

from dcbench.datasets.places import Places
from dcbench.evaluation.protocol import LabelSource
from dcbench.execution.processes import workers_that_fit
from dcbench.execution.workers import Workers
from dcbench.experiments.context import Workspace
from dcbench.interface.places import usual_places
from dcbench.interface.progress_bar import told
from dcbench.run import Resumption
from dcbench.system.errors import OutOfRangeError
from dcbench.system.files import disk_time
from dcbench.system.machine import resolve
from dcbench.system.progress import Progress

PathLike = str | os.PathLike[str]
_Function = TypeVar("_Function", bound=Callable[..., Any])


class DataKeywords(TypedDict, total=False):
    """Where data sets are.

    Attributes:
        data_root: The folder that holds data sets; by default ``DCBENCH_DATA`` or ``./data``.
        download: Whether to fetch a data set that is not there; by default False.
    """

    data_root: PathLike | None
    download: bool


class WorkKeywords(DataKeywords, total=False):
    """Where and how a function works.

    Attributes:
        out: The folder to store results in, as the commands do; by default nothing is stored.
        resume: Whether to continue with what ``out`` holds; by default True.
        progress: True for a bar on standard error, or a function that is told what is being done,
            how much of it is done, and how much there is; by default nobody is told.
        device: ``auto`` (the default), ``cpu`` or torch's name of another device.
        threads: Processor threads, on which results depend; by default those that torch has.
        precision: ``auto`` (the default: bf16 where the hardware has it), ``fp32``, ``bf16``.
        engine: ``auto`` (the default), ``eager``, ``compiled``.
        executor: A ``concurrent.futures.Executor`` of processes that does the work; by default
            this process does.
    """

    out: PathLike | None
    resume: bool
    progress: Progress | bool | None
    device: str
    threads: int | None
    precision: str
    engine: str
    executor: Executor | None


class TrainingKeywords(WorkKeywords, total=False):
    """What differs from the protocol that networks are trained by.

    Attributes:
        network: The architecture; by default the protocol's, and so with the others.
        networks: How many networks.
        epochs: Epochs of each network.
        augment: The augmentation of their training images.
        label_source: What they learn: ``hard`` (classes), ``stored`` (the set's own labels),
            ``teacher`` (a trained network's answers).
    """

    network: str | None
    networks: int | None
    epochs: int | None
    augment: str | None
    label_source: LabelSource | None


class SearchKeywords(WorkKeywords, total=False):
    """What a search compares, and with which truth.

    Attributes:
        match: A pattern, or several, of the names that architectures are drawn among; by default
            all.
        validation: Training images to rank by; by default 10,000, or a fifth of a smaller set.
        epochs: Epochs of each network on the proxy; by default the protocol's.
        truth_epochs: The same on the whole data.
        top: The share of the best architectures that is also ranked by itself; by default 0.2.
        top_by: The accuracy that says which they are: ``validation`` (the default, where it is
            known) or ``test``.
        truth: A table of true accuracies; by default they are trained, if the space's are.
        truth_column: The table's column, if not the usual one.
    """

    match: str | Sequence[str] | None
    validation: int | None
    epochs: int | None
    truth_epochs: int | None
    top: float | None
    top_by: str | None
    truth: PathLike | None
    truth_column: str | None


class ForeignKeywords(DataKeywords, total=False):
    """What else is known of a set in another project's layout.

    Attributes:
        experiment: The number of the set in a file with several, from 0; by default the last.
        classes: How class folders get their labels: ``by-name`` (the default), or ``by-position``
            among the sorted folders.
        resize: Whether to resize images of another size; by default False.
    """

    experiment: int | None
    classes: str
    resize: bool


@dataclass(frozen=True)
class Conditions:
    """Where data is, and where and how a function works: ``WorkKeywords`` with their defaults."""

    data_root: PathLike | None = None
    download: bool = False
    out: PathLike | None = None
    resume: bool = True
    progress: Progress | bool | None = None
    device: str = "auto"
    threads: int | None = None
    precision: str = "auto"
    engine: str = "auto"
    executor: Executor | None = None

    def __post_init__(self) -> None:
        if not (self.progress is None or self.progress in (True, False) or callable(self.progress)):
            raise OutOfRangeError(f"progress must be True or a function, got {self.progress!r}")
        if not (self.executor is None or hasattr(self.executor, "submit")):
            raise OutOfRangeError(
                "executor must be a concurrent.futures.Executor of processes, got "
                f"{self.executor!r}"
            )

    @property
    def places(self) -> Places:
        """The folders of data and its cache. Raises StorageError if there is none for the cache."""
        return usual_places(self.data_root, self.download)

    @contextmanager
    def workspace(self) -> Iterator[Workspace]:
        """Yield the folder and the machine to work with; afterwards torch's number of threads is
        restored.
        """
        before = torch.get_num_threads()
        machine = resolve(self.device, self.threads, self.precision, self.engine)
        try:
            with _folder(self.out) as folder, told(self.progress) as heard:
                since = 0.0 if self.resume else disk_time(folder)
                resumption = Resumption(self.resume, since)
                place = Workspace(folder, machine, *heard, resumption=resumption)
                if self.executor is None:
                    yield place
                else:
                    count = getattr(self.executor, "_max_workers", None) or workers_that_fit(
                        machine
                    )
                    with Workers(self.executor, count) as workers:
                        yield replace(place, workers=workers)
        finally:
            torch.set_num_threads(before)


@contextmanager
def _folder(out: PathLike | None) -> Iterator[Path]:
    """Yield the folder to work in: ``out``, or a temporary one."""
    if out is not None:
        yield Path(out)
    else:
        with tempfile.TemporaryDirectory(prefix="dcbench-") as folder:
            yield Path(folder)


_DEFAULTS = {field.name: field.default for field in fields(Conditions)}


def separate(
    keywords: Mapping[str, Any], kind: type, function: Callable[..., Any]
) -> tuple[Conditions, dict[str, Any]]:
    """Separate ``keywords`` of ``function``, those of the TypedDict ``kind``, into conditions and
    others.

    Raises:
        TypeError: For a keyword that ``kind`` does not have.
    """
    for name in keywords:
        if name not in kind.__annotations__:
            close = difflib.get_close_matches(name, inspect.signature(function).parameters, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise TypeError(f"unexpected keyword argument {name!r}{hint}")
    rest = {name: value for name, value in keywords.items() if name not in _DEFAULTS}
    conditions = {name: value for name, value in keywords.items() if name in _DEFAULTS}
    return Conditions(**conditions), rest


def takes(*kinds: type) -> Callable[[_Function], _Function]:
    """Spell out a function's ``**keywords`` in its signature and docstring, which ``help`` and
    notebooks show.

    Args:
        kinds: The TypedDict of the keywords, and those that it inherits from.
    """

    def spell_out(function: _Function) -> _Function:
        signature = inspect.signature(function)
        *own, _ = signature.parameters.values()
        more = [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=_DEFAULTS.get(name),
                annotation=reference.__forward_arg__,
            )
            for name, reference in kinds[0].__annotations__.items()
        ]
        described = [(kind.__doc__ or "").partition("Attributes:\n")[2].rstrip() for kind in kinds]
        said = (function.__doc__ or "").rstrip()
        function.__doc__ = "\n".join([said, "\n    Keywords:", *described, "    "])
        function.__signature__ = signature.replace(  # type: ignore[attr-defined]
            parameters=[*own, *more]
        )
        return function

    return spell_out
