"""Counts and journals the tools of native agents, where every one of LightAgent's ways to call a tool passes."""

import functools
import time
from collections.abc import Callable, Generator
from typing import Any, Final, TypeVar

from LightAgent import AsyncToolDispatcher  # type: ignore[import-untyped]  # it ships no marker of its types

from orchestrator_runtimes.execution import CURRENT, Execution
from orchestrator_runtimes.native_steps import NativeCall

UNCOUNTED: Final = "orchestrator_counts_itself"

Call = TypeVar("Call", bound=Callable[..., Any])


def uncounted(function: Call) -> Call:
    """Mark the function behind a portable tool, which counts itself."""
    setattr(function, UNCOUNTED, True)
    return function


def count_native_tools() -> None:
    """Put counting around `AsyncToolDispatcher.dispatch`, once."""
    if hasattr(AsyncToolDispatcher.dispatch, "__wrapped__"):
        return
    dispatch = AsyncToolDispatcher.dispatch

    @functools.wraps(dispatch)
    async def counted(self: AsyncToolDispatcher, tool_name: str, tool_params: dict[str, Any]) -> Any:
        function = self.function_mappings.get(tool_name)
        execution = CURRENT.get()
        if function is None or execution is None or hasattr(function, UNCOUNTED):
            return await dispatch(self, tool_name, tool_params)
        execution.begin_tool_call(tool_name)
        call = NativeCall(execution, tool_name, tool_params)
        if await call.look_up():
            await execution.emit(execution.end_tool_call(tool_name, 0.0, None, replayed=True))
            return call.result
        began = time.monotonic()
        error: str | None = "the call was ended"
        result: Any = None
        try:
            result = await dispatch(self, tool_name, tool_params)
            # what a tool raises comes back as text
            error = result if isinstance(result, str) and result.startswith("[LA-") else None
            if error is None:
                await call.record(result)
        finally:
            if not isinstance(result, Generator):
                _tell(execution, tool_name, began, error)
        return _told(result, execution, tool_name, began) if isinstance(result, Generator) else result

    AsyncToolDispatcher.dispatch = counted


def _told(
    parts: Generator[Any, None, None], execution: Execution, name: str, began: float
) -> Generator[Any, None, None]:
    """Yield what a tool yields; its call ends with it."""
    error: str | None = "the call was ended"
    try:
        yield from parts
        error = None
    except Exception as raised:
        error = f"{type(raised).__name__}: {raised}"
        raise
    finally:
        _tell(execution, name, began, error)


def _tell(execution: Execution, name: str, began: float, error: str | None) -> None:
    execution.emit_from_thread(execution.end_tool_call(name, time.monotonic() - began, error))
