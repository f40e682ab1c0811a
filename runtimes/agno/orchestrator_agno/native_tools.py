"""Counts the tools of native agents, where every one of Agno's ways to call a tool passes."""

import functools
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

from agno.tools.function import FunctionCall, FunctionExecutionResult

from orchestrator_runtimes.execution import CURRENT, Execution

UNCOUNTED: Final = "orchestrator_counts_itself"

Call = TypeVar("Call", bound=Callable[..., Any])


def uncounted(entrypoint: Call) -> Call:
    """Mark the function behind a portable tool, which counts itself."""
    setattr(entrypoint, UNCOUNTED, True)
    return entrypoint


def count_native_tools() -> None:
    """Put counting around `FunctionCall.execute` and `aexecute`, once."""
    if hasattr(FunctionCall.execute, "__wrapped__"):
        return
    execute, aexecute = FunctionCall.execute, FunctionCall.aexecute

    @functools.wraps(execute)
    def counted(self: FunctionCall) -> FunctionExecutionResult:
        execution = _counting(self)
        if execution is None:
            return execute(self)
        execution.begin_tool_call(self.function.name)
        began = time.monotonic()
        error: str | None = "the call was ended"
        try:
            result = execute(self)
            error = result.error
        except Exception as raised:
            error = f"{type(raised).__name__}: {raised}"
            raise
        finally:
            execution.emit_from_thread(
                execution.end_tool_call(self.function.name, time.monotonic() - began, error)
            )
        return result

    @functools.wraps(aexecute)
    async def acounted(self: FunctionCall) -> FunctionExecutionResult:
        execution = _counting(self)
        if execution is None:
            return await aexecute(self)
        execution.begin_tool_call(self.function.name)
        began = time.monotonic()
        error: str | None = "the call was ended"
        try:
            result = await aexecute(self)
            error = result.error
        except Exception as raised:
            error = f"{type(raised).__name__}: {raised}"
            raise
        finally:
            await execution.emit(execution.end_tool_call(self.function.name, time.monotonic() - began, error))
        return result

    FunctionCall.execute = counted  # type: ignore[method-assign]
    FunctionCall.aexecute = acounted  # type: ignore[method-assign]


def _counting(call: FunctionCall) -> Execution | None:
    """Return the execution that counts `call`; None for a portable tool and outside of any execution."""
    return None if hasattr(call.function.entrypoint, UNCOUNTED) else CURRENT.get()
