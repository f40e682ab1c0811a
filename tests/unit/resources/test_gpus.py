"""Which GPUs there are and what they do, with NVML as it is here and with one that a test makes."""

import sys
from types import SimpleNamespace

import pytest

from orchestrator_resources.gpus import Gpu, GpuRequest, GpuUse, GpuWatch, fitting, gpus
from orchestrator_runtimes.errors import AgentError, ErrorCode
from tests.fake_nvml import NVML, FakeNvml


def use(monkeypatch: pytest.MonkeyPatch, nvml: FakeNvml) -> FakeNvml:
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    return nvml


def test_the_one_of_the_tests_has_only_what_nvml_has() -> None:
    assert all(hasattr(NVML, name) for name in vars(FakeNvml) if name.startswith(("nvml", "NVML")))


def test_without_the_binding_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert gpus() == ()


def test_without_a_driver_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise NVML.NVMLError_LibraryNotFound

    monkeypatch.setattr(NVML, "nvmlInit", missing)
    assert gpus() == ()
    with pytest.raises(AgentError, match=r"asks for 1 GPU, and this machine has no NVIDIA GPU") as caught:
        fitting(GpuRequest())
    assert caught.value.code is ErrorCode.INVALID_INPUT


@pytest.mark.parametrize(
    ("request_", "told"),
    [
        (GpuRequest(count=3), "asks for 3 GPUs, and this machine has NVIDIA H100 with 80000 MiB, NVIDIA L4"),
        (GpuRequest(type="A100"), "asks for 1 A100 GPU, and"),
        (GpuRequest(count=2, type="h100"), "asks for 2 h100 GPUs, and"),
        (GpuRequest(memory_mb=80_001), "asks for 1 GPU with 80001 MiB, and"),
    ],
)
def test_what_is_not_there_is_refused_with_what_is(
    monkeypatch: pytest.MonkeyPatch, request_: GpuRequest, told: str
) -> None:
    nvml = use(monkeypatch, FakeNvml("NVIDIA H100", "NVIDIA L4"))
    with pytest.raises(AgentError, match=told):
        fitting(request_)
    assert nvml.users == 0


def test_those_that_fit_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, FakeNvml("NVIDIA H100", "NVIDIA L4"))
    assert fitting(GpuRequest(type="l4", memory_mb=80_000)) == [
        Gpu(index=1, name="NVIDIA L4", memory_mb=80_000)
    ]
    assert len(fitting(GpuRequest(count=2))) == 2


def watched(nvml: FakeNvml, *, asked: int = 3) -> GpuUse:
    gpu = Gpu(index=0, name=nvml.names[0], memory_mb=80_000)
    with GpuWatch([gpu]) as watch:
        for _ in range(asked):
            assert nvml.asked.acquire(timeout=30)
    (used,) = watch.used()
    assert used.gpu == gpu and nvml.users == 0
    return used


def test_what_a_gpu_does_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    used = watched(use(monkeypatch, FakeNvml("NVIDIA H100")))
    assert used.busy is not None and 0.2 < used.busy < 1
    assert used.memory_peak_mb == 9 and used.energy_joules == 3.5


def test_what_a_gpu_does_not_tell_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = use(monkeypatch, FakeNvml("NVIDIA H100"))
    nvml.tells = False
    used = watched(nvml)
    assert used.busy is None and used.energy_joules is None and used.memory_peak_mb == 9


def test_of_a_gpu_that_is_lost_counts_what_was_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = use(monkeypatch, FakeNvml("NVIDIA H100"))

    def lost(_handle: int) -> SimpleNamespace:
        raise NVML.NVMLError_GpuIsLost

    monkeypatch.setattr(nvml, "nvmlDeviceGetUtilizationRates", lost)
    used = watched(nvml, asked=1)
    assert used.busy is None and used.memory_peak_mb == 3 and used.energy_joules is None


def test_watching_none_starts_nothing() -> None:
    with GpuWatch(()) as watch:
        pass
    assert watch.used() == []
