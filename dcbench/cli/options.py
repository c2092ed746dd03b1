"""Options that several commands share, in groups, and the objects made from them."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dcbench.artifacts.importers.layout import CLASS_ORDERS
from dcbench.cli.completion import completing, word
from dcbench.cli.words import EXECUTORS, NAMES, check_word
from dcbench.system.errors import OutOfRangeError, require_known
from dcbench.system.fields import within
from dcbench.system.wording import counted

if TYPE_CHECKING:
    from dcbench.cli.console import Console
    from dcbench.datasets.places import Places
    from dcbench.execution.workers import Workers
    from dcbench.experiments.context import Workspace
    from dcbench.system.machine import Machine

MOST_WORKERS = 1024
RESULTS = "results"  # the default folder
PATH = click.Path(path_type=Path)
OF_ONE = {  # options of one executor only
    "workers": "processes",
    "address": "ray",
    "cpus_per_unit": "ray",
    "gpus_per_unit": "ray",
}

_Command = Callable[..., Any]
_Decorator = Callable[[_Command], _Command]


@dataclass(frozen=True)
class Hardware:
    """The options of the machine."""

    device: str
    threads: int | None
    precision: str
    engine: str

    def machine(self, here: bool = True) -> Machine:
        """Return the machine. Raises DeviceError, UnknownNameError, OutOfRangeError."""
        from dcbench.system.machine import resolve

        return resolve(self.device, self.threads, self.precision, self.engine, here=here)


@dataclass(frozen=True)
class ExecutorOptions:
    """The options of the executor."""

    executor: str
    workers: int | None
    address: str | None
    cpus_per_unit: float | None
    gpus_per_unit: float | None

    def check(self, hardware: Hardware) -> None:
        """Raise UnknownNameError or OutOfRangeError if options do not fit together."""
        require_known("executor", self.executor, EXECUTORS)
        for name, owner in OF_ONE.items():
            if self.executor != owner and getattr(self, name) is not None:
                raise OutOfRangeError(
                    f"--{name.replace('_', '-')} {getattr(self, name)} means nothing without "
                    f"--executor {owner}"
                )
        within("--workers", self.workers, 1, MOST_WORKERS)
        if self.executor == "ray" and ":" in hardware.device:
            raise OutOfRangeError(
                f"--device {hardware.device} with --executor ray: Ray chooses which one, so wanted "
                "cuda or cpu"
            )

    @contextmanager
    def start(self, machine: Machine, console: Console) -> Iterator[Workers | None]:
        """Start the workers for the time of the context. Raises ClusterError if Ray or the cluster
        is missing.
        """
        from dcbench.execution.workers import Workers

        if self.executor == "serial":
            yield None
        elif self.executor == "processes":
            from dcbench.execution.processes import Processes, workers_that_fit

            count = self.workers or workers_that_fit(machine)
            with Processes(count) as executor, Workers(executor, count) as workers:
                threads = counted(machine.threads, "thread")
                console.say(f"processes: {counted(count, 'worker')}, {threads} each")
                yield workers
        else:
            _require_ray()
            from dcbench.execution.ray_executor import Needs, Ray

            needs = Needs.of(machine, self.cpus_per_unit, self.gpus_per_unit)
            with Ray(needs, self.address) as ray, Workers(ray, ray.slots, ray.host) as workers:
                console.say(
                    f"ray: room for {ray.slots} tasks at a time, {machine.threads} threads each"
                )
                yield workers


def _require_ray() -> None:
    from dcbench.system.errors import ClusterError

    if importlib.util.find_spec("ray") is None:
        raise ClusterError(
            "--executor ray needs Ray, which is not installed: pip install ray, or in a clone pip "
            "install -e '.[ray]'"
        )


@dataclass(frozen=True)
class Common:
    """The options of every command that distils or trains networks."""

    preset: str
    data_root: Path
    data_classes: str
    out: Path
    hardware: Hardware
    executor_options: ExecutorOptions
    as_json: bool

    def places(self, download: bool = False) -> Places:
        """Return the folders of data and its cache."""
        return places(self.data_root, download, self.data_classes)

    @contextmanager
    def workspace(
        self, console: Console, *, no_resume: bool = False, resume_elsewhere: bool = False
    ) -> Iterator[Workspace]:
        """Open the workspace with the machine, workers and folder that the options name. Raises
        what ``Hardware`` and ``ExecutorOptions`` raise.
        """
        from dcbench.experiments.context import Workspace
        from dcbench.run import Resumption
        from dcbench.system.files import disk_time

        self.executor_options.check(self.hardware)
        machine = self.hardware.machine(here=self.executor_options.address is None)
        # work that the sets of this command share is still done only once
        since = disk_time(self.out) if no_resume else 0.0
        heard = (console.progress, console.say, console.stopping)
        resumption = Resumption(not no_resume, since, resume_elsewhere)
        with self.executor_options.start(machine, console) as workers:
            yield Workspace(self.out, machine, *heard, resumption, workers, console.overall)


def places(
    data_root: Path | None, download: bool = False, data_classes: str = CLASS_ORDERS[0]
) -> Places:
    """Return the folders of data and its cache."""
    from dcbench.interface.places import usual_places

    by_position = data_classes == "by-position"
    return replace(usual_places(data_root, download), by_position=by_position)


def protocol(of_search: bool = False) -> _Decorator:
    """Add ``--protocol`` to a command that evaluates sets, or to one that searches
    architectures.
    """
    names = ("search-SPACE", "search-SPACE-quick") if of_search else NAMES["protocol"]
    kind: dict[str, Any] = word("protocol")
    if of_search:  # each space checks its own
        kind = {"shell_complete": completing("protocol of a search")}
    return click.option(
        "--protocol", **kind, help=f"Evaluation protocol, if not the preset's: {', '.join(names)}."
    )


def judging(several: bool = False) -> _Decorator:
    """Add the options that say which networks evaluate a set and what they learn. With ``several``,
    ``--network`` and ``--augment`` take lists.
    """
    kind, one = (CommaList(), ", one or several") if several else (str, "")
    options = (
        click.option(
            "--network",
            type=kind,
            **word("network"),
            help=f"Architecture that judges the sets{one}; the protocol's if not given.",
        ),
        click.option(
            "--networks",
            type=int,
            help="Number of networks for each set; the protocol's if not given.",
        ),
        click.option(
            "--epochs", type=int, help="Epochs of each network; the protocol's if not given."
        ),
        click.option(
            "--augment",
            type=kind,
            **word("augmentation"),
            help=f"Augmentation of the networks' training{one}: dsa, autoaugment, randaugment, "
            "flip, resized-crop, shuffled-patches, colour-and-warp, none; also cutmix or mixup, "
            "alone or as dsa+cutmix.",
        ),
        click.option(
            "--labels",
            **word("value of --labels"),
            help="What networks learn: hard (classes), stored (the set's own labels), teacher (a "
            "trained network's answers); the protocol's if not given.",
        ),
    )
    return lambda command: with_options(options, command)


def results_folder(what: str) -> _Decorator:
    """Add ``--results`` to a command that reads records or adds some: the folder is ``what``."""
    return click.option("--results", type=PATH, default=RESULTS, help=what)


download = click.option(
    "--download",
    is_flag=True,
    help="Download the data set if it is missing; without this nothing is downloaded.",
)
data_root = click.option(
    "--data-root",
    type=PATH,
    envvar="DCBENCH_DATA",
    default="data",
    show_default=False,
    help="Folder of the data sets [DCBENCH_DATA].",
)
data_classes = click.option(
    "--data-classes",
    default=CLASS_ORDERS[0],
    **word("way to know classes"),
    help="The labels of the data's own class folders: by-name, or by-position among the sorted "
    "folders.",
)
out = click.option("--out", type=PATH, default=RESULTS, help="Folder for results.")
_RESUMING = (
    click.option(
        "--no-resume",
        is_flag=True,
        help="Delete the sets and evaluations that this command makes, and make them again.",
    ),
    click.option(
        "--resume-elsewhere",
        is_flag=True,
        help="Continue from a checkpoint made with another device, number of threads, precision, "
        "engine or version of torch; the record says so.",
    ),
)
DEBUG = "dcbench.debug"  # the context key of --debug
_HARDWARE = (
    click.option(
        "--device", default="auto", **word("device"), help="Device: auto, cpu, cuda, cuda:1."
    ),
    click.option("--threads", type=int, help="Number of processor threads; results depend on it."),
    click.option(
        "--precision",
        default="auto",
        **word("precision"),
        help="Precision: auto (bf16 where the hardware has it), fp32, bf16.",
    ),
    click.option(
        "--engine", default="auto", **word("engine"), help="Engine: auto, eager, compiled."
    ),
)
_EXECUTOR_OPTIONS = (
    click.option(
        "--executor",
        default="serial",
        **word("executor"),
        help="What executes the tasks: serial (this process), processes (of this machine), ray.",
    ),
    click.option(
        "--workers",
        type=int,
        help="Processes, each with --threads threads; as many as there are processors for if not "
        "given.",
    ),
    click.option(
        "--address",
        help="Address of a Ray cluster; auto for the one that this machine belongs to; without it "
        "this machine alone.",
    ),
    click.option(
        "--cpus-per-unit",
        type=float,
        help="Processors that Ray reserves for a task; its threads if not given, one beside a GPU.",
    ),
    click.option(
        "--gpus-per-unit",
        type=float,
        help="GPUs that Ray reserves for a task, such as 0.5; 1 on CUDA if not given.",
    ),
)


def filters(*names: str) -> _Decorator:
    """Add options that choose among records by what they are about; each takes a list."""
    return lambda command: with_options([_filter(name) for name in names], command)


def _filter(name: str) -> _Decorator:
    kind = CommaList(int, 1) if name == "ipc" else CommaList()
    complete = None if name == "ipc" else completing(name)
    shown = f"Only this {name}; several with commas between."
    return click.option(f"--{name}", type=kind, shell_complete=complete, help=shown)


def _debugging(context: click.Context, _option: click.Parameter, value: bool) -> None:
    context.meta[DEBUG] = value


_SPEAKING = (
    click.option(
        "--json", "as_json", is_flag=True, help="Print one JSON object on standard output."
    ),
    click.option(
        "--debug",
        is_flag=True,
        expose_value=False,
        callback=_debugging,
        help="Print the traceback of an error.",
    ),
)


def resuming(command: _Command) -> _Command:
    """Add the options about an earlier run's work; the command gets ``no_resume`` and
    ``resume_elsewhere``.
    """
    return with_options(_RESUMING, command)


def hardware(command: _Command) -> _Command:
    """Add the options of the machine; the command gets them as one ``Hardware``."""
    return with_options(_HARDWARE, _gathered("hardware", Hardware, command))


def speaking(command: _Command) -> _Command:
    """Add the option of the output's form; the command gets ``as_json``."""
    return with_options(_SPEAKING, command)


def common(presets: str, kind: str = "preset") -> _Decorator:
    """Add the options of commands that distil or train; the command gets them as one ``Common``.
    ``presets`` lists the values of --preset, which are completed as names of this ``kind``.
    """
    preset = click.option(
        "--preset", default="paper", shell_complete=completing(kind), help=presets
    )

    def add(command: _Command) -> _Command:
        shared = speaking(_gathered("shared", Common, command))
        shared = hardware(
            with_options(_EXECUTOR_OPTIONS, _gathered("executor_options", ExecutorOptions, shared))
        )
        return with_options((preset, data_root, data_classes, out), shared)

    return add


def unneeded(*names: str) -> _Decorator:
    """Add options that this command ignores, because other commands have them: the same words then
    fit all.

    Their values are checked, and help does not show them.
    """
    return lambda command: with_options([_unneeded(name) for name in names], command)


def _unneeded(name: str) -> _Decorator:
    def check(_context: click.Context, _option: click.Parameter, value: Any) -> None:
        if name in _NAMING:
            check_word(name, value)
        if name in ("threads", "workers"):
            within(f"--{name}", value, 1)

    return click.option(
        f"--{name}", type=_kind(name), hidden=True, expose_value=False, callback=check
    )


def _kind(name: str) -> Any:
    if name in ("seed", "threads", "workers"):
        return CommaList(int, 0) if name == "seed" else int
    return float if name.endswith("per-unit") else Path if name in ("out", "data-root") else str


_NAMING = ("preset", "protocol", "executor", "precision", "engine")
MACHINE = tuple(field.name for field in fields(Hardware))
FILTERS = ("method", "dataset", "ipc", "protocol", "preset", "network")  # of records
EXECUTOR_OPTIONS = ("executor", *(name.replace("_", "-") for name in OF_ONE))


def with_options(options: Sequence[_Decorator], command: _Command) -> _Command:
    """Add ``options`` to ``command`` in the order in which help lists them."""
    for option in reversed(options):
        command = option(command)
    return command


def _gathered(name: str, kind: type, command: _Command) -> _Command:
    """Pass the options that are fields of ``kind`` to ``command`` as one argument called
    ``name``.
    """

    @functools.wraps(command)
    def gathering(**options: Any) -> Any:
        own = {field.name: options.pop(field.name) for field in fields(kind)}
        return command(**options, **{name: kind(**own)})

    return gathering


class CommaList(click.ParamType):  # type: ignore[type-arg]
    """A type of option: words or numbers separated by commas, none empty, none twice."""

    name = "list"

    def __init__(self, kind: type = str, least: int | None = None) -> None:
        self.kind, self.least = kind, least

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> list[Any]:
        if isinstance(value, list):
            return value
        parts = [part.strip() for part in str(value).split(",")]
        label = param.opts[0] if param else "value"
        if "" in parts:
            raise OutOfRangeError(
                f"{label} has an empty item, got {str(value)!r}; wanted one or several with commas "
                "between"
            )
        try:
            items = [self.kind(part) for part in parts]
        except ValueError:
            raise OutOfRangeError(
                f"{label} must be a whole number or several with commas between, got {value!r}"
            ) from None
        if self.least is not None:
            for item in items:
                within(label, item, self.least)
        return list(dict.fromkeys(items))
