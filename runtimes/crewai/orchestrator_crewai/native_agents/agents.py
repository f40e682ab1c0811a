"""Native CrewAI crews and flows, as users write them, for the conformance suite."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

from crewai import LLM, Agent, Crew, Process, Task
from crewai.flow.flow import Flow, listen, start
from crewai.flow.human_feedback import human_feedback
from crewai.project import CrewBase, agent, crew, task
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


@tool
def survey(city: str) -> str:
    """Ask the model about both sides of a city, in threads of this tool's own."""
    with ThreadPoolExecutor(2) as threads:
        return ", ".join(threads.map(lambda side: str(model.call(f"{side} of {city}")), ("north", "south")))


class Report(BaseModel):
    """What a crew reports."""

    city: str


def make(role: str, *tools: Any, **options: Any) -> Agent:
    """Make an agent."""
    return Agent(
        role=role, goal="answer", backstory="You know the weather.", llm=model, tools=list(tools), **options
    )


def work(one: Agent, **options: Any) -> Task:
    """Make a task for an agent."""
    return Task(description="{input}", expected_output="The weather.", agent=one, **options)


def crew_of(*agents: Agent, **options: Any) -> Crew:
    """Make a crew whose agents work one after the other."""
    return Crew(agents=list(agents), tasks=[work(one) for one in agents], **options)


assistant = make("assistant")
answering = crew_of(assistant)
with_tool = crew_of(make("forecaster", weather))
surveying = crew_of(make("surveyor", survey))
raising = crew_of(make("broken", broken))
printing = crew_of(make("loud", weather, verbose=True), verbose=True)
planning = crew_of(assistant, planning=True, planning_llm=model)
remembering = crew_of(make("historian"), memory=True)
reporting = Crew(agents=[assistant], tasks=[work(assistant, output_pydantic=Report)])
twins = crew_of(make("twin"), make("twin", weather))
stubborn = crew_of(make("stubborn", max_retry_limit=3), function_calling_llm="openai/gpt-4o")


def team() -> Crew:
    """Make a crew of two."""
    return crew_of(make("researcher", weather), make("writer"))


async def hierarchical() -> Crew:
    """Make a crew with a manager."""
    todo = Task(description="{input}", expected_output="The weather.")
    return Crew(agents=[make("worker")], tasks=[todo], process=Process.hierarchical, manager_llm=model)


@CrewBase
class Newsroom:
    """A crew as projects of CrewAI write them."""

    agents_config: ClassVar[dict[str, Any]] = {}
    tasks_config: ClassVar[dict[str, Any]] = {}

    @agent
    def writer(self) -> Agent:
        """Make the one agent."""
        return make("writer")

    @task
    def article(self) -> Task:
        """Make the one task."""
        return work(self.writer())

    @crew
    def crew(self) -> Crew:
        """Make the crew."""
        return Crew(agents=self.agents, tasks=self.tasks)


class Notes(BaseModel):
    """The state of a flow."""

    input: str = ""
    turns: int = 0


class Briefing(Flow[Notes]):
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


class Stumbling(Flow[Notes]):
    """A flow whose second step fails."""

    @start()
    def begin(self) -> str:
        """Do nothing."""
        return "begun"

    @listen(begin)
    def fail(self, _begun: str) -> None:
        """Fail."""
        raise ValueError("the step has no data")


class Direct(Flow[Notes]):
    """A flow that calls its model from a thread and from the loop."""

    @start()
    def first(self) -> str:
        """Ask in a thread."""
        return str(model.call(self.state.input))

    @listen(first)
    async def second(self, answer: str) -> str:
        """Ask on the flow's loop."""
        return str(await model.acall(answer))


class Asking(Flow[Notes]):
    """A flow that asks somebody."""

    @start()
    def ask_somebody(self) -> str:
        """Ask."""
        return self.ask(f"which city? {self.state.input}") or ""


class Reviewed(Flow[Notes]):
    """A flow that waits for a review."""

    @start()
    @human_feedback(message="is this right?")
    def draft(self) -> str:
        """Write what is to be reviewed."""
        return self.state.input


briefing = Briefing()
