"""LangGraph by itself: one compiled graph for all runs."""

from langgraph_agent import agent


async def execute(prompt: str) -> str:
    state = await agent.ainvoke({"messages": [("user", prompt)]})
    return str(state["messages"][-1].text)
