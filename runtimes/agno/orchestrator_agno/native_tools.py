"""Counts and journals the tools of native agents, where every one of Agno's ways to call a tool passes."""

import functools
import inspect
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

from agno.agent import Agent
from agno.tools.function import Function, FunctionCall, FunctionExecutionResult
from agno.tools.toolkit import Toolkit

from orchestrator_runtimes.execution import CURRENT, Execution
from orchestrator_runtimes.native_steps import NativeCall

UNCOUNTED: Final = "orchestrator_counts_itself"

_GIVEN: Final = frozenset(
    {"agent", "team", "workflow", "run_context", "session_state", "dependencies", "_agno_run_context"}
)
"""Parameters that Agno fills in with what belongs to the run."""

_ADDING: Final = (
    "knowledge", "knowledge_retriever", "memory_manager", "enable_agentic_memory", "enable_agentic_state",
    "search_past_sessions", "read_chat_history", "read_tool_call_history", "update_knowledge", "skills", "reasoning",
    "learning", "offload_tool_results",
)  # fmt: skip
"""Settings of an agent that give it tools of Agno's own."""

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
        call = _call(execution, self)
        if call.look_up_from_thread():
            execution.emit_from_thread(execution.end_tool_call(self.function.name, 0.0, None, replayed=True))
            return _given(self, call.result)
        began = time.monotonic()
        error: str | None = "the call was ended"
        try:
            result = execute(self)
            error = result.error
            if _can_be_kept(result):
                call.record_from_thread(result.result)
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
        call = _call(execution, self)
        if await call.look_up():
            await execution.emit(execution.end_tool_call(self.function.name, 0.0, None, replayed=True))
            return _given(self, call.result)
        began = time.monotonic()
        error: str | None = "the call was ended"
        try:
            result = await aexecute(self)
            error = result.error
            if _can_be_kept(result):
                await call.record(result.result)
        except Exception as raised:
            error = f"{type(raised).__name__}: {raised}"
            raise
        finally:
            await execution.emit(execution.end_tool_call(self.function.name, time.monotonic() - began, error))
        return result

    FunctionCall.execute = counted  # type: ignore[method-assign]
    FunctionCall.aexecute = acounted  # type: ignore[method-assign]


def names_of_tools(agent: Agent) -> frozenset[str] | None:
    """Return the names of an agent's tools; None where Agno adds some, or they are known only as it runs."""
    if any(getattr(agent, name, None) for name in _ADDING):
        return None
    if not isinstance(agent.tools, list | None):
        return None  # a function that makes them for each run
    names = set[str]()
    for tool in agent.tools or ():
        match tool:
            case Toolkit():
                made = {*tool.functions, *tool.async_functions}
                if not made:
                    return None  # of an MCP server that was not asked yet
                names |= made
            case Function():
                names.add(tool.name)
            case _ if inspect.isroutine(tool):
                names.add(tool.__name__)
            case _:
                return None
    return frozenset(names)


def _counting(call: FunctionCall) -> Execution | None:
    """Return the execution that counts `call`; None for a portable tool and outside of any execution."""
    return None if hasattr(call.function.entrypoint, UNCOUNTED) else CURRENT.get()


def _call(execution: Execution, call: FunctionCall) -> NativeCall:
    """Describe a call; a function with a parameter that Agno fills in is given the run's state."""
    given = inspect.signature(call.function.entrypoint).parameters if call.function.entrypoint else {}
    stateful = bool(_GIVEN.intersection(given))
    return NativeCall(execution, call.function.name, call.arguments or {}, stateful=stateful)


def _can_be_kept(result: FunctionExecutionResult) -> bool:
    media = result.images or result.videos or result.audios or result.files
    return result.status == "success" and not media


def _given(call: FunctionCall, result: Any) -> FunctionExecutionResult:
    call.result = result
    return FunctionExecutionResult(status="success", result=result)
