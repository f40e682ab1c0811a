"""Runs that wait for decisions, through Dagster's and the command line's doors, with the fake framework."""

import json
import time
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from orchestrator_assets import (
    AgentSpec,
    ForEachSpec,
    InputSpec,
    PortableSpec,
    ToolSpec,
    agent_asset,
    approval_decision,
)
from orchestrator_assets.execution_specs import RetrySpec
from orchestrator_resources.approvals import NOBODY
from orchestrator_resources.instance_state import STATE_URL, state_folder
from orchestrator_runtimes.conformance.model_endpoint import ModelEndpoint
from orchestrator_runtimes.conformance.scripts import Fault, FaultKind, Script
from tests.integration.agent_materializations import failure
from tests.integration.approval_projects import Project, made, observed
from tests.integration.postgres_servers import PostgresServer

pytestmark = pytest.mark.usefixtures("fake_framework")

ORDER = Script(echo=r"EXEC-\w+", tool=("order",))


def asking(**changes: Any) -> AgentSpec:
    given: dict[str, Any] = {
        "framework": "fake",
        "portable": PortableSpec(
            instructions="Help.", tools=[ToolSpec(function="tools:order", approval=True)]
        ),
        "prompt": "EXEC-1: a map, please",
        "retries": RetrySpec(max=0),
    }
    return AgentSpec(**{**given, **changes})


@pytest.fixture
def project(tmp_path: Path, endpoint: ModelEndpoint) -> Project:
    made = Project(tmp_path / "project", endpoint, ORDER)
    made.assets = [agent_asset(asking(), asset=dg.AssetSpec("map"), code=made.code)]
    return made


def test_rows_that_are_done_are_kept_and_those_that_wait_are_finished_by_one_later_run(
    project: Project, endpoint: ModelEndpoint
) -> None:
    @dg.asset
    def cities() -> list[str]:
        return [f"EXEC-{n}" for n in range(6)]

    agent = asking(
        prompt="a map of {city}",
        inputs={"city": InputSpec(asset="cities")},
        for_each=ForEachSpec(input="city"),
    )
    project.assets = [cities, agent_asset(agent, asset=dg.AssetSpec("maps"), code=project.code)]
    asked = project.launch()
    assert made(asked) == ["cities"]
    told = observed(asked)
    assert (told["waiting"], told["finished"], told["failed"]) == (6, 0, 0)
    assert {str(record.data["status"]) for record in told["rows"].records} == {"waiting"}
    first, *rest = project.waiting()
    project.orchestrator("approve", first)
    assert project.tick() == [], "five still wait, and the asset has no value without them"
    early = project.launch(selection=["maps"])  # somebody does not wait for them
    told = observed(early)
    assert (told["waiting"], told["finished"]) == (5, 1)
    assert sorted(project.waiting()) == sorted(rest), "what waits is asked once"
    assert project.tools == ["order"]
    for name in rest:
        project.orchestrator("approve", name)
    done = project.resume()
    assert made(done) == ["maps"]
    rows = done.output_for_node("maps", "result")
    assert [row["status"] for row in rows] == ["completed"] * 6
    assert [row["output"].split()[-1] for row in rows] == [f"EXEC-{n}" for n in range(6)]
    assert project.tools == ["order"] * 6
    assert endpoint.count == 12


def test_only_what_was_passed_over_for_it_is_made_with_it(project: Project) -> None:
    @dg.asset
    def other() -> str:
        return "there"

    @dg.asset(deps=["map", "other"])
    def sent() -> str:
        return "sent"

    project.assets = [*project.assets, other, sent]
    assert made(project.launch()) == ["other"]
    project.orchestrator("approve", "map")
    assert made(project.resume()) == ["map", "sent"]


def test_the_next_run_asks_anew(project: Project, endpoint: ModelEndpoint) -> None:
    project.launch()
    (first,) = project.waiting()
    project.orchestrator("approve", first)
    assert made(project.resume()) == ["map"]
    assert made(project.launch()) == []
    (second,) = project.waiting()
    assert second != first
    assert endpoint.count == 3


def test_partitions_wait_each_for_themselves(project: Project) -> None:
    regions = dg.StaticPartitionsDefinition(["north", "south"])
    agent = asking(prompt="EXEC-{region}", inputs={"region": InputSpec(partition_key=True)})
    spec = dg.AssetSpec("maps", partitions_def=regions)
    project.assets = [agent_asset(agent, asset=spec, code=project.code)]
    for region in ("north", "south"):
        assert made(project.launch(partition_key=region)) == []
    north, _south = [request.id for request in project.approvals.list(waiting=True)]
    assert project.approvals.find(north).asker.partition == "north"
    project.orchestrator("approve", north)
    (request,) = project.tick()
    assert request.partition_key == "north"
    assert made(project.resume()) == ["maps"]
    assert len(project.waiting()) == 1


def test_the_runs_config_is_kept(project: Project, endpoint: ModelEndpoint) -> None:
    agent = asking(prompt="EXEC-{city}", inputs={"city": InputSpec(value="Oslo")})
    project.assets = [agent_asset(agent, asset=dg.AssetSpec("map"), code=project.code)]
    project.launch(run_config={"ops": {"map": {"config": {"inputs": {"city": "Rome"}}}}})
    project.orchestrator("approve", "map")
    done = project.resume()
    assert str(done.output_for_node("map", "result")).endswith("EXEC-Rome")
    assert endpoint.count == 2


def test_what_nobody_decides_in_time_is_rejected(project: Project, endpoint: ModelEndpoint) -> None:
    agent = asking(approval_seconds=1.0)
    project.assets = [agent_asset(agent, asset=dg.AssetSpec("map"), code=project.code)]
    project.launch()
    (request,) = project.approvals.list()
    time.sleep(max(0.0, request.expires - time.time()))
    (late,) = project.approvals.list()
    assert late.decision is not None and (late.decision.verdict, late.decision.by) == ("rejected", NOBODY)
    assert "rejected by expiry" in project.orchestrator("approve", late.id, status=1)
    assert made(project.resume()) == ["map"]
    assert project.tools == []
    assert "nobody decided in time" in str(list(endpoint.calls)[-1].body)


def test_a_failure_after_the_decision_is_retried_and_repeats_nothing(
    tmp_path: Path, endpoint: ModelEndpoint
) -> None:
    faulty = Script(
        echo=r"EXEC-\w+", tool=("order",),
        faults=(Fault(kind=FaultKind.STATUS, status=400, calls=(2,), first=1),),
    )  # fmt: skip
    project = Project(tmp_path / "project", endpoint, faulty)
    project.assets = [agent_asset(asking(), asset=dg.AssetSpec("map"), code=project.code)]
    project.launch()
    project.orchestrator("approve", "map")
    failed = project.resume()
    assert not failed.success
    assert project.tick() == [], "it was gone on with, and failed as any run may"
    assert made(project.launch()) == ["map"]
    assert project.tools == ["order"]
    assert endpoint.count == 3


def test_a_run_that_is_on_its_way_is_not_overtaken(project: Project) -> None:
    project.launch()
    project.orchestrator("approve", "map")
    other = project.instance.create_run_for_job(
        dg.Definitions(
            assets=project.assets, resources={"agent_runtimes": project.runtimes}
        ).resolve_implicit_global_asset_job_def()
    )
    project.state.waiting_assets.resume("map", None, other.run_id)
    code, text = failure(project.launch())
    assert code == "invalid_input" and other.run_id in text
    project.instance.report_run_failed(other)
    assert made(project.launch()) == ["map"]


def test_the_command_line_lists_shows_and_decides(project: Project) -> None:
    assert "nothing waits" in project.orchestrator("list")
    project.launch()
    (name,) = project.waiting()
    assert name in project.orchestrator("list")
    shown = json.loads(project.orchestrator("show", name[:5], "--json"))
    assert shown["question"] == {"tool": "order", "arguments": {"city": "Paris"}}
    assert (shown["status"], shown["asset"]) == ("waiting", "map")
    assert "order" in project.orchestrator("show", "map")
    assert "takes no answer" in project.orchestrator("approve", name, "--answer", "1", status=1)
    assert "is JSON" in project.orchestrator("approve", name, "--answer", "{", status=1)
    assert "is rejected" in project.orchestrator("reject", name, "--by", "anna", "--reason", "too dear")
    assert "is rejected" in project.orchestrator("reject", name), "the same decision changes nothing"
    assert "was rejected by anna" in project.orchestrator("approve", name, status=1)
    (row,) = json.loads(project.orchestrator("list", "--all", "--json"))
    assert (row["status"], row["by"], row["reason"]) == ("rejected", "anna", "too dear")
    assert "no request 'ffff'" in project.orchestrator("show", "ffff", status=1)


def test_a_job_decides_by_its_config(project: Project) -> None:
    project.launch()
    config = {"approval": "map", "decision": "approve", "by": "anna", "reason": "fine"}
    for _ in range(2):
        decided = approval_decision.execute_in_process(
            run_config={
                "ops": {"decide": {"config": {**config, "approval": project.approvals.list()[0].id}}}
            },
            instance=project.instance,
        )
        assert decided.success
    refused = approval_decision.execute_in_process(
        run_config={
            "ops": {
                "decide": {
                    "config": {**config, "approval": project.approvals.list()[0].id, "decision": "reject"}
                }
            }
        },
        instance=project.instance,
        raise_on_error=False,
    )
    assert not refused.success and "was approved by anna" in failure(refused)[1]
    assert made(project.resume()) == ["map"]


def test_nothing_of_a_run_is_on_its_machine_where_its_state_is_in_postgresql(
    tmp_path: Path, endpoint: ModelEndpoint, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(STATE_URL, postgres.database())
    project = Project(tmp_path / "project", endpoint, ORDER)
    project.assets = [agent_asset(asking(), asset=dg.AssetSpec("map"), code=project.code)]
    assert made(project.launch()) == []
    (name,) = project.waiting()
    assert name in project.orchestrator("list")
    project.orchestrator("approve", name)
    assert made(project.resume()) == ["map"]
    assert project.tools == ["order"]
    assert endpoint.count == 2, "the first call is answered from the journal"
    assert not state_folder(project.instance).exists()
    project.state.close()
