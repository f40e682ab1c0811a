"""A reviewer written in CrewAI."""

from crewai import LLM, Agent, Crew, Task
from crewai.tools import tool
from facts import read_licence, read_requirements

reviewer = Agent(
    role="licence reviewer",
    goal="say which licence a Python distribution has",
    backstory="You call read_licence with the distribution's name first.",
    llm=LLM(model="smollm2", provider="openai", temperature=0),
    tools=[tool(read_licence), tool(read_requirements)],
)
review = Task(
    description="{input}",  # the prompt of the asset
    expected_output="The licence.",
    agent=reviewer,
)
crew = Crew(agents=[reviewer], tasks=[review])
