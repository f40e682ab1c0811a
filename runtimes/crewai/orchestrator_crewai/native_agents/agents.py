"""Native CrewAI crews and flows, as users write them, for the conformance suite."""

from crewai import LLM, Agent, Crew, Process, Task
from crewai.flow.flow import Flow, listen, start
from crewai.tools import tool
from pydantic import BaseModel

model = LLM(model="scripted", provider="openai")


@tool
def weather(city: str) -> str:
    """Tell the weather in a city."""
    return f"sunny in {city}"


@tool
def broken(city: str) -> str:
    """Fail, always."""
    raise ValueError(f"no station in {city}")


def agent(role: str, *tools: object) -> Agent:
    """Make an agent."""
    return Agent(role=role, goal="answer", backstory="You know the weather.", llm=model, tools=list(tools))


def crew_of(*agents: Agent) -> Crew:
    """Make a crew whose agents work one after the other."""
    tasks = [
        Task(description=f"{{input}} (as {one.role})", expected_output="The weather.", agent=one)
        for one in agents
    ]
    return Crew(agents=list(agents), tasks=tasks)


answering = crew_of(agent("assistant"))
with_tool = crew_of(agent("forecaster", weather))
raising = crew_of(agent("broken", broken))


def team() -> Crew:
    """Make a crew of two."""
    return crew_of(agent("researcher", weather), agent("writer"))


async def hierarchical() -> Crew:
    """Make a crew with a manager."""
    worker = agent("worker")
    task = Task(description="{input}", expected_output="The weather.")
    return Crew(agents=[worker], tasks=[task], process=Process.hierarchical, manager_llm=model)


class Report(BaseModel):
    """The state of a flow."""

    input: str = ""
    turns: int = 0


class Briefing(Flow[Report]):
    """Two steps: a crew, and what is made of its answer."""

    @start()
    async def ask(self) -> str:
        """Ask the crew."""
        self.state.turns += 1
        return (await with_tool.copy().akickoff(inputs={"input": self.state.input})).raw

    @listen(ask)
    def tell(self, answer: str) -> dict[str, object]:
        """Tell what the crew answered."""
        return {"answer": answer, "turns": self.state.turns}


class Stumbling(Flow[Report]):
    """A flow whose second step fails."""

    @start()
    def begin(self) -> str:
        """Do nothing."""
        return "begun"

    @listen(begin)
    def fail(self, _begun: str) -> None:
        """Fail."""
        raise ValueError("the step has no data")


briefing = Briefing()
