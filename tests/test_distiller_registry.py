"""The registry: names with suggestions, fields with ranges, plugins from packages and files, and
broken ones that hide no other.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import torch
from annotated_types import Ge, Lt

import dcbench.distiller as registry
from dcbench.distiller import (
    Distiller,
    find,
    hyper_parameters,
    import_failures,
    register,
    registered,
)
from dcbench.experiments.presets import build
from dcbench.families.selection import chosen_set
from dcbench.images import SyntheticSet, TrainSet
from dcbench.run import Run
from dcbench.system.errors import DataError, OutOfRangeError, UnknownNameError

pytestmark = pytest.mark.usefixtures("unchecked")
PLUGIN = '''
from dataclasses import dataclass
from typing import Annotated
from annotated_types import Ge
from dcbench.distiller import Distiller, register
from dcbench.families.selection import chosen_set, random_members

@register("{name}", paper="me2024")
@dataclass(frozen=True)
class Mine(Distiller):
    """Random under another name."""

    repeats: Annotated[int, Ge(1)] = 3
    presets = {{"quick": {{"repeats": 1}}}}

    def distill(self, train, ipc, run):
        train.require(ipc)
        return chosen_set(train, random_members(train, ipc, run))
'''


HELPED = '''
from dataclasses import dataclass
from dcbench.distiller import Distiller, register

class Base(Distiller):
    def distill(self, train, ipc, run):
        return {scale} * self.factor()

    @staticmethod
    def factor():
        return 1

@register("helped")
@dataclass(frozen=True)
class Helped(Base):
    """Its work is done by its base."""
'''


@dataclass(frozen=True)
class Toy(Distiller):
    """Has a field of every kind."""

    whole: Annotated[int, Ge(1)] = 1
    rate: Annotated[float | None, Ge(0), Lt(1)] = None
    word: Literal["red", "green"] = "red"
    flag: bool = False
    free: str = ""

    presets = {"quick": {"whole": 7, "rate": 0.25}}

    def distill(self, train: TrainSet, ipc: int, run: Run) -> SyntheticSet:
        return chosen_set(train, torch.cat([members[:ipc] for members in train.by_class]))


@pytest.fixture(autouse=True)
def own_registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whatever a test registers is forgotten after it."""
    registered()
    monkeypatch.setattr(registry, "_registry", dict(registry._registry))
    monkeypatch.setattr(registry, "_failures", {})
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.fixture
def toy() -> type[Toy]:
    """Registered as ``toy``."""
    return register("toy", paper="nobody2020")(Toy)


def test_unknown_names_are_refused_with_a_suggestion() -> None:
    with pytest.raises(UnknownNameError, match="unknown method 'datadm'; did you mean 'datadam'"):
        find("datadm")
    with pytest.raises(UnknownNameError, match=r"known: .*datadam"):
        find("zzz")
    with pytest.raises(
        UnknownNameError, match="unknown field of datadam 'powr'; did you mean 'power'"
    ):
        build("datadam", "paper", {"powr": 2})


@pytest.mark.parametrize(
    ("method", "field", "value", "complaint"),
    [
        ("datadam", "power", 0.5, "power must be at least 1.*got 0.5"),
        ("datadam", "balance", -0.1, "balance must be at least 0"),
        ("datadam", "lr", 0.0, "lr must be greater than 0"),
        ("datadam", "lr", 10.5, "lr must be at most 10"),
        ("datadam", "lr", float("nan"), "lr must be"),
        ("datadam", "scale", float("inf"), "scale must be"),
        ("datadam", "momentum", 1.5, "momentum must be at most 1"),
        ("datadam", "iterations", 0, "iterations must be at least 1"),
        ("datadam", "iterations", 1.5, "iterations must be int, got 1.5"),
        ("datadam", "iterations", True, "iterations must be int, got True"),
        ("datadam", "iterations", "many", "iterations must be int, got 'many'"),
        ("datadam", "iterations", None, "iterations must be int, got None"),
        (
            "datadam",
            "init",
            "zeros",
            "init must be one of random, k-center, noise, herding, k-means, facility-location, "
            "or a file of images such as ./images.pt, got 'zeros'",
        ),
        ("datadam", "normalisation", "spectral", "normalisation must be one of"),
        ("k-center", "feature_epochs", 0, "feature_epochs must be at least 1"),
        ("toy", "rate", 1.0, "rate must be less than 1"),
        ("toy", "flag", "maybe", "flag must be bool, got 'maybe'"),
        ("toy", "free", 3, "free must be str, got 3"),
    ],
)
def test_values_out_of_range_are_refused_by_name(
    method: str, field: str, value: Any, complaint: str, toy: type[Toy]
) -> None:
    with pytest.raises(OutOfRangeError, match=f"{method}: {complaint}"):
        build(method, "paper", {field: value})


def test_a_range_holds_however_the_object_is_made(toy: type[Toy]) -> None:
    with pytest.raises(OutOfRangeError, match="toy: whole must be at least 1, got 0"):
        toy(whole=0)
    assert toy(rate=None).rate is None
    assert toy(rate=0).rate == 0  # a whole number is a rate too


def test_words_of_the_command_line_become_values(toy: type[Toy]) -> None:
    words = {"whole": "5", "rate": "0.5", "word": "green", "flag": "true", "free": "12"}
    assert build("toy", "paper", words) == Toy(5, 0.5, "green", True, "12")
    assert build("toy", "paper", {"rate": "none", "flag": "off"}) == Toy(rate=None, flag=False)
    assert isinstance(build("datadam", "paper", {"lr": "1"}), find("datadam"))


def test_a_preset_s_fields_come_before_the_user_s(toy: type[Toy]) -> None:
    assert build("toy", "quick") == Toy(whole=7, rate=0.25)
    assert build("toy", "quick", {"whole": 2}) == Toy(whole=2, rate=0.25)
    assert build("toy", "paper") == build("toy", "a preset that it does not have") == Toy()


def test_fields_tell_their_kind_and_range(toy: type[Toy]) -> None:
    fields = hyper_parameters(toy)
    assert list(fields) == ["whole", "rate", "word", "flag", "free"]
    assert fields["word"].choices == ("red", "green")
    assert fields["rate"].default is None
    assert set(fields["rate"].kinds) == {float, type(None)}


def test_a_taken_name_is_refused(toy: type[Toy]) -> None:
    class Other(Toy):
        """Another class."""

    with pytest.raises(ValueError, match=r"the name 'toy' is taken by .*Toy; choose another"):
        register("toy")(Other)
    assert find("toy") is toy
    assert register("toy")(toy) is toy  # the same class again, as when its module is loaded anew


def source_of(scale: float, folder: Path) -> str:
    """The source of a method of a module, whose helpers are static, inherited and a property."""
    text = HELPED.format(scale=scale)
    path = folder / f"helped{scale}.py"
    path.write_text(text, encoding="utf-8")
    registry._registry.pop("helped", None)
    module = types.ModuleType(path.stem)
    module.__file__ = str(path)
    sys.modules[path.stem] = module
    exec(compile(text, path, "exec"), vars(module))  # noqa: S102 - written above
    return str(module.Helped.source)


def test_a_method_of_one_s_own_is_known_by_all_its_functions(tmp_path: Path) -> None:
    assert source_of(1.0, tmp_path)
    assert source_of(1.0, tmp_path) == source_of(1.0, tmp_path)
    assert source_of(1.0, tmp_path) != source_of(2.0, tmp_path)
    assert not find("dm").source


# -----------------------------------------------------------------------------------------------------------------
# plugins


def write_plugin(folder: Path, name: str = "mine", file: str = "mine.py") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / file).write_text(PLUGIN.format(name=name), encoding="utf-8")
    return folder / file


def test_a_class_in_a_file_is_a_method(tmp_path: Path, tiny: TrainSet, run: Run) -> None:
    path = write_plugin(tmp_path)
    mine = build(f"{path}:Mine", "quick")
    assert (mine.name, mine.paper) == ("mine", "me2024")
    assert getattr(mine, "repeats") == 1  # noqa: B009 - of a class that is made while the test runs
    assert len(mine.distill(tiny, 2, run)) == 20
    assert find(f"{path}:Mine") is type(mine)


@pytest.mark.parametrize("name", ["My Method/../x", "", "-dm", "DM"])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is no name for a method: wanted small letters"):
        register(name)(Toy)


@pytest.mark.parametrize(
    ("annotation", "default", "complaint"),
    [
        (
            "tuple[int, ...]",
            (1, 2),
            "field odd is a tuple.*; it may be a bool, int, float, str or Literal",
        ),
        ("dict", None, "field odd is a dict; it may be"),
        ("int", dataclasses.MISSING, "field odd has no default"),
    ],
)
def test_fields_that_no_command_line_could_set_are_refused(
    annotation: str, default: Any, complaint: str
) -> None:
    members = {} if default is dataclasses.MISSING else {"odd": default}
    odd = type(
        "Odd",
        (Distiller,),
        {"__annotations__": {"odd": annotation}, "__module__": __name__, **members},
    )
    with pytest.raises(TypeError, match=complaint):
        register("odd")(dataclass(frozen=True)(odd))


def test_fields_say_what_they_may_be(toy: type[Toy]) -> None:
    domains = {name: field.domain for name, field in hyper_parameters(toy).items()}
    assert domains == {"whole": "≥1", "rate": "≥0, <1", "word": "red|green", "flag": "", "free": ""}


def test_what_is_wrong_with_a_file_is_said(tmp_path: Path) -> None:
    path = write_plugin(tmp_path)
    with pytest.raises(DataError, match=r"no such file: .*absent.py"):
        find(f"{tmp_path}/absent.py:Mine")
    with pytest.raises(DataError, match=r"'Yours'.* Mine"):
        find(f"{path}:Yours")
    (tmp_path / "broken.py").write_text("import nothing_of_this_name", encoding="utf-8")
    with pytest.raises(
        DataError, match=r"broken.py failed to import: ModuleNotFoundError: .*nothing_of_this_name"
    ):
        find(f"{tmp_path}/broken.py:Mine")
    write_plugin(tmp_path, name="datadam", file="thief.py")
    with pytest.raises(
        DataError, match=r"the name 'datadam' is taken by dcbench\.methods\.datadam\.DataDAM"
    ):
        find(f"{tmp_path}/thief.py:Mine")


def test_a_broken_plugin_hides_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "stranger_methods"
    write_plugin(package, name="good")
    (package / "__init__.py").write_text("", encoding="utf-8")
    (package / "bad.py").write_text("raise RuntimeError('of its own making')", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(registry, "PACKAGES", (*registry.PACKAGES, "stranger_methods"))
    assert {"good", "datadam"} <= set(registered())
    assert import_failures() == {"stranger_methods.bad": "RuntimeError: of its own making"}
    with pytest.raises(
        UnknownNameError,
        match=r"stranger_methods.bad failed to import: RuntimeError: of its own making",
    ):
        find("bad")


def test_installed_packages_add_methods_by_entry_points(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_plugin(tmp_path, name="installed", file="installed_plugin.py")
    monkeypatch.syspath_prepend(tmp_path)
    points = importlib.metadata.EntryPoints(
        importlib.metadata.EntryPoint(name, value, "dcbench.distillers")
        for name, value in (
            ("installed", "installed_plugin:Mine"),
            ("gone", "nothing_of_this_name:Gone"),
        )
    )
    monkeypatch.setattr(
        importlib.metadata, "entry_points", lambda group: points.select(group=group)
    )
    registry.installed_plugins.cache_clear()
    try:
        assert "installed" in registered()
        assert list(import_failures()) == ["gone (nothing_of_this_name:Gone)"]
    finally:
        registry.installed_plugins.cache_clear()


def test_every_method_says_what_it_is() -> None:
    own = {
        name: distiller
        for name, distiller in registered().items()
        if distiller.__module__.startswith("dcbench.")
    }
    assert "datadam" in own
    for name, distiller in own.items():
        assert distiller.name == name
        assert distiller.__doc__ or ""
        assert sys.modules[distiller.__module__].__doc__ or ""
        assert distiller.version >= 1


def test_a_file_of_methods_needs_a_class_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("", encoding="utf-8")
    with pytest.raises(
        DataError,
        match=rf"{path} is a file, which may hold several methods; say which: {path}:Class",
    ):
        find(str(path))


TWO_CLASSES = """
from dataclasses import dataclass
from dcbench.distiller import Distiller, register

@dataclass(frozen=True)
class {helper}:
    value: int = 1

@register("{name}")
@dataclass(frozen=True)
class M(Distiller):
    \"\"\"A method.\"\"\"

    amount: int = {helper}().value

    def distill(self, train, ipc, run):
        return {helper}
"""


def test_two_files_of_one_name_do_not_see_each_other_s_names(tmp_path: Path) -> None:
    found = []
    for folder in ("a", "b"):
        path = tmp_path / folder / "method.py"
        path.parent.mkdir()
        text = TWO_CLASSES.format(name=f"method-{folder}", helper=f"Helper{folder.upper()}")
        path.write_text(text, encoding="utf-8")
        found.append(registry.find(f"{path}:M"))
    assert len({method.__module__ for method in found}) == 2
    for method in found:
        assert set(hyper_parameters(method)) == {"amount"}
        assert method().distill.__globals__ is vars(sys.modules[method.__module__])


def test_two_files_may_not_take_one_name_but_an_edited_file_may_keep_its_own(
    tmp_path: Path,
) -> None:
    first, second = tmp_path / "first.py", tmp_path / "second.py"
    first.write_text(TWO_CLASSES.format(name="taken-once", helper="One"), encoding="utf-8")
    before = registry.find(f"{first}:M")
    first.write_text(TWO_CLASSES.format(name="taken-once", helper="Two"), encoding="utf-8")
    after = registry.find(f"{first}:M")
    assert before.source != after.source
    second.write_text(TWO_CLASSES.format(name="taken-once", helper="Three"), encoding="utf-8")
    with pytest.raises(DataError, match="taken-once"):
        registry.find(f"{second}:M")
