"""Native LangGraph agents, as users write them, for the conformance suite."""

import operator
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any, TypedDict

from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.messages import BaseMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import interrupt

model = ChatOpenAI(model="scripted")


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
        return ", ".join(threads.map(lambda side: model.invoke(f"{side} of {city}").text, ("north", "south")))


assistant = create_agent(model, [], system_prompt="You are helpful.")
with_tool = create_agent(model, [weather], system_prompt="You know the weather.")
surveying = create_agent(model, [survey], system_prompt="You survey.")
raising = create_agent(model, [broken], system_prompt="You know the weather.")


class Notes(TypedDict):
    """What the parallel graph knows."""

    topic: str
    notes: Annotated[list[str], operator.add]


def parallel() -> Any:
    """Make a graph with two branches that ask the model at the same time, and one that joins them."""

    async def ask(state: Notes) -> dict[str, list[str]]:
        return {"notes": [(await model.ainvoke(f"a note on {state['topic']}")).text]}

    def ask_too(state: Notes) -> dict[str, list[str]]:
        return {"notes": [model.invoke(f"another note on {state['topic']}").text]}

    graph = StateGraph(Notes)
    graph.add_node("one", ask)
    graph.add_node("two", ask_too)
    graph.add_node("join", ask)
    graph.add_edge(START, "one")
    graph.add_edge(START, "two")
    graph.add_edge(["one", "two"], "join")
    graph.add_edge("join", END)
    return graph.compile()


class Talk(TypedDict):
    """A conversation."""

    messages: Annotated[list[BaseMessage], add_messages]


async def team() -> Any:
    """Make a graph, not compiled yet, of two agents that speak one after the other."""
    graph = StateGraph(Talk)
    graph.add_node("researcher", with_tool)
    graph.add_node("writer", assistant)
    graph.add_edge(START, "researcher")
    graph.add_edge("researcher", "writer")
    graph.add_edge("writer", END)
    return graph


def publishing() -> Any:
    """Make a graph that asks twice at once, one of them in a subgraph, before its model speaks."""

    async def ask(state: Notes) -> dict[str, list[str]]:
        decision = interrupt({"publish": state["topic"]})
        return {"notes": [decision["text"]]}

    async def say(state: Notes) -> dict[str, list[str]]:
        return {"notes": [(await model.ainvoke(f"tell of {state['notes']}")).text]}

    inner = StateGraph(Notes)
    inner.add_node("ask", ask)
    inner.add_edge(START, "ask")
    graph = StateGraph(Notes)
    graph.add_node("one", ask)
    graph.add_node("two", inner.compile())
    graph.add_node("say", say)
    graph.add_edge(START, "one")
    graph.add_edge(START, "two")
    graph.add_edge(["one", "two"], "say")
    graph.add_edge("say", END)
    return graph.compile()


careful = create_agent(
    model, [weather], middleware=[HumanInTheLoopMiddleware(interrupt_on={"weather": True})]
)
