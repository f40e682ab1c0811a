"""NVIDIA GPUs of this machine: which there are, and what they do while agents run.

They are asked through NVML, the library that `nvidia-smi` asks, too. Where its Python binding, its driver or a GPU is
missing, there are no GPUs.
"""

import importlib
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import ModuleType, TracebackType
from typing import Any, Final, Self

from orchestrator_runtimes.errors import AgentError, ErrorCode

PERIOD_SECONDS: Final = 0.1
"""How often a GPU is asked; NVML averages over a sixth of a second or more by itself."""

_MB: Final = 2**20
_MILLI: Final = 1_000


@dataclass(frozen=True, kw_only=True)
class GpuRequest:
    """What an agent asks for.

    Attributes:
        count: How many GPUs.
        type: Text that the name of each must contain, such as `H100`, in any case; None takes any.
        memory_mb: Memory that each must have, in MiB; None takes any.
    """

    count: int = 1
    type: str | None = None
    memory_mb: int | None = None

    def takes(self, name: str, memory_mb: int) -> bool:
        """Return whether a GPU of this name and memory, in MiB, is enough."""
        return (self.type or "").lower() in name.lower() and memory_mb >= (self.memory_mb or 0)


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """A GPU.

    Attributes:
        index: Its number in NVML's order.
        name: Of its kind, such as `NVIDIA H100 80GB HBM3`.
        memory_mb: Its memory in MiB.
    """

    index: int
    name: str
    memory_mb: int


@dataclass(frozen=True, kw_only=True)
class GpuUse:
    """What a GPU did for a while, whoever made it do so.

    Attributes:
        gpu: Which.
        busy: Share of the time in which it computed, 0 to 1; None where it does not tell, as with MIG.
        memory_peak_mb: Most memory that was in use when it was asked, in MiB.
        energy_joules: What it consumed; None where it does not tell.
    """

    gpu: Gpu
    busy: float | None
    memory_peak_mb: int
    energy_joules: float | None


def gpus() -> Sequence[Gpu]:
    """Return the GPUs of this machine that this process can see."""
    nvml = _nvml()
    if nvml is None:
        return ()
    try:
        return [_gpu(nvml, index) for index in range(nvml.nvmlDeviceGetCount())]
    finally:
        nvml.nvmlShutdown()


def fitting(request: GpuRequest) -> Sequence[Gpu]:
    """Return the GPUs of this machine that fit a request, as many as it asks for.

    Raises:
        AgentError: `invalid_input`, saying which there are, when there are not enough.
    """
    there = gpus()
    found = [gpu for gpu in there if request.takes(gpu.name, gpu.memory_mb)]
    if len(found) < request.count:
        has = (
            ", ".join(f"{gpu.name} with {gpu.memory_mb} MiB" for gpu in there)
            or "no NVIDIA GPU that can be asked"
        )
        raise AgentError(
            ErrorCode.INVALID_INPUT,
            f"the agent asks for {_told(request)}, and this machine has {has}: run it where they are, or change `gpu`"
            " (a missing driver or a missing nvidia-ml-py looks the same)",
        )
    return found[: request.count]


class GpuWatch:
    """Watches GPUs from a thread while a `with` block runs."""

    def __init__(self, watched: Sequence[Gpu]) -> None:
        """Begin with nothing seen. Watching no GPU costs nothing."""
        self._watched = watched
        self._busy: list[list[float]] = [[] for _ in watched]
        self._peaks = [0 for _ in watched]
        self._energy: list[float | None] = [None for _ in watched]
        self._end = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        """Begin to watch."""
        if self._watched:
            self._thread = threading.Thread(target=self._watch, name="gpus", daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self._end.set()
        if self._thread is not None:
            self._thread.join()

    def used(self) -> Sequence[GpuUse]:
        """Return what was seen; only after the block."""
        return [
            GpuUse(
                gpu=gpu,
                busy=sum(busy) / len(busy) if busy else None,
                memory_peak_mb=peak,
                energy_joules=energy,
            )
            for gpu, busy, peak, energy in zip(
                self._watched, self._busy, self._peaks, self._energy, strict=True
            )
        ]

    def _watch(self) -> None:
        nvml = _nvml()
        if nvml is None:
            return
        try:
            handles = [nvml.nvmlDeviceGetHandleByIndex(gpu.index) for gpu in self._watched]
            began = [_energy(nvml, handle) for handle in handles]
            while True:
                for number, handle in enumerate(handles):
                    self._ask(nvml, number, handle)
                if self._end.wait(PERIOD_SECONDS):
                    break
            for number, handle in enumerate(handles):
                first, last = began[number], _energy(nvml, handle)
                if first is not None and last is not None:
                    self._energy[number] = (last - first) / _MILLI
        except nvml.NVMLError:  # one that fell off its bus: what was seen before counts
            return
        finally:
            nvml.nvmlShutdown()

    def _ask(self, nvml: ModuleType, number: int, handle: Any) -> None:
        used = nvml.nvmlDeviceGetMemoryInfo(handle).used // _MB
        self._peaks[number] = max(self._peaks[number], used)
        with suppress(nvml.NVMLError_NotSupported):
            self._busy[number].append(nvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100)


def _nvml() -> ModuleType | None:
    """Return NVML, begun; None where there is none."""
    try:
        nvml = importlib.import_module("pynvml")
    except ModuleNotFoundError:
        return None
    try:
        nvml.nvmlInit()
    except nvml.NVMLError:
        return None
    return nvml


def _gpu(nvml: ModuleType, index: int) -> Gpu:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    name = nvml.nvmlDeviceGetName(handle)
    return Gpu(index=index, name=str(name), memory_mb=nvml.nvmlDeviceGetMemoryInfo(handle).total // _MB)


def _energy(nvml: ModuleType, handle: Any) -> float | None:
    """Return the millijoules that a GPU consumed since its driver was loaded; None where it does not tell."""
    try:
        return float(nvml.nvmlDeviceGetTotalEnergyConsumption(handle))
    except nvml.NVMLError_NotSupported:
        return None


def _told(request: GpuRequest) -> str:
    kind = f"{request.type} " if request.type is not None else ""
    memory = f" with {request.memory_mb} MiB" if request.memory_mb is not None else ""
    return f"{request.count} {kind}GPU{'s' if request.count != 1 else ''}{memory}"
