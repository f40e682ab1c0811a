"""An MCP server with one tool, for the suite; runs in the framework's environment.

It speaks over stdio, or with `--http PORT` on 127.0.0.1, where 0 takes a free port; its address is the first line of
output then.
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


def serve_http(served: Any, port: int = 0) -> None:
    """Serve streamable HTTP, with the HTTP server that the SDK itself uses."""
    uvicorn = importlib.import_module("uvicorn")
    with socket.create_server(("127.0.0.1", port)) as listening:
        print(f"http://127.0.0.1:{listening.getsockname()[1]}/mcp", flush=True)
        uvicorn.Server(uvicorn.Config(served.streamable_http_app(), log_level="error")).run(
            sockets=[listening]
        )


if __name__ == "__main__":
    tides = server("tides")
    tides.tool()(tide)
    if "--http" in sys.argv:
        serve_http(tides, int(sys.argv[-1]))
    else:
        tides.run()
