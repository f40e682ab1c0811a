"""Journals the tools of native graphs, where each of LangChain's ways to call a tool passes."""

import functools
from collections.abc import Mapping
from typing import Any, Final

from langchain_core.messages import ToolMessage
from langchain_core.tools import BaseTool, StructuredTool
from langgraph.graph.state import CompiledStateGraph
from langgraph.prebuilt import ToolNode

from orchestrator_runtimes.execution import CURRENT, Execution
from orchestrator_runtimes.native_steps import NativeCall

_MESSAGE: Final = "message"
_VALUE: Final = "value"


class PortableGraphTool(StructuredTool):
    """A portable tool, which counts and journals itself."""


def journal_native_tools() -> None:
    """Put the journal around `BaseTool.run` and `arun`, once."""
    if hasattr(BaseTool.run, "__wrapped__"):
        return
    run, arun = BaseTool.run, BaseTool.arun

    @functools.wraps(run)
    def journaled(self: BaseTool, tool_input: str | dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        execution = _journaling(self)
        if execution is None:
            return run(self, tool_input, *args, **kwargs)
        execution.check()
        call = _call(execution, self, tool_input)
        if call.look_up_from_thread():
            execution.begin_tool_call(self.name)
            execution.emit_from_thread(execution.end_tool_call(self.name, 0.0, None, replayed=True))
            return _given(call.result, self.name, kwargs.get("tool_call_id"))
        output = run(self, tool_input, *args, **kwargs)
        call.record_from_thread(_kept(output))
        return output

    @functools.wraps(arun)
    async def ajournaled(self: BaseTool, tool_input: str | dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        execution = _journaling(self)
        if execution is None:
            return await arun(self, tool_input, *args, **kwargs)
        execution.check()
        call = _call(execution, self, tool_input)
        if await call.look_up():
            execution.begin_tool_call(self.name)
            await execution.emit(execution.end_tool_call(self.name, 0.0, None, replayed=True))
            return _given(call.result, self.name, kwargs.get("tool_call_id"))
        output = await arun(self, tool_input, *args, **kwargs)
        await call.record(_kept(output))
        return output

    BaseTool.run = journaled  # type: ignore[method-assign]
    BaseTool.arun = ajournaled  # type: ignore[method-assign]


def names_of_tools(graph: CompiledStateGraph[Any, Any, Any, Any]) -> frozenset[str] | None:
    """Return the names of the tools of a graph's nodes; None where a node is a user's own, which may call any tool."""
    names = set[str]()
    for node in graph.builder.nodes.values():
        runs: Any = node.runnable
        if isinstance(runs, ToolNode):
            names |= set(runs.tools_by_name)
        elif not str(getattr(getattr(runs, "func", None), "__module__", "")).startswith("langchain.agents."):
            return None
    return frozenset(names)


def _journaling(tool: BaseTool) -> Execution | None:
    """Return the execution that journals a call of `tool`; None for a portable tool and outside of any execution."""
    return None if isinstance(tool, PortableGraphTool) else CURRENT.get()


def _call(execution: Execution, tool: BaseTool, tool_input: str | dict[str, Any]) -> NativeCall:
    if isinstance(tool_input, str):
        return NativeCall(execution, tool.name, {"input": tool_input})
    told: dict[str, Any] = tool._filter_injected_args(tool_input)  # pyright: ignore[reportPrivateUsage]
    return NativeCall(execution, tool.name, told, stateful=len(told) < len(tool_input))


def _kept(output: Any) -> Any:
    """Return what of an output makes it again as JSON; something that is no JSON where nothing does."""
    if not isinstance(output, ToolMessage):
        return {_VALUE: output}
    plain = type(output) is ToolMessage and output.status == "success" and output.artifact is None
    return {_MESSAGE: output.content} if plain and not output.additional_kwargs else {_MESSAGE: output}


def _given(kept: Any, name: str, call: str | None) -> Any:
    if isinstance(kept, Mapping) and _MESSAGE in kept:
        return ToolMessage(content=kept[_MESSAGE], name=name, tool_call_id=call or "")
    return kept[_VALUE]
