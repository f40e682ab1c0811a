"""Runs LightAgent's agents, swarms and flows."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from LightAgent import (  # type: ignore[import-untyped]  # it ships no marker of its types
    LightAgent,
    LightFlow,
    LightSwarm,
)

from orchestrator_lightagent import portable_agents
from orchestrator_lightagent.answers import agent_answer, flow_answer, swarm_answer
from orchestrator_lightagent.copies import members_of
from orchestrator_lightagent.native_runs import MEMBERS, LightAgentFailed, Members, run_copies
from orchestrator_lightagent.native_tools import count_native_tools
from orchestrator_lightagent.profile import PROFILE
from orchestrator_lightagent.sessions import dump_turns, load_turns, turn
from orchestrator_runtimes.adapter import Adapter, Outcome
from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.events import Message
from orchestrator_runtimes.execution import Execution
from orchestrator_runtimes.json_values import Json
from orchestrator_runtimes.messages import PortableAgent
from orchestrator_runtimes.tools import PortableTool

THREADS: Final = 10_000
"""No bound: the worker refuses executions above its own, and a cancelled one keeps its thread until its call ends."""

Runnable: TypeAlias = LightAgent | LightSwarm | LightFlow


@dataclass(frozen=True, kw_only=True)
class LoadedLightAgent:
    """What an execution runs.

    Attributes:
        native: The user's object, or the one built.
        first: The agent that begins; None for a flow.
        structured: True when the answer is to be JSON.
    """

    native: Runnable
    first: LightAgent | None = None
    structured: bool = False


class LightAgentAdapter(Adapter):
    """Each execution has a thread and runs copies: LightAgent is synchronous, and an agent holds the state of its run.

    Option of native agents: `agent`, the name of the agent that a swarm begins with; without it, the first registered.
    """

    profile = PROFILE

    def __init__(self) -> None:
        """Begin to copy agents as they run, and to count native tools."""
        run_copies()
        count_native_tools()
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="lightagent")

    async def load_native(self, found: Any, options: Mapping[str, Json]) -> LoadedLightAgent:
        """Take an agent, a swarm, a flow, or a function (asynchronous, too) that returns one."""
        native: Runnable = await self.made(found, Runnable)
        first = native if isinstance(native, LightAgent) else None
        if isinstance(native, LightSwarm):
            first = _first(native, options.get("agent"))
        return LoadedLightAgent(native=native, first=first)

    def tool_names(self, agent: LoadedLightAgent) -> frozenset[str] | None:
        """Return the names of the tools of an agent or a swarm; flows and MCP servers name theirs later."""
        native = agent.native
        if isinstance(native, LightAgent):
            agents = [native]
        elif isinstance(native, LightSwarm):
            agents = list(native.agents.values())
        else:
            return None
        if any(one.mcp_setting for one in agents):
            return None
        return frozenset(str(name) for one in agents for name in one.tool_registry.function_mappings)

    def build_portable(self, agent: PortableAgent, tools: Sequence[PortableTool]) -> LoadedLightAgent:
        """Build a `LightAgent`."""
        built = portable_agents.build(agent, tools)
        return LoadedLightAgent(native=built, first=built, structured=agent.output_schema is not None)

    def native_type(self, agent: LoadedLightAgent) -> str:
        """Return the type of the user's object."""
        return type(agent.native).__name__

    async def run(self, agent: LoadedLightAgent, execution: Execution) -> Outcome:
        """Run the agent to its end, in a thread of its own."""
        run = execution.run
        inputs = run.inputs if isinstance(run.inputs, str) else json.dumps(run.inputs)
        turns = load_turns(await execution.load_state())
        history = [message for messages in turns for message in messages]
        text, messages = await asyncio.get_running_loop().run_in_executor(
            self._threads, _run, agent, inputs, history, execution
        )
        if text:
            await execution.emit(Message(text=text, agent=agent.first.name if agent.first else None))
        if run.session is not None:
            await execution.save_state(dump_turns([*turns, turn(messages, inputs, text)]))
        return Outcome(
            output=_structured(text) if agent.structured or run.output_schema is not None else text
        )

    def translate(self, error: Exception) -> AgentError | None:
        """Name the limits that an agent sets itself."""
        told = str(error)
        if not isinstance(error, LightAgentFailed):
            return None
        for mark, limit in (("max_", "max_retry"), ("[LA-BUDGET]", "budget_limits")):
            if told.startswith(mark):
                return AgentError(
                    ErrorCode.LIMIT_EXCEEDED,
                    f"the agent stopped itself at its own {limit} without an answer; raise it where it is set",
                    cause=told,
                    detail={"limit": limit},
                )
        return None


def _first(swarm: LightSwarm, name: Json) -> LightAgent:
    names = list(swarm.agents)
    if not names or (name is not None and name not in names):
        raise AgentError(
            ErrorCode.AGENT_LOAD_FAILED,
            f"the swarm has no agent {name or ''!r}; there are {', '.join(names)}",
        )
    return swarm.agents[str(name or names[0])]


def _run(
    agent: LoadedLightAgent, question: str, history: list[dict[str, Any]], execution: Execution
) -> tuple[str, list[Any]]:
    """Return the answer, and the messages behind it where one agent alone gave it."""
    native = agent.native
    MEMBERS.set(Members(agents=members_of(native), history=history))
    if isinstance(native, LightFlow):
        return flow_answer(native, question), []
    assert agent.first is not None  # only a flow has none
    if isinstance(native, LightSwarm):
        return swarm_answer(native, agent.first, question, execution), []
    return agent_answer(native, question, execution)


def _structured(text: str) -> object:
    """Return the value that `text` writes as JSON; the text itself where it is none, for the schema to refuse."""
    try:
        return json.loads(text)
    except ValueError:
        return text
