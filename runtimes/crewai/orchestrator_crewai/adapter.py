"""Runs CrewAI's crews and flows."""

import asyncio
import inspect
import json
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from crewai import LLM, Crew
from crewai.flow.flow import Flow
from crewai.tools.tool_failure import ToolExecutionFailedError

from orchestrator_crewai.copies import FlowMaker, PortableCrewAgent, flow_like, own_crew
from orchestrator_crewai.model_calls import call_once, estimate_quietly, say_nothing, stream_on_demand
from orchestrator_crewai.native_tools import count_native_tools, crew_tool
from orchestrator_crewai.profile import PROFILE
from orchestrator_crewai.run_values import as_text, named_inputs, output_of, structured
from orchestrator_crewai.sessions import dump_flow_state, dump_messages, load_flow_state, load_messages
from orchestrator_runtimes.adapter import Adapter, Outcome
from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.events import Message
from orchestrator_runtimes.execution import Execution
from orchestrator_runtimes.json_values import Json
from orchestrator_runtimes.messages import PortableAgent
from orchestrator_runtimes.tools import PortableTool

ITERATIONS: Final = 1_000_000
"""Portable agents are stopped by the limits of the execution, not by CrewAI's own."""

Runnable: TypeAlias = Crew | FlowMaker | PortableCrewAgent


class CrewAIAdapter(Adapter):
    """Each execution runs a crew's copy or a flow of its own: both hold the state of their run. Models are shared."""

    profile = PROFILE

    def __init__(self) -> None:
        """Begin to count native tools and to tell tokens."""
        count_native_tools()
        stream_on_demand()
        estimate_quietly()

    def load_native(self, found: Any, options: Mapping[str, Json]) -> Runnable | Awaitable[Runnable]:
        """Take a crew, a flow, a class of flows or of crews (`@CrewBase`), or a function that returns one."""
        if isinstance(found, type) and issubclass(found, Flow):
            return FlowMaker(make=found)
        made = found if isinstance(found, Crew | Flow) or not callable(found) else found()
        return self._awaited(made, found) if inspect.isawaitable(made) else self._loaded(made, found)

    async def _awaited(self, made: Awaitable[Any], factory: Any) -> Runnable:
        return self._loaded(await made, factory)

    def _loaded(self, made: Any, found: Any) -> Runnable:
        if callable(crew := getattr(made, "crew", None)) and not isinstance(made, Crew | Flow):
            made = crew()
        if isinstance(made, Flow):
            return flow_like(made) if made is found else FlowMaker(make=found)
        if isinstance(made, Crew):
            return made
        raise AgentError(
            ErrorCode.AGENT_LOAD_FAILED,
            f"a {type(made).__name__} is none of {', '.join(self.profile.native)}",
        )

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
                "max_retry_limit": 0,
            },
            structured=agent.output_schema is not None,
        )

    def native_type(self, agent: Runnable) -> str:
        """Return the type behind it."""
        if isinstance(agent, Crew):
            return "Crew"
        return "Flow" if isinstance(agent, FlowMaker) else "Agent"

    async def run(self, agent: Runnable, execution: Execution) -> Outcome:
        """Run the crew, the flow or the agent to its end."""
        call_once()
        say_nothing(verbose=isinstance(agent, Crew) and agent.verbose)
        match agent:
            case Crew():
                output = await _run_crew(agent, execution)
            case FlowMaker():
                output = await _run_flow(agent, execution)
            case PortableCrewAgent():
                output = await _run_agent(agent, execution)
        if isinstance(output, str) and output:
            await execution.emit(Message(text=output))
        wanted = execution.run.output_schema is not None
        if wanted or (isinstance(agent, PortableCrewAgent) and agent.structured):
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
        return None


async def _run_crew(crew: Crew, execution: Execution) -> object:
    session = execution.run.session
    messages = load_messages(await execution.load_state())
    inputs = named_inputs(execution.run.inputs)
    if messages:
        inputs["crew_chat_messages"] = json.dumps(messages)
    output = output_of(await _whole(await own_crew(crew).akickoff(inputs=inputs)))
    if session is not None:
        answer = output if isinstance(output, str) else json.dumps(output)
        await execution.save_state(dump_messages(messages, as_text(execution.run.inputs), answer))
    return output


async def _run_flow(maker: FlowMaker, execution: Execution) -> object:
    flow = await maker.made()
    inputs = load_flow_state(await execution.load_state()) | named_inputs(execution.run.inputs)
    output = output_of(await _whole(await flow.kickoff_async(inputs=inputs)))
    if execution.run.session is not None:
        await execution.save_state(dump_flow_state(flow.state))
    return output


async def _run_agent(agent: PortableCrewAgent, execution: Execution) -> object:
    history = load_messages(await execution.load_state())
    question = as_text(execution.run.inputs)
    asked: Any = [*history, {"role": "user", "content": question}]
    result = await agent.make().kickoff_async(asked)
    if execution.run.session is not None:
        await execution.save_state(dump_messages(history, question, result.raw))
    return output_of(result)


async def _whole(result: Any) -> Any:
    """Return the result of a run; one that its author made a stream is read to its end first."""
    if not hasattr(result, "__aiter__"):
        return result
    async for _ in result:
        pass
    return result.result
