"""What an execution runs: a copy of a crew, a flow of its own, a portable agent of its own."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from crewai import Agent, Crew
from crewai.flow.flow import Flow


@dataclass(frozen=True, kw_only=True)
class PortableCrewAgent:
    """A portable agent: what its `Agent` is made of for each execution. Model and tools are shared.

    Attributes:
        fields: Arguments of `Agent`.
        structured: True when the answer is to be JSON.
    """

    fields: dict[str, Any]
    structured: bool

    def make(self) -> Agent:
        """Return the agent of one execution."""
        return Agent(**self.fields)


@dataclass(frozen=True, kw_only=True)
class FlowMaker:
    """A flow that is made anew for each execution, since it holds the state of its run.

    Attributes:
        make: Makes one; may be asynchronous.
    """

    make: Callable[[], Any]

    async def made(self) -> "Flow[Any]":
        """Return the flow of one execution."""
        made: Any = self.make()
        flow: Flow[Any] = await made if inspect.isawaitable(made) else made
        return flow


def own_crew(crew: Crew) -> Crew:
    """Return the copy of a crew for one execution; an agent that fails is not tried again by itself."""
    own = crew.copy()
    for agent in [*own.agents, *([own.manager_agent] if own.manager_agent is not None else [])]:
        if isinstance(agent, Agent):
            agent.max_retry_limit = 0
    return own


def flow_like(flow: "Flow[Any]") -> FlowMaker:
    """Return what makes flows like one that was made already: of its class, with the fields that it was given."""
    given = {name: getattr(flow, name) for name in flow.model_fields_set}
    return FlowMaker(make=lambda: type(flow)(**given))
