"""The Agno agent under test."""

from agno.agent import Agent
from agno.models.openai.like import OpenAILike


async def weather(city: str) -> str:
    """Tell the weather in a city."""
    return f"sunny in {city}"


agent = Agent(
    name="forecaster", model=OpenAILike(id="scripted"), tools=[weather], instructions="You know the weather."
)
