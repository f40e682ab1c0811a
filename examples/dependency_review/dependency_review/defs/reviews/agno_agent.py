"""A reviewer written in Agno."""

from agno.agent import Agent
from agno.models.openai import OpenAIChat
from facts import read_licence, read_requirements

reviewer = Agent(
    name="reviewer",
    model=OpenAIChat(id="smollm2", temperature=0),
    tools=[read_licence, read_requirements],
    instructions="You review Python distributions: read the licence, then say which it is.",
)
