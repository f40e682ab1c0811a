"""GPUs of a test, where the machine has none."""
# ruff: noqa: N802 - NVML's names

import importlib
import threading
from types import ModuleType, SimpleNamespace
from typing import Any, Final

NVML: Final[Any] = importlib.import_module("pynvml")
"""The real one, which tells its types to no checker."""

MB = 2**20


class FakeNvml(ModuleType):
    """GPUs of a test: all that is asked of NVML, with its names."""

    NVMLError = NVML.NVMLError
    NVMLError_NotSupported = NVML.NVMLError_NotSupported

    def __init__(self, *names: str) -> None:
        super().__init__("pynvml")
        self.names = names
        self.rates = [20, 100]
        self.memory = [3 * MB, 9 * MB, 5 * MB]
        self.energy = [1_000, 4_500]
        self.tells = True
        self.users = 0
        self.asked = threading.Semaphore(0)

    def nvmlInit(self) -> None:
        self.users += 1

    def nvmlShutdown(self) -> None:
        self.users -= 1

    def nvmlDeviceGetCount(self) -> int:
        return len(self.names)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetName(self, handle: int) -> str:
        return self.names[handle]

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> SimpleNamespace:
        used = self.memory.pop(0) if len(self.memory) > 1 else self.memory[0]
        self.asked.release()
        return SimpleNamespace(total=80_000 * MB, used=used)

    def nvmlDeviceGetUtilizationRates(self, handle: int) -> SimpleNamespace:
        if not self.tells:
            raise NVML.NVMLError_NotSupported
        return SimpleNamespace(gpu=self.rates.pop(0) if len(self.rates) > 1 else self.rates[0])

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: int) -> int:
        if not self.tells:
            raise NVML.NVMLError_NotSupported
        return self.energy.pop(0) if len(self.energy) > 1 else self.energy[0]
