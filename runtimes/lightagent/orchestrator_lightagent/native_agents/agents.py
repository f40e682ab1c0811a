"""Native LightAgent agents, as users write them, for the conformance suite."""

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from LightAgent import BudgetLimits, HookDecision, LightAgent, LightFlow, LightSwarm

PARAMETERS = [{"name": "city", "description": "the city", "type": "string", "required": True}]


def weather(city: str) -> str:
    """Tell the weather in a city."""
    return f"sunny in {city}"


async def broken(city: str) -> str:
    """Fail, always."""
    raise ValueError(f"no station in {city}")


def spelled(city: str) -> Iterator[str]:
    """Tell the weather word by word."""
    yield from ("sunny", " in ", city)


def ask_assistant(city: str) -> str:
    """Ask an agent that every execution shares."""
    return str(assistant.run(f"what is the weather in {city}?"))


def survey(city: str) -> str:
    """Ask agents about both sides of a city, in threads of this tool's own."""
    with ThreadPoolExecutor(2) as threads:
        answers = threads.map(lambda side: make(side).run(f"{side} of {city}"), ("north", "south"))
        return ", ".join(map(str, answers))


def finish(city: str) -> str:
    """End the conversation, in LightAgent's way."""
    return f"good-bye, {city}"


for tool in (weather, broken, spelled, ask_assistant, survey, finish):
    tool.tool_info = {
        "tool_name": tool.__name__,
        "tool_description": tool.__doc__,
        "tool_params": PARAMETERS,
    }


def make(name: str, *tools: Any, **options: Any) -> LightAgent:
    """Make an agent."""
    return LightAgent(name=name, model="scripted", role="You help.", tools=list(tools), **options)


class Impatient(LightAgent):
    """An agent that calls tools three times at most."""

    def run(self, query: str, *args: Any, **options: Any) -> Any:
        """Run with a limit of its own."""
        options["max_retry"] = 3
        return super().run(query, *args, **options)


assistant = make("assistant")
with_tool = make("forecaster", weather)
raising = make("broken", broken)
spelling = make("spelling", spelled)
delegating = make("delegating", ask_assistant)
surveying = make("surveying", survey)
finishing = make("finishing", finish)
impatient = Impatient(name="impatient", model="scripted", tools=[weather])
thrifty = make("thrifty", weather, budget_limits=BudgetLimits(model_calls=2))
guarded = make("guarded", input_guardrails=[lambda query, context: "this is not asked here"])


async def over_mcp() -> LightAgent:
    """Make an agent whose tool is a server of the Model Context Protocol."""
    made = make("sailor")
    server = {"command": sys.executable, "args": [str(Path(__file__).with_name("tides.py"))]}
    await made.setup_mcp({"mcpServers": {"tides": server}})
    return made


unnamed = LightAgent(model="scripted")


def swarm() -> LightSwarm:
    """Make a swarm whose first agent answers or hands over."""
    made = LightSwarm()
    made.register_agent(assistant, with_tool)
    return made


async def flow() -> LightFlow:
    """Make a flow of three steps, one agent in two of them."""
    made = LightFlow()
    made.step("forecast", agent=with_tool)
    made.step("note", agent=assistant)
    made.step("report", agent=assistant, depends_on=["forecast", "note"])
    return made


class Careless:
    """A step that fails as code does."""

    name = "careless"

    def run(self, query: str, **options: Any) -> str:
        """Fail, always."""
        raise ValueError("the step has no data")


rescued = LightFlow().step("fails", agent=Careless(), fallback_agent=assistant)
stumbling = LightFlow().step("fails", agent=Careless()).step("goes on", agent=assistant)
endless = LightFlow().step("endless", agent=impatient).step("goes on", agent=assistant)
waiting = LightFlow().step("asks", agent=assistant, requires_approval=True)
blocked = LightFlow(
    hooks=[lambda context: HookDecision.block("not today") if context.step_name == "one" else None]
)
blocked.step("one", agent=assistant).step("two", agent=assistant)
