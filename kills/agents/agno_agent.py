"""The agent of the trials, in Agno's own kind."""

from agno.agent import Agent
from agno.models.openai.like import OpenAILike
from pydantic import BaseModel

from tools import order, pay, tell, weigh


class Bought(BaseModel):
    """What was bought."""

    item: str
    receipts: list[str]


def read(item: str, number: int, witness: str) -> str:
    """Read about an item."""
    return tell(witness, "read", item, number)


def build() -> Agent:
    """Make the agent."""
    return Agent(
        name="buyer",
        model=OpenAILike(id="m"),
        instructions="You buy what the user names.",
        tools=[read, weigh, order, pay],
        output_schema=Bought,
        telemetry=False,
    )
