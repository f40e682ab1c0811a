"""Agno by itself: one agent for all runs."""

from agno_agent import agent


async def execute(prompt: str) -> str:
    return str((await agent.arun(prompt)).content)
