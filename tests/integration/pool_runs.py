"""Running one portable agent in a pool of guests, for tests of pools."""

from typing import Final

from orchestrator_resources.guest_pool import Agent, GuestPool
from orchestrator_runtimes.conformance.model_endpoint import ModelEndpoint
from orchestrator_runtimes.events import Event
from orchestrator_runtimes.messages import AgentSource, ModelAddress, PortableAgent, Result, Run

AGENT: Final = Agent(source=AgentSource(portable=PortableAgent(name="a", instructions="i", model="m")))


async def ignore(_event: Event) -> None:
    """Take an event and do nothing."""


async def run_one(pool: GuestPool, endpoint: ModelEndpoint, name: str) -> Result:
    """Run one execution of the agent."""

    def request(agent: str) -> Run:
        return Run(execution=name, agent=agent, inputs="hi", model=ModelAddress(base_url=endpoint.base_url))

    return await pool.run(AGENT, request, ignore)
