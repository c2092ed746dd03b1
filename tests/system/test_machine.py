"""What a machine says of memory: of the work that is being done, not of what the process did
before.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch

from dcbench.records import EvaluationRecord, read_record
from dcbench.system import memory
from dcbench.system.machine import Machine, Precision, resolve
from tests.commandline import RANDOM, done, environment

SPENT = 512 << 20  # bytes
forgets = pytest.mark.skipif(
    not memory.MARKS.exists(), reason="only Linux forgets how much a process has held"
)
keeps = pytest.mark.skipif(
    memory.gnu_library() is None,
    reason="only GNU's C library keeps freed memory when it is told to",
)


def spend() -> None:
    """Hold so much, and give it back."""
    torch.ones(SPENT // 4).sum()


def peak(machine: Machine) -> int:
    """What the machine says of its memory, on a system that says it."""
    said = machine.peak_memory_bytes()
    assert said is not None
    return said


def held() -> int:
    """What this process holds now, in bytes."""
    return (
        int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        * resource.getpagesize()
    )


@forgets
def test_memory_that_was_given_back_is_forgotten(machine: Machine) -> None:
    spend()
    before = peak(machine)
    machine.forget_peak_memory()
    assert peak(machine) < before - SPENT // 2
    spend()
    assert peak(machine) > before - SPENT // 2


@forgets
def test_a_record_tells_the_memory_of_its_own_work(machine: Machine, tmp_path: Path) -> None:
    done(*RANDOM, "--out", tmp_path / "first")  # what it loads, it will hold
    spend()
    before = peak(machine)
    (run,) = done(*RANDOM, "--out", tmp_path, "--json").json["runs"]
    record = read_record(Path(run["record"]))
    assert isinstance(record, EvaluationRecord)
    assert record.distillation is not None
    for most in (record.distillation.peak_memory_bytes, record.peak_memory_bytes):
        assert most is not None
        assert 0 < most < before - SPENT // 4


def faults_of_rounds() -> list[int]:
    """How many pages the system cleared in each of twenty rounds: two tensors of 48 MiB, what a
    layer sees in a hundred images.
    """
    resolve("cpu")
    cleared = []
    for _ in range(20):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        del [torch.ones(12 << 20), torch.ones(12 << 20)][:]
        cleared.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    return cleared


@keeps
def test_memory_that_a_step_frees_serves_the_next_step() -> None:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as fresh:
        first, *_, last = fresh.submit(faults_of_rounds).result()
    assert first > 40  # pages of 96 MiB, however large they are
    assert last < first // 20


@forgets
@keeps
def test_kept_memory_is_given_back_where_room_is_needed(machine: Machine) -> None:
    machine.take()
    spend()
    kept = held()
    machine.free()
    assert held() < kept - SPENT // 2


@pytest.mark.parametrize(
    ("flags", "precision", "wanted"),
    [("amx_bf16 avx512_bf16", "bf16", 5), ("avx512_bf16", "bf16", 8.75), ("", "fp32", 50 / 3)],
)
def test_an_estimate_knows_what_multiplies_bf16(
    flags: str, precision: Precision, wanted: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dcbench.system.machine._cpu_line", lambda _key: flags)
    machine = Machine(torch.device("cpu"), 1, precision, "compiled")
    assert machine.estimate_seconds(7e11) == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("flags", "wanted"),
    [
        ("avx2 amx_bf16", "bf16"),
        ("avx512f avx512_bf16", "bf16"),
        ("avx512f avx2", "fp32"),
        ("", "fp32"),
    ],
)
def test_auto_is_bf16_where_the_processor_multiplies_it(
    flags: str, wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dcbench.system.machine._cpu_line", lambda _key: flags)
    assert resolve("cpu").precision == wanted
    assert [resolve("cpu", precision=precision).precision for precision in ("fp32", "bf16")] == [
        "fp32",
        "bf16",
    ]


@pytest.mark.parametrize(
    ("capability", "wanted"), [((9, 0), "bf16"), ((8, 0), "bf16"), ((7, 5), "fp32")]
)
def test_auto_is_bf16_where_the_gpu_multiplies_it(
    capability: tuple[int, int], wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: capability)
    assert resolve("cuda:0").precision == wanted
    # not on this machine: nothing is known of it
    assert resolve("cuda:1", here=False).precision == "fp32"


def test_fp32_on_a_gpu_has_no_tf32_and_torch_can_still_be_asked() -> None:
    """Said in one way only, torch's own code raises where it reads the other."""
    words = """
import torch
from dcbench.system.machine import Machine
torch.set_float32_matmul_precision("high")
for _ in range(2):
    Machine(torch.device("cuda"), 1, "fp32").take()
cudnn = torch.backends.cudnn
assert cudnn.allow_tf32 is False
assert cudnn.conv.fp32_precision == "ieee"
assert cudnn.deterministic is True
assert torch.get_float32_matmul_precision() == "highest"
Machine(torch.device("cuda"), 1, "fp32", "compiled").accelerate(torch.sin)
from torch._inductor import config
assert config.deterministic is True
with cudnn.flags(enabled=True):
    raise SystemExit(73)  # got as far as here: torch's own code has read both
"""
    ran = subprocess.run(
        [sys.executable, "-c", words],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 73, ran.stderr


@pytest.mark.parametrize(
    ("compilers", "capability", "triton", "count", "engine"),
    [
        ({"gcc"}, (8, 0), True, 1, "compiled"),
        ({"clang"}, (7, 0), True, 1, "compiled"),
        (set(), (8, 0), True, 1, "eager"),
        ({"gcc"}, (6, 1), True, 1, "eager"),
        ({"gcc"}, (8, 0), False, 1, "eager"),
        (set(), (6, 1), False, 0, "compiled"),  # not on this machine: nothing is known of it
    ],
)
def test_work_is_compiled_for_a_gpu_only_where_it_can_be(
    compilers: set[str],
    capability: tuple[int, int],
    triton: bool,
    count: int,
    engine: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "dcbench.system.machine.shutil.which", lambda name: name if name in compilers else None
    )
    monkeypatch.setattr(
        "dcbench.system.machine.find_spec", lambda _name: object() if triton else None
    )
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: capability)
    assert Machine(torch.device("cuda"), 1, "fp32").decide(1e15).engine == engine


def test_a_gpu_is_woken_before_its_memory_is_asked_about(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(torch.cuda, "init", lambda: asked.append("init"))
    monkeypatch.setattr(
        torch.cuda, "reset_peak_memory_stats", lambda device: asked.append(str(device))
    )
    Machine(torch.device("cuda:1"), 1, "fp32").forget_peak_memory()
    assert asked == ["init", "cuda:1"]


@pytest.mark.parametrize(("precision", "images"), [("fp32", 16), ("bf16", 32)])
def test_a_chunk_s_activations_fit_the_cache(precision: Precision, images: int) -> None:
    assert Machine(torch.device("cpu"), 1, precision).chunk(128 * 32 * 32) == images


def test_where_nothing_is_forgotten_the_mark_is_the_process_s(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("STATUS", "MARKS"):
        monkeypatch.setattr(memory, name, tmp_path / "nowhere" / name)
    machine.forget_peak_memory()
    assert peak(machine) >= resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def test_a_system_without_resource_says_nothing_and_records_keep_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("STATUS", "MARKS"):
        monkeypatch.setattr(memory, name, tmp_path / "nowhere" / name)
    monkeypatch.setitem(sys.modules, "resource", None)  # as on Windows
    (run,) = done(*RANDOM, "--out", tmp_path, "--json").json["runs"]
    assert run["peak_memory_bytes"] is None
    record = read_record(Path(run["record"]))
    assert isinstance(record, EvaluationRecord)
    assert record.peak_memory_bytes is None
