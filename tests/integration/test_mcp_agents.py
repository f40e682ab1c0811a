"""A portable agent's MCP tools behind the gateway: a guest that is killed during a call costs no second one."""

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator_gateway.mcp_settings import McpServer, McpServerSettings
from orchestrator_resources.environments import EnvironmentStore
from orchestrator_resources.gateway import LocalGateway
from orchestrator_resources.guest_pool import Agent, GuestPool
from orchestrator_resources.homes import home_folder
from orchestrator_runtimes.conformance.model_endpoint import ModelEndpoint
from orchestrator_runtimes.conformance.scripts import Script
from orchestrator_runtimes.guest_commands import GuestCommand
from orchestrator_runtimes.messages import (
    AgentSource,
    ModelAddress,
    PortableAgent,
    Run,
    ToolSource,
)
from orchestrator_runtimes.messages import (
    McpServer as McpTools,
)
from orchestrator_runtimes.profiles import installed_frameworks
from tests.integration.order_servers import counted, order_server
from tests.integration.pool_runs import ignore

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def told(tmp_path: Path) -> Path:
    return tmp_path / "told"


@pytest.fixture
def orders(told: Path) -> Iterator[str]:
    with order_server(told) as url:
        yield url


@pytest.mark.parametrize("framework", ["agno", "langgraph", "n8n"])
def test_a_guest_that_is_killed_during_a_tool_call_repeats_it_not(
    framework: str, tmp_path: Path, told: Path, orders: str
) -> None:
    tools = (ToolSource(mcp=McpTools(server="orders", include=("order",))),)
    portable = PortableAgent(name="a", instructions="Help.", model="m", tools=tools)
    profile = installed_frameworks()[framework]
    environment = EnvironmentStore(home_folder()).find(profile.lock())
    assert environment is not None, f"install it first: orchestrator runtimes install {framework}"
    command = GuestCommand.of(profile, environment.python)

    async def scenario() -> None:
        async with ModelEndpoint(Script(arguments={"city": "Oslo"})) as model:
            gateway = LocalGateway(
                tmp_path / "journal.db",
                ModelAddress(base_url=model.base_url),
                mcp_servers={"orders": McpServer(settings=McpServerSettings(url=orders))},
            )
            await asyncio.to_thread(gateway.ready)

            def loading() -> ModelAddress:
                return gateway.model(execution="", agent="", inputs=None, seconds=60)

            tries = 0

            def request(loaded: str) -> Run:
                nonlocal tries
                tries += 1
                address = gateway.model(execution="e", agent=loaded, inputs="hi", seconds=120)
                return Run(execution="e", agent=loaded, inputs="order a map", model=address)

            pool = GuestPool(command, processes=1)

            async def kill() -> None:
                while not counted(told):
                    await asyncio.sleep(0.01)
                for pid in pool.running():
                    os.kill(pid, signal.SIGKILL)

            killing = asyncio.create_task(kill())
            try:
                agent = Agent(source=AgentSource(portable=portable), gateway=loading)
                result = await pool.run(agent, request, ignore)
                assert result.usage.tool_calls == 1 and tries == 2
                assert any("ordered Oslo" in str(call.body) for call in model.calls)
                assert model.count == 2
            finally:
                await killing
                await pool.close()
                gateway.close()

    asyncio.run(scenario())
    assert counted(told) == ["Oslo"]
