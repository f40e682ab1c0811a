"""Tools of MCP servers for portable agents, through the official SDK that every framework's environment holds.

A connection is opened for each call and closed after it: the SDK ties a session to the task that opened it, and an
execution's calls come from many. Checked against mcp 1.x.
"""

import asyncio
import importlib
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final, cast

from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.execution import CURRENT
from orchestrator_runtimes.json_values import Json
from orchestrator_runtimes.messages import McpServer, ModelAddress
from orchestrator_runtimes.tools import PortableTool, ToolFailure

MCP_SECONDS: Final = 30.0


async def mcp_tools(
    server: McpServer, model: ModelAddress | None = None, *, once: bool, approval: bool = False
) -> list[PortableTool]:
    """Return the tools that an MCP server offers.

    Args:
        server: Where it is.
        model: Where the gateway is, for a server that is behind it.
        once: See `PortableTool`.
        approval: See `PortableTool`.

    Raises:
        AgentError: `agent_load_failed` when the server cannot be reached or lacks a tool that is asked for.
    """
    where = server.server or server.url or " ".join(server.command)
    try:
        async with asyncio.timeout(MCP_SECONDS), _session(server, model) as session:
            offered = {tool.name: tool for tool in (await session.list_tools()).tools}
    except Exception as error:  # the boundary: the SDK raises groups of whatever its transports raise
        raise AgentError(
            ErrorCode.AGENT_LOAD_FAILED, f"the MCP server {where!r} did not answer", cause=_innermost(error)
        ) from error
    missing = [name for name in server.include if name not in offered]
    if missing:
        raise AgentError(
            ErrorCode.AGENT_LOAD_FAILED,
            f"the MCP server {where!r} has no tool {missing[0]!r}; it has {', '.join(sorted(offered)) or 'none'}",
        )
    return [_tool(server, offered[name], once, approval) for name in (server.include or offered)]


def _tool(server: McpServer, offered: Any, once: bool, approval: bool) -> PortableTool:
    async def call(arguments: Mapping[str, Json]) -> object:
        execution = CURRENT.get()
        model = execution.run.model if execution is not None else None
        try:
            async with _session(server, model) as session:
                result = await session.call_tool(offered.name, dict(arguments))
        except Exception as error:  # the boundary: the SDK raises groups of whatever its transports raise
            raise _told(error, offered.name) from error
        text = "\n".join(getattr(part, "text", "") or f"[{part.type}]" for part in result.content)
        if result.isError:
            raise ToolFailure(text)
        return text

    return PortableTool(
        name=offered.name,
        description=offered.description or offered.name,
        parameters=offered.inputSchema,
        call=call,
        once=once,
        approval=approval,
    )


@asynccontextmanager
async def _session(server: McpServer, model: ModelAddress | None) -> AsyncGenerator[Any, None]:
    mcp = importlib.import_module("mcp")
    async with AsyncExitStack() as stack:
        if not server.command:
            url, headers = _address(server, model)
            http = importlib.import_module("mcp.client.streamable_http")
            streams = await stack.enter_async_context(http.streamablehttp_client(url, headers=headers))
        else:
            stdio = importlib.import_module("mcp.client.stdio")
            program = mcp.StdioServerParameters(command=server.command[0], args=list(server.command[1:]))
            streams = await stack.enter_async_context(stdio.stdio_client(program))
        session = await stack.enter_async_context(mcp.ClientSession(streams[0], streams[1]))
        await session.initialize()
        yield session


def _address(server: McpServer, model: ModelAddress | None) -> tuple[str, dict[str, str]]:
    """Return the address of a server and what opens it; behind the gateway, the execution's own token."""
    if server.url is not None:
        return server.url, {}
    if model is None or model.api_key is None:
        raise ToolFailure(f"the MCP server {server.server!r} is behind the gateway, and this run has none")
    base = model.base_url.rstrip("/").removesuffix("/v1")
    return f"{base}/mcp/{server.server}", {"authorization": f"Bearer {model.api_key}"}


def _told(error: Exception, tool: str) -> Exception:
    """Return what is to be made of a failed call: of one that nobody may make again, the execution's error."""
    cause = _first(error)
    data = getattr(getattr(cause, "error", None), "data", None)
    if isinstance(data, Mapping) and cast("Mapping[str, object]", data).get("code") == "result_unknown":
        return AgentError(ErrorCode.TOOL_FAILED, str(cause), detail={"tool": tool, "state": "started"})
    return cause if isinstance(cause, ToolFailure) else ToolFailure(f"{type(cause).__name__}: {cause}")


def _innermost(error: BaseException) -> str:
    first = _first(error)
    return f"{type(first).__name__}: {first}"


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
    return error
