"""An MCP server of the official SDK that counts its calls in a file; runs in a framework's environment."""

import asyncio
import sys
from pathlib import Path

from orchestrator_runtimes.conformance import mcp_server

TOLD = Path(sys.argv[1])
orders = mcp_server.server("orders")


async def order(city: str) -> str:
    """Order a map of a city."""
    with TOLD.open("a") as told:
        told.write(f"{city}\n")
    if city == "Hang":
        await asyncio.sleep(60)
    await asyncio.sleep(0.5)
    if city == "Atlantis":
        raise ValueError("there is no such city")
    return f"ordered {city}"


async def secret() -> str:
    """Tell what agents may not use."""
    return "secret"


orders.tool()(order)
orders.tool()(secret)
mcp_server.serve_http(orders)
