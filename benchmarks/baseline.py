"""Print the numbers that a change of structure must leave alone: run before and after, and compare
with ``diff``.

Every method makes a small set of digits on one thread in eager fp32. Printed are each set's content
hash, the accuracy of each network of ``run`` and ``evaluate``, the accuracy of each architecture of
``nas``, and the text of the report on ``results/``. The script knows the commands and the files
that they leave, and no module, so that modules may move.

    python -m benchmarks.baseline > before.txt
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
EXACT = ("--threads", "1", "--precision", "fp32", "--engine", "eager", "--seed", "0")
JUDGED = ("--networks", "2", "--epochs", "3")
METHODS = (
    *("random", "k-center", "herding", "mmd", "dm", "datadam", "dc", "dsa", "cafe", "kip", "mtt"),
    *("dcvae", "cgan", "biggan", "gmmn"),
)
SMALL = (
    *(
        "iterations=4",
        "feature_epochs=4",
        "real_batch=16",
        "batch=8",
        "width=16",
        "latent=8",
        "turns=1",
        "outer=2",
        "inner=1",
    ),
    *(
        "mtt.experts=2",
        "mtt.expert_epochs=1",
        "mtt.max_start_epoch=1",
        "mtt.student_steps=2",
        "kip.networks=1",
    ),
    *(
        "cafe.query=4",
        "cafe.most_outer=2",
        "cafe.most_inner=2",
        "dcvae.negatives=16",
        "gmmn.code_width=16",
    ),
    *(
        "gmmn.code_iterations=2",
        "cgan.latent_units=8",
        "cgan.label_units=8",
        "biggan.latent_chunk=2",
        "biggan.embedding=8",
    ),
)


def dcbench(*words: str | Path) -> str:
    """The standard output of ``dcbench words``; stops with its messages if it fails."""
    ran = subprocess.run(
        [sys.executable, "-m", "dcbench", *map(str, words)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if ran.returncode:
        sys.exit(f"dcbench {' '.join(map(str, words))}: exit code {ran.returncode}\n{ran.stderr}")
    return ran.stdout


def asked(*words: str | Path) -> dict[str, Any]:
    """The JSON object of a command."""
    return dict(json.loads(dcbench(*words, "--json")))


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        common = ("--dataset", "digits", *EXACT, "--out", out)
        settings = [word for value in SMALL for word in ("--set", value)]
        runs = asked(
            "run",
            "--method",
            ",".join(METHODS),
            "--ipc",
            "2",
            "--preset",
            "quick",
            *settings,
            *JUDGED,
            *common,
        )["runs"]
        runs += asked(
            "run",
            "--method",
            "whole",
            "--preset",
            "quick",
            "--networks",
            "1",
            "--epochs",
            "2",
            *common,
        )["runs"]
        for run in runs:
            content = json.loads(Path(run["record"]).read_text(encoding="utf-8"))["content"]
            print("run", run["method"], content, *run["accuracies"])
        judged = asked(
            "evaluate",
            out / "dm.pt",
            out / "kip.pt",
            "--augment",
            "none,autoaugment",
            *JUDGED,
            *common,
        )
        for evaluation in judged["evaluations"]:
            print(
                "evaluate", evaluation["method"], evaluation["augment"], *evaluation["accuracies"]
            )
        searched = (
            "--proxy",
            out / "dm.pt",
            "--proxy",
            "random",
            "--sample",
            "4",
            "--epochs",
            "2",
            "--truth-epochs",
            "1",
            "--space",
            "convnet720",
        )
        asked("nas", *searched, *common)
        for rows in sorted(out.rglob("architectures.jsonl")):
            for line in rows.read_text(encoding="utf-8").splitlines():
                row = json.loads(line)
                print(
                    "nas",
                    rows.parent.name,
                    row["architecture"],
                    row["seed"],
                    row["accuracy"],
                    row["test_accuracy"],
                )
    print(dcbench("report", "--results", "results", "--format", "markdown"))


if __name__ == "__main__":
    main()
