"""What people see: progress now and then, tables that give way where the page is narrow, and JSON
that is JSON.
"""

from __future__ import annotations

import signal

import pytest
from rich.console import Console as RichConsole

from dcbench.cli import console as module
from dcbench.cli.console import Console, TextTable

TABLE = TextTable(
    "Scores",
    ["method", "accuracy", "evaluated in", "distilled in"],
    [["datadam", "85.1", "4 s", "12 s"], ["k-center [1]", "7.2", "30 s", "–"]],
    optional=["evaluated in", "distilled in"],
)


def drawn(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> list[str]:
    def page(stderr: bool) -> RichConsole:
        return RichConsole(stderr=stderr, width=width, highlight=False, soft_wrap=True)

    monkeypatch.setattr(module, "_console", page)
    Console().table(TABLE)
    return [line.strip() for line in capsys.readouterr().out.splitlines() if line.strip(" ─")]


def test_columns_give_way_the_least_important_first(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    heads = [drawn(width, monkeypatch, capsys)[1].split("  ") for width in (80, 45, 30)]
    assert [[word.strip() for word in head if word.strip()] for head in heads] == [
        ["method", "accuracy", "evaluated in", "distilled in"],
        ["method", "accuracy", "evaluated in"],
        ["method", "accuracy"],
    ]


def test_names_are_shown_as_they_are_and_figures_stand_below_each_other(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    title, head, datadam, k_center = drawn(30, monkeypatch, capsys)
    assert title == "Scores"
    assert k_center.startswith("k-center [1]")  # no markup
    assert head.index("accuracy") + len("accuracy") == len(datadam) == len(k_center)


def test_where_there_is_no_terminal_progress_is_told_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter([0.0, 10.0, 40.0, 41.0, 400.0, 401.0, 5000.0, 5040.0])
    monkeypatch.setattr("dcbench.cli.console.time.monotonic", lambda: next(clock))
    console = Console()
    for done in (10, 20, 50, 51, 60, 100, 0, 50):  # the last two of another set of the same name
        console.progress("dm IPC 1 seed 0: distill", done, 100)
    assert capsys.readouterr().err.splitlines() == [
        "dm IPC 1 seed 0: distill: 50 of 100, 50 s left",
        "dm IPC 1 seed 0: distill: 60 of 100, about 6 min left",
        "dm IPC 1 seed 0: distill: 50 of 100, 40 s left",
    ]


def test_the_time_of_a_first_step_of_many_foretells_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter([0.0, 60.0, 100.0, 0.0, 60.0])
    monkeypatch.setattr("dcbench.cli.console.time.monotonic", lambda: next(clock))
    console = Console()
    for done in (0, 1, 101):  # the first step compiles for a minute
        console.progress("cgan IPC 1 seed 0: adversarial", done, 1001)
    for done in (0, 1):
        console.progress("cgan IPC 1 seed 0: networks", done, 5)
    assert capsys.readouterr().err.splitlines() == [
        "cgan IPC 1 seed 0: adversarial: 1 of 1001",
        "cgan IPC 1 seed 0: adversarial: 101 of 1001, about 6 min left",
        "cgan IPC 1 seed 0: networks: 1 of 5, about 4 min left",
    ]


def test_of_parts_that_differ_no_time_is_foretold(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter([0.0, 10.0, 50.0])
    monkeypatch.setattr("dcbench.cli.console.time.monotonic", lambda: next(clock))
    console = Console()
    for done in (0, 4, 8):
        console.progress("dm: checks", done, 14, even=False)
    assert capsys.readouterr().err.splitlines() == ["dm: checks: 8 of 14"]


def test_sentences_are_folded_and_no_line_of_a_pipe_ends_in_spaces(
    capsys: pytest.CaptureFixture[str],
) -> None:
    why = "two sets of the same seed differ: all randomness must come from run.generator " * 3
    rows = [["budget", "passed", ""], ["same seed", "failed", why]]
    head = ["check", "outcome", "why"]
    Console().table(TextTable("dm: contract", head, rows, words=3, folded=True))
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= module.PAGE
    assert lines == [line.rstrip() for line in lines]
    assert why.replace(" ", "") in "".join(lines).replace(" ", "")


def test_results_are_json_without_nan(capsys: pytest.CaptureFixture[str]) -> None:
    Console(as_json=True).result({"mean": None})
    Console(as_json=False).result({"mean": 1.0})
    assert capsys.readouterr().out == '{"mean": null}\n'
    with pytest.raises(ValueError, match="not JSON compliant"):
        Console(as_json=True).result({"mean": float("nan")})


def test_signals_are_handled_inside_and_given_back(capsys: pytest.CaptureFixture[str]) -> None:
    before = [signal.getsignal(number) for number in module.SIGNALS]
    with Console() as console:
        assert not console.stopping()
        signal.raise_signal(signal.SIGTERM)
        assert console.stopping()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert [signal.getsignal(number) for number in module.SIGNALS] == before
    assert capsys.readouterr().err.startswith("stopping when this step or network is done")
