"""Counts and journals the tools of native agents, where every one of CrewAI's ways to call a tool passes."""

import asyncio
import functools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from crewai.tools import BaseTool
from crewai.tools.base_tool import Tool
from crewai.tools.structured_tool import CrewStructuredTool
from pydantic import BaseModel, ConfigDict

from orchestrator_runtimes.errors import AgentError
from orchestrator_runtimes.execution import CURRENT, Execution, ExecutionStopped
from orchestrator_runtimes.native_steps import NativeCall
from orchestrator_runtimes.tools import PortableTool

_ADDING: Final = (
    "allow_delegation", "allow_code_execution", "multimodal", "mcps", "apps", "skills", "knowledge",
    "knowledge_sources", "memory",
)  # fmt: skip


class Arguments(BaseModel):
    """Takes any arguments: a portable tool checks them itself, against its own schema."""

    model_config = ConfigDict(extra="allow")


class PortableCrewTool(BaseTool):
    """A portable tool as CrewAI calls it: from a thread, while the tool runs on the worker's loop."""

    portable: Any
    loop: Any

    def _run(self, **arguments: Any) -> str:
        portable: PortableTool = self.portable
        loop: asyncio.AbstractEventLoop = self.loop
        try:
            return asyncio.run_coroutine_threadsafe(portable.run(arguments), loop).result()
        except AgentError as error:  # CrewAI would tell it to the model
            execution = CURRENT.get()
            assert execution is not None  # else `run` had no error of this kind
            execution.stop(error)
            raise ExecutionStopped(error) from error


def crew_tool(tool: PortableTool, loop: asyncio.AbstractEventLoop) -> PortableCrewTool:
    """Return a portable tool for CrewAI, with its own schema."""

    class Described(Arguments):
        @classmethod
        def model_json_schema(cls, *_: Any, **__: Any) -> dict[str, Any]:
            return dict(tool.parameters)

    return PortableCrewTool(
        name=tool.name, description=tool.description, args_schema=Described, portable=tool, loop=loop
    )


def count_native_tools() -> None:
    """Put counting around what runs a tool, once."""
    if hasattr(BaseTool.run, "__wrapped__"):
        return
    for kind, name in ((BaseTool, "run"), (Tool, "run"), (CrewStructuredTool, "invoke")):
        setattr(kind, name, _counted(getattr(kind, name)))
    for kind, name in ((BaseTool, "arun"), (Tool, "arun"), (CrewStructuredTool, "ainvoke")):
        setattr(kind, name, _counted_async(getattr(kind, name)))


def is_given_tools(agent: Any) -> bool:
    """Return whether CrewAI gives an agent tools of its own, or of servers, as it runs."""
    return any(getattr(agent, name, None) for name in _ADDING)


def _counted(run: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(run)
    def counted(self: Any, *args: Any, **kwargs: Any) -> Any:
        execution = _counting(self)
        if execution is None:
            return run(self, *args, **kwargs)
        execution.begin_tool_call(self.name)
        call = NativeCall(execution, self.name, _arguments(args, kwargs))
        if call.look_up_from_thread():
            execution.emit_from_thread(execution.end_tool_call(self.name, 0.0, None, replayed=True))
            return call.result
        began, error = time.monotonic(), "the call was ended"
        try:
            result = run(self, *args, **kwargs)
            error = ""
            call.record_from_thread(result)
        except Exception as raised:
            error = f"{type(raised).__name__}: {raised}"
            raise
        finally:
            event = execution.end_tool_call(self.name, time.monotonic() - began, error or None)
            execution.emit_from_thread(event)
        return result

    return counted


def _counted_async(run: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(run)
    async def counted(self: Any, *args: Any, **kwargs: Any) -> Any:
        execution = _counting(self)
        if execution is None:
            return await run(self, *args, **kwargs)
        execution.begin_tool_call(self.name)
        call = NativeCall(execution, self.name, _arguments(args, kwargs))
        if await call.look_up():
            await execution.emit(execution.end_tool_call(self.name, 0.0, None, replayed=True))
            return call.result
        began, error = time.monotonic(), "the call was ended"
        try:
            result = await run(self, *args, **kwargs)
            error = ""
            await call.record(result)
        except Exception as raised:
            error = f"{type(raised).__name__}: {raised}"
            raise
        finally:
            event = execution.end_tool_call(self.name, time.monotonic() - began, error or None)
            await execution.emit(event)
        return result

    return counted


def _arguments(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what a tool is called with: by name, or as the one mapping that structured tools take."""
    if args and isinstance(args[0], Mapping):
        return dict(args[0])
    named = {name: value for name, value in kwargs.items() if name not in ("input", "config")}
    if isinstance(kwargs.get("input"), Mapping):
        return dict(kwargs["input"])
    return {**named, "args": list(args)} if args else named


def _counting(tool: Any) -> Execution | None:
    """Return the execution that counts a call of `tool`; None for a portable tool and outside of any execution."""
    original = getattr(tool, "_original_tool", None) or tool
    return None if isinstance(original, PortableCrewTool) else CURRENT.get()
