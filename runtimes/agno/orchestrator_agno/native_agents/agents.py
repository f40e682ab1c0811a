"""Native Agno agents, as users write them, for the conformance suite."""

from concurrent.futures import ThreadPoolExecutor

from agno.agent import Agent
from agno.models.openai import OpenAIChat
from agno.models.openai.like import OpenAILike
from agno.team import Team
from agno.tools import tool
from agno.workflow import Parallel, Step, Workflow

model = OpenAILike(id="scripted")


def weather(city: str) -> str:
    """Tell the weather in a city."""
    return f"sunny in {city}"


async def broken(city: str) -> str:
    """Fail, always."""
    raise ValueError(f"no station in {city}")


assistant = Agent(name="assistant", model=OpenAIChat(id="scripted"), instructions="You are helpful.")
with_tool = Agent(name="forecaster", model=model, tools=[weather], instructions="You know the weather.")
raising = Agent(name="broken", model=model, tools=[broken], instructions="You know the weather.")


def survey(city: str) -> str:
    """Ask an agent about both sides of a city, in threads of this tool's own."""
    with ThreadPoolExecutor(2) as threads:
        answers = threads.map(lambda side: assistant.run(f"{side} of {city}"), ("north", "south"))
        return ", ".join(str(answer.content) for answer in answers)


surveying = Agent(name="surveying", model=model, tools=[survey], instructions="You survey.")


def team() -> Team:
    """Make a team whose leader answers or delegates."""
    return Team(name="newsroom", members=[assistant, with_tool], model=model)


async def workflow() -> Workflow:
    """Make a workflow of two agents side by side, and one that joins them."""
    return Workflow(
        name="briefing",
        steps=[
            Parallel(Step(name="one", agent=assistant), Step(name="two", agent=assistant)),
            Step(name="join", agent=with_tool),
        ],
    )


def failing(step_input: object) -> str:
    """Fail as a step of a workflow."""
    raise ValueError("the step has no data")


stumbling = Workflow(name="stumbling", steps=[Step(name="fails", executor=failing)])


@tool(requires_confirmation=True)
def order(city: str) -> str:
    """Order a map of a city."""
    return f"ordered {city}"


careful = Agent(name="careful", model=model, tools=[order], instructions="You order maps.")


def careful_team() -> Team:
    """Make a team whose member asks before it orders."""
    member = Agent(name="careful", model=model, tools=[order], instructions="You order maps.")
    return Team(name="shop", members=[member], model=model)


careful_leader = Team(name="office", members=[assistant], model=model, tools=[order])


@tool(external_execution=True)
def survey(city: str) -> str:
    """Ask the people of a city."""
    raise AssertionError("this is done elsewhere")


surveyor = Agent(name="surveyor", model=model, tools=[survey])
