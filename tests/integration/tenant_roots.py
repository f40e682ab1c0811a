"""How each root of Dagster's GraphQL is asked for things of one tenant; a root that is not here fails the tests."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from tests.integration.tenant_plants import Plants

Asked = Sequence[Mapping[str, str]]
"""Arguments as GraphQL text; each is one way to ask."""


class Word(str):
    """A value of an enum, which GraphQL writes without quotes."""


def text(value: Any) -> str:
    """Return a value as GraphQL writes it."""
    if isinstance(value, Word):
        return str(value)
    given: Any = value
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {text(part)}" for name, part in given.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(text(part) for part in given) + "]"
    return json.dumps(value)


def ask(**given: Any) -> dict[str, str]:
    return {name: text(value) for name, value in given.items()}


def queries(of: Plants) -> Mapping[str, Asked]:
    """Return how each query is asked for a tenant's things, by ids and names that somebody may have guessed."""
    repository = of.of_repository()
    job = of.of_repository(pipelineName=of.name("job"))
    assets_job = of.of_repository(pipelineName="__ASSET_JOB")
    orders, letters = of.key("orders"), of.key("letters")
    check = {"assetKey": orders, "name": of.name("check")}
    run_filters = (
        {"runIds": [of.run, of.assets_run]},
        {"pipelineName": of.name("job")},
        {"snapshotId": of.snapshot},
        {"tags": [{"key": "dagster/code_location", "value": of.location}]},
        {"tags": [{"key": ".dagster/repository", "value": f"__repository__@{of.location}"}]},
        {"tags": [{"key": "dagster/backfill", "value": of.backfill}]},
    )
    runs = [ask(), *(ask(filter=run_filter) for run_filter in run_filters), ask(cursor=of.run)]
    feeds = [
        ask(limit=50, view=Word(view), **more)
        for view in ("ROOTS", "RUNS", "BACKFILLS")
        for more in ({}, *({"filter": run_filter} for run_filter in run_filters))
    ]
    return {
        "allTopLevelResourceDetailsOrError": [ask(repositorySelector=repository)],
        "appManagedComponentsForLocationOrError": [ask(locationName=of.location)],
        "assetBackfillPreview": [ask(params={"partitionNames": [of.partition], "assetSelection": [letters]})],
        "assetCheckExecutions": [ask(assetKey=orders, checkName=of.name("check"), limit=10)],
        "assetConditionEvaluationForPartition": [
            ask(assetKey=orders, evaluationId=str(of.evaluation), partition="a")
        ],
        "assetConditionEvaluationRecordsOrError": [
            ask(assetKey=orders, limit=10),
            ask(assetCheckKey=check, limit=10),
            ask(assetJobKey={"jobName": of.name("job")}, limit=10),
        ],
        "assetConditionEvaluationsForEvaluationId": [
            ask(evaluationId=str(of.evaluation)),
            ask(evaluationId=str(of.evaluation + 100)),
        ],
        "assetNodeAdditionalRequiredKeys": [ask(assetKeys=[orders]), ask(assetKeys=[letters])],
        "assetNodeDefinitionCollisions": [ask(assetKeys=[orders]), ask(assetKeys=[letters])],
        "assetNodeOrError": [ask(assetKey=orders), ask(assetKey=letters), ask(assetKey=of.key("people"))],
        "assetNodes": [
            ask(),
            ask(assetKeys=[orders, letters], loadMaterializations=True),
            ask(pipeline=assets_job),
            ask(group={**repository, "groupName": of.name("group")}),
        ],
        "assetOrError": [ask(assetKey=orders), ask(assetKey=letters), ask(assetKey=of.key("people"))],
        "assetRecordsOrError": [ask(), ask(prefix=[of.tenant]), ask(cursor=json.dumps([of.tenant, "a"]))],
        "assetsLatestInfo": [ask(assetKeys=[orders]), ask(assetKeys=[letters])],
        "assetsOrError": [
            ask(),
            ask(prefix=[of.tenant]),
            ask(assetKeys=[orders, letters]),
            ask(cursor=json.dumps([of.tenant, "a"])),
        ],
        "autoMaterializeAssetEvaluationsOrError": [ask(assetKey=orders, limit=10)],
        "autoMaterializeEvaluationsForEvaluationId": [ask(evaluationId=str(of.evaluation))],
        "autoMaterializeTicks": [ask()],
        "canBulkTerminate": [ask()],
        "capturedLogs": [ask(logKey=log) for log in logs(of)],
        "capturedLogsMetadata": [ask(logKey=log) for log in logs(of)],
        "componentTypesForLocationOrError": [ask(locationName=of.location)],
        "componentsForLocationOrError": [ask(locationName=of.location)],
        "executionPlanOrError": [ask(pipeline=job, mode="default")],
        "graphOrError": [ask(selector={**repository, "graphName": "inner"})],
        "instance": [ask()],
        "instigationStateOrError": [
            ask(instigationSelector={**repository, "name": of.name("sensor")}, id=of.sensor),
            ask(instigationSelector={**repository, "name": of.name("schedule")}, id=of.schedule),
        ],
        "instigationStatesOrError": [ask(repositoryID=of.repository)],
        "isPipelineConfigValid": [ask(pipeline=job, mode="default", runConfigData=Word("{bad: 1}"))],
        "latestDefsStateInfo": [ask()],
        "locationStatusesOrError": [ask()],
        "logsForRun": [ask(runId=of.run), ask(runId=of.assets_run)],
        "partitionBackfillOrError": [ask(backfillId=of.backfill), ask(backfillId=of.assets_backfill)],
        "partitionBackfillsOrError": [
            ask(),
            ask(status=Word("REQUESTED")),
            ask(filters={"statuses": [Word("REQUESTED")]}),
            ask(cursor=of.assets_backfill),
        ],
        "partitionSetOrError": [
            ask(repositorySelector=repository, partitionSetName=of.name("job_partition_set"))
        ],
        "partitionSetsOrError": [ask(repositorySelector=repository, pipelineName=of.name("job"))],
        "permissions": [ask()],
        "pipelineOrError": [ask(params=job), ask(params=assets_job)],
        "pipelineRunOrError": [ask(runId=of.run), ask(runId=of.assets_run)],
        "pipelineRunsOrError": runs,
        "pipelineSnapshotOrError": [ask(snapshotId=of.snapshot), ask(activePipelineSelector=job)],
        "repositoriesOrError": [ask(), ask(repositorySelector=repository)],
        "repositoryOrError": [ask(repositorySelector=repository)],
        "resourcesOrError": [ask(pipelineSelector=assets_job)],
        "runConfigSchemaOrError": [ask(selector=assets_job)],
        "runGroupOrError": [ask(runId=of.run)],
        "runIdsOrError": runs,
        "runOrError": [ask(runId=of.run), ask(runId=of.assets_run)],
        "runTagKeysOrError": [ask()],
        "runTagsOrError": [ask(tagKeys=["secret"]), ask(tagKeys=["secret"], valuePrefix="canary")],
        "runsFeedCountOrError": [
            {name: value for name, value in feed.items() if name != "limit"} for feed in feeds
        ],
        "runsFeedOrError": [*feeds, ask(limit=5, view=Word("RUNS"), cursor=f"{of.run}::{of.backfill}::")],
        "runsOrError": runs,
        "scheduleOrError": [ask(scheduleSelector={**repository, "scheduleName": of.name("schedule")})],
        "scheduler": [ask()],
        "schedulesOrError": [ask(repositorySelector=repository)],
        "sensorOrError": [ask(sensorSelector={**repository, "sensorName": of.name("sensor")})],
        "sensorsOrError": [ask(repositorySelector=repository)],
        "shouldShowNux": [ask()],
        "test": [ask()],
        "topLevelResourceDetailsOrError": [ask(resourceSelector={**repository, "resourceName": "shop"})],
        "truePartitionsForAutomationConditionEvaluationNode": [
            ask(assetKey=orders, evaluationId=str(of.evaluation), nodeUniqueId=f"unique-{of.evaluation}")
        ],
        "utilizedEnvVarsOrError": [ask(repositorySelector=repository)],
        "version": [ask()],
        "workspaceLocationEntryOrError": [ask(name=of.location)],
        "workspaceOrError": [ask()],
    }


def logs(of: Plants) -> list[list[str]]:
    """Return the keys of a tenant's logs."""
    return [
        [of.run, "compute_logs", "step"],
        list(of.tick_log),
        ["backfill", of.backfill, "1"],
    ]


def nested(of: Plants) -> Mapping[str, str]:
    """Return arguments of fields below roots that lead to a tenant's things, by `Type.field(argument)` or by name."""
    return {
        name: text(value)
        for name, value in {
            "Instance.concurrencyLimit(concurrencyKey)": of.name("pool"),
            "Job.partition(partitionName)": of.partition,
            "Pipeline.partition(partitionName)": of.partition,
            "PartitionBackfill.partitionsTargetedForAssetKey(assetKey)": of.key("letters"),
            "PartitionSet.partition(partitionName)": of.partition,
            "ascending": True,
            "assetKey": of.key("orders"),
            "checkName": of.name("check"),
            "daemonType": "SENSOR",
            "dagsterTypeName": "Any",
            "DaemonHealth.daemonStatus(daemonType)": "SENSOR",
            "eventTypeSelectors": [Word("MATERIALIZATION"), Word("OBSERVATION")],
            "fileKey": "step",
            "handleID": "inner",
            "InstigationState.tick(tickId)": str(of.tick),
            "limit": 20,
            "name": "work",
            "partition": of.partition,
            "partitionName": of.partition,
            "tickTimestamp": 1_800_000_000,
            "timestampMillis": "1",
            "AssetNode.dataVersionByPartition(partitions)": ["a", of.partition],
            "AssetNode.latestMaterializationByPartition(partitions)": ["a", of.partition],
            "AssetNode.staleStatusByPartition(partitions)": ["a", of.partition],
            "AssetNode.staleCausesByPartition(partitions)": ["a", of.partition],
            "AssetNode.dataVersion(partition)": of.partition,
            "AssetNode.staleStatus(partition)": of.partition,
            "AssetNode.staleCauses(partition)": of.partition,
        }.items()
    }


HOLD_NOTHING: Final = {
    "appManagedComponentsForLocationOrError",
    "assetNodeAdditionalRequiredKeys",
    "assetNodeDefinitionCollisions",
    "assetRecordsOrError",
    "autoMaterializeAssetEvaluationsOrError",
    "autoMaterializeEvaluationsForEvaluationId",
    "autoMaterializeTicks",
    "canBulkTerminate",
    "capturedLogsMetadata",
    "componentTypesForLocationOrError",
    "componentsForLocationOrError",
    "instigationStatesOrError",
    "isPipelineConfigValid",
    "latestDefsStateInfo",
    "locationStatusesOrError",
    "permissions",
    "runIdsOrError",
    "runsFeedCountOrError",
    "scheduler",
    "shouldShowNux",
    "test",
    "truePartitionsForAutomationConditionEvaluationNode",
    "utilizedEnvVarsOrError",
    "version",
    "workspaceOrError",
}
"""Queries whose answers hold names and numbers alone: they are shown to be the same as for what is not there."""

BROKEN: Final = {
    "AssetMaterializationPlannedEvent_pipelineName",
    "AssetNode_dataVersion",
    "AssetNode_dataVersionByPartition",
    "AssetNode_staleCauses",
    "AssetNode_staleCausesByPartition",
    "AssetNode_staleStatus",
    "AssetNode_staleStatusByPartition",
    "Graph_solids",
    "InstigationEventConnection_cursor",
    "Job_partitionKeysOrError",
    "MaterializationEvent_stepStats",
    "ObservationEvent_stepStats",
    "Pipeline_partitionKeysOrError",
    "SolidHandle_stepStats",
    "TestFields_alwaysException",
}
"""Fields that fail for who owns the planted things, in stock Dagster too, and take the rest of an answer along."""

DEEP: Final = {
    "autoMaterializeAssetEvaluationsOrError": 8,
    **dict.fromkeys(
        (
            "assetConditionEvaluationRecordsOrError",
            "assetNodeOrError",
            "assetOrError",
            "instance",
            "isPipelineConfigValid",
            "logsForRun",
            "partitionBackfillOrError",
            "partitionSetOrError",
            "pipelineSnapshotOrError",
            "repositoryOrError",
            "runConfigSchemaOrError",
            "runOrError",
            "sensorOrError",
        ),
        4,
    ),
}
"""How deep an operation goes for queries from which types are reached that are far from every root."""


def subscriptions(of: Plants) -> Mapping[str, Asked]:
    """Return how each subscription is asked for a tenant's things."""
    return {
        "capturedLogs": [ask(logKey=log) for log in logs(of)],
        "locationStateChangeEvents": [ask()],
        "pipelineRunLogs": [
            ask(runId=of.run),
            ask(runId=of.assets_run, cursor="HEAD"),
            ask(runId=of.assets_run),
        ],
    }
