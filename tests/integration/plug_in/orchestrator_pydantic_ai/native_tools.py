"""Counts the tools of native agents, also those of an agent that another agent asks."""

import functools
import time
from typing import Any, Final

from pydantic_ai.tool_manager import ToolManager, ValidatedToolCall

from orchestrator_runtimes.execution import CURRENT

UNCOUNTED: Final = "orchestrator_counts_itself"  # in the metadata of portable tools


def count_native_tools() -> None:
    """Put counting around `ToolManager.execute_tool_call`, once; checked against Pydantic AI 2.68."""
    execute = ToolManager.execute_tool_call
    if hasattr(execute, "__wrapped__"):
        return

    @functools.wraps(execute)
    async def counted(self: ToolManager[Any], validated: ValidatedToolCall[Any], **options: Any) -> Any:
        execution = CURRENT.get()
        tool = validated.tool
        if execution is None or (tool is not None and UNCOUNTED in (tool.tool_def.metadata or {})):
            return await execute(self, validated, **options)
        name = validated.call.tool_name
        execution.begin_tool_call(name)
        began = time.monotonic()
        error: str | None = "the call was ended"
        try:
            result = await execute(self, validated, **options)
            error = None
        except Exception as raised:
            error = f"{type(raised).__name__}: {raised}"
            raise
        finally:
            await execution.emit(execution.end_tool_call(name, time.monotonic() - began, error))
        return result

    ToolManager.execute_tool_call = counted  # type: ignore[method-assign]
