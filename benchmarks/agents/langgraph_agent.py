"""The LangGraph agent under test."""

from langchain.agents import create_agent
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI


@tool
async def weather(city: str) -> str:
    """Tell the weather in a city."""
    return f"sunny in {city}"


agent = create_agent(ChatOpenAI(model="scripted"), [weather], system_prompt="You know the weather.")
