"""What an agent asset says of itself where its author says nothing."""

from orchestrator_assets.agent_specs import AgentSpec, PortableSpec, ToolSpec
from orchestrator_assets.markdown import fenced


def description(agent: AgentSpec, framework: str) -> str:
    """Return what an agent is and does, in Markdown.

    Args:
        agent: The agent.
        framework: Name of its framework, as people write it.
    """
    portable = agent.portable
    kind = "A portable agent" if portable is not None else f"`{agent.entrypoint}`"
    parts = [f"{kind} in {framework}{_amount(agent)}."]
    if portable is not None:
        parts.append(f"Instructions:\n\n{fenced(portable.instructions)}")
    if agent.prompt is not None:
        parts.append(f"Prompt:\n\n{fenced(agent.prompt)}")
    if portable is not None and portable.tools:
        parts.append(f"Tools: {_tools(portable)}.")
    return "\n\n".join(parts)


def _amount(agent: AgentSpec) -> str:
    return "" if agent.for_each is None else f", once for each of `{agent.for_each.input}`"


def _tools(portable: PortableSpec) -> str:
    return ", ".join(_tool(tool) + (" (asks a person)" if tool.approval else "") for tool in portable.tools)


def _tool(tool: ToolSpec) -> str:
    if tool.function is not None:
        return f"`{tool.function}`"
    return (
        f"those of `{tool.mcp.server}`"
        if tool.mcp is not None and tool.mcp.server
        else "those of an MCP server"
    )
