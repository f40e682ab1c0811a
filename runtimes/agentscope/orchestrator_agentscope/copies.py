"""Copies of agents: their conversation is an execution's own; models, tools and settings are shared."""

import copy
from collections.abc import Iterator

from agentscope.agent import Agent
from agentscope.pipeline import TeamPipeline

Runnable = Agent | TeamPipeline


def agents_of(runnable: Runnable) -> list[Agent]:
    """Return the agents of a pipeline, the leader first; of an agent, itself."""
    if isinstance(runnable, Agent):
        return [runnable]
    return [runnable.leader, *(member.agent for member in runnable.members.values())]


async def prepare(runnable: Runnable) -> None:
    """Make an agent that a user wrote ready to be copied: once, when it is loaded.

    Retries are switched off (they would hide calls), and a cancelled reply ends instead of answering.
    """
    for agent in agents_of(runnable):
        agent.model.max_retries = 0
        agent.model_config.max_retries = 0
        agent.react_config = agent.react_config.model_copy(
            update={"interruption_raise_cancelled_error": True}
        )
    if isinstance(runnable, TeamPipeline):
        # the pipeline would add its tool to the shared toolkit in each copy's first reply (AgentScope 2.0.10)
        await runnable.leader.toolkit.add_tool(runnable._assign_tool)  # pyright: ignore[reportPrivateUsage]
        runnable._tool_registered = True  # pyright: ignore[reportPrivateUsage]


def own_copy(runnable: Runnable) -> Runnable:
    """Return a copy for one execution."""
    return copy.deepcopy(
        runnable, {id(part): part for agent in agents_of(runnable) for part in _shared(agent)}
    )


def _shared(agent: Agent) -> Iterator[object]:
    yield agent.model
    yield agent.toolkit
    yield agent.offloader
    yield agent.model_config
    yield agent.context_config
    yield agent.react_config
    yield agent.injection_config
    for name, value in vars(agent).items():
        if name.endswith("_middlewares"):
            yield from value
