"""An agent asks, its run ends, a person decides, and a later run goes on and repeats no call: in six frameworks."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from orchestrator_assets import AgentSpec, PortableSpec, ToolSpec, agent_asset
from orchestrator_assets.execution_specs import RetrySpec
from orchestrator_assets.resumed_runs import RESUMES_TAG
from orchestrator_assets.waiting_steps import WAITING_TAG
from orchestrator_runtimes.conformance.model_endpoint import ModelEndpoint
from orchestrator_runtimes.conformance.scripts import Script
from orchestrator_runtimes.profiles import installed_frameworks
from tests.integration.approval_projects import Project, made, observed

pytestmark = pytest.mark.timeout(300)

BOTH = Script(echo=r"EXEC-\d+", tool=("weather", "order"))


def asking(framework: str, **changes: Any) -> AgentSpec:
    """Return an agent that calls two tools in one round; one of them asks."""
    tools = [ToolSpec(function="tools:weather"), ToolSpec(function="tools:order", approval=True, once=True)]
    given: dict[str, Any] = {
        "framework": framework,
        "portable": PortableSpec(instructions="Help.", tools=tools),
        "prompt": "EXEC-1: the weather in Paris, and a map, please",
        "retries": RetrySpec(max=0),
    }
    return AgentSpec(**{**given, **changes})


@pytest.mark.parametrize("verdict", ["approve", "reject"])
@pytest.mark.parametrize("framework", sorted(set(installed_frameworks()) - {"fake"}))
def test_an_agent_asks_and_goes_on_with_the_decision_without_repeating_a_call(
    framework: str, verdict: str, tmp_path: Path, endpoint: ModelEndpoint
) -> None:
    project = Project(tmp_path, endpoint, BOTH)

    @dg.asset(deps=["map"])
    def sent() -> str:
        return "sent"

    project.assets = [
        agent_asset(asking(framework), asset=dg.AssetSpec("map"), code=project.code),
        sent,
    ]
    asked = project.launch()
    assert asked.success and made(asked) == []
    assert project.tools == ["weather"]
    assert endpoint.count == 1
    told = observed(asked)
    assert told["status"].startswith("waits for a decision; what nobody decides until 20")
    assert '"city": "Paris"' in told["question"]
    (name,) = project.waiting()
    assert f"orchestrator approvals approve {name}\n" in told["decide_by_command"]
    run = project.instance.get_run_by_id(asked.run_id)
    assert run is not None and run.tags[WAITING_TAG] == "1"
    assert project.tick() == []

    assert "nothing of its run waits" in project.orchestrator(verdict, name, "--reason", "we said so")
    done = project.resume()
    assert made(done) == ["map", "sent"]
    assert project.tools == (["order", "weather"] if verdict == "approve" else ["weather"])
    assert endpoint.count == 2, "the first call is answered from the journal"
    resumed = project.instance.get_run_by_id(done.run_id)
    assert resumed is not None and resumed.tags[RESUMES_TAG] == asked.run_id
    (event,) = [e for e in done.get_asset_materialization_events() if e.asset_key == dg.AssetKey("map")]
    approvals: Any = event.materialization.metadata["approvals"].value
    assert [(a.data["approval"], a.data["reason"]) for a in approvals.records] == [(name, "we said so")]
    assert project.tick() == []
    last = list(endpoint.calls)[-1].body
    assert ("we said so" in str(last)) == (verdict == "reject")
