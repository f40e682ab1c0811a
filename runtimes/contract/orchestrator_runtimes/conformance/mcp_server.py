"""An MCP server over stdio with one tool, for the suite; runs in the framework's environment."""

try:
    from mcp.server.fastmcp import FastMCP
except ImportError:  # mcp 2
    from mcp.server.mcpserver import MCPServer as FastMCP

server = FastMCP("tides")


@server.tool()
def tide(city: str) -> str:
    """Tell the tide in a city."""
    return f"high tide in {city}"


if __name__ == "__main__":
    server.run()
