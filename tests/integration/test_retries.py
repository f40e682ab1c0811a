"""A guest that is killed at any moment costs no model call twice: in every framework, streamed or not."""

import asyncio
import os
import signal
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from orchestrator_resources.environments import EnvironmentStore
from orchestrator_resources.gateway import LocalGateway
from orchestrator_resources.guest_pool import Agent, GuestPool
from orchestrator_resources.homes import home_folder
from orchestrator_runtimes import bundles
from orchestrator_runtimes.client import Bundle
from orchestrator_runtimes.conformance import __file__ as conformance
from orchestrator_runtimes.conformance.model_endpoint import ModelEndpoint
from orchestrator_runtimes.conformance.scripts import Script
from orchestrator_runtimes.events import Event
from orchestrator_runtimes.guest_commands import GuestCommand
from orchestrator_runtimes.json_values import Json
from orchestrator_runtimes.messages import (
    AgentSource,
    Limits,
    ModelAddress,
    PortableAgent,
    Run,
    ToolSource,
    Usage,
)
from orchestrator_runtimes.profiles import installed_frameworks

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


def agent() -> Agent:
    """Return an agent that asks the model, calls two tools, and asks it again."""
    digest, archive = bundles.pack(Path(conformance).parent / "tools_bundle")
    tools = tuple(ToolSource(function=f"suite_tools:{name}") for name in ("weather", "population"))
    portable = PortableAgent(name="assistant", instructions="You are helpful.", model="m", tools=tools)
    return Agent(source=AgentSource(portable=portable), bundle=Bundle(digest=digest, archive=archive))


async def execute(framework: str, state: Path, kills: tuple[float, ...], *, stream: bool) -> Ended:
    """Run one execution whose guest is killed so many seconds after each of its tries reached the upstream."""
    profile = installed_frameworks()[framework]
    environment = EnvironmentStore(home_folder()).find(profile.lock())
    assert environment is not None, f"install it first: orchestrator runtimes install {framework}"
    pool = GuestPool(GuestCommand.of(profile, environment.python), processes=1)
    script = Script(latency=LATENCY, echo=r"EXEC-\d+")
    async with ModelEndpoint(script) as endpoint:
        gateway = LocalGateway(state / "calls.db", ModelAddress(base_url=endpoint.base_url))
        await asyncio.to_thread(gateway.ready)
        tries, killers = 0, list[asyncio.Task[None]]()

        async def kill_later(seconds: float) -> None:
            while not endpoint.count:
                await asyncio.sleep(0.01)
            await asyncio.sleep(seconds)
            for pid in pool.running():
                os.kill(pid, signal.SIGKILL)

        def request(loaded: str) -> Run:
            nonlocal tries
            if tries < len(kills):
                killers.append(asyncio.create_task(kill_later(kills[tries])))
            tries += 1
            model = gateway.model(execution="e", agent=loaded, inputs=QUESTION, seconds=120)
            limits = Limits(seconds=120)
            return Run(
                execution="e", agent=loaded, inputs=QUESTION, model=model, stream=stream, limits=limits
            )

        async def ignore(_event: Event) -> None:
            return None

        try:
            result = await pool.run(agent(), request, ignore)
        finally:
            await asyncio.gather(*killers)
            await pool.close()
            gateway.close()
        return Ended(output=result.output, usage=result.usage, tries=tries, calls=endpoint.count)


@pytest.mark.parametrize("framework", sorted(set(installed_frameworks()) - {"fake"}))
def test_a_guest_that_is_killed_repeats_no_model_call(framework: str, tmp_path: Path) -> None:
    async def scenario() -> Counter[int]:
        whole = await execute(framework, tmp_path / "whole", (), stream=False)
        assert whole.tries == 1 and whole.calls == whole.usage.model_calls >= 2
        tries: Counter[int] = Counter()
        # while the first call is on its way; between the calls; while the second is on its way
        moments = ((0.1,), (LATENCY + 0.05,), (LATENCY + 0.2, 0.1))
        for number, kills in enumerate(moments):
            ended = await execute(framework, tmp_path / str(number), kills, stream=number == 1)
            assert (ended.output, ended.usage, ended.calls) == (whole.output, whole.usage, whole.calls)
            tries[ended.tries] += 1
        return tries

    tries = asyncio.run(scenario())
    assert sum(number > 1 for number in tries.elements()) >= 2, f"guests were killed in time: {tries}"
