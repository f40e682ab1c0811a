"""CrewAI by itself: a crew for each run, since one cannot serve two at once, over one model."""

from crewai_agent import make


async def execute(prompt: str) -> str:
    return str((await make().akickoff(inputs={"prompt": prompt})).raw)
