"""Ctrl-C and SIGTERM: what is done is kept, and the user is told how to go on."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from tests.faults.victims import (
    COMMAND,
    STEPS,
    accuracies,
    artifact_of,
    finish,
    lines,
    start,
    steps_done,
    wait_until,
)

pytestmark = pytest.mark.slow


def test_interrupted_twice_and_gone_on_with(tmp_path: Path) -> None:
    whole, _ = finish(start(*COMMAND, "--out", tmp_path / "undisturbed", "--json"))
    out = tmp_path / "out"
    words = (*COMMAND, "--out", out)

    distilling = start(*words)  # no checkpoint but the one that stopping makes
    wait_until(lambda: any(out.rglob(".lock")), distilling)
    distilling.send_signal(signal.SIGINT)
    _, err = distilling.communicate()
    assert distilling.returncode == 130, err
    first, last = err.strip().splitlines()
    assert (
        first == "stopping when this step or network is done, to keep it; once more to stop at once"
    )
    assert (
        last
        == f"dcbench: stopped; what is done is kept. The same command goes on from there: dcbench {' '.join(map(str, words))}"
    )
    assert 0 < steps_done(out) < STEPS
    assert not list(out.rglob("synthetic.pt"))

    evaluating = start(*words)
    wait_until(lambda: len(lines(out)) > 0, evaluating)
    evaluating.send_signal(signal.SIGTERM)  # as a scheduler does
    _, err = evaluating.communicate()
    assert evaluating.returncode == 130, err
    assert 0 < len(lines(out)) < 6
    assert not list(out.rglob("record.json"))  # an interrupted run is not taken for a finished one

    said, _ = finish(start(*words, "--json"))
    assert artifact_of(out) == artifact_of(tmp_path / "undisturbed")
    assert accuracies(said) == accuracies(whole)
    assert [row["network"] for row in lines(out)] == [0, 1, 2, 3, 4, 5]


def test_the_second_interruption_stops_at_once(tmp_path: Path) -> None:
    endless = ("--networks", "1", "--epochs", "1000000", "--threads", "1", "--engine", "eager")
    process = start("run", "--method", "random", *endless, "--out", tmp_path)
    # before that, one interruption stops it between two units
    wait_until(lambda: "training 1 network takes about" in process.said, process)
    time.sleep(2)
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert process.poll() is None  # it would like to finish this network
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in err
