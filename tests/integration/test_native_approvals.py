"""Agents whose own framework asks a person: their assets wait, and go on with the decision in another guest."""

import json
from pathlib import Path
from typing import Any, Final

import dagster as dg
import pytest

from orchestrator_assets import AgentSpec, agent_asset
from orchestrator_assets.execution_specs import RetrySpec
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
    "agentscope": """
import os
from agentscope.agent import Agent, InjectionConfig
from agentscope.credential import OpenAICredential
from agentscope.model import OpenAIChatModel
from agentscope.tool import FunctionTool, Toolkit
from tools import order

credential = OpenAICredential(api_key=os.environ["OPENAI_API_KEY"], base_url=os.environ["OPENAI_BASE_URL"])
agent = Agent(
    name="shop", system_prompt="You order maps.",
    model=OpenAIChatModel(credential=credential, model="scripted", stream=False),
    toolkit=Toolkit(tools=[FunctionTool(order)]),
    injection_config=InjectionConfig(inject_runtime_state=False),
)
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
    # AgentScope tells its agent that a call was refused, and has no place for the reason
    told = verdict == "reject" and framework != "agentscope"
    assert ("we said so" in str(list(endpoint.calls)[-1].body)) == told


CREW: Final = """
from crewai import LLM, Agent, Crew, Task
from crewai.tools import tool
from tools import order

model = LLM(model="scripted", provider="openai")
clerk = Agent(role="clerk", goal="Order maps.", backstory="You order maps.", llm=model, tools=[tool(order)])
todo = Task(description="{input}", expected_output="A map.", agent=clerk, human_input=True)
agent = Crew(agents=[clerk], tasks=[todo])
"""


def test_the_task_of_a_crew_is_made_better_until_a_person_accepts_it(
    tmp_path: Path, endpoint: ModelEndpoint
) -> None:
    project = Project(tmp_path, endpoint, Script(echo=r"EXEC-\d+"))
    (project.code / "agent.py").write_text(CREW)
    project.assets = [
        agent_asset(asking("crewai", "{execution}"), asset=dg.AssetSpec("map"), code=project.code)
    ]
    asked = project.launch()
    assert made(asked) == [] and "EXEC-1: a map, please" in observed(asked)["question"]
    assert project.tools == ["order"] and endpoint.count == 2
    project.orchestrator("reject", "map", "--reason", "EXEC-7: say for whom")
    again = project.resume()
    assert made(again) == [] and "EXEC-7" in observed(again)["question"]
    # the scripted model orders again for each thing it is told; what was done before comes from the journal
    assert project.tools == ["order", "order"] and endpoint.count == 4
    project.orchestrator("approve", "map")
    done = project.resume()
    assert made(done) == ["map"] and "EXEC-7" in str(done.output_for_node("map", "result"))
    assert project.tools == ["order", "order"] and endpoint.count == 4


def test_without_a_session_it_is_told_what_to_change(tmp_path: Path, endpoint: ModelEndpoint) -> None:
    project = project_of("langgraph", tmp_path, endpoint, None)
    code, text = failure(project.launch())
    assert code == "invalid_input" and "run it in a session" in text


STEPS: Final = """
from agno.workflow import HumanReview, Step, Workflow

def draft(step_input):
    return "a draft"

def plain():
    return Workflow(name="plain", steps=[Step(name="one", executor=draft)])

review = HumanReview(requires_confirmation=True)
agent = Workflow(name="checked", steps=[Step(name="one", executor=draft, human_review=review)])
"""


@pytest.mark.parametrize("stream", [False, True])
def test_a_workflow_whose_step_asks_is_no_silent_success(
    stream: bool, tmp_path: Path, endpoint: ModelEndpoint
) -> None:
    project = Project(tmp_path, endpoint, Script())
    (project.code / "agent.py").write_text(STEPS)
    agent = asking("agno", "{execution}").model_copy(update={"stream": stream})
    project.assets = [agent_asset(agent, asset=dg.AssetSpec("map"), code=project.code)]
    code, text = failure(project.launch())
    assert code == "framework_error" and "a step of the workflow waits for a person" in text
    unasked = agent.model_copy(update={"entrypoint": "agent:plain"})
    project.assets = [agent_asset(unasked, asset=dg.AssetSpec("map"), code=project.code)]
    assert project.launch().output_for_node("map", "result") == "a draft"


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
