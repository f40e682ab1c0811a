"""What Dagster's pages know of one request: the tenant's instance, its locations, its permissions.

Checked against Dagster 1.13.27: a `WorkspaceProcessContext` makes a `WorkspaceRequestContext` for each request and
websocket, and everything that GraphQL resolves is read through that.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

from dagster._core.remote_representation.grpc_server_state_subscriber import (
    LocationStateChangeEvent,
    LocationStateSubscriber,
)
from dagster._core.workspace.context import WorkspaceProcessContext, WorkspaceRequestContext
from dagster._core.workspace.permissions import PermissionResult
from dagster._core.workspace.workspace import CurrentWorkspace
from starlette.exceptions import HTTPException

from orchestrator_tenancy.identities import SCOPE_KEY, Identity, Role
from orchestrator_tenancy.tenants import Tenant, TenantDirectory
from orchestrator_tenancy.web.backfills import BackfillOwners
from orchestrator_tenancy.web.instances import Definitions, TenantInstance
from orchestrator_tenancy.web.permissions import deployment_permissions, location_permissions
from orchestrator_tenancy.web.run_queries import prepare_index
from orchestrator_tenancy.web.scopes import NotForTenants, Scope

TENANT_TAG: Final = "orchestrator/tenant"
"""Tag of backfills and reports that people of a tenant make by hand: for them to read, never to decide by."""
PERSON_TAG: Final = "orchestrator/by"
"""Tag of a backfill with who made it."""


class TenantRequestContext(WorkspaceRequestContext):
    """One request of somebody of a tenant."""

    def __init__(self, *, identity: Identity, role: Role, scope: Scope, **stock: Any) -> None:
        of_dagster: Any = super()
        of_dagster.__init__(**stock)
        self.identity = identity
        self.role = role
        self.scope = scope

    def holds(self) -> bool:
        """Return whether a new request of the tenant would see the same locations."""
        return self._process().scope_of(self.scope.tenant) == self.scope

    def reset_for_test(self) -> WorkspaceRequestContext:
        """Refuse: it would give the context without the tenant."""
        raise NotForTenants("reset_for_test is not for tenants")

    @property
    def process_context(self) -> Any:
        """The process, as far as a tenant may reach it."""
        return _TenantProcess(self._process(), self.scope)

    def _process(self) -> "TenantProcessContext":
        return _process_of(self)

    @property
    def permissions(self) -> Mapping[str, PermissionResult]:
        """What they may do with the deployment: nothing."""
        return deployment_permissions()

    def permissions_for_location(self, *, location_name: str) -> Mapping[str, PermissionResult]:
        """Return what they may do in a location."""
        if not self.scope.owns_location(location_name):
            return deployment_permissions()
        return location_permissions(self.role)

    @property
    def show_instance_config(self) -> bool:
        """Whether the instance's settings are shown: they are the operator's."""
        return False

    def get_viewer_tags(self) -> dict[str, str]:
        """Return tags of what they launch."""
        return {TENANT_TAG: self.scope.tenant, PERSON_TAG: self.identity.name}

    def get_reporting_user_tags(self) -> dict[str, str]:
        """Return tags of what they report; a tag of an event may not hold what a person's name may."""
        return {TENANT_TAG: self.scope.tenant}

    def reload_code_location(self, name: str) -> WorkspaceRequestContext:
        """Reload a location of the tenant."""
        self._process().reload_code_location(self._must_own(name))
        return self._process().create_request_context(self.source)

    def shutdown_code_location(self, name: str) -> None:
        """End a location's server; who runs it starts it again."""
        self._process().shutdown_code_location(self._must_own(name))

    def refresh_component_state(self, name: str, defs_state_keys: Any) -> Any:
        """Refresh what components of a location keep."""
        return self._process().refresh_component_state(self._must_own(name), defs_state_keys)

    def reload_workspace(self) -> WorkspaceRequestContext:
        """Refuse: it reloads everybody's locations."""
        raise NotForTenants("reloading all locations is not for tenants")

    def _must_own(self, name: str) -> str:
        if not self.scope.owns_location(name):
            raise NotForTenants(f"there is no code location {name!r}")
        return name


class OperatorRequestContext(WorkspaceRequestContext):
    """One request of an operator who looks at no tenant in particular."""

    def _again(self) -> WorkspaceRequestContext:
        return _process_of(self).create_request_context(self.source)

    def reload_code_location(self, name: str) -> WorkspaceRequestContext:
        """Reload a location."""
        _process_of(self).reload_code_location(name)
        return self._again()

    def reload_workspace(self) -> WorkspaceRequestContext:
        """Reload all locations."""
        _process_of(self).reload_workspace()
        return self._again()


class TenantProcessContext(WorkspaceProcessContext):
    """The process of the web server.

    Args:
        instance: The instance of all tenants.
        directory: Whose locations are whose.
        stock: What `WorkspaceProcessContext` takes besides.
    """

    def __init__(self, instance: Any, directory: TenantDirectory, **stock: Any) -> None:
        self._directory = directory
        prepare_index(instance.run_storage)
        self._owners = BackfillOwners(instance.run_storage)
        self._workspaces = dict[str, _TenantWorkspace]()
        super().__init__(instance, **stock)

    def create_request_context(self, source: Any = None) -> WorkspaceRequestContext:
        """Return the context of a request or websocket, by who asks.

        Raises:
            HTTPException: Nobody signed in (401), or their tenant is not there (403).
        """
        identity = None if source is None else source.scope.get(SCOPE_KEY)
        if not isinstance(identity, Identity):
            raise HTTPException(401, "sign in first")
        stock: dict[str, Any] = {
            "process_context": self,
            "version": self.version,
            "source": source,
            "read_only": self.read_only,
        }
        if identity.tenant is None:
            return OperatorRequestContext(
                instance=self._instance, current_workspace=self.get_current_workspace(), **stock
            )
        tenant = self._directory.tenancy().tenants.get(identity.tenant)
        if tenant is None:
            raise HTTPException(403, f"there is no tenant {identity.tenant!r}")
        scope = _scope(identity.tenant, tenant)
        may_start = not tenant.suspended and not self.read_only
        workspace = self._workspace(scope)
        return TenantRequestContext(
            identity=identity,
            role=identity.role if may_start else Role.VIEWER,
            scope=scope,
            instance=TenantInstance(self._instance, scope, self._owners, workspace.definitions),
            current_workspace=workspace.own,
            **stock,
        )

    def scope_of(self, name: str) -> Scope | None:
        """Return whose things a tenant sees now; None when there is no such tenant."""
        tenant = self._directory.tenancy().tenants.get(name)
        return None if tenant is None else _scope(name, tenant)

    def _workspace(self, scope: Scope) -> "_TenantWorkspace":
        """Return the tenant's part of what is loaded now; its asset graph is made once for each loading."""
        current = self.get_current_workspace()
        known = self._workspaces.get(scope.tenant)
        if known is None or known.whole is not current or known.scope != scope:
            known = self._workspaces[scope.tenant] = _TenantWorkspace(current, scope)
        return known


def _scope(name: str, tenant: Tenant) -> Scope:
    return Scope(tenant=name, locations=frozenset(tenant.locations))


def _process_of(context: Any) -> TenantProcessContext:
    return cast(TenantProcessContext, context._process_context)


class _TenantWorkspace:
    """A tenant's part of the loaded locations."""

    def __init__(self, whole: CurrentWorkspace, scope: Scope) -> None:
        self.whole = whole
        self.scope = scope
        self.own = CurrentWorkspace(
            {name: entry for name, entry in whole.code_location_entries.items() if scope.owns_location(name)}
        )
        self.definitions = Definitions(snapshots=self._snapshots, selectors=self._selectors)

    def _repositories(self) -> list[Any]:
        locations = (entry.code_location for entry in self.own.code_location_entries.values())
        return [
            repository
            for location in locations
            if location
            for repository in location.get_repositories().values()
        ]

    @functools.cached_property
    def _snapshot_ids(self) -> frozenset[str]:
        jobs = (job for repository in self._repositories() for job in repository.get_all_jobs())
        return frozenset(job.computed_job_snapshot_id for job in jobs)

    @functools.cached_property
    def _selector_ids(self) -> frozenset[str]:
        return frozenset(
            instigator.selector_id
            for repository in self._repositories()
            for instigator in (*repository.get_schedules(), *repository.get_sensors())
        )

    def _snapshots(self) -> frozenset[str]:
        return self._snapshot_ids

    def _selectors(self) -> frozenset[str]:
        return self._selector_ids


class _TenantProcess(WorkspaceProcessContext):
    """The process as far as a tenant reaches it: news of its locations. Nothing else of it is there."""

    def __init__(self, process: TenantProcessContext, scope: Scope) -> None:
        self._process = process
        self._scope = scope

    def add_state_subscriber(self, subscriber: LocationStateSubscriber) -> int:
        """Tell of the tenant's locations."""
        return self._process.add_state_subscriber(LocationStateSubscriber(self._own(subscriber.handle_event)))

    def _own(
        self, handle: Callable[[LocationStateChangeEvent], None]
    ) -> Callable[[LocationStateChangeEvent], None]:
        return lambda event: handle(event) if self._scope.owns_location(event.location_name) else None

    def rm_state_subscriber(self, token: int) -> None:
        """Tell no more."""
        self._process.rm_state_subscriber(token)

    def __getattribute__(self, name: str) -> Any:
        """Give what is above, and nothing that Dagster's class has."""
        if name.startswith("__") or name in _REACHED:
            return super().__getattribute__(name)
        raise NotForTenants(f"{name} of the process is not for tenants")


_REACHED: Final = frozenset({"_own", "_process", "_scope", "add_state_subscriber", "rm_state_subscriber"})
