"""A name that no tool of a native agent has is refused when it is loaded, in every framework with native tools."""

import dagster as dg
import pytest

from kills.project import AGENTS, Job
from orchestrator_assets.agent_assets import agent_asset
from orchestrator_assets.agent_specs import AgentSpec
from orchestrator_assets.execution_specs import InputSpec
from orchestrator_runtimes.conformance.model_endpoint import ModelEndpoint
from tests.integration.agent_materializations import failure, materialize

pytestmark = pytest.mark.timeout(180)


@pytest.mark.parametrize("framework", ["agentscope", "agno", "crewai", "langgraph", "lightagent"])
@pytest.mark.parametrize("option", ["once", "again"])
def test_a_rule_for_a_tool_that_the_agent_lacks_is_named(
    framework: str, option: str, endpoint: ModelEndpoint
) -> None:
    agent = AgentSpec(
        framework=framework,
        entrypoint=f"{framework}_agent:build",
        options={option: ["pay", "paid"]},
        prompt="Buy {item}.",
        inputs={"item": InputSpec(value="a lamp")},
    )
    files = Job(framework=framework, native=True).files
    asset = agent_asset(agent, asset=dg.AssetSpec("bought"), code=AGENTS, files=files)
    code, description = failure(materialize([asset], endpoint))
    assert code == "agent_load_failed"
    assert f"options.{option} names 'paid', and no tool of the agent is called so" in description
    _, _, names = description.partition("it has ")
    assert {"order", "pay", "read", "weigh"} <= set(names.splitlines()[0].split(", ")) and endpoint.count == 0
