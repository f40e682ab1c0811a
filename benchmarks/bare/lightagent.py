"""LightAgent by itself: an agent for each run, since one cannot serve two at once, over one HTTP client."""

from lightagent_agent import agent, make


async def execute(prompt: str) -> str:
    own = make()
    own.client = agent.client
    return str((await own.arun(prompt, result_format="object")).content)
