"""The agent of the trials, in LightAgent's own kind."""

from typing import Any

from LightAgent import LightAgent

from tools import tell_soon


async def read(item: str, number: int, witness: str) -> str:
    """Read about an item."""
    return await tell_soon(witness, "read", item, number)


async def weigh(item: str, number: int, witness: str) -> str:
    """Weigh an item."""
    return await tell_soon(witness, "weigh", item, number)


async def order(item: str, number: int, witness: str) -> str:
    """Order an item."""
    return await tell_soon(witness, "order", item, number)


async def pay(item: str, number: int, witness: str) -> str:
    """Pay for an item."""
    return await tell_soon(witness, "pay", item, number)


PARAMETERS = [
    {"name": "item", "description": "the item", "type": "string", "required": True},
    {"name": "number", "description": "the round", "type": "integer", "required": True},
    {"name": "witness", "description": "an address", "type": "string", "required": True},
]
TOOLS: list[Any] = [read, weigh, order, pay]
for tool in TOOLS:
    tool.tool_info = {
        "tool_name": tool.__name__,
        "tool_description": tool.__doc__,
        "tool_params": PARAMETERS,
    }


def build() -> LightAgent:
    """Make the agent."""
    return LightAgent(name="buyer", model="m", role="You buy what the user names.", tools=TOOLS)
