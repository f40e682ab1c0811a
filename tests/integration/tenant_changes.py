"""How each mutation of GraphQL is asked to change things of one tenant; one that is not here fails the tests."""

from collections.abc import Mapping
from typing import Final

from tests.integration.tenant_plants import Plants
from tests.integration.tenant_roots import Asked, Word, ask


def _tags_of(of: Plants) -> list[dict[str, str]]:
    """Return tags that would make a run another tenant's, or part of what is another's."""
    tags = {
        "dagster/code_location": of.location,
        ".dagster/repository": f"__repository__@{of.location}",
        "dagster/backfill": of.backfill,
        "dagster/parent_run_id": of.run,
        "dagster/root_run_id": of.run,
    }
    return [{"key": key, "value": value} for key, value in tags.items()]


def mutations(of: Plants) -> Mapping[str, Asked]:
    """Return how each mutation is asked to change a tenant's things.

    The order is one in which each finds what it changes when the tenant's own editor asks.
    """
    repository = of.of_repository()
    job = of.of_repository(jobName=of.name("job"))
    of_assets = of.of_repository(jobName="__ASSET_JOB", assetSelection=[of.key("orders")])
    again = {"rootRunId": of.run, "parentRunId": of.run}
    launches = [ask(executionParams={"selector": selector}) for selector in (job, of_assets)]
    retries = [
        ask(executionParams={"selector": job, "executionMetadata": again}),
        ask(reexecutionParams={"parentRunId": of.run, "strategy": Word("ALL_STEPS")}),
    ]
    schedule = {**repository, "scheduleName": of.name("schedule")}
    sensor = {**repository, "sensorName": of.name("sensor")}
    slots = [ask(runId=of.assets_run), ask(runId=of.run)]
    return {
        "addDynamicPartition": [
            ask(repositorySelector=repository, partitionsDefName=of.name("people"), partitionKey="new")
        ],
        "launchPipelineExecution": launches,
        "launchRun": launches,
        "launchMultipleRuns": [ask(executionParamsList=[{"selector": job}, {"selector": of_assets}])],
        "launchPipelineReexecution": retries,
        "launchRunReexecution": retries,
        "stopRunningSchedule": [
            ask(id=of.schedule),
            ask(scheduleOriginId=of.schedule.split(":")[0], scheduleSelectorId=of.schedule.split(":")[-1]),
        ],
        "startSchedule": [ask(scheduleSelector=schedule)],
        "resetSchedule": [ask(scheduleSelector=schedule)],
        "stopSensor": [
            ask(id=of.sensor),
            ask(jobOriginId=of.sensor.split(":")[0], jobSelectorId=of.sensor_selector),
        ],
        "startSensor": [ask(sensorSelector=sensor)],
        "setSensorCursor": [ask(sensorSelector=sensor, cursor="moved")],
        "resetSensor": [ask(sensorSelector=sensor)],
        "sensorDryRun": [ask(selectorData=sensor, cursor="moved")],
        "scheduleDryRun": [ask(selectorData=schedule, timestamp=1_800_000_000.0)],
        "reportRunlessAssetEvents": [
            ask(eventParams={"eventType": Word(event), "assetKey": of.key(name)})
            for event in ("ASSET_MATERIALIZATION", "ASSET_OBSERVATION")
            for name in ("orders", "letters")
        ],
        "reportAssetCheckEvaluations": [
            ask(eventParams={"assetKey": of.key("orders"), "checkName": of.name("check"), "passed": True})
        ],
        "launchPartitionBackfill": [
            ask(
                backfillParams={
                    "selector": {
                        "partitionSetName": of.name("job_partition_set"),
                        "repositorySelector": repository,
                    },
                    "partitionNames": ["a"],
                }
            ),
            ask(backfillParams={"assetSelection": [of.key("letters")], "partitionNames": ["a"]}),
            ask(
                backfillParams={
                    "partitionsByAssets": [
                        {
                            "assetKey": of.key("letters"),
                            "partitions": {"range": {"start": "a", "end": "a"}},
                        }
                    ]
                }
            ),
        ],
        "reexecutePartitionBackfill": [
            ask(reexecutionParams={"parentRunId": backfill, "strategy": Word("ALL_STEPS")})
            for backfill in (of.backfill, of.assets_backfill)
        ],
        "cancelPartitionBackfill": [ask(backfillId=of.backfill), ask(backfillId=of.assets_backfill)],
        "resumePartitionBackfill": [ask(backfillId=of.backfill), ask(backfillId=of.assets_backfill)],
        "setConcurrencyLimit": [ask(concurrencyKey=of.name("pool"), limit=5)],
        "freeConcurrencySlots": [*slots, ask(runId=of.assets_run, stepKey="1")],
        "freeConcurrencySlotsForRun": slots,
        "deleteConcurrencyLimit": [ask(concurrencyKey=of.name("pool"))],
        "setAutoMaterializePaused": [ask(paused=False)],
        "terminatePipelineExecution": [ask(runId=of.run, terminatePolicy=Word("SAFE_TERMINATE"))],
        "terminateRun": [ask(runId=of.assets_run, terminatePolicy=Word("MARK_AS_CANCELED_IMMEDIATELY"))],
        "terminateRuns": [ask(runIds=[of.run, of.assets_run])],
        "wipeAssets": [
            ask(assetPartitionRanges=[{"assetKey": of.key("orders")}]),
            ask(
                assetPartitionRanges=[
                    {"assetKey": of.key("letters"), "partitions": {"range": {"start": "a", "end": "b"}}}
                ]
            ),
        ],
        "deleteDynamicPartitions": [
            ask(
                repositorySelector=repository,
                partitionsDefName=of.name("people"),
                partitionKeys=[of.partition, "new"],
                wipeMaterializations=wipe,
            )
            for wipe in (False, True)
        ],
        "deletePipelineRun": [ask(runId=of.run)],
        "deleteRun": [ask(runId=of.assets_run)],
        "refreshComponentState": [ask(locationName=of.location, defsStateKey="any")],
        "setAppManagedComponent": [
            ask(locationName=of.location, componentId="x", componentType="y", attributes="{}")
        ],
        "deleteAppManagedComponent": [ask(locationName=of.location, componentId="x")],
        "reloadRepositoryLocation": [ask(repositoryLocationName=of.location)],
        "shutdownRepositoryLocation": [ask(repositoryLocationName=of.location)],
        "reloadWorkspace": [ask()],
        "logTelemetry": [ask(action="x", clientId="y", clientTime="z", metadata="{}")],
        "setNuxSeen": [ask()],
    }


def forged(of: Plants, by: Plants) -> Mapping[str, Asked]:
    """Return how a tenant uses its lying location to change another's things, and forges whose its own are."""
    repository = by.of_repository()
    job = by.of_repository(jobName=by.name("job"))
    theirs = [of.key("orders")]
    stolen = by.of_repository(jobName="__ASSET_JOB", assetSelection=theirs)
    return {
        "addDynamicPartition": [
            ask(repositorySelector=repository, partitionsDefName=of.name("people"), partitionKey="forged")
        ],
        "deleteDynamicPartitions": [
            ask(
                repositorySelector=repository,
                partitionsDefName=of.name("people"),
                partitionKeys=[of.partition],
                wipeMaterializations=wipe,
            )
            for wipe in (False, True)
        ],
        "launchRun": [
            ask(executionParams={"selector": stolen}),
            *(
                ask(
                    executionParams={
                        "selector": job,
                        "executionMetadata": {"tags": [tag]},
                    }
                )
                for tag in _tags_of(of)
            ),
            ask(
                executionParams={
                    "selector": job,
                    "executionMetadata": {"rootRunId": of.run, "parentRunId": of.run},
                }
            ),
            ask(executionParams={"selector": job, "executionMetadata": {"runId": of.run}}),
        ],
        "launchRunReexecution": [
            ask(
                executionParams={
                    "selector": job,
                    "executionMetadata": {"rootRunId": root, "parentRunId": parent},
                }
            )
            for root, parent in ((of.run, of.run), (of.run, by.run), (by.run, of.run))
        ],
        "stopSensor": [
            ask(jobOriginId=by.sensor.split(":")[0], jobSelectorId=of.sensor_selector),
            ask(jobOriginId=of.sensor.split(":")[0], jobSelectorId=by.sensor_selector),
        ],
        "stopRunningSchedule": [
            ask(scheduleOriginId=by.schedule.split(":")[0], scheduleSelectorId=of.schedule.split(":")[-1])
        ],
        "reportRunlessAssetEvents": [
            ask(eventParams={"eventType": Word("ASSET_MATERIALIZATION"), "assetKey": theirs[0]})
        ],
        "reportAssetCheckEvaluations": [
            ask(eventParams={"assetKey": theirs[0], "checkName": "forged", "passed": True})
        ],
        "wipeAssets": [ask(assetPartitionRanges=[{"assetKey": theirs[0]}])],
        "launchPartitionBackfill": [
            ask(backfillParams={"assetSelection": [of.key("people")], "allPartitions": True}),
            ask(
                backfillParams={"assetSelection": [by.key("stolen"), of.key("people")], "allPartitions": True}
            ),
        ],
    }


REACHED: Final[Mapping[str, str]] = {
    "reexecutePartitionBackfill": "still in progress",
    "refreshComponentState": "RefreshComponentState",
    "sensorDryRun": "DryRunInstigationTick",
    "scheduleDryRun": "DryRunInstigationTick",
    "shutdownRepositoryLocation": "does not support shutting down",
    "reloadRepositoryLocation": "WorkspaceLocationEntry",
    "setAutoMaterializePaused": "setAutoMaterializePaused",
    "freeConcurrencySlotsForRun": '"freeConcurrencySlotsForRun":true',
    "terminateRuns": "due to having status CANCELED",
}
"""What the owner is told, where a mutation changes no row of theirs."""

NOT_ASKED: Final[Mapping[str, str]] = {
    "setAppManagedComponent": "a part of Dagster+",
    "deleteAppManagedComponent": "a part of Dagster+",
    "reloadWorkspace": "starts everybody's code servers again",
    "logTelemetry": "writes to the machine's own files",
    "setNuxSeen": "writes to the machine's own files",
}
"""Mutations that the owner is not made to ask for, and why; nobody of a tenant may."""
