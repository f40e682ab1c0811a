"""Runs Agno's agents, teams and workflows."""

from collections.abc import Mapping, Sequence
from typing import Any

from agno.agent import Agent
from agno.models.openai.like import OpenAILike
from agno.run.agent import RunContentEvent, RunErrorEvent
from agno.run.team import RunContentEvent as TeamRunContentEvent
from agno.run.team import RunErrorEvent as TeamRunErrorEvent
from agno.run.workflow import WorkflowCompletedEvent, WorkflowErrorEvent
from agno.team import Team
from agno.tools.function import Function
from agno.utils.log import logger
from agno.workflow import Workflow

from orchestrator_agno.native_tools import count_native_tools, uncounted
from orchestrator_agno.profile import PROFILE
from orchestrator_agno.run_values import AgnoFailed, check_finished, native_input, plain
from orchestrator_agno.sessions import dump_session, with_session
from orchestrator_runtimes.adapter import Adapter, Outcome
from orchestrator_runtimes.events import Message, Token
from orchestrator_runtimes.execution import Execution
from orchestrator_runtimes.json_values import Json
from orchestrator_runtimes.messages import PortableAgent
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
        """Run the agent to its end."""
        run = execution.run
        session = run.session or run.execution
        if run.session is not None:
            agent = with_session(agent, session, await execution.load_state())
        inputs: Any = native_input(agent, run.inputs)
        if run.stream:
            content = await self._streamed(agent, inputs, session, execution)
        else:
            result: Any = await agent.arun(inputs, session_id=session)
            check_finished(result.status.value, result.content, getattr(result, "step_results", ()))
            content = result.content
        if isinstance(content, str) and content:
            await execution.emit(Message(text=content, agent=agent.name))
        if run.session is not None:
            await execution.save_state(dump_session(agent, session))
        return Outcome(output=plain(content))

    async def _streamed(self, agent: Runnable, inputs: Any, session: str, execution: Execution) -> Any:
        content: Any = None
        events: Any = (
            agent.arun(inputs, session_id=session, stream=True, stream_events=True)
            if isinstance(agent, Workflow)
            else agent.arun(inputs, session_id=session, stream=True, yield_run_output=True)
        )
        async for event in events:
            match event:
                case RunContentEvent() | TeamRunContentEvent():
                    if isinstance(event.content, str) and event.content:
                        await execution.emit(Token(text=event.content))
                case WorkflowCompletedEvent():
                    check_finished("COMPLETED", event.content, event.step_results)
                    content = event.content
                case RunErrorEvent() | TeamRunErrorEvent():
                    raise AgnoFailed(event.content)
                case WorkflowErrorEvent():
                    raise AgnoFailed(event.error)
                case _ if (status := getattr(event, "status", None)) is not None:
                    check_finished(status.value, event.content, ())
                    content = event.content
                case _:
                    pass
        return content


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
