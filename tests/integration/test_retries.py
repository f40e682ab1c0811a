"""A guest that is killed at any moment costs no model call and no finished tool call twice, in every framework."""

import asyncio
import os
import signal
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import pytest

from orchestrator_gateway.sqlite_journal import SqliteJournal
from orchestrator_gateway.sqlite_store import open_sqlite
from orchestrator_resources.environments import EnvironmentStore
from orchestrator_resources.gateway import LocalGateway
from orchestrator_resources.guest_pool import Agent, GuestPool
from orchestrator_resources.homes import home_folder
from orchestrator_resources.step_journal import JournalSteps
from orchestrator_runtimes import bundles
from orchestrator_runtimes.client import Bundle
from orchestrator_runtimes.conformance.model_endpoint import ModelEndpoint
from orchestrator_runtimes.conformance.scripts import Script
from orchestrator_runtimes.guest_commands import GuestCommand
from orchestrator_runtimes.json_values import Json
from orchestrator_runtimes.messages import (
    AgentSource,
    Limits,
    ModelAddress,
    PortableAgent,
    Result,
    Run,
    ToolSource,
    Usage,
)
from orchestrator_runtimes.profiles import installed_frameworks
from tests.integration.pool_runs import ignore

pytestmark = pytest.mark.timeout(300)

LATENCY: Final = 0.3
QUESTION: Final = "EXEC-1: what is the weather in Paris, and how many people live there?"


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How an execution ended, and what it cost outside."""

    output: Json
    usage: Usage
    tries: int
    calls: int
    tools: list[str]


TOOLS: Final = """
def told(what):
    with open(FILE, 'a') as file:
        file.write(what + ' ')

def weather(city: str) -> str:
    'Tell the weather.'
    told('weather')
    return f'sunny in {city}'

def order(city: str) -> str:
    'Order a map.'
    told('order')
    return f'ordered for {city}'
"""


def agent(folder: Path) -> Agent:
    """Return an agent that asks the model, calls two tools, which tell `folder`, and asks it again."""
    code = folder / "code"
    code.mkdir(parents=True)
    (code / "tools.py").write_text(f"FILE = {str(folder / 'told')!r}\n{TOOLS}")
    digest, archive = bundles.pack(code)
    tools = ToolSource(function="tools:weather"), ToolSource(function="tools:order", once=True)
    portable = PortableAgent(name="assistant", instructions="You are helpful.", model="m", tools=tools)
    return Agent(source=AgentSource(portable=portable), bundle=Bundle(digest=digest, archive=archive))


class Host:
    """What the trusted side runs for an execution, over a state that outlives it."""

    def __init__(self, framework: str, state: Path, endpoint: ModelEndpoint) -> None:
        profile = installed_frameworks()[framework]
        environment = EnvironmentStore(home_folder()).find(profile.lock())
        assert environment is not None, f"install it first: orchestrator runtimes install {framework}"
        self.tries = 0
        self._endpoint = endpoint
        self._steps = JournalSteps(SqliteJournal(open_sqlite(state / "steps.db")))
        command = GuestCommand.of(profile, environment.python)
        self._pool = GuestPool(command, processes=1, journal=self._steps)
        self._gateway = LocalGateway(state / "calls.db", ModelAddress(base_url=endpoint.base_url))
        self._killers: list[asyncio.Task[None]] = []

    async def run(self, asked: Agent, kills: tuple[int, ...] = (), *, stream: bool = False) -> Result:
        """Run the execution; its guest is killed while the model answers these of its calls, one in each try."""
        await asyncio.to_thread(self._gateway.ready)

        def request(loaded: str) -> Run:
            if self.tries < len(kills):
                self._killers.append(asyncio.create_task(self._kill_guests(kills[self.tries])))
            self.tries += 1
            model = self._gateway.model(execution="e", agent=loaded, inputs=QUESTION, seconds=120)
            limits = Limits(seconds=120)
            asking = Run(execution="e", agent=loaded, inputs=QUESTION, model=model, limits=limits)
            return replace(asking, stream=stream, journal=True)

        return await self._pool.run(asked, request, ignore)

    async def kill(self, call: int) -> None:
        """Kill gateway and guests while the model answers one of the calls."""
        await self._kill_guests(call, self._gateway.pid)

    async def close(self) -> None:
        """Release everything."""
        await asyncio.gather(*self._killers)
        await self._pool.close()
        await self._steps.close()
        self._gateway.close()

    async def _kill_guests(self, call: int, *others: int) -> None:
        while self._endpoint.count < call:
            await asyncio.sleep(0.01)
        for pid in (*others, *self._pool.running()):
            os.kill(pid, signal.SIGKILL)


def endpoint() -> ModelEndpoint:
    """Return a model that calls both tools in each of three rounds, and then answers."""
    return ModelEndpoint(Script(latency=LATENCY, echo=r"EXEC-\d+", tool=("weather", "order"), tool_rounds=3))


async def execute(framework: str, state: Path, kills: tuple[int, ...], *, stream: bool) -> Ended:
    """Run one execution in one host, and tell how it ended."""
    asked = agent(state)
    async with endpoint() as model:
        host = Host(framework, state, model)
        try:
            result = await host.run(asked, kills, stream=stream)
        finally:
            await host.close()
        return ended(state, result, model, host.tries)


def ended(state: Path, result: Result, model: ModelEndpoint, tries: int) -> Ended:
    told = sorted((state / "told").read_text().split())
    return Ended(output=result.output, usage=result.usage, tries=tries, calls=model.count, tools=told)


@pytest.mark.parametrize("framework", sorted(set(installed_frameworks()) - {"fake"}))
def test_a_guest_that_is_killed_repeats_no_model_call(framework: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        whole = await execute(framework, tmp_path / "whole", (), stream=False)
        assert whole.tries == 1 and whole.calls == whole.usage.model_calls >= 2
        assert set(whole.tools) == {"order", "weather"}
        for kills in ((1,), (2,), (whole.calls,), (1, whole.calls - 1)):
            disturbed = await execute(framework, tmp_path / str(kills), kills, stream=len(kills) > 1)
            assert disturbed.tries == 1 + len(kills), "it was killed in time"
            assert replace(disturbed, tries=1) == whole

    asyncio.run(scenario())


@pytest.mark.parametrize("framework", sorted(set(installed_frameworks()) - {"fake"}))
def test_where_the_gateway_and_the_guest_are_killed_only_the_call_on_its_way_is_made_again(
    framework: str, tmp_path: Path
) -> None:
    async def scenario() -> None:
        whole = await execute(framework, tmp_path / "whole", (), stream=False)
        state = tmp_path / "disturbed"
        asked = agent(state)
        async with endpoint() as model:
            host = Host(framework, state, model)
            running = asyncio.create_task(host.run(asked))
            await host.kill(whole.calls - 1)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await host.close()
            host = Host(framework, state, model)
            result = await host.run(asked)
            await host.close()
            assert ended(state, result, model, 1) == replace(whole, calls=whole.calls + 1)

    asyncio.run(scenario())
