"""Runs CrewAI's crews and flows."""

import asyncio
import dataclasses
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Protocol, runtime_checkable

from crewai import LLM, Crew
from crewai.core.providers.human_input import set_provider
from crewai.flow.flow import Flow
from crewai.tools.tool_failure import ToolExecutionFailedError

from orchestrator_crewai.copies import FlowMaker, PortableCrewAgent, flow_like
from orchestrator_crewai.model_calls import (
    call_once,
    log_quietly,
    say_nothing,
    stream_on_demand,
    try_once,
)
from orchestrator_crewai.native_tools import count_native_tools, crew_tool, is_given_tools
from orchestrator_crewai.profile import PROFILE
from orchestrator_crewai.questions import QUESTIONS, Asked, People, Questions, ask_people_in_flows
from orchestrator_crewai.run_values import structured
from orchestrator_crewai.runs import Runnable, answer
from orchestrator_crewai.sessions import Waiting, dump_waiting, load_waiting
from orchestrator_runtimes.adapter import Adapter, Outcome
from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.events import Message
from orchestrator_runtimes.execution import Execution
from orchestrator_runtimes.json_values import Json
from orchestrator_runtimes.messages import FinishReason, PortableAgent
from orchestrator_runtimes.tools import PortableTool

ITERATIONS: Final = 1_000_000
"""Portable agents are stopped by the limits of the execution, not by CrewAI's own."""

THREADS: Final = 10_000
"""No bound: the worker refuses executions above its own, and a cancelled one keeps its thread until its call ends."""

_WRONG_INPUTS: Final = (
    "Missing required template variable",
    "Error interpolating",
    "Invalid inputs for structured state",
)


@runtime_checkable
class _CrewBase(Protocol):
    """What `@CrewBase` makes of a class."""

    def crew(self) -> Any:
        """Return its crew."""


class CrewAIAdapter(Adapter):
    """Each execution runs a crew's copy or a flow of its own: both hold the state of their run. Models are shared."""

    profile = PROFILE

    def __init__(self) -> None:
        """Put counting, streaming and refusals in place."""
        count_native_tools()
        stream_on_demand()
        try_once()
        log_quietly()
        ask_people_in_flows()
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="crewai")

    async def load_native(self, found: Any, options: Mapping[str, Json]) -> Runnable:
        """Take a crew, a flow, a class of flows or of crews (`@CrewBase`), or a function that returns one."""
        if isinstance(found, type) and issubclass(found, Flow):
            return FlowMaker(make=found)
        made = await self.made(found, Crew | Flow | _CrewBase)
        if not isinstance(made, Crew | Flow):
            made = made.crew()
        if isinstance(made, Crew):
            return made
        maker = flow_like(made) if made is found else FlowMaker(make=found)
        if maker is None:
            name = type(made).__name__
            raise AgentError(
                ErrorCode.AGENT_LOAD_FAILED,
                f"each execution needs a flow of its own, and {name} has an __init__ of its own: name a function that"
                f" returns a new {name}",
            )
        return maker

    def tool_names(self, agent: Runnable) -> frozenset[str] | None:
        """Return the names of the tools of a crew's agents and tasks; what CrewAI adds itself is known later."""
        if not isinstance(agent, Crew) or agent.manager_agent is not None or agent.manager_llm is not None:
            return None
        if any(is_given_tools(one) for one in agent.agents):
            return None
        owners: list[Any] = [*agent.agents, *agent.tasks]
        tools = [tool for owner in owners for tool in owner.tools or ()]
        return frozenset(tool.name for tool in tools)

    def build_portable(self, agent: PortableAgent, tools: Sequence[PortableTool]) -> PortableCrewAgent:
        """Prepare what each execution's `Agent` is made of."""
        more: dict[str, Any] = {}
        if agent.output_schema is not None:
            schema = {"name": "output", "schema": dict(agent.output_schema), "strict": True}
            more["response_format"] = {"type": "json_schema", "json_schema": schema}
        model = LLM(
            model=agent.model,
            provider="openai",
            temperature=agent.temperature,
            max_retries=0,
            additional_params=more,
        )
        loop = asyncio.get_running_loop()
        return PortableCrewAgent(
            fields={
                "role": agent.name,
                "goal": "Answer the user.",
                "backstory": agent.instructions,
                "llm": model,
                "tools": [crew_tool(tool, loop) for tool in tools],
                "max_iter": ITERATIONS,
            },
            structured=agent.output_schema is not None,
        )

    def native_type(self, agent: Runnable) -> str:
        """Return the type behind it."""
        if isinstance(agent, Crew):
            return "Crew"
        return "Flow" if isinstance(agent, FlowMaker) else "Agent"

    async def run(self, agent: Runnable, execution: Execution) -> Outcome:
        """Run the crew, the flow or the agent to its end, or to where it asks a human."""
        state = await execution.load_state()
        if load_waiting(state) is not None:
            raise AgentError(
                ErrorCode.INVALID_INPUT,
                "the session waits for a decision, and takes no other request before it",
            )
        return await self._ran(agent, execution, Waiting(inputs=execution.run.inputs, state=state))

    async def resume(self, agent: Runnable, execution: Execution, decision: Json) -> Outcome:
        """Run what asked a human once more, from its beginning, with one more answer."""
        waiting = load_waiting(await execution.load_state())
        if waiting is None or waiting.question is None:
            raise AgentError(ErrorCode.INVALID_INPUT, "the session waits for no decision")
        decisions = {**waiting.decisions, waiting.question: decision}
        return await self._ran(agent, execution, dataclasses.replace(waiting, decisions=decisions))

    async def _ran(self, agent: Runnable, execution: Execution, told: Waiting) -> Outcome:
        """Run it in a thread of its own."""
        call_once()
        set_provider(People())
        QUESTIONS.set(Questions(told.decisions))
        say_nothing(verbose=isinstance(agent, Crew) and agent.verbose)
        run = dataclasses.replace(execution.run, inputs=told.inputs)
        try:
            answered = await asyncio.get_running_loop().run_in_executor(
                self._threads, answer, agent, run, told.state
            )
        except Asked as asked:
            await execution.save_state(dump_waiting(dataclasses.replace(told, question=asked.name)))
            return Outcome(output=asked.question, finish_reason=FinishReason.INTERRUPTED)
        output = answered.output
        if isinstance(output, str) and output:
            name = agent.fields["role"] if isinstance(agent, PortableCrewAgent) else None
            await execution.emit(Message(text=output, agent=name))
        if run.session is not None:
            await execution.save_state(answered.state)
        if run.output_schema is not None or (isinstance(agent, PortableCrewAgent) and agent.structured):
            output = structured(output)
        return Outcome(output=output)

    def translate(self, error: Exception) -> AgentError | None:
        """Name what only CrewAI knows."""
        if isinstance(error, ToolExecutionFailedError):
            return AgentError(
                ErrorCode.LIMIT_EXCEEDED,
                "CrewAI stopped the agent: it called a tool again and again with the same arguments",
                cause=str(error),
                detail={"limit": "repeated_tool_calls"},
            )
        if isinstance(error, ValueError) and str(error).startswith(_WRONG_INPUTS):
            return AgentError(
                ErrorCode.INVALID_INPUT,
                "the inputs are not those that the crew's texts or the flow's state name; text has the name 'input'",
                cause=str(error),
            )
        return None
