"""The machine: device, threads, precision and engine. The only module that names a device."""

from __future__ import annotations

import logging
import platform
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from dcbench.system import memory
from dcbench.system.errors import (
    OUT_OF_MEMORY,
    DeviceError,
    OutOfRangeError,
    UnknownNameError,
    require_known,
)

Precision = Literal["fp32", "bf16"]
Engine = Literal["eager", "compiled"]

PRECISIONS = ("auto", "fp32", "bf16")
ENGINES = ("auto", "eager", "compiled")
EXACT = "cpu"  # the device that sums in a fixed order, so that the same work gives the same bits
MOST_THREADS = 1024  # the system may refuse a process more

# Compiling costs 20 to 60 seconds; below this much work (about a minute of eager computing on two
# cores) it costs more than it saves.
LEAST_MACS_TO_COMPILE = 3e12
# Bytes of one layer's activations that are worked on at a time. On a CPU, chunks that stay in cache
# take less memory and time.
CHUNK_BYTES = {"cpu": 8 << 20, "cuda": 2 << 30}
BYTES: dict[Precision, int] = {"fp32": 4, "bf16": 2}  # bytes of a value
BROKEN_LIBRARY = re.compile(r"ImportError: (/\S+\.so): (?:file too short|invalid ELF header)")
TRITON_CAPABILITY = (7, 0)  # compute capability of the oldest GPUs that Triton compiles for
MOST_ABREAST = 32  # most networks trained in one pass
# Multiply-accumulates per second (and thread, on a CPU) of training a ConvNet: measured with
# AVX-512, bf16 with AMX; guessed for CUDA.
MACS_PER_SECOND: dict[tuple[str, str, str], float] = {
    ("cpu", "fp32", "eager"): 2.7e10,
    ("cpu", "fp32", "compiled"): 4.2e10,
    ("cpu", "bf16", "eager"): 4e10,
    ("cpu", "bf16", "compiled"): 1.4e11,
    ("cuda", "fp32", "eager"): 3e12,
    ("cuda", "fp32", "compiled"): 5e12,
    ("cuda", "bf16", "eager"): 1e13,
    ("cuda", "bf16", "compiled"): 3e13,
}
# measured with AVX-512's own BF16
WITHOUT_AMX = {("cpu", "bf16", "eager"): 3e10, ("cpu", "bf16", "compiled"): 8e10}


@dataclass(frozen=True)
class Machine:
    """The device that work runs on, with its precision, threads and, once decided, its engine."""

    device: torch.device
    threads: int
    precision: Precision
    engine: Engine | Literal["auto"] = "auto"
    # whether ``decide`` chose the engine: then a part of the job chooses again
    decided: bool = field(default=False, compare=False)

    def decide(self, macs: float, least: float = LEAST_MACS_TO_COMPILE) -> Machine:
        """Choose the engine for a job of ``macs`` multiply-accumulates, if it is ``auto``.

        Jobs of at least ``least`` multiply-accumulates are compiled: below that, compiling costs
        more than it saves. The choice depends on the job alone, never on timing. Work that several
        jobs share decides for itself, because its bits must not depend on which job came first.
        """
        if self.engine != "auto" and not self.decided:
            return self
        return replace(
            self,
            engine="compiled" if macs >= least and _can_compile(self.device) else "eager",
            decided=True,
        )

    @property
    def on_gpu(self) -> bool:
        return self.device.type == "cuda"

    def take(self) -> None:
        """Configure this process: number of threads, no cuDNN shortcuts.

        Both change the last bits of results. From here on the process keeps memory that it frees.
        """
        if self.on_gpu:
            torch.set_float32_matmul_precision("highest")  # some containers set it lower
            torch.backends.cudnn.deterministic = True
            # fp32 is the reference. Both of torch's settings, or reading this one raises
            torch.backends.cudnn.allow_tf32 = False
            torch.backends.cudnn.conv.fp32_precision = "ieee"  # type: ignore[attr-defined]
        torch.set_num_threads(self.threads)
        memory.keep_freed()

    def chunk(self, values_per_image: int) -> int:
        """Return how many images to process at a time, a power of two, given the number of values
        in the largest activation of one image.
        """
        most_bytes = CHUNK_BYTES.get(self.device.type, CHUNK_BYTES["cpu"])
        most = max(1, most_bytes // (BYTES[self.precision] * values_per_image))
        return min(4096, 1 << (most.bit_length() - 1))

    def networks_abreast(self, values_per_image: int, batch: int) -> int:
        """Return how many networks to train in one pass, each on batches of ``batch`` images.

        One on a CPU, which is faster there. On CUDA as many as fill the device, up to 32; this is
        computed from sizes and was not measured.
        """
        if self.device.type == "cpu":
            return 1
        # 4: training keeps activations that testing frees
        return max(1, min(MOST_ABREAST, self.chunk(values_per_image) // (4 * batch)))

    def accelerate(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap ``function`` in this machine's precision, and compile it if the engine is
        ``compiled``.

        It is compiled once for each shape of its arguments.
        """
        device_type, mixed = self.device.type, self.precision == "bf16"

        def mixed_precision(*arguments: Any) -> Any:
            with torch.autocast(device_type, torch.bfloat16, enabled=mixed):
                return function(*arguments)

        if self.engine != "compiled":
            return mixed_precision
        if self.on_gpu:
            from torch._inductor import config

            # else the compiler times several orders of summation and takes the fastest
            config.deterministic = True
        # silence torch's warning of a CUDA toolkit on a machine without a GPU
        logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
        # the limit counts the shapes of all jobs
        torch._dynamo.config.recompile_limit = max(1024, torch._dynamo.config.recompile_limit)
        return _mending_libraries(torch.compile(mixed_precision, dynamic=False))

    def estimate_seconds(self, macs: float) -> float:
        """Estimate the seconds for ``macs`` multiply-accumulates of convolutions, to a factor of
        two or three.
        """
        work = (self.device.type, self.precision, "eager" if self.engine == "auto" else self.engine)
        rates = MACS_PER_SECOND | ({} if "amx_bf16" in _cpu_flags() else WITHOUT_AMX)
        return macs / (rates[work] * (self.threads if self.device.type == "cpu" else 1))

    def place(self, value: Tensor) -> Tensor:
        """Move a tensor to this machine's device, images in the memory layout that convolutions
        prefer.

        On CUDA the copy does not block.
        """
        layout = torch.channels_last if value.ndim == 4 else torch.preserve_format
        return value.to(self.device, memory_format=layout, non_blocking=self.on_gpu)

    def has_room(self, size: int) -> bool:
        """Return whether ``size`` bytes may stay on the device: on CUDA up to half of the free
        memory.
        """
        return not self.on_gpu or 2 * size <= torch.cuda.mem_get_info(self.device)[0]

    def place_network(self, network: nn.Module) -> nn.Module:
        """Move ``network`` to this machine's device, in the memory layout that convolutions
        prefer.
        """
        return network.to(  # type: ignore[call-overload,no-any-return]
            self.device, memory_format=torch.channels_last
        )

    def fingerprint(self) -> dict[str, Any]:
        """Return everything about the machine that decides the bits of a result, by name."""
        return {
            "device": self.device.type,
            "device_name": self.device_name,
            "threads": self.threads,
            "precision": self.precision,
            "engine": self.engine,
            "torch": str(torch.__version__),
        }

    @property
    def device_name(self) -> str:
        if self.on_gpu:
            return torch.cuda.get_device_name(self.device)
        return _processor_name()

    def synchronise(self) -> None:
        """Wait until the device has finished, so that a clock read afterwards measures its work."""
        if self.on_gpu:
            torch.cuda.synchronize(self.device)

    def ran_out_of_memory(self, error: RuntimeError) -> bool:
        """Return whether ``error`` is torch's error for lack of memory, on a GPU or a CPU."""
        return isinstance(error, torch.OutOfMemoryError) or any(
            words in str(error) for words in OUT_OF_MEMORY
        )

    def free(self) -> None:
        """Return cached memory of the device's allocator, so that blocks of other sizes fit."""
        if self.on_gpu:
            torch.cuda.empty_cache()
        else:
            memory.give_back()

    def forget_peak_memory(self) -> None:
        """Start measuring ``peak_memory_bytes`` anew, on CUDA and on Linux."""
        if self.on_gpu:
            torch.cuda.init()  # a device with a number does not initialise CUDA by itself
            torch.cuda.reset_peak_memory_stats(self.device)
        else:
            memory.forget_peak()

    def peak_memory_bytes(self) -> int | None:
        """Return the most bytes that this process held on the device since ``forget_peak_memory``.

        None where the system does not tell.
        """
        return torch.cuda.max_memory_allocated(self.device) if self.on_gpu else memory.peak_bytes()


def _mending_libraries(compiled: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap ``compiled``: if a killed compiler (by Ctrl-C, say) left a broken file in torch's cache,
    compile again.
    """

    def mended(*arguments: Any) -> Any:
        while True:
            try:
                return compiled(*arguments)
            except RuntimeError as error:
                broken = BROKEN_LIBRARY.search(str(error))
                if broken is None:
                    raise
                Path(broken[1]).unlink()

    return mended


def resolve(
    device: str = "auto",
    threads: int | None = None,
    precision: str = "auto",
    engine: str = "auto",
    *,
    here: bool = True,
) -> Machine:
    """Choose device, threads, precision and engine, and set torch's number of threads.

    Precision ``auto`` is bf16 where the device multiplies it natively, else fp32
    (docs/results/speed.md compares their accuracies).

    Raises:
        DeviceError: If the machine must be this one (``here``) and lacks the device.
        UnknownNameError: If there is no such precision, engine or device.
        OutOfRangeError: If there are too few or too many threads.
    """
    if threads is not None and (type(threads) is not int or not 1 <= threads <= MOST_THREADS):
        raise OutOfRangeError(f"threads must be 1 to {MOST_THREADS}, got {threads!r}")
    require_known("precision", precision, PRECISIONS)
    require_known("engine", engine, ENGINES)
    found = _device(device, here)
    if precision == "auto":
        precision = "bf16" if multiplies_bf16_natively(found) else "fp32"
    count = threads or torch.get_num_threads()
    machine = Machine(found, count, precision, engine)  # type: ignore[arg-type]
    machine.take()
    return machine


def _device(name: str, here: bool) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UnknownNameError("device", name, ("auto", "cpu", "cuda", "cuda:0")) from error
    if here and device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise DeviceError(
            f"device {name!r} is not there: this machine has {torch.cuda.device_count()} CUDA "
            "devices; use --device cpu"
        )
    if device.type not in ("cpu", "cuda"):
        raise DeviceError(f"device {name!r} is not supported; use cpu or cuda")
    return device


def multiplies_bf16_natively(device: torch.device) -> bool:
    """Return whether bf16 products run on hardware made for them: CUDA from sm_80 on, AMX, or
    AVX-512 with BF16 (compiled, twice fp32's speed).

    False for a CUDA device that this machine does not have.
    """
    if device.type == "cuda":
        return (device.index or 0) < torch.cuda.device_count() and torch.cuda.get_device_capability(
            device
        ) >= (8, 0)
    return not _cpu_flags().isdisjoint({"amx_bf16", "avx512_bf16"})


def _cpu_flags() -> frozenset[str]:
    return frozenset(_cpu_line("flags").split())


def _processor_name() -> str:
    return _cpu_line("model name") or platform.processor() or platform.machine()


@cache
def _cpu_line(key: str) -> str:
    """Return the line of /proc/cpuinfo for ``key``, or nothing."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(key)), "")


def _can_compile(device: torch.device) -> bool:
    """Return whether compiling is possible: it needs a C++ compiler; on CUDA Triton, a C compiler
    for its launchers, and a GPU that it supports.
    """
    if device.type == "cpu":
        return any(map(shutil.which, ("g++", "clang++", "c++")))
    if (device.index or 0) >= torch.cuda.device_count():
        return True  # nothing is known of a device that this machine does not have
    return (
        any(map(shutil.which, ("cc", "gcc", "clang")))
        and find_spec("triton") is not None
        and torch.cuda.get_device_capability(device) >= TRITON_CAPABILITY
    )
