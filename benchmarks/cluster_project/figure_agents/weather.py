"""The tool of the agents under test."""


async def weather(city: str) -> str:
    """Tell the weather in a city."""
    return f"sunny in {city}"
