"""``python -m benchmarks.tune``: search the settings of DataDAM, DM and MMD on images that are kept
from distillation, each method with as many trials.

A trial is one ``dcbench run --holdout N --judge-on holdout``, traced at a few steps, so that the
number of steps is chosen with the rest. The first trial of a method is its own setting; the others
are drawn without repetition from ``CHOICES``, which stay within the ranges of DataDAM's Table 2. The
test images are never looked at. Each finished trial is a line of ``OUT/trials.jsonl`` beside the
records of the runs; a trial that fails counts, and is not tried again. Killed and started again, the
search goes on; more ``--trials`` add to those that there are.

    python -m benchmarks.tune --out search --ipc 10 --trials 12 --data-root DATA
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dcbench.system.files import append_line, read_lines

SHARED: Mapping[str, tuple[str, ...]] = {
    "zca": ("off", "on", "pixels"),
    "init": ("random", "herding", "k-means"),
    "lr": ("0.1", "0.3", "1", "3", "10"),
}
OBSERVING: Mapping[str, tuple[str, ...]] = {**SHARED, "normalisation": ("instance", "batch")}
CHOICES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "datadam": {**OBSERVING, "power": ("1", "2", "4"), "balance": ("0.001", "0.01", "0.1", "1")},
    "dm": OBSERVING,
    "mmd": SHARED,
}
STOPPED = 130  # the exit code of a command that its user stopped
Runner = Callable[[Sequence[str]], "tuple[int, str, str]"]


@dataclass(frozen=True)
class Trial:
    """One setting of one method."""

    method: str
    number: int
    setting: Mapping[str, str]  # of fields, and ``zca``; empty: the preset ``own``

    @property
    def words(self) -> list[str]:
        """The setting as options of ``dcbench run``."""
        if not self.setting:
            return ["--method", self.method, "--preset", "own"]
        fields = {key: value for key, value in self.setting.items() if key != "zca"}
        said = [word for key, value in fields.items() for word in ("--set", f"{key}={value}")]
        return ["--method", self.method, "--preset", "paper", "--zca", self.setting["zca"], *said]


def trials(method: str, count: int, starts: Sequence[str] = ()) -> list[Trial]:
    """The first ``count`` trials of a method; ``starts`` are further choices of ``init``."""
    choices = {**CHOICES[method]}
    choices["init"] = (*choices["init"], *starts)
    every = [
        dict(zip(choices, values, strict=True)) for values in itertools.product(*choices.values())
    ]
    random.Random(method).shuffle(every)  # noqa: S311 - a search, no secret
    settings: list[Mapping[str, str]] = [{}, *every]
    if count > len(settings):
        raise ValueError(f"{method} has {len(settings)} different settings, got --trials {count}")
    return [Trial(method, number, setting) for number, setting in enumerate(settings[:count])]


def command_line(words: Sequence[str]) -> tuple[int, str, str]:
    """The exit code of ``dcbench words``, its standard output and its messages."""
    ran = subprocess.run(
        [sys.executable, "-m", "dcbench", *words], capture_output=True, text=True, check=False
    )
    return ran.returncode, ran.stdout, ran.stderr


def run_trial(trial: Trial, asked: Sequence[str], run: Runner = command_line) -> dict[str, Any]:
    """What ``OUT/trials.jsonl`` says of a trial; raises KeyboardInterrupt if it was stopped."""
    words = ["run", *trial.words, *asked]
    code, said, messages = run([*words, "--json"])
    if code == STOPPED:
        raise KeyboardInterrupt
    row = {"method": trial.method, "number": trial.number, "setting": dict(trial.setting)}
    row["words"] = words
    if code:
        return {**row, "failed": (messages.strip().splitlines() or [f"exit code {code}"])[-1]}
    (done,) = json.loads(said)["runs"]
    points = {str(point["step"]): point["accuracies"] for point in done["trace"]["points"]}
    return {**row, "points": points, "record": done["trace"]["record"]}


def search(
    wanted: Sequence[Trial],
    asked: Sequence[str],
    file: Path,
    until: float,
    run: Runner = command_line,
) -> list[dict[str, Any]]:
    """The rows of the trials, those of ``file`` and those that are done now. None begins after
    ``until``, by ``time.monotonic``.
    """
    rows = [dict(row) for row in read_lines(file)]
    for trial in wanted:
        words = ["run", *trial.words, *asked]
        if any(row.get("words") == words for row in rows) or time.monotonic() > until:
            continue
        rows.append(run_trial(trial, asked, run))
        append_line(file, rows[-1])
    known = [["run", *trial.words, *asked] for trial in wanted]
    return [row for row in rows if row.get("words") in known]


def best_point(row: Mapping[str, Any]) -> tuple[float, int]:
    """The highest mean accuracy of a trial on the images kept apart, and after how many steps."""
    return max((statistics.fmean(each), int(step)) for step, each in row["points"].items())


def table(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """All trials as a Markdown table, each method's best first, failed ones last."""
    yield "| method | trial | accuracy on the holdout, % | after steps | setting |"
    yield "| --- | ---: | ---: | ---: | --- |"
    for method in dict.fromkeys(row["method"] for row in rows):
        own = [row for row in rows if row["method"] == method]
        done = sorted((row for row in own if "points" in row), key=best_point, reverse=True)
        for row in (*done, *(row for row in own if "points" not in row)):
            mean, step = best_point(row) if "points" in row else (None, row["failed"])
            setting = ", ".join(f"{key}={value}" for key, value in row["setting"].items()) or "own"
            shown = "–" if mean is None else f"{100 * mean:.1f}"
            yield f"| {method} | {row['number']} | {shown} | {step} | {setting} |"


def parse(words: Sequence[str] | None) -> tuple[argparse.Namespace, list[str]]:
    """The options of the search, and those that are handed on to ``dcbench run``."""
    parser = argparse.ArgumentParser(
        description="Search settings on a holdout. Other options are handed on to dcbench run, such as --precision bf16."
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--methods", default=",".join(CHOICES), help="of %(default)s")
    parser.add_argument("--dataset", default="cifar10")
    parser.add_argument("--ipc", default="10")
    parser.add_argument("--trials", type=int, default=12, help="of each method")
    parser.add_argument(
        "--points", default="250,500,1000,2000", help="steps; the last ends a trial"
    )
    parser.add_argument("--networks", default="2", help="that judge each point")
    parser.add_argument("--protocol", default="lineage")
    parser.add_argument("--holdout", default="5000")
    parser.add_argument(
        "--init", action="append", default=[], help="a further start, such as a file"
    )
    parser.add_argument("--seconds", type=float, default=float("inf"), help="no trial begins later")
    return parser.parse_known_args(words)


def main(words: Sequence[str] | None = None, run: Runner = command_line) -> None:
    options, rest = parse(words)
    asked = ["--dataset", options.dataset, "--ipc", options.ipc, "--protocol", options.protocol]
    asked += ["--holdout", options.holdout, "--judge-on", "holdout", "--networks", options.networks]
    asked += ["--trace", options.points, "--set", f"iterations={options.points.split(',')[-1]}"]
    asked += ["--out", str(options.out), *rest]
    each = [trials(method, options.trials, options.init) for method in options.methods.split(",")]
    # in turns, so that methods have as many trials wherever the search stops
    wanted = list(itertools.chain(*zip(*each, strict=True)))
    until = time.monotonic() + options.seconds
    rows = search(wanted, asked, options.out / "trials.jsonl", until, run)
    print("\n".join(table(rows)))


if __name__ == "__main__":
    main()
