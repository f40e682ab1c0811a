"""The agent of the trials, in CrewAI's own kind: a crew of one."""

from crewai import LLM, Agent, Crew, Task
from crewai.tools import tool
from pydantic import BaseModel

from tools import tell


class Bought(BaseModel):
    """What was bought."""

    item: str
    receipts: list[str]


@tool
def read(item: str, number: int, witness: str) -> str:
    """Read about an item."""
    return tell(witness, "read", item, number)


@tool
def weigh(item: str, number: int, witness: str) -> str:
    """Weigh an item."""
    return tell(witness, "weigh", item, number)


@tool
def order(item: str, number: int, witness: str) -> str:
    """Order an item."""
    return tell(witness, "order", item, number)


@tool
def pay(item: str, number: int, witness: str) -> str:
    """Pay for an item."""
    return tell(witness, "pay", item, number)


def build() -> Crew:
    """Make the crew."""
    buyer = Agent(
        role="buyer",
        goal="buy",
        backstory="You buy what the user names.",
        llm=LLM(model="m", provider="openai"),
        tools=[read, weigh, order, pay],
    )
    buying = Task(description="{input}", expected_output="The receipts.", agent=buyer, output_pydantic=Bought)
    return Crew(agents=[buyer], tasks=[buying])
