"""What an asset says of its agent where its author says nothing."""

from orchestrator_assets import AgentSpec, ForEachSpec, InputSpec, PortableSpec, ToolSpec
from orchestrator_assets.agent_specs import McpSpec
from orchestrator_assets.descriptions import description


def test_a_portable_agent_is_described_by_what_it_is_told_and_may_do() -> None:
    tools = [ToolSpec(function="tools:refund", approval=True), ToolSpec(mcp=McpSpec(server="orders"))]
    agent = AgentSpec(
        framework="langgraph",
        portable=PortableSpec(instructions="Help.", tools=tools),
        prompt="Order {order}",
        inputs={"order": InputSpec(value=[1])},
        for_each=ForEachSpec(input="order"),
    )
    assert description(agent, "LangGraph") == (
        "A portable agent in LangGraph, once for each of `order`.\n\nInstructions:\n\n```\nHelp.\n```\n\n"
        "Prompt:\n\n```\nOrder {order}\n```\n\nTools: `tools:refund` (asks a person), those of `orders`."
    )


def test_a_native_agent_is_described_by_its_entrypoint() -> None:
    assert (
        description(AgentSpec(framework="agno", entrypoint="team:agent"), "Agno") == "`team:agent` in Agno."
    )
