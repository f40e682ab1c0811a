"""A Dagster instance as one tenant has it; checked against Dagster 1.13.27.

All that an instance knows it reads through its attributes. Those that hold tenants' things are replaced, a few are
shared, and any other is not there: what a new Dagster adds fails until it is looked at (a test compares the names).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, cast

from dagster import DagsterInstance
from dagster._core.storage.tags import CODE_LOCATION_TAG

from orchestrator_tenancy.web.backfills import BackfillOwners
from orchestrator_tenancy.web.events import TenantEvents
from orchestrator_tenancy.web.logs import TenantLogs
from orchestrator_tenancy.web.records import changed
from orchestrator_tenancy.web.runs import TenantRuns
from orchestrator_tenancy.web.schedules import TenantSchedules
from orchestrator_tenancy.web.scopes import NotForTenants, Scope

SHARED: Final = frozenset(
    {
        "_event_buffer",
        "_instance_type",
        "_local_artifact_storage",
        "_ref",
        "_run_coordinator",
        "_run_launcher",
        "_run_monitoring_enabled",
        "_scheduler",
        "_secrets_loader",
        "_settings",
        "_subscribers",
    }
)
"""Attributes that hold nothing of a tenant, or are reached only with a run that was looked at before."""

REPLACED: Final = frozenset(
    {
        "_compute_log_manager",
        "_defs_state_storage",
        "_event_storage",
        "_run_storage",
        "_schedule_storage",
    }
)


@dataclass(frozen=True)
class Definitions:
    """What a tenant's locations have now.

    Attributes:
        snapshots: Ids of the snapshots of their jobs.
        selectors: Returns the digests that name their schedules and sensors.
    """

    snapshots: Callable[[], frozenset[str]]
    selectors: Callable[[], frozenset[str]]


class TenantInstance(DagsterInstance):
    """The shared instance as one tenant has it, for one request.

    Args:
        shared: The instance of all tenants.
        scope: Whose instance.
        owners: Of backfills.
        definitions: Of the tenant's locations.
    """

    def __init__(
        self, shared: DagsterInstance, scope: Scope, owners: BackfillOwners, definitions: Definitions
    ) -> None:
        # what is made when it is first asked for would register the tenant's instance for everybody
        assert shared.run_coordinator and shared.run_launcher and shared.compute_log_manager
        held = vars(shared)
        for name in SHARED:
            setattr(self, name, held[name])
        runs = TenantRuns(held["_run_storage"], scope, owners, definitions.snapshots)
        schedules = TenantSchedules(held["_schedule_storage"], scope, definitions.selectors)
        self._scope = scope
        self._run_storage = cast(Any, runs)
        self._schedule_storage = cast(Any, schedules)
        self._event_storage = cast(Any, TenantEvents(held["_event_storage"], scope, runs, self))
        self._compute_log_manager = cast(
            Any, TenantLogs(held["_compute_log_manager"], scope, runs, schedules)
        )
        # its keys name no location, and only components that the user interface edits need it: a part of Dagster+
        self._defs_state_storage = None

    @property
    def logs(self) -> TenantLogs:
        """What the tenant's runs wrote."""
        return cast(TenantLogs, self._compute_log_manager)

    def info_dict(self) -> dict[str, object]:
        """Return nothing: how the instance is made is the operator's matter."""
        return {}

    @property
    def nux_enabled(self) -> bool:
        """No: a dialog asks for people's addresses for Dagster's makers, and only operators could put it away."""
        return False

    def get_concurrency_config(self) -> Any:
        """Return how many runs may run, without limits that name locations of others."""
        config = super().get_concurrency_config()
        queue = config.run_queue_config
        if queue is None or not queue.tag_concurrency_limits:
            return config
        own = [limit for limit in queue.tag_concurrency_limits if self._is_shown(limit)]
        return changed(config, run_queue_config=queue._replace(tag_concurrency_limits=own))

    def _is_shown(self, limit: Any) -> bool:
        value = limit.get("value")
        if not isinstance(value, str):
            return True
        return limit.get("key") == CODE_LOCATION_TAG and self._scope.owns_location(value)

    def dispose(self) -> None:
        """Refuse: the storages are everybody's."""
        raise NotForTenants("the instance is everybody's to close")
