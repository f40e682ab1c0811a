"""What agents ask people is sealed by the key of the run's tenant; who has the key decides."""

import json
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from orchestrator_assets import AgentSpec, PortableSpec, ToolSpec, agent_asset, approval_decision
from orchestrator_assets.execution_specs import RetrySpec
from orchestrator_resources.sealed_texts import KEYS_FILE, SealedTexts
from orchestrator_runtimes.conformance.model_endpoint import ModelEndpoint
from orchestrator_runtimes.conformance.scripts import Script
from tests.integration.approval_projects import Project, made, observed
from tests.integration.key_files import key_file
from tests.integration.planted_files import planted_in

pytestmark = pytest.mark.usefixtures("fake_framework")

ARGUMENT, REASON = "planted-argument", "planted-reason"
PLANTED = (ARGUMENT, REASON)


@pytest.fixture
def project(tmp_path: Path, endpoint: ModelEndpoint) -> Project:
    made = Project(tmp_path / "project", endpoint, Script(tool=("order",), arguments={"city": ARGUMENT}))
    agent = AgentSpec(
        framework="fake",
        portable=PortableSpec(instructions="Help.", tools=[ToolSpec(function="tools:order", approval=True)]),
        prompt="a map, please",
        retries=RetrySpec(max=0),
    )
    made.assets = [agent_asset(agent, asset=dg.AssetSpec("map"), code=made.code)]
    return made


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = key_file(tmp_path / "red.json", "red")
    monkeypatch.setenv(KEYS_FILE, str(file))
    return file


def test_questions_reasons_and_answers_stand_nowhere_in_the_clear(
    project: Project, keys: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    asked = project.launch()
    question = observed(asked)["question"]
    told = SealedTexts(keys).open_for_people(question)
    (name,) = project.waiting()
    assert told.startswith(f"{name}: It wants to call a tool:") and ARGUMENT in told
    assert ARGUMENT in project.orchestrator("show", name)
    project.orchestrator("reject", name, "--reason", REASON)
    resumed = project.resume()
    assert made(resumed) == ["map"] and project.tools == []
    (event,) = resumed.get_asset_materialization_events()
    table: Any = event.materialization.metadata["approvals"]
    (record,) = table.value.records
    assert (record.data["verdict"], record.data["question"], record.data["reason"]) == ("rejected", "…", "…")
    assert REASON in project.orchestrator("list", "--all", "--json")
    out = capfd.readouterr()
    assert planted_in(project.home, values=PLANTED, logs=out.out + out.err) == set()


def test_without_keys_they_stand_there(project: Project) -> None:
    project.launch()
    (name,) = project.waiting()
    project.orchestrator("reject", name, "--reason", REASON)
    assert {value for _, value in planted_in(project.home, values=PLANTED)} == set(PLANTED)


def test_who_has_no_key_sees_that_something_waits_and_decides_nothing(
    project: Project, keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.launch()
    monkeypatch.delenv(KEYS_FILE)
    (row,) = json.loads(project.orchestrator("list", "--json"))
    assert (
        row["question"]
        == "sealed: set ORCHESTRATOR_TENANT_KEYS_FILE to the file of the tenant's keys to read it"
    )
    refused = project.orchestrator("approve", row["approval"], status=1)
    assert f"the request {row['approval']} is sealed by the key of its tenant" in refused
    config = {"ops": {"decide": {"config": {"approval": "map", "decision": "approve"}}}}
    decided = approval_decision.execute_in_process(
        instance=project.instance, run_config=config, raise_on_error=False
    )
    assert not decided.success
    assert project.tick() == [], "a sensor needs no key to see what is decided"
    monkeypatch.setenv(KEYS_FILE, str(keys))
    decided = approval_decision.execute_in_process(instance=project.instance, run_config=config)
    assert decided.success
    monkeypatch.delenv(KEYS_FILE)
    assert len(project.tick()) == 1
    monkeypatch.setenv(KEYS_FILE, str(keys))
    assert made(project.resume()) == ["map"] and project.tools == ["order"]


def test_another_tenants_key_opens_no_question(
    project: Project, keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.launch()
    monkeypatch.setenv(KEYS_FILE, str(key_file(keys.with_name("blue.json"), "blue")))
    assert "does not open" in project.orchestrator("show", "map", status=1)
