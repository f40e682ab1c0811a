"""Executions outlive their gateway: what failed only since it was killed is tried again with the next one."""

import asyncio
from collections.abc import Callable
from typing import Final

from orchestrator_resources.execution_batches import RunExecution
from orchestrator_resources.external_gateway import ExternalGateway
from orchestrator_resources.gateway import LocalGateway, ModelGateway
from orchestrator_resources.guest_pool import Agent
from orchestrator_runtimes.client import OnEvent
from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.messages import Result, Resume, Run

OUTAGES: Final = 6
"""Most gateways that one execution outlives. A try may meet one that is about to end, so a kill may cost two."""

_END_SECONDS: Final = 5.0
"""How long after its connections a gateway's process may end; on a busy machine the system takes its time."""

_LOOK_SECONDS: Final = 0.01


def outliving(gateway: ModelGateway, run: RunExecution) -> RunExecution:
    """Return `run` with further tries for executions whose gateway ended, which is no fault of the model."""

    async def run_on(agent: Agent, make_run: Callable[[str], Run | Resume], on_event: OnEvent) -> Result:
        for _ in range(OUTAGES):
            starts = gateway.starts if isinstance(gateway, LocalGateway) else 0
            try:
                return await run(agent, make_run, on_event)
            except AgentError as error:
                if not await _was_away(gateway, starts, error):
                    raise
        return await run(agent, make_run, on_event)

    return run_on


async def _was_away(gateway: ModelGateway, starts: int, error: AgentError) -> bool:
    """Tell whether an execution failed since its gateway was not there; one that others run is waited for.

    Raises:
        AgentError: `model_unavailable` when it does not come back.
    """
    if error.code is not ErrorCode.MODEL_UNAVAILABLE or "status" in error.detail:
        return False  # it has answered: the fault is behind it
    if isinstance(gateway, LocalGateway):
        return await _has_ended(gateway, starts)
    if not isinstance(gateway, ExternalGateway):
        return False
    await asyncio.to_thread(gateway.wait)
    return True


async def _has_ended(gateway: LocalGateway, starts: int) -> bool:
    """Tell whether a gateway ended since it was started so often; its connections end before its process."""
    until = asyncio.get_running_loop().time() + _END_SECONDS
    while gateway.running and gateway.starts == starts:
        if asyncio.get_running_loop().time() > until:
            return False
        await asyncio.sleep(_LOOK_SECONDS)
    return True
