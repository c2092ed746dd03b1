"""The contract between dcbench and a method (``Distiller``), and the registry of all methods."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import importlib.metadata
import inspect
import pkgutil
import re
import sys
import types
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from dcbench.images import ImageSpec, SyntheticSet, TrainSet
from dcbench.run import Run
from dcbench.system.errors import DataError, UnknownNameError, require_known
from dcbench.system.fields import TypedField, check_fields, typed_fields

PACKAGES = ("dcbench.methods", "dcbench.baselines")
ENTRY_POINTS = "dcbench.distillers"
_Row = TypeVar("_Row")


@dataclasses.dataclass(frozen=True)
class JudgedBy:
    """A protocol, and what a method's own paper changes in it."""

    protocol: str
    augment: str | None = None  # replaces the protocol's augmentation; none: no augmentation
    epochs: int | None = None


@dataclasses.dataclass(frozen=True)
class OwnSetting:
    """The settings of a method's own paper for some data and budget: the preset ``own``."""

    # fields that differ from the defaults
    fields: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    # as --zca: pixels is MTT's whitening; auto is what DataDAM's supplement does, CIFAR alone
    zca: str = "auto"


class Distiller(ABC):
    """Base class of all methods: a frozen dataclass whose fields are the method's hyper-parameters.

    A field's range stands in its annotation (``Annotated[float, Ge(1)]``) and is checked when an
    object is made.
    """

    name: ClassVar[str]
    title: ClassVar[str]  # its usual spelling, for tables
    paper: ClassVar[str | None]  # bibliography key
    version: ClassVar[int] = 1  # raised by hand when the same fields give other images
    # named settings; one that is absent means the defaults
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    # of ``own``: how the method's own paper whitens, as --zca
    own_zca: ClassVar[str] = "auto"
    # the evaluation protocol of a preset, where it is not the one of the same name; of ``own``, how
    # the method's own paper judges its sets
    protocols: ClassVar[Mapping[str, str | JudgedBy]] = {}
    # of a method that has no version to raise, a hash of its text: of the file that it is named
    # by, or of its own functions if it stands in a notebook or script
    source: ClassVar[str] = ""
    # the paper's letters of fields, as reports name rows: {"power": "p"}
    letters: ClassVar[Mapping[str, str]] = {}
    # fields that older sets of this method were made without: silent at their defaults
    later: ClassVar[frozenset[str]] = frozenset()
    # fields that make a trial short, if they have unusual names
    tried_with: ClassVar[Mapping[str, Any]] = {}
    # False: a reference that uses all the data, whatever the budget
    budgeted: ClassVar[bool] = True

    @classmethod
    def suited_to(cls, spec: ImageSpec) -> Mapping[str, Any]:
        """Return defaults that depend on the images: fields by name, for data like ``spec``.

        They apply where neither the preset nor the user sets the field.
        """
        return {}

    @classmethod
    def own_setting(cls, spec: ImageSpec, ipc: int) -> OwnSetting:
        """Return the settings of the method's own paper for images of ``spec`` and a budget: the
        defaults and ``own_zca`` unless the method overrides this.
        """
        return OwnSetting(zca=cls.own_zca)

    @abstractmethod
    def distill(self, train: TrainSet, ipc: int, run: Run) -> SyntheticSet:
        """Make a synthetic set from the training images.

        Args:
            train: The training images, in the space that the set must be in.
            ipc: Images per class to make.
            run: Randomness, machine, progress and checkpoints. Draw all random numbers from
                ``run.generator``.

        Returns:
            ``ipc`` images of each class, on the CPU and without a graph.
        """

    def image_steps(self, ipc: int) -> int:
        """Return how many steps ``distill`` takes on the images; a trace may look at them after any
        step.

        The field ``iterations`` unless the method overrides this; 0 if there are no such steps.
        """
        return int(getattr(self, "iterations", 0))

    def cost_macs(self, train: TrainSet, ipc: int) -> float:
        """Estimate the multiply-accumulates of ``distill``; 0 for next to nothing.

        The estimated time and the choice of the engine depend on it.
        """
        return 0.0

    def shared_macs(self, train: TrainSet, ipc: int) -> Mapping[str, float]:
        """The part of ``cost_macs`` that is done once for several sets of a seed (``run.once``).

        Returns:
            Multiply-accumulates by a name that identifies the shared work.
        """
        return {}

    def refuses(self, train: TrainSet, ipc: int) -> str:
        """Return why the method cannot run on this data and budget; empty if it can."""
        return ""

    def __post_init__(self) -> None:
        check_fields(self, self.name)

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Pickle a method given by its file together with the file's text: another process cannot
        import it by name.
        """
        if self.source not in _texts:
            return super().__reduce_ex__(protocol)
        path = Path(str(sys.modules[type(self).__module__].__file__))
        return _rebuilt, (
            path,
            type(self).__qualname__,
            _texts[self.source],
            fields_of(self),
        )


def by_budget(table: Mapping[int, _Row], ipc: int) -> _Row:
    """Return the entry of ``table`` for the largest budget that is not above ``ipc``.

    For papers that give settings by IPC, from 1 on.
    """
    return table[max(budget for budget in table if budget <= ipc)]


def fields_of(distiller: Distiller) -> dict[str, Any]:
    """Return the hyper-parameters of a distiller by name."""
    return dataclasses.asdict(distiller)  # type: ignore[call-overload,no-any-return]


def defaults_of(distiller: type[Distiller]) -> dict[str, Any]:
    """Return the defaults of a distiller's hyper-parameters by name."""
    return {name: field.default for name, field in hyper_parameters(distiller).items()}


def recorded_fields(distiller: Distiller) -> dict[str, Any]:
    """Return the fields as hashes and records store them.

    A field in ``later`` is left out while it has its default, so that older sets are found.
    """
    defaults = defaults_of(type(distiller))
    return {
        name: value
        for name, value in fields_of(distiller).items()
        if name not in distiller.later or value != defaults[name]
    }


def hyper_parameters(distiller: type[Distiller]) -> dict[str, TypedField]:
    """Return the fields of a distiller with their types and ranges."""
    return typed_fields(distiller)


def parsed_fields(distiller: type[Distiller], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return hyper-parameters as values: text is parsed, other values are kept.

    Raises:
        UnknownNameError: For a field that does not exist.
        OutOfRangeError: For text that stands for no value.
    """
    fields = hyper_parameters(distiller)
    for key in settings:
        require_known(f"field of {distiller.name}", key, fields)
    return {
        key: fields[key].parse(distiller.name, value) if isinstance(value, str) else value
        for key, value in settings.items()
    }


_NAME = re.compile(r"[a-z0-9](?:[a-z0-9_.+-]{0,58}[a-z0-9+])?")
_registry: dict[str, type[Distiller]] = {}
_texts: dict[str, str] = {}  # text of the files that methods were given by, by its hash
_failures: dict[str, str] = {}  # plugins that could not be imported, with the reason
_Plugin = TypeVar("_Plugin", bound=type[Distiller])


def register(
    name: str, *, title: str = "", paper: str | None = None
) -> Callable[[_Plugin], _Plugin]:
    """Make a distiller known under ``name``.

    Args:
        name: small letters and digits with - between.
        title: its usual spelling, for tables; the name if there is none.
        paper: its bibliography key.

    Raises:
        ValueError: if the name is another class's or no name.
        TypeError: if a field has no plain type or no default.
    """

    def enter(distiller: _Plugin) -> _Plugin:
        before = _registry.get(name)
        if before is not None and _place(before) != _place(distiller):
            raise ValueError(
                f"the name {name!r} is taken by {before.__module__}.{before.__qualname__}; choose "
                "another in @register"
            )
        if not _NAME.fullmatch(name):
            raise ValueError(
                f"{name!r} is no name for a method: wanted small letters and digits with - "
                "between, as in 'k-center'"
            )
        try:
            fields = hyper_parameters(distiller)
        except (NameError, TypeError) as error:
            raise TypeError(
                f"{distiller.__qualname__} must be a dataclass whose fields have types that can be "
                f"looked up: {error}"
            ) from error
        for field in fields.values():
            field.require_plain()
        distiller.name, distiller.title, distiller.paper = name, title or name, paper
        distiller.source = _hash_of_functions(distiller)
        _registry[name] = distiller
        return distiller

    return enter


def _hash_of_functions(distiller: type[Distiller]) -> str:
    """Hash the source of the functions in a class and its bases, those of dcbench left out; empty
    if there are none, or Python cannot find their source.
    """
    texts = []
    bases = [base for base in distiller.__mro__ if not base.__module__.startswith("dcbench.")]
    for value in (value for base in bases for value in vars(base).values()):
        # of a static or class method, a property, a cached property
        inside = (getattr(value, name, None) for name in ("__func__", "fget", "func"))
        for function in filter(inspect.isfunction, (value, *inside)):
            with suppress(OSError, TypeError):  # functions that dataclass generates have no source
                texts.append(inspect.getsource(function))
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:12] if texts else ""


def _place(distiller: type[Distiller]) -> tuple[str, str]:
    """Return a class's file (or its module, if that has no file) and its name. The file may have
    been edited since the import.
    """
    module = distiller.__module__
    return str(getattr(sys.modules.get(module), "__file__", None) or module), distiller.__qualname__


def registered() -> dict[str, type[Distiller]]:
    """Return all methods by name: the project's own and those of installed packages.

    A package that fails to import does not hide others; ``import_failures`` tells why it failed.
    """
    for package_name in PACKAGES:
        package = importlib.import_module(package_name)
        for module in pkgutil.iter_modules(package.__path__, f"{package_name}."):
            _import_plugin(module.name, partial(importlib.import_module, module.name))
    for point in installed_plugins():
        _import_plugin(f"{point.name} ({point.value})", point.load)
    return dict(sorted(_registry.items()))


@cache
def installed_plugins() -> tuple[importlib.metadata.EntryPoint, ...]:
    """Return the methods of installed packages. Looking through all packages takes some time."""
    return tuple(importlib.metadata.entry_points(group=ENTRY_POINTS))


def import_failures() -> dict[str, str]:
    """Return plugins that could not be imported, by name, with the reason."""
    return dict(_failures)


def _import_plugin(name: str, load: Callable[[], Any]) -> None:
    try:
        load()
        _failures.pop(name, None)
    except (Exception, SystemExit) as error:  # another project's module can raise anything
        _failures[name] = f"{type(error).__name__}: {error}"


def find(name: str) -> type[Distiller]:
    """Find a method by its name, or by its file as ``./file.py:Class``.

    Raises:
        UnknownNameError: If there is no such method; suggests a similar name.
        DataError: If the file is missing, does not import, or has no such method.
    """
    known = registered()  # load all methods before the file: its methods must not take their names
    if ".py:" in name:
        return _from_file(name)
    if name.endswith(".py") and Path(name).is_file():
        raise DataError(
            f"{name} is a file, which may hold several methods; say which: {name}:Class"
        )
    if name not in known:
        broken = next(
            (
                f" ({plugin} failed to import: {why})"
                for plugin, why in _failures.items()
                if name in plugin
            ),
            "",
        )
        raise UnknownNameError("method", f"{name}{broken}", known)
    return known[name]


def _from_file(name: str) -> type[Distiller]:
    path, _, attribute = name.rpartition(":")
    if not Path(path).is_file():
        raise DataError(
            f"no such file: {path} (wanted a Python file with a distiller called {attribute})"
        )
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not a readable Python file: {error}") from error
    return _class_in(Path(path).resolve(), attribute, text)


def _rebuilt(path: Path, attribute: str, text: str, fields: Mapping[str, Any]) -> Distiller:
    return _class_in(path, attribute, text)(**fields)


@cache
def _class_in(path: Path, attribute: str, text: str) -> type[Distiller]:
    """Return the class in a file of this content; the content is executed once."""
    content = hashlib.sha256(f"{path}\n{text}".encode()).hexdigest()[:12]
    # a module name that no other file has
    module = types.ModuleType(f"dcbench_plugin_{path.stem}_{content}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module
    try:
        # the method that its user named
        exec(compile(text, path, "exec"), vars(module))  # noqa: S102
    except Exception as error:  # another project's module can raise anything
        raise DataError(f"{path} failed to import: {type(error).__name__}: {error}") from error
    found = getattr(module, attribute, None)
    if not (isinstance(found, type) and issubclass(found, Distiller) and hasattr(found, "name")):
        there = [
            key
            for key, value in vars(module).items()
            if hasattr(value, "distill") and hasattr(value, "name")
        ]
        raise DataError(
            f"{path} has no registered distiller called {attribute!r}; it has: "
            f"{', '.join(there) or 'none (see @register)'}"
        )
    found.source = hashlib.sha256(text.encode()).hexdigest()[:12]
    _texts[found.source] = text
    return found
