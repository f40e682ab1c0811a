"""An MCP server with one tool, for the suite; runs in the framework's environment.

It speaks over stdio, or with `--http` on a free port of the loopback, whose address is its first line of output.
"""

import importlib
import socket
import sys
from typing import Any


def server(name: str) -> Any:
    """Make a server of the SDK, which only the frameworks' environments hold."""
    try:
        return importlib.import_module("mcp.server.fastmcp").FastMCP(name)
    except ImportError:  # mcp 2
        return importlib.import_module("mcp.server.mcpserver").MCPServer(name)


def tide(city: str) -> str:
    """Tell the tide in a city."""
    return f"high tide in {city}"


def serve_http(served: Any) -> None:
    """Serve streamable HTTP, with the HTTP server that the SDK itself uses."""
    uvicorn = importlib.import_module("uvicorn")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        print(f"http://127.0.0.1:{listening.getsockname()[1]}/mcp", flush=True)
        uvicorn.Server(uvicorn.Config(served.streamable_http_app(), log_level="error")).run(
            sockets=[listening]
        )


if __name__ == "__main__":
    tides = server("tides")
    tides.tool()(tide)
    if "--http" in sys.argv:
        serve_http(tides)
    else:
        tides.run()
