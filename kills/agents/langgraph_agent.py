"""The agent of the trials, in LangGraph's own kind: tools that run in threads, and a structured response."""

from typing import Any

from langchain.agents import create_agent
from langchain.agents.structured_output import ProviderStrategy
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel

from tools import tell, tell_soon


class Bought(BaseModel):
    """What was bought."""

    item: str
    receipts: list[str]


@tool
def read(item: str, number: int, witness: str) -> str:
    """Read about an item."""
    return tell(witness, "read", item, number)


@tool
async def weigh(item: str, number: int, witness: str) -> str:
    """Weigh an item."""
    return await tell_soon(witness, "weigh", item, number)


@tool
def order(item: str, number: int, witness: str) -> str:
    """Order an item."""
    return tell(witness, "order", item, number)


@tool
async def pay(item: str, number: int, witness: str) -> str:
    """Pay for an item."""
    return await tell_soon(witness, "pay", item, number)


def build() -> Any:
    """Make the agent."""
    return create_agent(
        ChatOpenAI(model="m"),
        [read, weigh, order, pay],
        system_prompt="You buy what the user names.",
        response_format=ProviderStrategy(Bought),
    )
