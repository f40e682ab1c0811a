"""An MCP server over stdio with one tool, for the suite; runs in the framework's environment."""

import importlib
from typing import Any


def _server(name: str) -> Any:
    """Make a server of the SDK, which only the frameworks' environments hold."""
    try:
        return importlib.import_module("mcp.server.fastmcp").FastMCP(name)
    except ImportError:  # mcp 2
        return importlib.import_module("mcp.server.mcpserver").MCPServer(name)


def tide(city: str) -> str:
    """Tell the tide in a city."""
    return f"high tide in {city}"


if __name__ == "__main__":
    server = _server("tides")
    server.tool()(tide)
    server.run()
