"""Counts and journals the tools of native agents, and keeps synchronous ones off the loop."""

import asyncio
import copy
import functools
import inspect
import json
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, Final

from agentscope.message import TextBlock, ToolCallBlock, ToolResultState
from agentscope.state import AgentState
from agentscope.tool import FunctionTool, ToolChunk, Toolkit, ToolResponse

from orchestrator_runtimes.execution import CURRENT, Execution, ExecutionStopped
from orchestrator_runtimes.native_steps import NativeCall

UNCOUNTED: Final = "orchestrator_counts_itself"


def uncounted(toolkit: Toolkit) -> Toolkit:
    """Mark a toolkit of portable tools, which count themselves."""
    setattr(toolkit, UNCOUNTED, True)
    return toolkit


def count_native_tools() -> None:
    """Put counting around `Toolkit.call_tool` and threads under `FunctionTool.call`, once."""
    if hasattr(Toolkit.call_tool, "__wrapped__"):
        return
    call_tool, call_function = Toolkit.call_tool, FunctionTool.call

    @functools.wraps(call_tool)
    async def counted(
        self: Toolkit, tool_call: ToolCallBlock, state: AgentState
    ) -> AsyncGenerator[ToolChunk | ToolResponse, None]:
        execution = None if hasattr(self, UNCOUNTED) else CURRENT.get()
        if execution is None:
            async for part in call_tool(self, tool_call, state):
                yield part
            return
        try:
            async for part in _journaled(call_tool(self, tool_call, state), execution, self, tool_call):
                yield part
        except ExecutionStopped as stopped:
            # AgentScope 2.0.10 loses what is no Exception and calls the tool again, for ever; this ends the agent
            content: list[Any] = [TextBlock(text=str(stopped.error))]
            yield ToolChunk(content=content, state=ToolResultState.INTERRUPTED)
            yield ToolResponse(id=tool_call.id, content=content, state=ToolResultState.INTERRUPTED)

    @functools.wraps(call_function)
    async def threaded(self: FunctionTool, **arguments: Any) -> ToolChunk | AsyncGenerator[ToolChunk, None]:
        function = self._func  # pyright: ignore[reportPrivateUsage]
        if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
            return await call_function(self, **arguments)
        # AgentScope 2.0.10 calls it on the loop, where it would hold up every other execution
        own: Any = copy.copy(self)
        own._func = functools.partial(asyncio.to_thread, function)
        return await call_function(own, **arguments)

    Toolkit.call_tool = counted  # type: ignore[method-assign]
    FunctionTool.call = threaded  # type: ignore[method-assign]


async def _journaled(
    parts: AsyncGenerator[ToolChunk | ToolResponse, None],
    execution: Execution,
    toolkit: Toolkit,
    tool_call: ToolCallBlock,
) -> AsyncGenerator[ToolChunk | ToolResponse, None]:
    """Yield what a tool answers, or what it answered in an earlier try; count it, and keep it for a later one."""
    execution.begin_tool_call(tool_call.name)
    call = NativeCall(
        execution, tool_call.name, _arguments(tool_call), stateful=_is_stateful(toolkit, tool_call.name)
    )
    if await call.look_up():
        await execution.emit(execution.end_tool_call(tool_call.name, 0.0, None, replayed=True))
        content: list[Any] = [TextBlock(text=str(text)) for text in _texts(call.result)]
        yield ToolChunk(content=content, state=ToolResultState.SUCCESS)
        yield ToolResponse(id=tool_call.id, content=content, state=ToolResultState.SUCCESS)
        return
    began = time.monotonic()
    error: str | None = None
    async for part in parts:
        if isinstance(part, ToolResponse):
            # before the agent goes on: it may never ask for what comes after this
            await call.record(_kept(part))
        if part.state not in (ToolResultState.SUCCESS, ToolResultState.RUNNING):
            error = " ".join(block.text for block in part.content if isinstance(block, TextBlock))
        yield part
    await execution.emit(execution.end_tool_call(tool_call.name, time.monotonic() - began, error))


def _arguments(tool_call: ToolCallBlock) -> Mapping[str, Any]:
    try:
        told = json.loads(tool_call.input)
    except ValueError:
        told = None
    return told if isinstance(told, dict) else {"input": tool_call.input}


def _is_stateful(toolkit: Toolkit, name: str) -> bool:
    """Return whether a tool is given the agent's state."""
    tools = [tool for group in toolkit.tool_groups for tool in group.tools]
    return any(tool.name == name and tool.is_state_injected for tool in tools)


def _kept(response: ToolResponse) -> Any:
    """Return the texts of a response that has nothing else; else something that is not kept."""
    texts = [block.text for block in response.content if isinstance(block, TextBlock)]
    plain = response.state == ToolResultState.SUCCESS and len(texts) == len(response.content)
    return texts if plain and not response.metadata else response


def _texts(kept: Any) -> Sequence[Any]:
    return kept if isinstance(kept, list) else []
