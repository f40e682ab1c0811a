"""Agents whose own framework asks a person: their assets wait, and go on with the decision in another guest."""

import json
from pathlib import Path
from typing import Any, Final

import dagster as dg
import pytest

from orchestrator_assets import AgentSpec, agent_asset
from orchestrator_assets.agent_specs import RetrySpec
from orchestrator_runtimes.conformance.model_endpoint import ModelEndpoint
from orchestrator_runtimes.conformance.scripts import Script
from tests.integration.agent_materializations import failure
from tests.integration.approval_projects import Project, made, observed

pytestmark = pytest.mark.timeout(300)

AGENTS: Final = {
    "langgraph": """
from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from tools import order

review = HumanInTheLoopMiddleware(interrupt_on={"order": True})
agent = create_agent(ChatOpenAI(model="scripted"), [tool(order)], middleware=[review])
""",
    "agno": """
from agno.agent import Agent
from agno.models.openai.like import OpenAILike
from agno.tools import tool
from tools import order

agent = Agent(model=OpenAILike(id="scripted"), tools=[tool(requires_confirmation=True)(order)])
""",
}


def asking(framework: str, session: str | None) -> AgentSpec:
    return AgentSpec(
        framework=framework, entrypoint="agent:agent", prompt="EXEC-1: a map, please", session=session,
        retries=RetrySpec(max=0),
    )  # fmt: skip


def project_of(framework: str, folder: Path, endpoint: ModelEndpoint, session: str | None) -> Project:
    project = Project(folder, endpoint, Script(echo=r"EXEC-\d+"))
    (project.code / "agent.py").write_text(AGENTS[framework])
    agent = asking(framework, session)
    project.assets = [agent_asset(agent, asset=dg.AssetSpec("map"), code=project.code)]
    return project


@pytest.mark.parametrize("verdict", ["approve", "reject"])
@pytest.mark.parametrize("framework", sorted(AGENTS))
def test_an_agent_that_its_framework_interrupts_goes_on_with_the_decision(
    framework: str, verdict: str, tmp_path: Path, endpoint: ModelEndpoint
) -> None:
    project = project_of(framework, tmp_path, endpoint, "{execution}")
    asked = project.launch()
    assert asked.success and made(asked) == []
    assert project.tools == []
    assert "Paris" in observed(asked)["question"]
    shown = json.loads(project.orchestrator("show", "map", "--json"))
    assert shown["kind"] == "native"
    project.orchestrator(verdict, "map", "--reason", "we said so")
    done = project.resume()
    assert made(done) == ["map"]
    assert project.tools == (["order"] if verdict == "approve" else [])
    assert endpoint.count == 2
    assert ("we said so" in str(list(endpoint.calls)[-1].body)) == (verdict == "reject")


def test_without_a_session_it_is_told_what_to_change(tmp_path: Path, endpoint: ModelEndpoint) -> None:
    project = project_of("langgraph", tmp_path, endpoint, None)
    code, text = failure(project.launch())
    assert code == "invalid_input" and "run it in a session" in text


WORKFLOW: Final[dict[str, Any]] = {
    "name": "publish",
    "nodes": [
        {"name": "Start", "type": "n8n-nodes-base.manualTrigger", "typeVersion": 1, "parameters": {}},
        {
            "name": "Wait", "type": "n8n-nodes-base.wait", "typeVersion": 1.1,
            "parameters": {"resume": "webhook", "options": {}},
        },
        {
            "name": "Say", "type": "n8n-nodes-base.set", "typeVersion": 3.4,
            "parameters": {
                "assignments": {
                    "assignments": [
                        {
                            "id": "a", "name": "said", "type": "string",
                            "value": "={{ $json.approved }} {{ $json.reason }}",
                        }
                    ]
                }
            },
        },
    ],
    "connections": {
        "Start": {"main": [[{"node": "Wait", "type": "main", "index": 0}]]},
        "Wait": {"main": [[{"node": "Say", "type": "main", "index": 0}]]},
    },
}  # fmt: skip


def test_a_workflow_of_n8n_waits_and_goes_on(tmp_path: Path, endpoint: ModelEndpoint) -> None:
    project = Project(tmp_path, endpoint, Script())
    (project.code / "workflow.json").write_text(json.dumps(WORKFLOW))
    agent = AgentSpec(
        framework="n8n", entrypoint="workflow.json", session="{execution}", retries=RetrySpec(max=0)
    )
    project.assets = [agent_asset(agent, asset=dg.AssetSpec("published"), code=project.code)]
    assert made(project.launch()) == []
    project.orchestrator("approve", "published", "--reason", "fine")
    done = project.resume()
    assert done.output_for_node("published", "result") == {"said": "true fine"}
