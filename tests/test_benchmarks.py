"""How the benchmarks time, and what they print into pages: the plain transcription works in a process of its own, and its end is
not taken for a fast round.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks import gpu, presets, tune
from benchmarks.timing import alternating, elsewhere
from dcbench.experiments.presets import build
from dcbench.system.files import read_lines


@pytest.mark.slow
def test_a_contender_elsewhere_does_the_work_each_time_it_is_asked() -> None:
    with elsewhere("plain-epoch", "10") as epoch:
        figures = alternating({"plain": epoch, "nothing": lambda: None}, repeats=3)
    assert figures["plain"]["least"] > 10 * figures["nothing"]["most"]


@pytest.mark.slow
def test_a_contender_that_ends_is_an_error() -> None:
    with elsewhere("plain-epoch", "none") as epoch, pytest.raises((RuntimeError, BrokenPipeError)):
        epoch()


def test_the_page_of_presets_says_what_the_code_says() -> None:
    page = (Path(__file__).parents[1] / "docs" / "reference" / "presets.md").read_text(
        encoding="utf-8"
    )
    for table in (presets.preset_table(), presets.mtt_table(), presets.judging_table()):
        assert "\n".join(table) in page, "run python -m benchmarks.presets"


def answered(words: Sequence[str]) -> tuple[int, str, str]:
    """A run that is over at once: rates above 1 diverge, lower ones score higher."""
    rate = next((float(word[3:]) for word in words if word.startswith("lr=")), 0.5)
    if rate > 1:
        return 1, "", "a line before\ndcbench: loss became nan"
    points = [{"step": 2, "accuracies": [0.1, 0.3]}, {"step": 4, "accuracies": [0.0, 1 - rate]}]
    return 0, json.dumps({"runs": [{"trace": {"record": "here", "points": points}}]}), ""


def test_a_search_gives_each_method_as_many_trials_within_its_ranges() -> None:
    for method in tune.CHOICES:
        found = tune.trials(method, 20, ["./start.pt"])
        assert [trial.number for trial in found] == list(range(20))
        assert found[0].words == ["--method", method, "--preset", "own"]
        assert len({tuple(trial.words) for trial in found}) == 20
        assert found[:5] == tune.trials(method, 5, ["./start.pt"])  # more trials add to them
        for trial in found[1:]:
            setting = {key: value for key, value in trial.setting.items() if key != "zca"}
            build(method, "paper", setting)  # or it raises
    assert any(
        trial.setting.get("init") == "./start.pt" for trial in tune.trials("dm", 40, ["./start.pt"])
    )


def test_a_search_goes_on_where_it_was_and_never_sees_the_test_images(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[Sequence[str]] = []

    def run(words: Sequence[str]) -> tuple[int, str, str]:
        asked.append(words)
        if len(asked) == 4:
            return tune.STOPPED, "", ""
        return answered(words)

    words = ["--out", str(tmp_path), "--trials", "6", "--points", "2,4", "--threads", "1"]
    with pytest.raises(KeyboardInterrupt):
        tune.main(words, run)
    tune.main(words, run)
    assert len(asked) == 1 + 3 * 6  # one of them twice, the one that was stopped
    first, last = capsys.readouterr().out, len(asked)
    for line in asked:
        assert line[line.index("--judge-on") + 1] == "holdout"
        assert line[line.index("--holdout") + 1] == "5000"
        assert line[-3:] == ["--threads", "1", "--json"]
    tune.main(words, run)
    assert len(asked) == last
    assert capsys.readouterr().out == first
    rows = [line.split(" | ") for line in first.splitlines()[2:]]
    assert len(rows) == 18
    for method in tune.CHOICES:
        shown = [row[2] for row in rows if row[0] == f"| {method}"]
        scores = [float(score) for score in shown if score != "–"]
        assert scores == sorted(scores, reverse=True)
        assert shown[len(scores) :] == ["–"] * (
            6 - len(scores)
        )  # failed trials count, and are last
    assert any("loss became nan" in row[3] for row in rows)


def test_a_search_begins_no_trial_when_its_time_is_over(tmp_path: Path) -> None:
    asked: list[Sequence[str]] = []

    def run(words: Sequence[str]) -> tuple[int, str, str]:
        asked.append(words)
        return answered(words)

    tune.main(["--out", str(tmp_path), "--seconds", "-1"], run)
    assert asked == []


def test_pieces_for_a_gpu_go_on_where_the_time_was_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each that is done is kept at once; one that is running is interrupted, and done the next time."""
    monkeypatch.setattr(gpu, "SAVING", 10.0)  # a program that is just starting may miss the signal
    answer, done = tmp_path / "answer.json", tmp_path / "done.jsonl"
    answer.write_text('{"figure": 1}', encoding="utf-8")
    quick, slow = (
        ("json.tool", str(answer)),
        ("timeit", "-n1", "-r1", "import time; time.sleep(50)"),
    )
    tasks = [gpu.Task("first", quick), gpu.Task("slow", slow), gpu.Task("last", quick)]
    begun = time.monotonic()
    assert not gpu.run_tasks(tasks, done, 3.0)
    assert time.monotonic() - begun < 40
    assert [(row["task"], row["result"]) for row in read_lines(done)] == [("first", {"figure": 1})]
    tasks[1] = gpu.Task("slow", ("json.tool", str(tmp_path / "none.json")))
    assert gpu.run_tasks(tasks, done, 60.0)
    rows = read_lines(done)
    assert [row["task"] for row in rows] == ["first", "slow", "last"]
    assert "none.json" in rows[1]["failed"]  # which stops nothing else
    assert gpu.run_tasks(tasks, done, 60.0)
    assert len(read_lines(done)) == 3


def test_pieces_for_a_gpu_are_commands_in_the_order_of_their_worth(tmp_path: Path) -> None:
    asked = gpu.Asked(tmp_path, "cuda", tiny=False, more=("--data-root", "data"))
    names = [task.name for piece in gpu.PIECES.values() for task in piece(asked)]
    assert names[:3] == ["equality on cpu", "equality on cuda", "equality"]
    assert names.index("step datadam 1") < names.index("datadam released IPC 10")
    assert names.index("datadam released IPC 10") < names.index("dm own IPC 1")
    assert names.index("dm own IPC 50") < names.index("mtt own IPC 10")
    assert len(set(names)) == len(names)
    for task in (*gpu.sets(asked), *gpu.costly(asked)):
        assert task.words[-3:] == ("--device", "cuda", "--json")
        assert task.words[-7:-5] == ("--data-root", "data")


@pytest.mark.parametrize("case", [pytest.param("step dm 1", marks=pytest.mark.long), "ensemble 1"])
def test_a_case_of_speed_is_measured_against_the_transcription(case: str, tmp_path: Path) -> None:
    found = gpu.measured(case, gpu.Asked(tmp_path, "cpu", tiny=True))
    assert set(found) == {"plain_seconds", "seconds", "peak_flops", "share_of_peak"}
    assert all(0 < figure < float("inf") for figure in found.values())
