"""What of Dagster's GraphQL and HTTP somebody of a tenant may ask for; checked against Dagster 1.13.27.

What is not here is refused, and a test fails on what the installed Dagster has and is not here.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from orchestrator_tenancy.identities import Role


class Holds(StrEnum):
    """What an answer holds."""

    OWN = "own"
    """What is the tenant's: read through its instance and its workspace."""
    NOBODYS = "nobodys"
    """What is the same for everybody and of nobody: versions, files of the pages."""


OWN, NOBODYS = Holds.OWN, Holds.NOBODYS

QUERIES: Final[Mapping[str, Holds]] = {
    "allTopLevelResourceDetailsOrError": OWN,
    "appManagedComponentsForLocationOrError": OWN,
    "assetBackfillPreview": OWN,
    "assetCheckExecutions": OWN,
    "assetConditionEvaluationForPartition": OWN,
    "assetConditionEvaluationRecordsOrError": OWN,
    "assetConditionEvaluationsForEvaluationId": OWN,
    "assetNodeAdditionalRequiredKeys": OWN,
    "assetNodeDefinitionCollisions": OWN,
    "assetNodeOrError": OWN,
    "assetNodes": OWN,
    "assetOrError": OWN,
    "assetRecordsOrError": OWN,
    "assetsLatestInfo": OWN,
    "assetsOrError": OWN,
    "autoMaterializeAssetEvaluationsOrError": OWN,
    "autoMaterializeEvaluationsForEvaluationId": OWN,
    "autoMaterializeTicks": OWN,
    "canBulkTerminate": OWN,
    "capturedLogs": OWN,
    "capturedLogsMetadata": OWN,
    "componentTypesForLocationOrError": OWN,
    "componentsForLocationOrError": OWN,
    "executionPlanOrError": OWN,
    "graphOrError": OWN,
    "instance": OWN,
    "instigationStateOrError": OWN,
    "instigationStatesOrError": OWN,
    "isPipelineConfigValid": OWN,
    "latestDefsStateInfo": OWN,
    "locationStatusesOrError": OWN,
    "logsForRun": OWN,
    "partitionBackfillOrError": OWN,
    "partitionBackfillsOrError": OWN,
    "partitionSetOrError": OWN,
    "partitionSetsOrError": OWN,
    "permissions": OWN,
    "pipelineOrError": OWN,
    "pipelineRunOrError": OWN,
    "pipelineRunsOrError": OWN,
    "pipelineSnapshotOrError": OWN,
    "repositoriesOrError": OWN,
    "repositoryOrError": OWN,
    "resourcesOrError": OWN,
    "runConfigSchemaOrError": OWN,
    "runGroupOrError": OWN,
    "runIdsOrError": OWN,
    "runOrError": OWN,
    "runTagKeysOrError": OWN,
    "runTagsOrError": OWN,
    "runsFeedCountOrError": OWN,
    "runsFeedOrError": OWN,
    "runsOrError": OWN,
    "scheduleOrError": OWN,
    "scheduler": NOBODYS,
    "schedulesOrError": OWN,
    "sensorOrError": OWN,
    "sensorsOrError": OWN,
    "shouldShowNux": NOBODYS,
    "test": NOBODYS,
    "topLevelResourceDetailsOrError": OWN,
    "truePartitionsForAutomationConditionEvaluationNode": OWN,
    "utilizedEnvVarsOrError": OWN,
    "version": NOBODYS,
    "workspaceLocationEntryOrError": OWN,
    "workspaceOrError": OWN,
}

MUTATIONS: Final[Mapping[str, Role]] = {
    "addDynamicPartition": Role.EDITOR,
    "cancelPartitionBackfill": Role.LAUNCHER,
    "deleteAppManagedComponent": Role.OPERATOR,
    "deleteConcurrencyLimit": Role.OPERATOR,
    "deleteDynamicPartitions": Role.EDITOR,
    "deletePipelineRun": Role.EDITOR,
    "deleteRun": Role.EDITOR,
    "freeConcurrencySlots": Role.OPERATOR,
    "freeConcurrencySlotsForRun": Role.OPERATOR,
    "launchMultipleRuns": Role.LAUNCHER,
    "launchPartitionBackfill": Role.LAUNCHER,
    "launchPipelineExecution": Role.LAUNCHER,
    "launchPipelineReexecution": Role.LAUNCHER,
    "launchRun": Role.LAUNCHER,
    "launchRunReexecution": Role.LAUNCHER,
    "logTelemetry": Role.OPERATOR,
    "reexecutePartitionBackfill": Role.LAUNCHER,
    "refreshComponentState": Role.EDITOR,
    "reloadRepositoryLocation": Role.EDITOR,
    "reloadWorkspace": Role.OPERATOR,
    "reportAssetCheckEvaluations": Role.EDITOR,
    "reportRunlessAssetEvents": Role.EDITOR,
    "resetSchedule": Role.EDITOR,
    "resetSensor": Role.EDITOR,
    "resumePartitionBackfill": Role.LAUNCHER,
    "scheduleDryRun": Role.EDITOR,
    "sensorDryRun": Role.EDITOR,
    "setAppManagedComponent": Role.OPERATOR,
    "setAutoMaterializePaused": Role.OPERATOR,
    "setConcurrencyLimit": Role.OPERATOR,
    "setNuxSeen": Role.OPERATOR,
    "setSensorCursor": Role.EDITOR,
    "shutdownRepositoryLocation": Role.EDITOR,
    "startSchedule": Role.EDITOR,
    "startSensor": Role.EDITOR,
    "stopRunningSchedule": Role.EDITOR,
    "stopSensor": Role.EDITOR,
    "terminatePipelineExecution": Role.LAUNCHER,
    "terminateRun": Role.LAUNCHER,
    "terminateRuns": Role.LAUNCHER,
    "wipeAssets": Role.EDITOR,
}
"""The least role for each; `OPERATOR` is for those who see all tenants alone. Dagster's permissions hold besides."""

SUBSCRIPTIONS: Final[Mapping[str, Holds]] = {
    "capturedLogs": OWN,
    "locationStateChangeEvents": OWN,
    "pipelineRunLogs": OWN,
}

ROUTES: Final[Mapping[str, Holds]] = {
    "/": NOBODYS,
    "/dagit/notebook": OWN,
    "/dagit_info": NOBODYS,
    "/download_debug/{run_id:str}": OWN,
    "/graphql": OWN,
    "/logs/{path:path}": OWN,
    "/notebook": OWN,
    "/report_asset_check/{asset_key:path}": OWN,
    "/report_asset_materialization/{asset_key:path}": OWN,
    "/report_asset_observation/{asset_key:path}": OWN,
    "/server_info": NOBODYS,
    "/{path:path}": NOBODYS,
}
"""By path; files of Dagster's pages are found by the name of their routes, which ends in `_static`."""

STATIC: Final = "_static"


def may_mutate(role: Role, mutation: str) -> bool:
    """Return whether somebody of a tenant may ask for a mutation at all; an unknown one is for operators."""
    least = MUTATIONS.get(mutation, Role.OPERATOR)
    return least is not Role.OPERATOR and role.includes(least)
