"""Options that several commands share, and what they mean to the harness."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from dcbench.errors import OutOfRangeError, UnknownNameError

if TYPE_CHECKING:
    from dcbench.cli.console import Console
    from dcbench.datasets.places import Places
    from dcbench.executor import Executor
    from dcbench.experiment import Workshop
    from dcbench.machine import Machine

LARGEST = 2**63 - 1  # that a record holds
EXECUTORS = ("serial", "ray")
OF_RAY = ("address", "cpus_per_unit", "gpus_per_unit")

_Command = TypeVar("_Command", bound=Callable[..., Any])


@dataclass(frozen=True)
class Common:
    """The options of every command that computes."""

    preset: str
    protocol: str | None
    data_root: Path
    out: Path
    device: str
    threads: int | None
    precision: str
    engine: str
    executor: str
    address: str | None
    cpus_per_unit: float | None
    gpus_per_unit: float | None
    as_json: bool
    debug: bool

    def places(self, download: bool = False) -> Places:
        """Where data and its cache are."""
        from dcbench.datasets.places import Places

        home = os.environ.get("DCBENCH_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "dcbench"
        return Places(self.data_root, Path(home), download)

    def workshop(self, console: Console, *, resume: bool = True, elsewhere: bool = False) -> Workshop:
        """The machine and folder that the options ask for; raises DeviceError, UnknownNameError."""
        from dcbench.experiment import Workshop
        from dcbench.machine import resolve

        self._check_executor()
        machine = resolve(self.device, self.threads, self.precision, self.engine, here=self.address is None)
        executor = self._executor(machine, console)
        return Workshop(self.out, machine, console.progress, console.say, console.stopping, resume, elsewhere, executor=executor)

    def _check_executor(self) -> None:
        if self.executor not in EXECUTORS:
            raise UnknownNameError("executor", self.executor, EXECUTORS)
        for name in OF_RAY:
            if self.executor != "ray" and getattr(self, name) is not None:
                raise OutOfRangeError(f"--{name.replace('_', '-')} {getattr(self, name)} means nothing without --executor ray")
        if self.executor == "ray" and ":" in self.device:
            raise OutOfRangeError(f"--device {self.device} with --executor ray: Ray chooses which one, so wanted cuda or cpu")

    def _executor(self, machine: Machine, console: Console) -> Executor:
        from dcbench.errors import ClusterError
        from dcbench.executor import Serial

        if self.executor == "serial":
            return Serial()
        if importlib.util.find_spec("ray") is None:
            raise ClusterError("--executor ray needs Ray, which is not installed: pip install dcbench-distillation[ray]")
        from dcbench.cluster import Needs, Ray

        executor = Ray(Needs.of(machine, self.cpus_per_unit, self.gpus_per_unit), self.address)
        console.say(f"ray: room for {executor.slots} units of work at a time, {machine.threads} threads each")
        return executor


_OPTIONS = [
    click.option("--preset", default="paper", show_default=True, help="Named settings of methods and protocol: paper, released, quick."),
    click.option("--protocol", help="Evaluation protocol, if not the preset's: paper, lineage, released, quick."),
    click.option(
        "--data-root", type=click.Path(path_type=Path), envvar="DCBENCH_DATA", default="data", help="Where data is [DCBENCH_DATA]."
    ),
    click.option("--out", type=click.Path(path_type=Path), default="results", show_default=True, help="Where results go."),
    click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1."),
    click.option("--threads", type=int, help="Processor threads; results depend on it."),
    click.option("--precision", default="auto", show_default=True, help="auto, fp32, bf16."),
    click.option("--engine", default="auto", show_default=True, help="auto, eager, compiled."),
    click.option("--executor", default="serial", show_default=True, help="Who carries out the work: serial, ray."),
    click.option("--address", help="Of a Ray cluster, auto for the one that this machine belongs to; this machine alone if not given."),
    click.option("--cpus-per-unit", type=float, help="Processors that Ray sets apart for a unit of work; its threads if not given."),
    click.option("--gpus-per-unit", type=float, help="GPUs likewise, such as 0.5; 1 on CUDA if not given."),
    click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output."),
    click.option("--debug", is_flag=True, help="Show where an error came from."),
]


def common(command: _Command) -> _Command:
    """Add the shared options to a command, which gets them as one ``Common``."""

    def gathered(**options: Any) -> Any:
        names = Common.__dataclass_fields__
        shared = Common(**{name: options.pop(name) for name in names})
        return command(shared, **options)

    gathered.__doc__, gathered.__name__ = command.__doc__, command.__name__
    gathered.__click_params__ = getattr(command, "__click_params__", [])  # type: ignore[attr-defined]
    for option in reversed(_OPTIONS):
        gathered = option(gathered)
    return gathered  # type: ignore[return-value]


class CommaList(click.ParamType):  # type: ignore[type-arg]
    """Words or numbers separated by commas, none empty, none twice."""

    name = "list"

    def __init__(self, kind: type = str, least: int | None = None) -> None:
        self.kind, self.least = kind, least

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[Any]:
        if isinstance(value, list):
            return value
        parts = [part.strip() for part in str(value).split(",")]
        label = param.opts[0] if param else "value"
        if "" in parts:
            raise OutOfRangeError(f"{label} has an empty item, got {str(value)!r}; wanted one or several with commas between")
        try:
            items = [self.kind(part) for part in parts]
        except ValueError:
            raise OutOfRangeError(f"{label} must be a whole number or several with commas between, got {value!r}") from None
        if self.least is not None:
            for item in items:
                within(label, item, self.least)
        return list(dict.fromkeys(items))


def within(name: str, value: int | None, least: int, most: int = LARGEST) -> None:
    """Raises OutOfRangeError if ``value`` is given and below ``least`` or above ``most``."""
    if value is not None and value < least:
        raise OutOfRangeError(f"{name} must be at least {least}, got {value}")
    if value is not None and value > most:
        raise OutOfRangeError(f"{name} must be at most {most}, got {value}")
