"""The CrewAI crew under test: one for each run, over one model."""

from crewai import LLM, Agent, Crew, Task
from crewai.tools import tool

model = LLM(model="scripted", provider="openai")


@tool
def weather(city: str) -> str:
    """Tell the weather in a city."""
    return f"sunny in {city}"


def make() -> Crew:
    forecaster = Agent(
        role="forecaster",
        goal="tell the weather",
        backstory="You know the weather.",
        llm=model,
        tools=[weather],
    )
    task = Task(description="{prompt}", expected_output="The weather.", agent=forecaster)
    return Crew(agents=[forecaster], tasks=[task])


crew = make()
