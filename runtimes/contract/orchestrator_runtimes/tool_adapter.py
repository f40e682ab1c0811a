"""Tools without a framework: a guest that calls the tools of portable agents for a runtime that is not Python."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from orchestrator_runtimes.adapter import Adapter, Outcome
from orchestrator_runtimes.capabilities import MANDATORY, YES, Capability, no
from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.execution import Execution
from orchestrator_runtimes.json_values import Json
from orchestrator_runtimes.messages import CONTRACT_VERSION, PortableAgent
from orchestrator_runtimes.profiles import FrameworkProfile
from orchestrator_runtimes.tools import PortableTool

Tools = Mapping[str, PortableTool]

PROFILE: Final = FrameworkProfile(
    name="tools",
    title="Tools",
    package="orchestrator_runtimes",
    adapter="orchestrator_runtimes.tool_adapter:ToolAdapter",
    distribution="orchestrator-runtimes",
    requirements=(),
    lock_file="",
    licence="Apache-2.0",
    homepage="",
    native=(),
    environment={},
    capabilities={c: YES if c in MANDATORY else no("it only calls tools") for c in Capability},
    cancel="task",
)


class ToolAdapter(Adapter):
    """An agent's run without inputs lists its tools; one with `{"tool": name, "arguments": {}}` calls one of them."""

    profile = PROFILE

    async def load_native(self, found: Any, options: Mapping[str, Json]) -> Tools:
        """Refuse: a native agent belongs to a framework."""
        raise AgentError(ErrorCode.AGENT_LOAD_FAILED, f"a guest for tools runs no {type(found).__name__}")

    def build_portable(self, agent: PortableAgent, tools: Sequence[PortableTool]) -> Tools:
        """Keep the tools by name."""
        return {tool.name: tool for tool in tools}

    def framework_version(self) -> str:
        """Return the contract's version: it is no distribution."""
        return CONTRACT_VERSION

    async def run(self, agent: Tools, execution: Execution) -> Outcome:
        """List the tools, or call one and return the text for the model."""
        match execution.run.inputs:
            case None:
                return Outcome(output=[_described(tool) for tool in agent.values()])
            case {"tool": str(name), "arguments": Mapping() as arguments} if name in agent:
                return Outcome(output=await agent[name].run(arguments))
            case other:
                raise AgentError(ErrorCode.INVALID_INPUT, f"{other!r:.200} calls none of {', '.join(agent)}")


def _described(tool: PortableTool) -> Mapping[str, Json]:
    return {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
