"""One of everything that Dagster keeps, of a tenant, with the tenant's secret in it."""

import contextlib
import time
from collections.abc import Generator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from dagster import (
    AssetCheckEvaluation,
    AssetCheckKey,
    AssetKey,
    AssetMaterialization,
    AssetObservation,
    DagsterEventType,
    DagsterInstance,
    EventLogEntry,
)
from dagster._core.asset_graph_view.serializable_entity_subset import SerializableEntitySubset
from dagster._core.definitions.declarative_automation.serialized_objects import (
    AutomationConditionEvaluation,
    AutomationConditionEvaluationWithRunIds,
    AutomationConditionNodeSnapshot,
)
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.events import AssetMaterializationPlannedData, DagsterEvent, StepMaterializationData
from dagster._core.scheduler.instigation import TickData, TickStatus
from dagster._core.storage.compute_log_manager import ComputeIOType
from dagster._daemon.types import DaemonHeartbeat
from dagster_shared.error import SerializableErrorInfo

from tests.integration.tenant_locations import LOCATIONS, SECRETS
from tests.integration.tenant_web import Web, tenant_web

REPOSITORY: Final = "__repository__"

LAUNCH: Final = """
mutation ($given: ExecutionParams!) {
  launchRun(executionParams: $given) {
    __typename
    ... on LaunchRunSuccess { run { runId pipelineSnapshotId } }
    ... on PythonError { message stack }
    ... on UnauthorizedError { message }
  }
}"""
_BACKFILL: Final = """
mutation ($given: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $given) {
    __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message stack }
  }
}"""
_START: Final = """
mutation ($schedule: ScheduleSelector!, $sensor: SensorSelector!) {
  startSchedule(scheduleSelector: $schedule) { ... on ScheduleStateResult { scheduleState { id selectorId } } }
  startSensor(sensorSelector: $sensor) { ... on Sensor { sensorState { id selectorId } } }
}"""
_REPOSITORY_ID: Final = """
query ($it: RepositorySelector!) { repositoryOrError(repositorySelector: $it) { ... on Repository { id } } }"""
_RUN: Final = "query ($id: ID!) { runOrError(runId: $id) { ... on Run { pipelineSnapshotId } } }"


@dataclass(frozen=True, kw_only=True)
class Plants:
    """What of a tenant there is to be guessed; ids as their owner sees them."""

    tenant: str
    run: str
    assets_run: str
    snapshot: str
    backfill: str
    assets_backfill: str
    schedule: str
    sensor: str
    sensor_selector: str
    repository: str
    tick: int
    tick_log: tuple[str, ...]
    evaluation: int
    partition: str
    """A partition key: the secret for its owner, something else for who cannot know it."""

    @property
    def location(self) -> str:
        """Name of the code location."""
        return LOCATIONS.get(self.tenant, "abba-orders")

    @property
    def secret(self) -> str:
        """What stands in everything."""
        return SECRETS[self.tenant]

    def named(self) -> list[str]:
        """Return all that a question about them says, the longest first."""
        ids = (
            self.run,
            self.assets_run,
            self.snapshot,
            self.backfill,
            self.assets_backfill,
            *self.schedule.split(":"),
            *self.sensor.split(":"),
            self.sensor_selector,
            *self.repository.split(":"),
            self.location,
            self.tenant,
            str(self.evaluation),
            str(self.evaluation + 100),
        )
        return sorted({given for given in ids if given}, key=len, reverse=True)

    def key(self, name: str) -> dict[str, Any]:
        """Return an asset's key as GraphQL takes it."""
        return {"path": [self.tenant, name]}

    def name(self, name: str) -> str:
        """Return a name with the tenant's prefix."""
        return f"{self.tenant}__{name}"

    def of_repository(self, **more: Any) -> dict[str, Any]:
        """Return a selector of something in the repository."""
        return {"repositoryName": REPOSITORY, "repositoryLocationName": self.location, **more}

    def guessed(self) -> "Plants":
        """Return the same as somebody has it who guessed all ids, but was not told what they are of."""
        return replace(self, partition="a")

    def absent(self) -> "Plants":
        """Return the like of a tenant that is not there."""
        return replace(
            NOBODY,
            schedule=_shuffled(self.schedule),
            sensor=_shuffled(self.sensor),
            sensor_selector=_shuffled(self.sensor_selector),
            repository=_shuffled(self.repository),
        )


NOBODY: Final = Plants(
    tenant="abba",
    run="00000000-0000-4000-8000-000000000001",
    assets_run="00000000-0000-4000-8000-000000000002",
    snapshot="0" * 40,
    backfill="aaaaaaaa",
    assets_backfill="bbbbbbbb",
    schedule="0:0",
    sensor="0:0",
    sensor_selector="0",
    repository="0:0",
    tick=999_999,
    tick_log=("__repository__", "abba__sensor", "999999"),
    evaluation=7_700_500,
    partition="a",
)
"""What nobody has."""


def _shuffled(digests: str) -> str:
    return "".join("0" if sign in "123456789abcdef" else sign for sign in digests)


@contextlib.contextmanager
def planted_tenants(folder: Path, database: str) -> Generator[tuple[Web, Plants, Plants]]:
    """Serve two tenants with one of everything planted of each: alpha's, and beta's."""
    with tenant_web(folder, database) as web:
        yield web, plant(web, "alpha", 7_700_100), plant(web, "beta", 7_700_300)


def plant(web: Web, tenant: str, number: int) -> Plants:
    """Make one of everything, some through the server as an operator, the rest in the instance.

    Args:
        number: Differs between tenants.
    """
    secret, location, operator = SECRETS[tenant], LOCATIONS[tenant], "/operator"
    here = {"repositoryName": REPOSITORY, "repositoryLocationName": location}
    job = {**here, "pipelineName": f"{tenant}__job"}
    tags = [{"key": "secret", "value": secret}, {"key": f"key-{secret}", "value": secret}]
    launched = web.ask(
        operator,
        LAUNCH,
        given={
            "selector": job,
            "executionMetadata": {"tags": [*tags, {"key": "dagster/partition", "value": secret}]},
            "runConfigData": {"loggers": {"console": {"config": {"name": secret}}}},
        },
    )["launchRun"]
    assert launched["__typename"] == "LaunchRunSuccess", launched
    run = launched["run"]["runId"]
    assets = {**here, "pipelineName": "__ASSET_JOB", "assetSelection": [{"path": [tenant, "orders"]}]}
    launched = web.ask(operator, LAUNCH, given={"selector": assets, "executionMetadata": {"tags": tags}})[
        "launchRun"
    ]
    assert launched["__typename"] == "LaunchRunSuccess", launched
    assets_run = launched["run"]["runId"]
    backfill = web.ask(
        operator,
        _BACKFILL,
        given={
            "selector": {"partitionSetName": f"{tenant}__job_partition_set", "repositorySelector": here},
            "partitionNames": [secret],
            "title": secret,
            "tags": tags,
        },
    )["launchPartitionBackfill"]["backfillId"]
    assets_backfill = web.ask(
        operator,
        _BACKFILL,
        given={
            "assetSelection": [{"path": [tenant, "letters"]}],
            "partitionNames": [secret],
            "title": secret,
            "tags": tags,
        },
    )["launchPartitionBackfill"]["backfillId"]
    started = web.ask(
        operator,
        _START,
        schedule={**here, "scheduleName": f"{tenant}__schedule"},
        sensor={**here, "sensorName": f"{tenant}__sensor"},
    )
    schedule = started["startSchedule"]["scheduleState"]["id"]
    sensor = started["startSensor"]["sensorState"]["id"]
    selector = started["startSensor"]["sensorState"]["selectorId"]
    tick, tick_log = _tick(web.instance, tenant, secret, sensor, selector, run)
    _events(web.instance, tenant, secret, run, assets_run)
    _logs(web.instance, secret, (run, "compute_logs", "step"), tick_log, ("backfill", backfill, "1"))
    _evaluation(web.instance, tenant, secret, number, assets_run)
    web.instance.add_daemon_heartbeat(
        DaemonHeartbeat(time.time(), "SENSOR", "1", [SerializableErrorInfo(SECRETS["alpha"], [], None)])
    )
    return Plants(
        tenant=tenant,
        run=run,
        assets_run=assets_run,
        snapshot=web.ask(operator, _RUN, id=run)["runOrError"]["pipelineSnapshotId"],
        backfill=backfill,
        assets_backfill=assets_backfill,
        schedule=schedule,
        sensor=sensor,
        sensor_selector=selector,
        repository=web.ask(operator, _REPOSITORY_ID, it=here)["repositoryOrError"]["id"],
        tick=tick,
        tick_log=tick_log,
        evaluation=number,
        partition=secret,
    )


def _tick(
    instance: DagsterInstance, tenant: str, secret: str, sensor: str, selector: str, run: str
) -> tuple[int, tuple[str, ...]]:
    origin = sensor.partition(":")[0]
    data = TickData(
        instigator_origin_id=origin,
        instigator_name=f"{tenant}__sensor",
        instigator_type=InstigatorType.SENSOR,
        status=TickStatus.FAILURE,
        timestamp=time.time(),
        selector_id=selector,
        cursor=secret,
        error=SerializableErrorInfo(secret, [secret], None),
        run_ids=[run],
        run_keys=[secret],
    )
    tick = instance.create_tick(data)
    log = (REPOSITORY, f"{tenant}__sensor", str(tick.tick_id))
    instance.update_tick(tick.with_log_key(list(log)))
    return tick.tick_id, log


def _events(instance: DagsterInstance, tenant: str, secret: str, run: str, assets_run: str) -> None:
    orders, letters = AssetKey([tenant, "orders"]), AssetKey([tenant, "letters"])
    for key, partition in ((orders, None), (letters, secret)):
        made = AssetMaterialization(
            key, description=secret, metadata={"secret": secret}, partition=partition, tags={"secret": secret}
        )
        seen = AssetObservation(key, description=secret, metadata={"secret": secret}, partition=partition)
        instance.report_runless_asset_event(made)
        instance.report_runless_asset_event(seen)
    instance.report_runless_asset_event(
        AssetCheckEvaluation(
            asset_key=orders,
            check_name=f"{tenant}__check",
            passed=False,
            metadata={"secret": secret},
            description=secret,
        )
    )
    entry: Any = EventLogEntry
    for of in (run, assets_run):
        instance.handle_new_event(
            entry(
                error_info=SerializableErrorInfo(secret, [secret], None),
                level=40,
                user_message=secret,
                run_id=of,
                timestamp=time.time(),
                step_key=secret,
                job_name=f"{tenant}__job",
                dagster_event=None,
            )
        )
    for event_type, data in (
        (DagsterEventType.ASSET_MATERIALIZATION_PLANNED, AssetMaterializationPlannedData(orders)),
        (
            DagsterEventType.ASSET_MATERIALIZATION,
            StepMaterializationData(
                AssetMaterialization(orders, description=secret, metadata={"secret": secret}), []
            ),
        ),
    ):
        instance.report_dagster_event(
            DagsterEvent(
                event_type.value,
                "__ASSET_JOB",
                step_key=f"{tenant}__orders",
                event_specific_data=data,
                message=secret,
            ),
            run_id=assets_run,
        )
    instance.add_dynamic_partitions(f"{tenant}__people", [secret])
    instance.event_log_storage.set_concurrency_slots(f"{tenant}__pool", 1)
    for step in (f"1-{secret}", f"2-{secret}"):
        instance.event_log_storage.claim_concurrency_slot(f"{tenant}__pool", assets_run, step)


def _logs(instance: DagsterInstance, secret: str, *keys: tuple[str, ...]) -> None:
    line = f'{{"levelno": 20, "created": 1.0, "dagster_meta": {{"orig_message": "{secret}"}}, "msg": "{secret}"}}\n'
    for key in keys:
        for kind in (ComputeIOType.STDOUT, ComputeIOType.STDERR):
            with instance.compute_log_manager.open_log_stream(list(key), kind) as stream:
                assert stream is not None
                written: Any = line
                stream.write(written)


def _evaluation(instance: DagsterInstance, tenant: str, secret: str, number: int, run: str) -> None:
    storage = instance.schedule_storage
    assert storage is not None
    orders = AssetKey([tenant, "orders"])
    keys: list[Any] = [orders, AssetCheckKey(orders, f"{tenant}__check")]
    for at, key in zip((number, number + 100), keys, strict=True):
        evaluation = AutomationConditionEvaluation(
            condition_snapshot=AutomationConditionNodeSnapshot(
                "It", secret, f"unique-{number}", secret, secret
            ),
            start_timestamp=1.0,
            end_timestamp=2.0,
            true_subset=SerializableEntitySubset(key, True),
            candidate_subset=SerializableEntitySubset(key, True),
            subsets_with_metadata=[],
            child_evaluations=[],
        )
        evaluated = AutomationConditionEvaluationWithRunIds(evaluation=evaluation, run_ids=frozenset({run}))
        storage.add_auto_materialize_asset_evaluations(at, [evaluated])
