"""What an agent asset works on: lists, tables, mappings, partitions; what starts it; and what it tells of its work."""

# pyright: reportUnknownMemberType=false
# Dagster leaves some of its arguments without complete types.

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from orchestrator_assets import ForEachSpec, InputSpec, agent_asset
from orchestrator_resources.agent_runtimes import AgentRuntimes
from orchestrator_runtimes.conformance.model_endpoint import ModelEndpoint
from orchestrator_runtimes.conformance.scripts import Fault, FaultKind, Script
from orchestrator_runtimes.messages import CONTRACT_VERSION
from tests.integration.agent_materializations import failure, fake_agent, materialize, metadata

pytestmark = pytest.mark.usefixtures("fake_framework")

RECORDS = [{"name": "a", "text": "EXEC-a"}, {"name": "b", "text": "EXEC-b"}]


@dataclass
class PandasLike:
    records: list[dict[str, str]]
    columns = ("name", "text")

    def to_dict(self, orient: str) -> list[dict[str, str]]:
        assert orient == "records"
        return self.records


@dataclass
class PolarsLike:
    records: list[dict[str, str]]

    def to_dicts(self) -> list[dict[str, str]]:
        return self.records


@dataclass
class ArrowLike:
    records: list[dict[str, str]]

    def to_pylist(self) -> list[dict[str, str]]:
        return self.records


def each(**changes: Any) -> Any:
    given = {
        "prompt": "read {row[text]}",
        "inputs": {"row": InputSpec(asset="rows")},
        "for_each": ForEachSpec(input="row", key="name"),
    }
    return fake_agent(**{**given, **changes})


def upstream(value: Any) -> Any:
    @dg.asset(name="rows")
    def rows() -> Any:
        return value

    return rows


@pytest.mark.parametrize(
    "value",
    [
        RECORDS,
        tuple(RECORDS),
        {"first": RECORDS[0], "second": RECORDS[1]},
        PandasLike(RECORDS),
        PolarsLike(RECORDS),
        ArrowLike(RECORDS),
    ],
    ids=lambda value: type(value).__name__,
)
def test_each_row_of_a_table_is_an_execution(value: Any, endpoint: ModelEndpoint) -> None:
    asset = agent_asset(each(), asset=dg.AssetSpec("read"))
    result = materialize([upstream(value), asset], endpoint)
    rows = result.output_for_node("read", "result")
    assert [(row["key"], row["output"].split()[-1]) for row in rows] == [("a", "EXEC-a"), ("b", "EXEC-b")]


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("text", "the input 'row' is a str, not a list or a table"),
        (7, "the input 'row' is a int, not a list or a table"),
        ([{"name": "a"}, {"name": "a"}], "two items have the key 'a'; choose a field that names each"),
        ([{"text": "x"}], "item 0 has no field 'name' to be named by"),
        ([{"name": "a", "text": {1, 2}}], "the input 'row[0]' is a dict that is not JSON"),
        ([{"name": "a", "text": float("nan")}], "the input 'row[0]' is a dict that is not JSON"),
        ([{"name": "a"}], "the prompt 'read {row[text]}' cannot be filled in"),
    ],
    ids=str,
)
def test_a_value_that_holds_no_items_is_an_invalid_input(
    value: Any, why: str, endpoint: ModelEndpoint
) -> None:
    asset = agent_asset(each(), asset=dg.AssetSpec("read"))
    code, description = failure(materialize([upstream(value), asset], endpoint))
    assert code == "invalid_input"
    assert why in description
    assert endpoint.count == 0


def test_no_items_are_no_executions(endpoint: ModelEndpoint) -> None:
    asset = agent_asset(each(), asset=dg.AssetSpec("read"))
    result = materialize([upstream([]), asset], endpoint)
    assert result.output_for_node("read", "result") == []
    assert metadata(result, "read")["executions"] == 0


@pytest.mark.parametrize(
    ("policy", "succeeds"),
    [
        ({"on_failure": "fail"}, False),
        ({"on_failure": "keep"}, True),
        ({"on_failure": "threshold", "threshold": 0.5}, True),
        ({"on_failure": "threshold", "threshold": 0.25}, False),
    ],
    ids=str,
)
def test_a_policy_says_what_failed_items_mean(
    policy: dict[str, Any], succeeds: bool, endpoint: ModelEndpoint
) -> None:
    """Two of four fail: the endpoint refuses the first two requests."""
    script = Script(
        echo=r"EXEC-\w+", faults=(Fault(kind=FaultKind.STATUS, status=401, first=2, scope="script"),)
    )
    agent = each(for_each=ForEachSpec(input="row", key="name", in_flight=1, **policy))
    rows = [{"name": name, "text": f"EXEC-{name}"} for name in "abcd"]
    result = materialize([upstream(rows), agent_asset(agent, asset=dg.AssetSpec("read"))], endpoint, script)
    assert result.success == succeeds
    if succeeds:
        told = metadata(result, "read")
        assert (told["executions"], told["failed"]) == (4, 2)
        assert told["finish_reasons"] == {"completed": 2, "failed: model_rejected": 2}
        value = result.output_for_node("read", "result")
        assert [row["error_code"] for row in value] == ["model_rejected", "model_rejected", None, None]
        assert [row["output"] is None for row in value] == [True, True, False, False]
    else:
        code, description = failure(result)
        assert code == "model_rejected"
        assert "the first is 'a'" in description
        assert repr(policy["on_failure"]) in description


def test_metadata_tells_what_ran_and_what_it_took(endpoint: ModelEndpoint) -> None:
    rows = [{"name": f"n{n}", "text": f"EXEC-{n}"} for n in range(30)]
    asset = agent_asset(each(), asset=dg.AssetSpec("read"))
    result = materialize([upstream(rows), asset], endpoint)
    told = metadata(result, "read")
    numbers = {
        "executions": 30, "failed": 0, "replayed": 0, "model_calls": 30, "tool_calls": 0, "cached_tokens": 0,
        "unmetered_calls": 0, "input_tokens": sum(call.input_tokens for call in endpoint.calls),
        "output_tokens": sum(call.output_tokens for call in endpoint.calls),
    }  # fmt: skip
    assert {name: told[name] for name in numbers} == numbers
    assert all(isinstance(told[name], int) for name in numbers), "Dagster plots numbers"
    assert isinstance(told["seconds"], float) and told["seconds"] > 0
    assert (told["framework"], told["framework_version"], told["entrypoint"]) == ("Fake", "1", "portable")
    assert told["model"] == "smollm2"
    assert told["contract"] == CONTRACT_VERSION
    assert {len(told[name]) for name in ("agent", "environment")} == {64}
    assert told["trace_id"] == endpoint.calls[0].headers["traceparent"].split("-")[1]
    assert told["cost"].startswith("0.0 USD, by table 20") and told["cost_usd"] == 0.0
    (event,) = [e for e in result.get_asset_materialization_events() if e.asset_key == dg.AssetKey("read")]
    table: Any = event.materialization.metadata["rows"]
    assert [column.name for column in table.schema.columns] == ["key", "status", "output or error", "tokens"]
    assert len(table.records) == 20
    assert table.records[0].data["output or error"].endswith("EXEC-0")


def test_the_model_of_a_native_agent_is_told(endpoint: ModelEndpoint, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from orchestrator_runtimes.conformance.fake import FakeAgent\nagent = FakeAgent(instructions='Help.')\n"
    )
    asset = agent_asset(fake_agent(entrypoint="mine:agent"), asset=dg.AssetSpec("native"), code=tmp_path)
    told = metadata(materialize([asset], endpoint), "native")
    assert (told["model"], told["entrypoint"]) == ("fake", "mine:agent")


def daily() -> Any:
    agent = fake_agent(prompt="EXEC-{day}", inputs={"day": InputSpec(partition_key=True)})
    partitions = dg.DailyPartitionsDefinition(start_date="2026-01-01")
    return agent_asset(agent, asset=dg.AssetSpec("daily", partitions_def=partitions))


def test_a_time_window_is_a_partition_like_any_other(endpoint: ModelEndpoint) -> None:
    result = materialize([daily()], endpoint, Script(echo=r"EXEC-[\d-]+"), partition_key="2026-03-04")
    assert result.output_for_node("daily", "result").endswith("EXEC-2026-03-04")
    (event,) = result.get_asset_materialization_events()
    assert event.partition == "2026-03-04"


def test_each_partition_is_an_execution_of_its_own(endpoint: ModelEndpoint) -> None:
    agent = fake_agent(prompt="EXEC-{region}", inputs={"region": InputSpec(partition_key=True)})
    regions = dg.StaticPartitionsDefinition(["north", "south", "west"])
    asset = agent_asset(agent, asset=dg.AssetSpec("regions", partitions_def=regions))
    with dg.DagsterInstance.ephemeral() as instance:
        for region in ("north", "west"):
            result = materialize([asset], endpoint, instance=instance, partition_key=region)
            assert result.output_for_node("regions", "result").endswith(f"EXEC-{region}")
        assert instance.get_materialized_partitions(dg.AssetKey("regions")) == {"north", "west"}


def test_inputs_that_the_asset_does_not_have_are_refused(endpoint: ModelEndpoint) -> None:
    agent = fake_agent(prompt=None, inputs={"tone": InputSpec(value="dry")})
    asset = agent_asset(agent, asset=dg.AssetSpec("toned"))
    config = dg.RunConfig(ops={"toned": {"config": {"inputs": {"tonne": "x"}}}})
    code, description = failure(materialize([asset], endpoint, run_config=config))
    assert code == "invalid_input"
    assert "the run's config gives the input 'tonne'; the asset has tone" in description


@pytest.mark.filterwarnings(
    "ignore:Parameter `include_sources`:dagster.BetaWarning"
)  # Dagster's own use of it
def test_conditions_schedules_and_sensors_start_it_as_any_asset(endpoint: ModelEndpoint) -> None:
    eager = dg.AutomationCondition.eager()
    agent = each()
    asset = agent_asset(agent, asset=dg.AssetSpec("read", automation_condition=eager))
    rows = upstream(RECORDS)
    job = dg.define_asset_job("reading", [asset])
    schedule = dg.ScheduleDefinition(job=job, cron_schedule="0 6 * * *")

    @dg.sensor(job=job)
    def arrivals(context: dg.SensorEvaluationContext) -> dg.RunRequest:
        return dg.RunRequest(run_key="r1")

    defs = dg.Definitions(
        assets=[rows, asset],
        jobs=[job],
        schedules=[schedule],
        sensors=[arrivals],
        resources={"agent_runtimes": AgentRuntimes()},
    )
    with dg.DagsterInstance.ephemeral() as instance:
        first = dg.evaluate_automation_conditions(defs, instance)
        assert first.get_requested_partitions(dg.AssetKey("read")) == set()
        materialize([rows], endpoint, instance=instance)
        second = dg.evaluate_automation_conditions(defs, instance, cursor=first.cursor)
        assert second.total_requested == 1
        assert second.get_requested_partitions(dg.AssetKey("read")) == {None}
        tick = schedule.evaluate_tick(
            dg.build_schedule_context(instance=instance, scheduled_execution_time=datetime(2026, 1, 1))
        )
        assert tick.run_requests is not None and len(tick.run_requests) == 1
        sensed = arrivals.evaluate_tick(dg.build_sensor_context(instance=instance, definitions=defs))
        assert [request.run_key for request in sensed.run_requests or []] == ["r1"]
