"""An execution outlives its gateway, however late the system tells of its end; faults behind it are told at once."""

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator_resources.gateway import LocalGateway
from orchestrator_resources.gateway_outages import OUTAGES, outliving
from orchestrator_resources.guest_pool import Agent
from orchestrator_runtimes.client import OnEvent
from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.messages import AgentSource, FinishReason, ModelAddress, Result, Resume, Run, Usage
from tests.integration.pool_runs import ignore

LATE_SECONDS = 0.7


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[LocalGateway]:
    running = LocalGateway(tmp_path / "calls.db", ModelAddress(base_url="http://127.0.0.1:1/v1"))
    running.ready()
    yield running
    running.close()


class Execution:
    """An execution whose first tries fail as they do when a gateway is killed, which ends a little later."""

    def __init__(self, gateway: LocalGateway, kills: int, **detail: Any) -> None:
        self.tries, self._gateway, self._kills, self._detail = 0, gateway, kills, detail

    async def run(
        self, _agent: Agent, _make_run: Callable[[str], Run | Resume], _on_event: OnEvent
    ) -> Result:
        self.tries += 1
        if self.tries > self._kills:
            return Result(output="done", finish_reason=FinishReason.COMPLETED, usage=Usage(), seconds=0.0)
        self._gateway.ready()
        if not self._detail:
            asyncio.get_running_loop().call_later(LATE_SECONDS, os.kill, self._gateway.pid, signal.SIGKILL)
        raise AgentError(ErrorCode.MODEL_UNAVAILABLE, "connection reset by peer", detail=self._detail)

    async def end(self) -> Result:
        agent = Agent(source=AgentSource(entrypoint="a:b"))
        return await outliving(self._gateway, self.run)(
            agent, lambda agent: Run(execution="e", agent=agent), ignore
        )


@pytest.mark.parametrize("kills", [1, 3])
def test_an_execution_outlives_gateways_that_end_after_their_connections(
    gateway: LocalGateway, kills: int
) -> None:
    execution = Execution(gateway, kills)
    assert asyncio.run(execution.end()).output == "done" and execution.tries == kills + 1


def test_a_fault_that_the_gateway_tells_is_no_outage(gateway: LocalGateway) -> None:
    execution = Execution(gateway, 1, status=502)
    with pytest.raises(AgentError, match="connection reset"):
        asyncio.run(execution.end())
    assert execution.tries == 1


def test_a_gateway_that_lives_is_no_outage(gateway: LocalGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator_resources.gateway_outages._END_SECONDS", 0.05)
    execution = Execution(gateway, 1)
    with pytest.raises(AgentError, match="connection reset"):
        asyncio.run(execution.end())


def test_who_kills_every_gateway_is_not_outlived_for_ever(
    gateway: LocalGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(_self: LocalGateway) -> None: ...

    monkeypatch.setattr(LocalGateway, "running", property(nothing))
    execution = Execution(gateway, OUTAGES + 1)
    monkeypatch.setattr(LocalGateway, "ready", nothing)
    with pytest.raises(AgentError, match="connection reset"):
        asyncio.run(execution.end())
    assert execution.tries == OUTAGES + 1
