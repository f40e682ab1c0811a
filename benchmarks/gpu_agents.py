"""`python -m benchmarks.gpu_agents`: how busy agents keep a GPU, by how many of them run at once in one guest.

Each execution asks the model (0.3 s), computes on the GPU for 2 to 160 ms, and asks the model again. It needs an NVIDIA
GPU, and PyTorch with CUDA and nvidia-ml-py in the interpreter that runs it; the frameworks are not needed.
"""

import asyncio
import itertools
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.endpoints import scripted_endpoint
from benchmarks.machine import describe_machine
from benchmarks.outcomes import Cell, Outcome, markdown
from orchestrator_resources.gpus import GpuRequest, GpuWatch, fitting
from orchestrator_resources.guest_pool import Agent, GuestPool
from orchestrator_runtimes import bundles
from orchestrator_runtimes.client import Bundle
from orchestrator_runtimes.conformance.fake import PROFILE
from orchestrator_runtimes.errors import AgentError
from orchestrator_runtimes.events import Event
from orchestrator_runtimes.guest_commands import GuestCommand
from orchestrator_runtimes.messages import AgentSource, ModelAddress, Run

AGENTS: Final = Path(__file__).with_name("agents")
LATENCY_SECONDS: Final = 0.3
CASES: Final = ((1, 1), (1, 4), (1, 16), (1, 64), (4, 64))
"""Guest processes, and executions at once."""

SECONDS: Final = 15.0
WARM_UP_SECONDS: Final = 5.0
TARGET: Final = 0.8


async def _measure(
    pool: GuestPool, agent: Agent, address: ModelAddress, at_once: int, seconds: float
) -> dict[str, Cell]:
    """Keep so many executions running for a while."""
    numbers, done, wrong = itertools.count(), 0, 0
    end = time.monotonic() + seconds

    async def ignore(_event: Event) -> None:
        pass

    async def one_after_another() -> None:
        nonlocal done, wrong
        while time.monotonic() < end:
            number = next(numbers)
            marker = f"EXEC-{at_once}{number:06}"

            def make_run(loaded: str, execution: str = f"{at_once}-{number}", marker: str = marker) -> Run:
                return Run(execution=execution, agent=loaded, inputs=f"Compute {marker}", model=address)

            result = await pool.run(agent, make_run, ignore)
            done += 1
            wrong += marker not in str(result.output)

    began = time.monotonic()
    with GpuWatch(fitting(GpuRequest())) as watch:
        await asyncio.gather(*(one_after_another() for _ in range(at_once)))
    took = time.monotonic() - began
    (used,) = watch.used()
    return {
        "at once": at_once,
        "executions/s": done / took,
        "GPU busy": used.busy,
        "GPU memory peak, MiB": used.memory_peak_mb,
        "J an execution": None if used.energy_joules is None else used.energy_joules / max(done, 1),
        "failed": wrong,
    }


async def measure() -> Outcome:
    """Run the agents, more and more of them at once."""
    digest, archive = bundles.pack(AGENTS, only=frozenset({"gpu_agent.py"}))
    agent = Agent(
        source=AgentSource(entrypoint="gpu_agent:build"), bundle=Bundle(digest=digest, archive=archive)
    )
    (gpu,) = fitting(GpuRequest())
    rows: list[dict[str, Cell]] = []
    with scripted_endpoint(latency=LATENCY_SECONDS) as endpoint:
        address = ModelAddress(base_url=endpoint.base_url)
        for processes, at_once in CASES:
            pool = GuestPool(GuestCommand.of(PROFILE, Path(sys.executable)), processes=processes)
            try:
                await _measure(pool, agent, address, at_once, WARM_UP_SECONDS)  # CUDA, the first kernels
                row = await _measure(pool, agent, address, at_once, SECONDS)
            finally:
                await pool.close()
            rows.append({"guest processes": processes, **row})
    return Outcome(
        name="gpu",
        title="Agents on a GPU",
        how=f"{gpu.name}, {gpu.memory_mb:,} MiB. Executions of two model calls ({LATENCY_SECONDS} s"
        f" each) and a tool that multiplies matrices on the GPU for 2 to 160 ms; {SECONDS:.0f} s for each line, after"
        f" {WARM_UP_SECONDS:.0f} s of warm-up. Busy: the share of the time in which a kernel ran, by NVML.",
        rows=rows,
        findings=_findings(rows),
        failed=sum(int(row["failed"] or 0) for row in rows),
    )


def _findings(rows: Sequence[dict[str, Cell]]) -> list[str]:
    busiest = max(rows, key=lambda row: float(row["GPU busy"] or 0))
    return [
        f"With {busiest['at once']} executions at once in {busiest['guest processes']} processes the GPU is busy for"
        f" {float(busiest['GPU busy'] or 0):.0%} of the time (the target is {TARGET:.0%})."
    ]


def main() -> int:
    """Print the table; exit status 1 when an execution answered wrongly, 2 where there is no GPU."""
    try:
        outcome = asyncio.run(measure())
    except AgentError as error:
        print(error.message, error.cause or "", file=sys.stderr)
        return 2
    print(markdown(outcome))
    print(describe_machine())
    return int(outcome.failed > 0)


if __name__ == "__main__":
    sys.exit(main())
