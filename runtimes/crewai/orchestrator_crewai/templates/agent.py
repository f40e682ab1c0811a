"""A crew that tells the time: replace its tool, its agent and its task by your own."""

import os
from datetime import UTC, datetime

from crewai import LLM, Agent, Crew, Task
from crewai.tools import tool


@tool
def current_time() -> str:
    """Tell the current time in UTC."""
    return datetime.now(UTC).isoformat(timespec="minutes")


clock = Agent(
    role="clock",
    goal="answer questions about the time",
    backstory="You call current_time first.",
    llm=LLM(model=os.environ.get("OPENAI_MODEL", "smollm2"), provider="openai"),
    tools=[current_time],
)
# a prompt arrives as the input `input`
task = Task(description="{input}", expected_output="The time.", agent=clock)
agent = Crew(agents=[clock], tasks=[task])
