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
from orchestrator_runtimes.json_values import Json
from orchestrator_runtimes.messages import McpServer
from orchestrator_runtimes.tools import PortableTool, ToolFailure

MCP_SECONDS: Final = 30.0


async def mcp_tools(server: McpServer, *, once: bool, approval: bool = False) -> list[PortableTool]:
    """Return the tools that an MCP server offers.

    Raises:
        AgentError: `agent_load_failed` when the server cannot be reached or lacks a tool that is asked for.
    """
    where = server.url or " ".join(server.command)
    try:
        async with asyncio.timeout(MCP_SECONDS), _session(server) as session:
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
        async with _session(server) as session:
            result = await session.call_tool(offered.name, dict(arguments))
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
async def _session(server: McpServer) -> AsyncGenerator[Any, None]:
    mcp = importlib.import_module("mcp")
    async with AsyncExitStack() as stack:
        if server.url is not None:
            http = importlib.import_module("mcp.client.streamable_http")
            streams = await stack.enter_async_context(http.streamablehttp_client(server.url))
        else:
            stdio = importlib.import_module("mcp.client.stdio")
            program = mcp.StdioServerParameters(command=server.command[0], args=list(server.command[1:]))
            streams = await stack.enter_async_context(stdio.stdio_client(program))
        session = await stack.enter_async_context(mcp.ClientSession(streams[0], streams[1]))
        await session.initialize()
        yield session


def _innermost(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
    return f"{type(error).__name__}: {error}"
