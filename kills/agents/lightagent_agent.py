"""The agent of the trials, in LightAgent's own kind."""

from typing import Any

from LightAgent import LightAgent

from tools import order, pay, read, weigh

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
