"""Commands in processes of their own that need not import torch anew: a server imports it once and
forks for each of them.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import time
from multiprocessing.context import ForkServerContext
from pathlib import Path

PRELOADED = (
    "torch",
    "torchvision.transforms.v2",
    "sklearn.datasets",
    "pandas",
    "dcbench.cli.run",
    "dcbench.cli.evaluate",
    "dcbench.cli.nas",
    "dcbench.cli.reproduce",
    "dcbench.conformance.checks",
    "dcbench.conformance.trial_runs",
)


class Forked:
    """``python -m module words`` as a fork of the server; used as a ``subprocess.Popen`` in text
    mode whose output is piped.
    """

    def __init__(self, module: str, words: list[str], env: dict[str, str], cwd: Path) -> None:
        said = tempfile.mkdtemp(dir=env["DCBENCH_TESTS_CACHE"])
        self._files = [Path(said) / name for name in ("out", "err")]
        self._process = _server(cwd).Process(
            target=_command, args=(module, words, env, cwd, self._files)
        )
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid
        atexit.register(self.kill)  # the interpreter waits for it before it leaves

    @property
    def returncode(self) -> int | None:
        """What it left with, negative for a signal; None while it runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    @property
    def said(self) -> str:
        """What it has said so far on standard error."""
        return self._files[1].read_text(encoding="utf-8") if self._files[1].exists() else ""

    def send_signal(self, number: int) -> None:
        if self._process.exitcode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """All that it said on standard output and standard error, once it has ended."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
        out, err = (
            path.read_text(encoding="utf-8") if path.exists() else "" for path in self._files
        )
        return out, err


def _server(root: Path) -> ForkServerContext:
    """The context whose server has imported what commands need; its first process starts it."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOADED))
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = str(root)
    try:
        from multiprocessing.forkserver import ensure_running

        ensure_running()
    finally:
        os.environ.pop("PYTHONPATH")
        if before is not None:
            os.environ["PYTHONPATH"] = before
    return context


def _command(
    module: str, words: list[str], env: dict[str, str], cwd: Path, files: list[Path]
) -> None:
    for number, path in enumerate(files, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), number)
    os.environ.clear()
    os.environ.update(env)
    time.tzset()
    os.chdir(cwd)
    sys.argv = [module, *words]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
