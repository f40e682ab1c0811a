"""Runs AgentScope's agents and team pipelines."""

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any, Final

from agentscope.agent import Agent, InjectionConfig, ReActConfig
from agentscope.credential import OpenAICredential
from agentscope.event import (
    ReplyEndEvent,
    TextBlockDeltaEvent,
)
from agentscope.message import Msg, UserMsg
from agentscope.model import OpenAIChatModel
from agentscope.permission import PermissionContext, PermissionMode
from agentscope.state import AgentState
from agentscope.tool import FunctionTool, Toolkit
from agentscope.types import ReplyFinishedReason
from pydantic import SecretStr

from orchestrator_agentscope.copies import Runnable, agents_of, own_copy, prepare
from orchestrator_agentscope.native_tools import count_native_tools, uncounted
from orchestrator_agentscope.permissions import Answer, answers, asked, waits
from orchestrator_agentscope.profile import PROFILE
from orchestrator_agentscope.sessions import dump_states, load_states
from orchestrator_runtimes.adapter import Adapter, Outcome
from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.events import Message, Token
from orchestrator_runtimes.execution import Execution
from orchestrator_runtimes.json_values import Json
from orchestrator_runtimes.messages import FinishReason, PortableAgent
from orchestrator_runtimes.tools import PortableTool

ITERATIONS: Final = 1_000_000
"""Portable agents are stopped by the limits of the execution, not by AgentScope's own."""


class AgentScopeAdapter(Adapter):
    """Each execution runs a copy: an AgentScope agent holds the conversation. Models and toolkits are shared."""

    profile = PROFILE

    def __init__(self) -> None:
        """Begin to count native tools."""
        count_native_tools()

    async def load_native(self, found: Any, options: Mapping[str, Json]) -> Runnable:
        """Take an agent, a team pipeline, or a function (asynchronous, too) that returns one."""
        agent: Runnable = await self.made(found, Runnable)
        await prepare(agent)
        return agent

    def tool_names(self, agent: Runnable) -> frozenset[str] | None:
        """Return the names of the tools of all its agents; MCP servers name theirs later."""
        groups = [group for one in agents_of(agent) for group in one.toolkit.tool_groups]
        if any(group.mcps for group in groups):
            return None
        return frozenset(tool.name for group in groups for tool in group.tools)

    def build_portable(self, agent: PortableAgent, tools: Sequence[PortableTool]) -> Agent:
        """Build an `Agent` that runs its tools without asking."""
        extra_body = None
        if agent.output_schema is not None:
            schema = {"name": "output", "schema": dict(agent.output_schema), "strict": True}
            extra_body = {"response_format": {"type": "json_schema", "json_schema": schema}}
        model = OpenAIChatModel(
            credential=OpenAICredential(
                api_key=SecretStr(os.environ["OPENAI_API_KEY"]), base_url=os.environ["OPENAI_BASE_URL"]
            ),
            model=agent.model,
            parameters=OpenAIChatModel.Parameters(temperature=agent.temperature),
            max_retries=0,
            extra_body=extra_body,
        )
        return Agent(
            name=agent.name,
            system_prompt=agent.instructions,
            model=model,
            toolkit=uncounted(Toolkit(tools=[_function_tool(tool) for tool in tools])),
            state=AgentState(permission_context=PermissionContext(mode=PermissionMode.BYPASS)),
            react_config=ReActConfig(max_iters=ITERATIONS, interruption_raise_cancelled_error=True),
            # what is injected holds the time, so that no two tries would send the same request
            injection_config=InjectionConfig(inject_runtime_state=False),
        )

    async def run(self, agent: Runnable, execution: Execution) -> Outcome:
        """Run a copy of the agent to its end, or to where it asks a person."""
        own = await _own(agent, execution)
        inputs = execution.run.inputs
        text = inputs if isinstance(inputs, str) else json.dumps(inputs)
        return await self._ran(
            own, execution, await _reply(own, execution, UserMsg(name="user", content=text))
        )

    async def resume(self, agent: Runnable, execution: Execution, decision: Json) -> Outcome:
        """Go on with an agent that asked for permissions, or for results of what is executed elsewhere."""
        own = await _own(agent, execution)
        ending: ReplyEndEvent | None = None
        for answer in answers(own, decision):
            ending = await _reply(own, execution, answer)
        return await self._ran(own, execution, ending)

    async def _ran(self, own: Runnable, execution: Execution, ending: ReplyEndEvent | None) -> Outcome:
        if waits(own):
            if execution.run.session is not None:
                await execution.save_state(dump_states(own))
            return Outcome(output=asked(own), finish_reason=FinishReason.INTERRUPTED)
        leader = agents_of(own)[0]
        _check_finished(ending, leader)
        text = leader.state.context[-1].get_text_content() or ""
        if text:
            await execution.emit(Message(text=text, agent=leader.name))
        if execution.run.session is not None:
            await execution.save_state(dump_states(own))
        schema = execution.run.output_schema or _schema_of(leader)
        return Outcome(output=_structured(text) if schema is not None else text)


async def _own(agent: Runnable, execution: Execution) -> Runnable:
    """Return a copy with the conversations of the execution's session."""
    own = own_copy(agent)
    if (text := await execution.load_state()) is not None:
        load_states(own, text)
    return own


async def _reply(own: Runnable, execution: Execution, given: Msg | Answer) -> ReplyEndEvent | None:
    """Let the agents reply, and return how they ended; None where one of them waits for a person."""
    ending: ReplyEndEvent | None = None
    async for event in own.reply_stream(given):
        match event:
            case TextBlockDeltaEvent() if execution.run.stream and event.delta:
                await execution.emit(Token(text=event.delta))
            case ReplyEndEvent():
                ending = event
            case _:
                pass
    return ending


def _function_tool(tool: PortableTool) -> FunctionTool:
    async def run(**arguments: Any) -> str:
        return await tool.run(arguments)

    call: Any = run  # its annotation asks for a ToolChunk, its code takes text as well (AgentScope 2.0.10)
    return FunctionTool(
        call, name=tool.name, description=tool.description, input_schema=dict(tool.parameters)
    )


def _schema_of(agent: Agent) -> object:
    body = agent.model.extra_body if isinstance(agent.model, OpenAIChatModel) else None
    return (body or {}).get("response_format")


def _structured(text: str) -> object:
    """Return the value that `text` writes as JSON; the text itself where it is none, for the schema to refuse."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _check_finished(ending: ReplyEndEvent | None, agent: Agent) -> None:
    reason = ending.finished_reason if ending is not None else None
    if reason == ReplyFinishedReason.EXCEED_MAX_ITERS:
        allowed = agent.react_config.max_iters
        raise AgentError(
            ErrorCode.LIMIT_EXCEEDED,
            f"the agent stopped itself after max_iters={allowed} without an answer; raise it in its ReActConfig",
            detail={"limit": "max_iters", "allowed": allowed},
        )
    if reason != ReplyFinishedReason.COMPLETED:
        told = ending.error.message if ending is not None and ending.error is not None else ""
        raise RuntimeError(f"the reply ended as {reason}: {told}")
