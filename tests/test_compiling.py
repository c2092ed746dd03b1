"""Compiled functions, and what is left in torch's cache when a compiler is killed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
COMPILED = """
import torch
from dcbench.machine import Machine
machine = Machine(torch.device("cpu"), 1, "fp32", "compiled")
assert torch.equal(machine.accelerate(lambda x: x.square().sum(0) + 1)(torch.arange(6.0).view(2, 3)), torch.tensor([10.0, 18.0, 30.0]))
"""


def compute(cache: Path) -> None:
    place = {**os.environ, "TORCHINDUCTOR_CACHE_DIR": str(cache)}
    ended = subprocess.run([sys.executable, "-c", COMPILED], env=place, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


def test_a_library_that_a_killed_compiler_left_is_compiled_again(tmp_path: Path) -> None:
    compute(tmp_path)
    for damaged in (b"", bytes(5000)):
        libraries = list(tmp_path.rglob("*.main.so"))
        assert libraries
        for library in libraries:
            library.write_bytes(damaged)
        compute(tmp_path)
        assert all(library.stat().st_size > 1000 for library in libraries)
