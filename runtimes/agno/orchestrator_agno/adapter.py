"""Runs Agno's agents, teams and workflows."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from agno.agent import Agent
from agno.models.openai.like import OpenAILike
from agno.run.agent import RunContentEvent, RunErrorEvent, RunOutput
from agno.run.team import RunContentEvent as TeamRunContentEvent
from agno.run.team import RunErrorEvent as TeamRunErrorEvent
from agno.run.team import TeamRunOutput
from agno.run.workflow import WorkflowCompletedEvent, WorkflowErrorEvent
from agno.team import Team
from agno.tools.function import Function
from agno.utils.log import logger
from agno.workflow import Workflow

from orchestrator_agno.confirmations import answer, asked
from orchestrator_agno.native_tools import count_native_tools, names_of_tools, uncounted
from orchestrator_agno.profile import PROFILE
from orchestrator_agno.run_values import AgnoFailed, check_finished, native_input, plain
from orchestrator_agno.sessions import dump_session, paused_run, with_session
from orchestrator_runtimes.adapter import Adapter, Outcome
from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.events import Message, Token
from orchestrator_runtimes.execution import Execution
from orchestrator_runtimes.json_values import Json
from orchestrator_runtimes.messages import FinishReason, PortableAgent
from orchestrator_runtimes.tools import PortableTool

Runnable = Agent | Team | Workflow


class AgnoAdapter(Adapter):
    """Agents are shared between executions: Agno keeps what belongs to one apart."""

    profile = PROFILE

    def __init__(self) -> None:
        """Begin to count native tools; failures are told by their code, not by Agno's log."""
        count_native_tools()
        logger.setLevel("CRITICAL")

    async def load_native(self, found: Any, options: Mapping[str, Json]) -> Runnable:
        """Take an agent, a team, a workflow, or a function (asynchronous, too) that returns one."""
        runnable: Runnable = await self.made(found, Runnable)
        return runnable

    def tool_names(self, agent: Runnable) -> frozenset[str] | None:
        """Return the names of an agent's tools; None where Agno adds some, or they are made for each run."""
        return names_of_tools(agent) if isinstance(agent, Agent) else None

    def build_portable(self, agent: PortableAgent, tools: Sequence[PortableTool]) -> Agent:
        """Build an `Agent`."""
        response_format = None
        if agent.output_schema is not None:
            schema = {"name": "output", "schema": dict(agent.output_schema), "strict": True}
            response_format = {"type": "json_schema", "json_schema": schema}
        return Agent(
            name=agent.name,
            model=OpenAILike(id=agent.model, temperature=agent.temperature, max_retries=0),
            instructions=agent.instructions,
            tools=[_function(tool) for tool in tools],
            output_schema=response_format,
            telemetry=False,
        )

    async def run(self, agent: Runnable, execution: Execution) -> Outcome:
        """Run the agent to its end, or to where it asks a person."""
        run = execution.run
        session = run.session or run.execution
        if run.session is not None:
            agent = with_session(agent, session, await execution.load_state())
        inputs: Any = native_input(agent, run.inputs)
        return await self._ran(agent, execution, functools.partial(agent.arun, inputs, session_id=session))

    async def resume(self, agent: Runnable, execution: Execution, decision: Json) -> Outcome:
        """Go on with an agent or a team that was paused, with its tool calls confirmed, rejected or filled in."""
        session = execution.run.session
        if session is not None:
            agent = with_session(agent, session, await execution.load_state())
        paused = await paused_run(agent, session) if session is not None else None
        if paused is None or isinstance(agent, Workflow):
            raise AgentError(ErrorCode.INVALID_INPUT, "the session waits for no decision")
        requirements = paused.requirements or []
        answer(requirements, decision)
        go_on = functools.partial(
            agent.acontinue_run, run_id=paused.run_id, requirements=requirements, session_id=session
        )
        return await self._ran(agent, execution, go_on)

    async def _ran(self, agent: Runnable, execution: Execution, arun: Callable[..., Any]) -> Outcome:
        """Run an agent, or go on with it, by its own method with all arguments but those for streams."""
        run = execution.run
        session = run.session or run.execution
        if run.stream:
            result, content = await self._streamed(agent, arun, execution)
        else:
            result = await arun()
            content = result.content
        if isinstance(result, RunOutput | TeamRunOutput) and result.is_paused:
            if run.session is not None:
                await execution.save_state(dump_session(agent, session))
            return Outcome(output=asked(result.requirements or []), finish_reason=FinishReason.INTERRUPTED)
        if result is not None:
            check_finished(result.status.value, content, getattr(result, "step_results", None) or ())
        if isinstance(content, str) and content:
            await execution.emit(Message(text=content, agent=agent.name))
        if run.session is not None:
            await execution.save_state(dump_session(agent, session))
        return Outcome(output=plain(content))

    async def _streamed(
        self, agent: Runnable, arun: Callable[..., Any], execution: Execution
    ) -> tuple[Any, Any]:
        """Return what the run was at its end, where Agno tells, and its content."""
        result: Any = None
        content: Any = None
        ended = False
        more = {"stream_events": True} if isinstance(agent, Workflow) else {"yield_run_output": True}
        events: Any = arun(stream=True, **more)
        async for event in events:
            match event:
                case RunContentEvent() | TeamRunContentEvent():
                    if isinstance(event.content, str) and event.content:
                        await execution.emit(Token(text=event.content))
                case WorkflowCompletedEvent():
                    check_finished("COMPLETED", event.content, event.step_results)
                    content, ended = event.content, True
                case RunErrorEvent() | TeamRunErrorEvent():
                    raise AgnoFailed(event.content)
                case WorkflowErrorEvent():
                    raise AgnoFailed(event.error)
                case RunOutput() | TeamRunOutput():
                    result, content = event, event.content
                case _:
                    pass
        if isinstance(agent, Workflow) and not ended:  # no other event tells it in every case
            check_finished("PAUSED", content, ())
        return result, content


def _function(tool: PortableTool) -> Function:
    async def call(**arguments: Any) -> str:
        return await tool.run(arguments)

    return Function(
        name=tool.name,
        description=tool.description,
        parameters=dict(tool.parameters),
        entrypoint=uncounted(call),
        skip_entrypoint_processing=True,
    )
