"""A server of the Model Context Protocol, as a user has it beside an agent."""

from mcp.server.fastmcp import FastMCP

server = FastMCP("tides")


@server.tool()
def tide(city: str) -> str:
    """Tell the tide in a city."""
    return f"high tide in {city}"


server.run()
