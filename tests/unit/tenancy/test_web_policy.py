"""Everything that the installed Dagster can be asked for is classified; what a new one adds fails here until it is."""

from typing import Any, cast

import pytest
from dagster import DagsterInstance
from dagster._core.storage.compute_log_manager import ComputeLogManager
from dagster._core.storage.event_log.base import EventLogStorage
from dagster._core.storage.runs.base import RunStorage
from dagster._core.storage.schedules.base import ScheduleStorage
from dagster._core.workspace.context import BaseWorkspaceRequestContext, WorkspaceRequestContext
from dagster._core.workspace.permissions import Permissions
from dagster_graphql.schema import create_schema
from dagster_webserver.webserver import DagsterWebserver

from orchestrator_tenancy.identities import Role
from orchestrator_tenancy.web.allowed import Allowed
from orchestrator_tenancy.web.contexts import TenantRequestContext
from orchestrator_tenancy.web.events import TenantEvents
from orchestrator_tenancy.web.instances import REPLACED, SHARED
from orchestrator_tenancy.web.logs import TenantLogs
from orchestrator_tenancy.web.permissions import ROLES, deployment_permissions, location_permissions
from orchestrator_tenancy.web.policy import MUTATIONS, QUERIES, ROUTES, STATIC, SUBSCRIPTIONS, may_mutate
from orchestrator_tenancy.web.runs import TenantRuns
from orchestrator_tenancy.web.schedules import TenantSchedules

_OF_PROTOCOLS = {"_abc_impl", "_is_protocol", "_is_public", "_instance"}

_SAFE_METHODS = {
    "app_managed_component_write_allowed",
    "asset_graph",
    "clear_loaders",
    "code_location_errors",
    "code_location_names",
    "code_locations",
    "data_time_resolver",
    "dynamic_partitions_loader",
    "gen_execution_plan",
    "gen_job",
    "get_asset_keys_in_job",
    "get_assets_in_job",
    "get_base_deployment_asset_graph",
    "get_code_location",
    "get_code_location_entries",
    "get_code_location_error",
    "get_code_location_statuses",
    "get_config_type",
    "get_current_workspace",
    "get_dagster_library_versions",
    "get_dagster_type",
    "get_execution_plan",
    "get_full_job",
    "get_loaders_for",
    "get_location_entry",
    "get_node_def",
    "get_notebook_data",
    "get_owners_for_selector",
    "get_partition_config",
    "get_partition_names",
    "get_partition_set_execution_param_data",
    "get_partition_sets",
    "get_partition_tags",
    "get_repository",
    "get_resources",
    "get_schedule",
    "get_schedules_targeting_job",
    "get_sensor",
    "get_sensors_targeting_job",
    "has_code_location",
    "has_code_location_error",
    "has_code_location_name",
    "has_job",
    "has_permission",
    "has_permission_for_location",
    "has_permission_for_owners",
    "has_permission_for_selector",
    "instance",
    "instance_queryer",
    "is_reload_supported",
    "is_shutdown_supported",
    "loaders",
    "permissions_for_owner",
    "read_only",
    "read_partition_subsets_from_asset_health",
    "records_for_run_default_limit",
    "reload_code_location_with_latest_defs_state",
    "source",
    "stale_status_loader",
    "version",
    "viewer_has_any_owner_definition_permissions",
    "was_permission_checked",
}
"""Of Dagster's request context: they go through the tenant's workspace and instance, or through what we replace."""


def test_every_root_of_graphql_is_classified() -> None:
    schema = create_schema().graphql_schema
    assert schema.query_type and schema.mutation_type and schema.subscription_type
    assert set(QUERIES) == set(schema.query_type.fields)
    assert set(MUTATIONS) == set(schema.mutation_type.fields)
    assert set(SUBSCRIPTIONS) == set(schema.subscription_type.fields)


def test_every_route_is_classified() -> None:
    server: Any = DagsterWebserver[Any, Any](cast(Any, None))
    routes = server.build_routes()
    paths = {route.path for route in routes if not str(route.name).endswith(STATIC)}
    assert paths == set(ROUTES)


def test_every_permission_has_a_role() -> None:
    assert set(ROLES) == set(Permissions)


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.OPERATOR])
def test_a_role_may_what_those_before_it_may(role: Role) -> None:
    may = {name for name, result in location_permissions(role).items() if result.enabled}
    assert may == {
        name for name, least in ROLES.items() if least is not Role.OPERATOR and role.includes(least)
    }
    assert not any(result.enabled for result in deployment_permissions().values())
    assert not may_mutate(role, "whatEverIsNew") and not may_mutate(role, "reloadWorkspace")


@pytest.mark.parametrize(
    ("ours", "stock"),
    [
        (TenantRuns, RunStorage),
        (TenantEvents, EventLogStorage),
        (TenantSchedules, ScheduleStorage),
        (TenantLogs, ComputeLogManager),
    ],
)
def test_every_member_of_a_storage_has_one_rule(ours: type[Allowed], stock: type) -> None:
    public = {name for name in dir(stock) if not name.startswith("_")}
    own = {name for name in vars(ours) if not name.startswith("_")} - {"RULES"}
    assert set(ours.RULES) | (own & public) == public
    assert not set(ours.RULES) & own


def test_every_attribute_of_an_instance_is_shared_or_replaced() -> None:
    of_dagster: Any = DagsterInstance
    instance: DagsterInstance = of_dagster.ephemeral()
    assert set(vars(instance)) == SHARED | REPLACED
    assert not SHARED & REPLACED


def test_every_method_of_a_request_is_looked_at() -> None:
    stock = {
        name
        for of in (BaseWorkspaceRequestContext, WorkspaceRequestContext)
        for name in dir(of)
        if not name.startswith("_")
    }
    ours = {name for name in vars(TenantRequestContext) if not name.startswith("_")}
    assert stock - ours == _SAFE_METHODS
