"""Events, assets, partitions and pools as one tenant may see and change them; checked against Dagster 1.13.27.

Events of runs are the tenant's when the run is; those of assets when the asset's name is. So what a run of another
tenant writes under this tenant's names is seen by this tenant, and never the other way round.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, cast

from dagster import (
    AssetCheckKey,
    AssetKey,
    AssetRecordsFilter,
    DagsterEvent,
    DagsterEventType,
    EventLogEntry,
    RunsFilter,
)
from dagster._core.storage.event_log.base import EventLogStorage

from orchestrator_tenancy.web.allowed import Allowed, Rule, given, passed, refused, told
from orchestrator_tenancy.web.runs import TenantRuns
from orchestrator_tenancy.web.scopes import ABSENT, ABSENT_KEY, NotForTenants, Scope

_OF_CHECKS = {
    DagsterEventType.ASSET_CHECK_EVALUATION: "asset_check_evaluation_data",
    DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED: "asset_check_planned_data",
}


class TenantEvents(Allowed):
    """Event log storage of one tenant, for one request.

    Args:
        inner: The shared event log storage.
        scope: Whose events.
        runs: The tenant's.
        instance: The tenant's, which has this storage.
    """

    def __init__(self, inner: Any, scope: Scope, runs: TenantRuns, instance: Any) -> None:
        super().__init__(inner, scope)
        self._runs = runs
        self._instance = instance

    # -- what is asked instead, or refused

    def _run(self, run: str) -> str:
        return self._runs.own_run(run)

    def _must_run(self, run: str) -> str:
        return self._runs.must_own_run(run)

    def _runs_of(self, runs: Iterable[str]) -> set[str]:
        some = list(runs)
        return set(self._runs.get_run_ids(RunsFilter(run_ids=some))) if some else set()

    def _key(self, key: AssetKey) -> AssetKey:
        return key if self._scope.owns_key(key) else ABSENT_KEY

    def _must_key(self, key: AssetKey) -> AssetKey:
        if not self._scope.owns_key(key):
            raise NotForTenants(f"there is no asset {key.to_user_string()!r}")
        return key

    def _keys(self, keys: Iterable[AssetKey]) -> list[AssetKey]:
        return self._scope.own_keys(keys)

    def _check(self, key: AssetCheckKey) -> AssetCheckKey:
        return key if self._scope.owns_entity(key) else AssetCheckKey(ABSENT_KEY, ABSENT)

    def _checks(self, keys: Iterable[AssetCheckKey]) -> list[AssetCheckKey]:
        return [key for key in keys if self._scope.owns_entity(key)]

    def _records(self, asked: AssetKey | AssetRecordsFilter) -> AssetKey | AssetRecordsFilter:
        if isinstance(asked, AssetKey):
            return self._key(asked)
        return asked._replace(asset_key=self._key(asked.asset_key))

    def _event_filter(self, asked: Any) -> Any:
        if asked.asset_key is None:
            raise NotForTenants("events of no asset in particular are not for tenants")
        return asked._replace(asset_key=self._key(asked.asset_key))

    def _name(self, name: str) -> str:
        return name if self._scope.owns_name(name) else ABSENT

    def _must_name(self, name: str) -> str:
        if not self._scope.owns_name(name):
            raise NotForTenants(f"there is no {name!r}")
        return name

    def _names(self, names: Iterable[str]) -> set[str]:
        return {name for name in names if self._scope.owns_name(name)}

    def _pools(self, pools: Iterable[Any]) -> list[Any]:
        return [pool for pool in pools if self._scope.owns_name(pool.name)]

    # -- what has no first argument to change

    def all_asset_keys(self) -> Sequence[AssetKey]:
        """Return the tenant's assets that have events."""
        return self.get_asset_keys()

    def get_asset_keys(
        self, prefix: Sequence[str] | None = None, limit: int | None = None, cursor: str | None = None
    ) -> Sequence[AssetKey]:
        """Return the tenant's of some assets."""
        asked = list(prefix or ()) or [self._scope.tenant]
        if not self._scope.owns_key(AssetKey(asked)):
            return []
        return self._keys(self._inner.get_asset_keys(prefix=asked, limit=limit, cursor=cursor))

    def get_asset_records(self, asset_keys: Sequence[AssetKey] | None = None) -> Sequence[Any]:
        """Return what was last heard of the tenant's of some assets."""
        own = self.all_asset_keys() if asset_keys is None else self._keys(asset_keys)
        records: Sequence[Any] = self._inner.get_asset_records(own) if own else []
        return records

    def get_asset_event_summary_records(
        self, event_type: Any, asset_key: AssetKey | None = None, run_id: str | None = None, **named: Any
    ) -> Any:
        """Return some events of an asset or of a run of the tenant."""
        if asset_key is None and run_id is None:
            raise NotForTenants("events of no asset or run in particular are not for tenants")
        return self._inner.get_asset_event_summary_records(
            event_type,
            asset_key=None if asset_key is None else self._key(asset_key),
            run_id=None if run_id is None else self._run(run_id),
            **named,
        )

    # Dagster's own ways of these two read through the instance, and a location says which dynamic partitions its assets
    # have: so they are to read through the tenant's instance, not the shared storage's

    def get_asset_status_cache_values(self, partitions_defs_by_key: Iterable[Any], context: Any) -> Any:
        """Return what is known of assets' partitions; None for those of others."""
        own = [(self._key(key), partitions) for key, partitions in partitions_defs_by_key]
        return EventLogStorage.get_asset_status_cache_values(cast(EventLogStorage, self), own, context)

    def get_asset_check_state(self, keys: Iterable[tuple[Any, Any]]) -> Any:
        """Return what is known of the tenant's of some checks."""
        own = [(key, partitions) for key, partitions in keys if self._scope.owns_entity(key)]
        return EventLogStorage.get_asset_check_state(cast(EventLogStorage, self), own)

    def store_event(self, event: EventLogEntry) -> None:
        """Keep an event of a run of the tenant, or of none, that is of no asset of another.

        Raises:
            NotForTenants: It is not so.
        """
        self._inner.store_event(self._must_event(event))

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Keep some events, or none of them."""
        self._inner.store_event_batch([self._must_event(event) for event in events])

    def _must_event(self, event: EventLogEntry) -> EventLogEntry:
        key = _asset(event.dagster_event) if event.dagster_event else None
        if key is not None:
            self._must_key(key)
        elif not event.run_id:
            raise NotForTenants("an event of no run and no asset is not for tenants")
        if event.run_id:
            self._must_run(event.run_id)
        return event

    RULES: ClassVar[Mapping[str, Rule]] = {
        # of runs
        **dict.fromkeys(
            (
                "end_watch",
                "get_asset_keys_for_run",
                "get_asset_partitions_for_run",
                "get_logs_for_run",
                "get_records_for_run",
                "get_stats_for_run",
                "get_step_stats_for_run",
                "watch",
            ),
            given(_run),
        ),
        **dict.fromkeys(
            ("delete_events", "free_concurrency_slot_for_step", "free_concurrency_slots_for_run"),
            given(_must_run),
        ),
        # of assets
        **dict.fromkeys(
            (
                "get_event_tags_for_asset",
                "get_latest_asset_partition_materialization_attempts_without_materializations",
                "get_latest_planned_materialization_info",
                "get_latest_storage_id_by_partition",
                "get_latest_tags_by_partition",
                "get_materialized_partitions",
                "get_updated_data_version_partitions",
                "has_asset_key",
            ),
            given(_key),
        ),
        **dict.fromkeys(
            (
                "get_freshness_state_records",
                "get_latest_materialization_events",
                "get_latest_materialization_storage_ids",
            ),
            given(_keys),
        ),
        **dict.fromkeys(
            ("fetch_failed_materializations", "fetch_materializations", "fetch_observations"), given(_records)
        ),
        **dict.fromkeys(
            (
                "update_asset_cached_status_data",
                "wipe_asset",
                "wipe_asset_cached_status",
                "wipe_asset_partitions",
            ),
            given(_must_key),
        ),
        "get_event_records": given(_event_filter),
        # of checks
        "get_asset_check_execution_history": given(_check),
        "get_asset_check_partition_info": given(_checks),
        "get_asset_check_summary_records": given(_checks),
        "get_checkpointed_asset_check_state": given(_checks),
        "get_latest_asset_check_execution_by_key": given(_checks),
        # of dynamic partitions
        **dict.fromkeys(
            (
                "get_dynamic_partitions",
                "get_existing_dynamic_partitions",
                "get_paginated_dynamic_partitions",
                "has_dynamic_partition",
            ),
            given(_name),
        ),
        "add_dynamic_partitions": given(_must_name),
        "delete_dynamic_partition": given(_must_name),
        # of pools
        "get_concurrency_info": given(_name),
        "get_concurrency_infos": given(_names),
        "get_concurrency_keys": told(_names),
        "get_concurrency_run_ids": told(_runs_of),
        "get_pool_limits": told(_pools),
        "initialize_concurrency_limit_to_default": given(_must_name),
        # the same for everybody
        **dict.fromkeys(
            (
                "asset_records_have_last_observation",
                "asset_records_have_last_planned_and_failed_materializations",
                "can_read_asset_status_cache",
                "can_store_asset_failure_events",
                "can_write_asset_status_cache",
                "default_run_scoped_event_tailer_offset",
                "get_asset_tags_to_index",
                "get_maximum_record_id",
                "get_pool_config",
                "handles_run_events_in_store_event",
                "has_bounded_dynamic_partition_membership_query",
                "has_instance",
                "is_persistent",
                "is_run_sharded",
                "supports_asset_checks",
                "supports_global_concurrency_limits",
                "supports_partition_subset_in_asset_materialization_planned_events",
                "supports_run_status_change_job_name_filter",
            ),
            passed,
        ),
        **dict.fromkeys(
            (
                "alembic_version",
                "check_concurrency_claim",
                "claim_concurrency_slot",
                "delete_concurrency_limit",
                "dispose",
                "fetch_run_status_changes",
                "get_logs_for_all_runs_by_log_id",
                "optimize_for_webserver",
                "register_instance",
                "reindex_assets",
                "reindex_events",
                "set_concurrency_slots",
                "upgrade",
                "wipe",
            ),
            refused,
        ),
    }


def _asset(event: DagsterEvent) -> AssetKey | None:
    """Return the asset that an event is of, by itself or by its check; None when it is of none."""
    of_check = _OF_CHECKS.get(event.event_type)
    key: AssetKey | None = getattr(event, of_check).asset_key if of_check else event.asset_key
    return key
