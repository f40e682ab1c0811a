"""Counts the tools of native agents, and keeps synchronous ones off the loop."""

import asyncio
import copy
import functools
import inspect
import time
from collections.abc import AsyncGenerator
from typing import Any, Final

from agentscope.message import TextBlock, ToolCallBlock, ToolResultState
from agentscope.state import AgentState
from agentscope.tool import FunctionTool, ToolChunk, Toolkit, ToolResponse

from orchestrator_runtimes.execution import CURRENT

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
        execution.begin_tool_call(tool_call.name)
        began = time.monotonic()
        error: str | None = None
        async for part in call_tool(self, tool_call, state):
            if part.state not in (ToolResultState.SUCCESS, ToolResultState.RUNNING):
                error = " ".join(block.text for block in part.content if isinstance(block, TextBlock))
            yield part
        await execution.emit(execution.end_tool_call(tool_call.name, time.monotonic() - began, error))

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
