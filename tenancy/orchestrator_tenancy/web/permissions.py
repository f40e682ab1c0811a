"""What each role may do, in Dagster's terms; checked against Dagster 1.13.27."""

import functools
from collections.abc import Mapping
from typing import Final

from dagster._core.workspace.permissions import PermissionResult, Permissions

from orchestrator_tenancy.identities import Role

ROLES: Final[Mapping[Permissions, Role]] = {
    Permissions.LAUNCH_PIPELINE_EXECUTION: Role.LAUNCHER,
    Permissions.LAUNCH_PIPELINE_REEXECUTION: Role.LAUNCHER,
    Permissions.TERMINATE_PIPELINE_EXECUTION: Role.LAUNCHER,
    Permissions.LAUNCH_PARTITION_BACKFILL: Role.LAUNCHER,
    Permissions.CANCEL_PARTITION_BACKFILL: Role.LAUNCHER,
    Permissions.START_SCHEDULE: Role.EDITOR,
    Permissions.STOP_RUNNING_SCHEDULE: Role.EDITOR,
    Permissions.SCHEDULE_DRY_RUN: Role.EDITOR,
    Permissions.EDIT_SENSOR: Role.EDITOR,
    Permissions.SENSOR_DRY_RUN: Role.EDITOR,
    Permissions.UPDATE_SENSOR_CURSOR: Role.EDITOR,
    Permissions.DELETE_PIPELINE_RUN: Role.EDITOR,
    Permissions.RELOAD_REPOSITORY_LOCATION: Role.EDITOR,
    Permissions.WIPE_ASSETS: Role.EDITOR,
    Permissions.REPORT_RUNLESS_ASSET_EVENTS: Role.EDITOR,
    Permissions.EDIT_DYNAMIC_PARTITIONS: Role.EDITOR,
    Permissions.REFRESH_COMPONENT_STATE: Role.EDITOR,
    # of the whole deployment
    Permissions.RELOAD_WORKSPACE: Role.OPERATOR,
    Permissions.TOGGLE_AUTO_MATERIALIZE: Role.OPERATOR,
    Permissions.EDIT_CONCURRENCY_LIMIT: Role.OPERATOR,
    # a part of Dagster+
    Permissions.EDIT_APP_MANAGED_COMPONENTS: Role.OPERATOR,
}
"""The least role for each permission in a location of one's tenant; `OPERATOR` is nobody's within a tenant."""


@functools.cache
def location_permissions(role: Role) -> Mapping[str, PermissionResult]:
    """Return what a role may do in a location of its tenant."""
    return {permission: _result(_may(role, least), least) for permission, least in ROLES.items()}


@functools.cache
def deployment_permissions() -> Mapping[str, PermissionResult]:
    """Return what somebody of a tenant may do with no location in particular: nothing."""
    return {permission: _result(False, least) for permission, least in ROLES.items()}


def _may(role: Role, least: Role) -> bool:
    return least is not Role.OPERATOR and role.includes(least)


def _result(enabled: bool, least: Role) -> PermissionResult:
    return PermissionResult(
        enabled=enabled, disabled_reason=None if enabled else f"Needs the role {least.value}"
    )
