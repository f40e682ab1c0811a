"""What of a location's definitions has a name of another tenant, each kind of name by itself."""

# Dagster's decorators are typed in part:
# pyright: reportUnknownMemberType=false, reportUntypedFunctionDecorator=false

from collections.abc import Callable
from typing import Any, cast

import dagster as dg
import pytest

from orchestrator_tenancy.custom_locations import TENANT, ForeignNames, tenant_definitions
from orchestrator_tenancy.location_names import foreign_names


@dg.asset(key=["acme", "mine"])
def mine() -> None: ...


@dg.op
def plain() -> None: ...


@dg.op(pool="globex__gpu")
def pooled() -> None: ...


@dg.op(tags={"dagster/concurrency_key": "globex__gpu"})
def keyed() -> None: ...


def job_of(op: Any, name: str = "acme__job", **more: Any) -> dg.JobDefinition:
    def made() -> None:
        op()

    job: Any = dg.job(name=name, **more)
    found: dg.JobDefinition = job(made)
    return found


def nested() -> dg.JobDefinition:
    @dg.graph
    def inner() -> None:
        pooled()

    return job_of(inner)


def asset(key: list[str], **more: Any) -> dg.AssetsDefinition:
    def made() -> None: ...

    made_of = cast("Callable[..., Callable[..., dg.AssetsDefinition]]", dg.asset)
    return made_of(key=key, **more)(made)


JOB = job_of(plain)


@dg.sensor(name="globex__sensor", job=JOB)
def foreign_sensor() -> None: ...


@dg.asset_check(asset=dg.AssetKey(["globex", "theirs"]))
def foreign_check() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=True)


DYNAMIC = dg.DynamicPartitionsDefinition(name="globex__customers")
MULTI = dg.MultiPartitionsDefinition({"who": DYNAMIC, "what": dg.StaticPartitionsDefinition(["x"])})

FOREIGN: list[tuple[dict[str, Any], str]] = [
    ({"assets": [asset(["globex", "theirs"])]}, "asset globex/theirs"),
    ({"assets": [asset(["acmes", "theirs"])]}, "asset acmes/theirs"),
    ({"assets": [asset(["acme"])]}, "asset acme"),
    ({"assets": [dg.AssetSpec(["globex", "theirs"])]}, "asset globex/theirs"),
    ({"assets": [asset(["acme", "x"], deps=[dg.AssetKey(["globex", "theirs"])])]}, "asset globex/theirs"),
    ({"assets": [asset(["acme", "x"], pool="gpu")]}, "pool gpu"),
    ({"assets": [asset(["acme", "x"], partitions_def=DYNAMIC)]}, "dynamic partitions globex__customers"),
    ({"assets": [asset(["acme", "x"], partitions_def=MULTI)]}, "dynamic partitions globex__customers"),
    ({"asset_checks": [foreign_check]}, "asset globex/theirs"),
    ({"jobs": [job_of(plain, "job")]}, "job job"),
    ({"jobs": [job_of(pooled)]}, "pool globex__gpu"),
    ({"jobs": [nested()]}, "pool globex__gpu"),
    ({"jobs": [job_of(keyed)]}, "concurrency key globex__gpu"),
    ({"jobs": [job_of(plain, tags={"dagster/concurrency_key": "gpu"})]}, "concurrency key gpu"),
    ({"jobs": [job_of(plain, partitions_def=DYNAMIC)]}, "dynamic partitions globex__customers"),
    ({"sensors": [foreign_sensor]}, "sensor globex__sensor"),
    (
        {"schedules": [dg.ScheduleDefinition(name="daily", job=JOB, cron_schedule="@daily")]},
        "schedule daily",
    ),
]


@pytest.mark.parametrize(("given", "found"), FOREIGN, ids=[found for _, found in FOREIGN])
def test_a_name_of_another_is_found(given: dict[str, Any], found: str) -> None:
    assert found in foreign_names(dg.Definitions(**given), "acme")


def test_own_names_are_fine_and_so_are_those_that_dagster_makes() -> None:
    customers = dg.DynamicPartitionsDefinition(name="acme__customers")
    whole = dg.Definitions(
        assets=[
            mine,
            asset(["acme", "auto"], automation_condition=dg.AutomationCondition.eager(), pool="acme__gpu"),
            asset(["acme", "parts"], partitions_def=customers, deps=[mine]),
        ],
        jobs=[JOB],
        schedules=[dg.ScheduleDefinition(name="acme__daily", job=JOB, cron_schedule="@daily")],
    )
    assert foreign_names(whole, "acme") == []
    assert tenant_definitions(whole, "acme") is whole


def test_a_custom_location_is_told_how_its_names_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TENANT, "acme-labs")
    with pytest.raises(
        ForeignNames, match=r"asset acme/mine; asset keys begin with 'acme-labs/', .*'acme_labs__'"
    ):
        tenant_definitions(dg.Definitions(assets=[mine]))


def test_a_location_of_nobody_does_not_load(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TENANT, "../acme")
    with pytest.raises(ValueError, match="no tenant's name"):
        tenant_definitions(dg.Definitions(assets=[mine]))
