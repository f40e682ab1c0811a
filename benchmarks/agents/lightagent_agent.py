"""The LightAgent agent under test."""

import os

from LightAgent import LightAgent


def weather(city: str) -> str:
    """Tell the weather in a city."""
    return f"sunny in {city}"


weather.tool_info = {
    "tool_name": "weather",
    "tool_description": weather.__doc__,
    "tool_params": [{"name": "city", "description": "the city", "type": "string", "required": True}],
}


def make() -> LightAgent:
    return LightAgent(
        name="forecaster",
        model="scripted",
        api_key=os.environ["OPENAI_API_KEY"],
        base_url=os.environ["OPENAI_BASE_URL"],
        role="You know the weather.",
        tools=[weather],
    )


agent = make()
