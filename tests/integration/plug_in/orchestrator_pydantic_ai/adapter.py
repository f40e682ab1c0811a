"""Runs Pydantic AI's agents."""

import json
from collections.abc import AsyncIterable, Mapping, Sequence
from typing import Any

from pydantic_ai import Agent, DeferredToolRequests, RunContext, Tool, UsageLimits, messages
from pydantic_ai.exceptions import UnexpectedModelBehavior
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.output import NativeOutput, StructuredDict
from pydantic_core import to_jsonable_python

from orchestrator_pydantic_ai.native_tools import UNCOUNTED, count_native_tools
from orchestrator_pydantic_ai.profile import PROFILE
from orchestrator_runtimes.adapter import Adapter, Outcome
from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.events import Message, Token
from orchestrator_runtimes.execution import Execution
from orchestrator_runtimes.json_values import Json
from orchestrator_runtimes.messages import PortableAgent
from orchestrator_runtimes.tools import PortableTool

AnyAgent = Agent[Any, Any]


class PydanticAiAdapter(Adapter):
    """Agents are shared between executions: Pydantic AI keeps what belongs to one apart."""

    profile = PROFILE

    def __init__(self) -> None:
        """Begin to count native tools."""
        count_native_tools()

    async def load_native(self, found: Any, options: Mapping[str, Json]) -> AnyAgent:
        """Take an agent, or a function (asynchronous, too) that returns one."""
        agent: AnyAgent = await self.made(found, Agent)
        return agent

    def build_portable(self, agent: PortableAgent, tools: Sequence[PortableTool]) -> AnyAgent:
        """Build an `Agent`."""
        output: Any = str
        if agent.output_schema is not None:
            output = NativeOutput(StructuredDict({**agent.output_schema}, name="output"))
        temperature = agent.temperature
        return Agent(
            OpenAIChatModel(agent.model),
            name=agent.name,
            instructions=agent.instructions,
            model_settings={"temperature": temperature} if temperature is not None else None,
            output_type=output,
            tools=[_tool(tool) for tool in tools],
            # an answer that does not fit is told at once: the trusted side retries
            retries={"tools": 1, "output": 0},
        )

    async def run(self, agent: AnyAgent, execution: Execution) -> Outcome:
        """Run the agent to its end."""
        run = execution.run
        state = await execution.load_state()
        history = messages.ModelMessagesTypeAdapter.validate_json(state) if state is not None else None

        async def tell(_context: RunContext[Any], events: AsyncIterable[Any]) -> None:
            async for event in events:
                match event:
                    case messages.PartStartEvent(part=messages.TextPart(content=text)) if text:
                        await execution.emit(Token(text=text))
                    case messages.PartDeltaEvent(delta=messages.TextPartDelta(content_delta=text)) if text:
                        await execution.emit(Token(text=text))

        result = await agent.run(
            run.inputs if isinstance(run.inputs, str) else json.dumps(run.inputs),
            message_history=history,
            usage_limits=UsageLimits(request_limit=None),  # the execution's limits hold, not its own
            event_stream_handler=tell if run.stream else None,
        )
        if isinstance(result.output, DeferredToolRequests):
            raise AgentError(
                ErrorCode.FRAMEWORK_ERROR,
                "the agent waits for a tool call that it deferred, and nobody can answer here; decide inside it",
            )
        if isinstance(result.output, str) and result.output:
            await execution.emit(Message(text=result.output, agent=agent.name))
        await execution.save_state(result.all_messages_json().decode())
        return Outcome(output=to_jsonable_python(result.output))

    def translate(self, error: Exception) -> AgentError | None:
        """Name an answer that Pydantic AI took for none of the agent's output type."""
        if isinstance(error, UnexpectedModelBehavior) and "output" in str(error):
            return AgentError(
                ErrorCode.OUTPUT_SCHEMA_MISMATCH,
                "the answer does not match the output type",
                cause=f"{error} ({error.__cause__})",
            )
        return None


def _tool(tool: PortableTool) -> Tool[Any]:
    async def call(**arguments: Any) -> str:
        return await tool.run(arguments)

    made = Tool[Any].from_schema(call, tool.name, tool.description, dict(tool.parameters))
    made.metadata = {UNCOUNTED: True}
    return made
