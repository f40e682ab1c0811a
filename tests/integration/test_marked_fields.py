"""Marked fields of agents stand in the clear nowhere in what Dagster stores, and agents of their tenant get them."""

import json
import re
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from click.testing import CliRunner

from orchestrator_assets import AgentSpec, PortableSpec, ToolSpec, agent_asset
from orchestrator_assets.execution_specs import ForEachSpec, InputSpec, RetrySpec
from orchestrator_assets.personal_values import MASK
from orchestrator_defs.cli import main
from orchestrator_resources.personal_fields import SEALED_FORM, is_sealed
from orchestrator_resources.sealed_texts import KEYS_FILE
from orchestrator_runtimes.conformance.model_endpoint import ModelEndpoint
from orchestrator_runtimes.conformance.scripts import Fault, FaultKind, Script
from tests.integration.key_files import key_file
from tests.integration.marked_projects import EMAIL, OUTPUT, PHONE, SUMMARY, Project, reader

pytestmark = pytest.mark.usefixtures("fake_framework")


@pytest.fixture
def project(tmp_path: Path, endpoint: ModelEndpoint, capfd: pytest.CaptureFixture[str]) -> Project:
    return Project(tmp_path, endpoint, capfd)


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = key_file(tmp_path / "red.json", "red")
    monkeypatch.setenv(KEYS_FILE, str(file))
    return file


def failed(result: dg.ExecuteInProcessResult) -> Any:
    (event,) = result.get_step_failure_events()
    return event.event_specific_data


@pytest.mark.usefixtures("keys")
def test_marked_fields_are_sealed_in_the_value_and_masked_where_people_look(project: Project) -> None:
    made = agent_asset(reader(), asset=dg.AssetSpec("read"))
    result = project.run(Script(output=OUTPUT), made)
    assert result.success
    assert project.found() == set()
    assert project.found("good"), "what is not marked is found, so the search finds things"
    (one, two) = project.value("read")
    assert one["output"]["rating"] == "good" and one["key"] == "one"
    sealed = [one["output"][name] for name in ("summary", "phone", "reply")]
    assert all(map(is_sealed, sealed)), "the reply repeats the address, which is marked in the input"
    assert sealed != [two["output"][name] for name in ("summary", "phone", "reply")]
    opened = CliRunner().invoke(main, ["unseal"], input="\n".join(sealed))
    assert list(map(json.loads, opened.output.split("\n"))) == [SUMMARY, int(PHONE), f"Dear {EMAIL}"]
    (event,) = [e for e in result.get_asset_materialization_events() if e.asset_key == dg.AssetKey("read")]
    assert MASK in str(event.materialization.metadata["rows"])


@pytest.mark.usefixtures("keys")
def test_an_agent_of_the_tenant_gets_them_and_equal_values_have_equal_versions(project: Project) -> None:
    made = agent_asset(reader(), asset=dg.AssetSpec("read"))
    answer = AgentSpec(
        framework="fake",
        portable=PortableSpec(instructions="Answer."),
        inputs={"rows": InputSpec(asset="read")},
        prompt="{rows[0][output][summary]} {rows[0][output][phone]}",
        personal=["output"],
    )
    versions = set[str]()
    for _ in range(2):
        result = project.run(
            Script(output=OUTPUT, text="{echo}", echo=f"({SUMMARY}|{PHONE})"),
            made,
            agent_asset(answer, asset=dg.AssetSpec("answer")),
        )
        assert result.success
        versions |= {
            (event.materialization.tags or {})["dagster/data_version"]
            for event in result.get_asset_materialization_events()
            if event.asset_key == dg.AssetKey("answer")
        }
    assert len(versions) == 1
    (sealed,) = [project.value("answer")]
    opened = CliRunner().invoke(main, ["unseal"], input=sealed)
    assert SUMMARY in opened.output and PHONE in opened.output
    assert project.found() == set()


@pytest.mark.usefixtures("keys")
@pytest.mark.parametrize("on_failure", ["fail", "keep"])
@pytest.mark.parametrize(
    "script",
    [
        Script(output={**OUTPUT, "rating": [SUMMARY]}),
        Script(faults=(Fault(kind=FaultKind.STATUS, status=400),)),
    ],
    ids=["an output that does not match", "an endpoint that refuses"],
)
def test_errors_quote_nothing(project: Project, script: Script, on_failure: str) -> None:
    spec = reader(for_each=ForEachSpec(input="letter", key="id", on_failure=on_failure))
    result = project.run(script, agent_asset(spec, asset=dg.AssetSpec("read")))
    assert project.found() == set()
    if on_failure == "keep":
        assert all(row["status"] == "failed" for row in project.value("read"))
        return
    told = failed(result).user_failure_data
    assert "may quote marked fields" in told.description
    opened = CliRunner().invoke(main, ["unseal"], input=told.metadata["error"].value)
    assert re.match(r"[a-z_]+: ", opened.output), opened.output


@pytest.mark.usefixtures("keys")
def test_a_bug_beside_marked_fields_quotes_nothing(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_given: object, **_named: object) -> None:
        raise KeyError(EMAIL)

    monkeypatch.setattr("orchestrator_assets.agent_assets.run_metadata", broken)
    result = project.run(Script(output=OUTPUT), agent_asset(reader(), asset=dg.AssetSpec("read")))
    told = failed(result).user_failure_data
    assert told.metadata["code"].value == "framework_error"
    assert EMAIL in CliRunner().invoke(main, ["unseal"], input=told.metadata["error"].value).output
    assert project.found() == set()


@pytest.mark.usefixtures("keys")
def test_a_question_is_sealed_where_it_stands(project: Project) -> None:
    code = project.folder / "code"
    code.mkdir()
    (code / "tools.py").write_text('def order(city: str) -> str:\n    "Order."\n    return city\n')
    spec = reader(
        portable=PortableSpec(instructions="Order.", tools=[ToolSpec(function="tools:order", approval=True)]),
        personal=["letter.email"],
    )
    made = agent_asset(spec, asset=dg.AssetSpec("read"), code=code)
    result = project.run(Script(arguments={"city": EMAIL}), made)
    assert result.success
    (event,) = result.get_asset_observation_events()
    asked = event.asset_observation_data.asset_observation.metadata["questions"].value
    assert EMAIL in CliRunner().invoke(main, ["unseal"], input=str(asked)).output
    assert project.found() == set()


def test_what_the_runs_config_gives_in_the_clear_is_refused(project: Project, keys: Path) -> None:
    spec = reader(for_each=None, inputs={"letter": InputSpec(asset="letters")}, prompt=None)
    config = {"ops": {"read": {"config": {"inputs": {"letter": {"email": "x@y.example"}}}}}}
    result = project.run(Script(), agent_asset(spec, asset=dg.AssetSpec("read")), run_config=config)
    assert failed(result).user_failure_data.description == (
        "invalid_input: the run's config gives the marked field 'letter.email' in the clear, where Dagster keeps and"
        " shows it: give it by an upstream asset"
    )
    assert keys.exists()


def test_a_tenants_run_without_a_key_is_refused(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCHESTRATOR_TENANT", "red")
    result = project.run(Script(output=OUTPUT), agent_asset(reader(), asset=dg.AssetSpec("read")))
    assert failed(result).user_failure_data.description == (
        "invalid_input: marked fields are sealed by the tenant's key, and the run has none: set"
        " ORCHESTRATOR_TENANT_KEYS_FILE to the file of the keys of its tenant"
    )
    assert project.endpoint.count == 0 and project.found() == set()


def test_a_machine_without_tenants_has_a_key_of_its_own(project: Project) -> None:
    result = project.run(Script(output=OUTPUT), agent_asset(reader(), asset=dg.AssetSpec("read")))
    assert result.success
    (one, _) = project.value("read")
    opened = CliRunner().invoke(main, ["unseal"], input=json.dumps(one))
    assert SUMMARY in opened.output and not re.search(SEALED_FORM, opened.output)
    of_agents = project.storage / "agents"
    places = {place for place, _ in project.found()}
    assert places <= {file.name for file in of_agents.iterdir()} | {
        f"{file.name}: {table}"
        for file in of_agents.glob("*.db")
        for table in ("calls", "finished", "sessions")
    }, "journal and results of runs are sealed by a tenant's key alone, and nothing else has them"


def test_another_tenant_does_not_open_them(
    project: Project, keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = agent_asset(reader(), asset=dg.AssetSpec("read"))
    assert project.run(Script(output=OUTPUT), made).success
    monkeypatch.setenv(KEYS_FILE, str(key_file(keys.with_name("blue.json"), "blue")))
    follow = AgentSpec(
        framework="fake",
        portable=PortableSpec(instructions="Answer."),
        inputs={"rows": InputSpec(asset="read")},
        retries=RetrySpec(max=0),
    )
    result = project.run(
        Script(),
        made,
        agent_asset(follow, asset=dg.AssetSpec("answer")),
        selection=dg.AssetSelection.assets("answer"),
    )
    assert "a marked field of the input 'rows' does not open" in failed(result).user_failure_data.description
    assert CliRunner().invoke(main, ["unseal"], input=json.dumps(project.value("read"))).exit_code == 1


@pytest.mark.usefixtures("keys")
def test_rows_are_not_named_by_a_field_that_was_marked_before(project: Project) -> None:
    made = agent_asset(
        reader(for_each=None, prompt="read", inputs={}, personal=["phone"]), asset=dg.AssetSpec("read")
    )
    each = AgentSpec(
        framework="fake",
        portable=PortableSpec(instructions="Answer."),
        inputs={"row": InputSpec(asset="listed")},
        for_each=ForEachSpec(input="row", key="phone"),
        retries=RetrySpec(max=0),
    )

    @dg.asset
    def listed(read: dict[str, Any]) -> list[dict[str, Any]]:
        return [read]

    result = project.run(Script(output=OUTPUT), made, listed, agent_asset(each, asset=dg.AssetSpec("answer")))
    assert "the field 'phone' is personal" in failed(result).user_failure_data.description
