"""What a runtime costs by itself: time to start, time and CPU of an execution, memory."""

import asyncio
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from orchestrator_runtimes.conformance.model_endpoint import run_in_thread
from orchestrator_runtimes.conformance.scripts import Script
from orchestrator_runtimes.guest_commands import GuestCommand
from orchestrator_runtimes.launch import GuestProcess
from orchestrator_runtimes.messages import AgentSource, Limits, ModelAddress, PortableAgent, Run
from orchestrator_runtimes.profiles import FrameworkProfile

EXECUTIONS: Final = 200
WARM_UP: Final = 20
IN_FLIGHT: Final = 20

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_AGENT: Final = AgentSource(portable=PortableAgent(name="assistant", instructions="Help.", model="scripted"))


@dataclass(frozen=True, kw_only=True)
class Measurements:
    """Figures of one guest process.

    Attributes:
        ready_seconds: From its start until it answers; the framework is imported in it.
        milliseconds: Wall time of an execution, with 20 at once.
        cpu_milliseconds: CPU time of the guest for an execution.
        peak_mb: Highest resident memory, in MiB.
    """

    ready_seconds: float
    milliseconds: float
    cpu_milliseconds: float
    peak_mb: float


def measure(profile: FrameworkProfile, python: Path) -> Measurements:
    """Start a guest of a framework, run executions in it, and end it.

    Raises:
        AgentError: The guest does not start, or an execution fails.
    """
    with run_in_thread() as endpoint:
        return asyncio.run(_measure(profile, python, endpoint.script("measure", Script(text="It rains."))))


async def _measure(profile: FrameworkProfile, python: Path, url: str) -> Measurements:
    began = time.monotonic()
    guest = await GuestProcess.start(GuestCommand.of(profile, python))
    ready = time.monotonic() - began
    try:
        agent = (await guest.client.load(_AGENT)).agent or ""
        await _run(guest, agent, url, "warm-up", WARM_UP)
        cpu, began = _cpu_seconds(guest.pid), time.monotonic()
        await _run(guest, agent, url, "measured", EXECUTIONS)
        wall, cpu = time.monotonic() - began, _cpu_seconds(guest.pid) - cpu
        return Measurements(
            ready_seconds=ready,
            milliseconds=1_000 * wall / EXECUTIONS,
            cpu_milliseconds=1_000 * cpu / EXECUTIONS,
            peak_mb=_peak_mb(guest.pid),
        )
    finally:
        await guest.stop()


async def _run(guest: GuestProcess, agent: str, url: str, name: str, count: int) -> None:
    numbers = iter(range(count))

    async def work() -> None:
        for number in numbers:
            model, limits = ModelAddress(base_url=url), Limits(seconds=60)
            await guest.client.run(
                Run(execution=f"{name}-{number}", agent=agent, inputs="Hi.", limits=limits, model=model)
            )

    async with asyncio.TaskGroup() as group:
        for _ in range(IN_FLIGHT):
            group.create_task(work())


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _peak_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1_024
    raise LookupError(f"process {pid} tells no peak of its memory")
