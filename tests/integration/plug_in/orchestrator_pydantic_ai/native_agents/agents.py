"""Native Pydantic AI agents, as users write them, for the conformance suite."""

from pydantic import BaseModel
from pydantic_ai import Agent, DeferredToolRequests, NativeOutput
from pydantic_ai.models.openai import OpenAIChatModel

model = OpenAIChatModel("scripted")

assistant = Agent("openai:scripted", instructions="You are helpful.")
forecaster = Agent(model, name="forecaster", instructions="You know the weather.")


@forecaster.tool_plain
def weather(city: str) -> str:
    """Tell the weather in a city."""
    return f"sunny in {city}"


async def broken(city: str) -> str:
    """Fail, always."""
    raise ValueError(f"no station in {city}")


raising = Agent(model, tools=[broken])
waiting = Agent(model, output_type=[str, DeferredToolRequests])


@waiting.tool_plain(requires_approval=True)
def order(item: str) -> str:
    """Order something."""
    return f"ordered {item}"


class Report(BaseModel):
    """What the weather is."""

    place: str


reporter = Agent(model, output_type=NativeOutput(Report))


async def newsroom() -> Agent:
    """Make an agent that asks another one."""
    editor = Agent(model, name="editor")

    @editor.tool_plain
    async def ask_forecaster(question: str) -> str:
        """Ask the forecaster."""
        return (await forecaster.run(question)).output

    return editor
