"""Runs, backfills and snapshots as one tenant may see and change them; checked against Dagster 1.13.27.

A run is a tenant's by its tag `dagster/code_location`, which Dagster sets from where the run's job is loaded when it
makes the run, over what whoever launches it says.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Final

import sqlalchemy
from dagster import DagsterRun, RunsFilter
from dagster._core.errors import DagsterRunNotFoundError
from dagster._core.execution.backfill import BulkActionsFilter, PartitionBackfill
from dagster._core.storage.runs.schema import RunTagsTable
from dagster._core.storage.tags import (
    BACKFILL_ID_TAG,
    PARENT_RUN_ID_TAG,
    REPOSITORY_LABEL_TAG,
    ROOT_RUN_ID_TAG,
)
from dagster._core.storage.tags import CODE_LOCATION_TAG as LOCATION_TAG

from orchestrator_tenancy.web.allowed import Allowed, Rule, given, passed, refused
from orchestrator_tenancy.web.backfills import BackfillOwners, owns_backfill
from orchestrator_tenancy.web.records import changed
from orchestrator_tenancy.web.run_queries import runs_of
from orchestrator_tenancy.web.scopes import ABSENT, NotForTenants, Scope

_PAUSED_KEY: Final = "ASSET_DAEMON_PAUSED"
"""The one of the daemon's values that a page shows."""


class TenantRuns(Allowed):
    """Run storage of one tenant, for one request.

    Args:
        inner: The shared run storage, which must be one of Dagster's SQL storages.
        scope: Whose runs.
        owners: Of backfills.
        snapshots: Returns the ids of the snapshots of the jobs that the tenant's locations have now.
    """

    def __init__(
        self, inner: Any, scope: Scope, owners: BackfillOwners, snapshots: Callable[[], frozenset[str]]
    ) -> None:
        super().__init__(inner, scope)
        self._owners = owners
        self._current = snapshots
        self._added = set[str]()
        self._found = runs_of(inner, sorted(scope.locations))
        self._own_runs = set[str]()
        self._own_plans = set[str]()
        self._own_backfill_ids: frozenset[str] | None = None

    # -- what is whose

    def own_run(self, run: str) -> str:
        """Return a run's id if it is the tenant's, else one that no run has."""
        return run if self.owns_run(run) else ABSENT

    def must_own_run(self, run: str) -> str:
        """Return a run's id.

        Raises:
            NotForTenants: It is not the tenant's.
        """
        if not self.owns_run(run):
            raise NotForTenants(f"there is no run {run!r}")
        return run

    def owns_run(self, run: str | None) -> bool:
        """Return whether a run is the tenant's."""
        if run and run not in self._own_runs:
            self.get_run_ids(RunsFilter(run_ids=[run]), limit=1)
        return run in self._own_runs

    def owns_backfill(self, backfill: str | None) -> bool:
        """Return whether a backfill is the tenant's."""
        return bool(backfill) and self.get_backfill(str(backfill)) is not None

    def _seen(self, runs: Sequence[DagsterRun]) -> None:
        self._own_runs.update(run.run_id for run in runs)
        self._own_plans.update(
            run.execution_plan_snapshot_id for run in runs if run.execution_plan_snapshot_id
        )

    # -- reading runs

    def get_runs(
        self, filters: RunsFilter | None = None, cursor: str | None = None, *rest: Any, **named: Any
    ) -> Sequence[DagsterRun]:
        """Return the tenant's of some runs."""
        runs = self._found.get_runs(filters, cursor, *rest, **named)
        self._seen(runs)
        return runs

    def get_run_ids(
        self, filters: RunsFilter | None = None, cursor: str | None = None, limit: int | None = None
    ) -> Sequence[str]:
        """Return the ids of the tenant's of some runs."""
        runs: Sequence[str] = self._found.get_run_ids(filters, cursor, limit)
        self._own_runs.update(runs)
        return runs

    def get_run_records(
        self,
        filters: RunsFilter | None = None,
        limit: int | None = None,
        order_by: str | None = None,
        ascending: bool = False,
        cursor: str | None = None,
        bucket_by: Any = None,
    ) -> Sequence[Any]:
        """Return the tenant's of some runs with their times."""
        records = self._found.get_run_records(filters, limit, order_by, ascending, cursor, bucket_by)
        self._seen([record.dagster_run for record in records])
        return records

    def get_runs_count(self, filters: RunsFilter | None = None) -> int:
        """Return how many of some runs are the tenant's."""
        return self._found.get_runs_count(filters)

    def get_run_partition_data(self, runs_filter: RunsFilter) -> Sequence[Any]:
        """Return the latest of the tenant's runs of each partition of some."""
        return self._found.get_run_partition_data(runs_filter)

    def get_run_group(self, run_id: str) -> tuple[str, Sequence[DagsterRun]] | None:
        """Return the tenant's of a run's tries; whoever says that a run is another's try does not make it one."""
        if not self.owns_run(run_id):
            raise _not_found(run_id)
        root, runs = self._inner.get_run_group(run_id)
        own = set(self.get_run_ids(RunsFilter(run_ids=[run.run_id for run in runs])))
        if root not in own:
            raise _not_found(root)
        return root, [run for run in runs if run.run_id in own]

    def get_run_tag_keys(self) -> Sequence[str]:
        """Return the names of the tags that the tenant's runs have."""
        rows = self._inner.fetchall(self._tags(RunTagsTable.c.key).order_by(RunTagsTable.c.key))
        return [row["key"] for row in rows]

    def get_run_tags(
        self, tag_keys: Sequence[str], value_prefix: str | None = None, limit: int | None = None
    ) -> Sequence[tuple[str, set[str]]]:
        """Return the values of some tags of the tenant's runs."""
        table = RunTagsTable.c
        query = (
            self._tags(table.key, table.value).where(table.key.in_(tag_keys)).order_by(table.key, table.value)
        )
        if value_prefix:
            query = query.where(table.value.startswith(value_prefix, autoescape=True))
        found = dict[str, set[str]]()
        for row in self._inner.fetchall(query.limit(limit) if limit else query):
            found.setdefault(row["key"], set()).add(row["value"])
        return sorted(found.items())

    def _tags(self, *columns: Any) -> Any:
        at = RunTagsTable.alias("at")
        joined = RunTagsTable.join(at, at.c.run_id == RunTagsTable.c.run_id)
        own = at.c.value.in_(_values(self._scope.locations))
        return sqlalchemy.select(*columns).distinct().select_from(joined).where(at.c.key == LOCATION_TAG, own)

    # -- changing runs

    def add_run(self, dagster_run: DagsterRun) -> DagsterRun:
        """Keep a new run, if it is the tenant's and says that it belongs to nothing of another's.

        Raises:
            NotForTenants: It is not so.
        """
        origin = dagster_run.remote_job_origin
        location = origin.location_name if origin else None
        tags = dagster_run.tags
        if location != tags.get(LOCATION_TAG) or not self._scope.owns_location(location):
            raise NotForTenants(f"{location!r} is no code location of {self._scope.tenant!r}")
        for key in (*(dagster_run.asset_selection or ()), *(dagster_run.asset_check_selection or ())):
            self._must_own_entity(key)
        label = tags.get(REPOSITORY_LABEL_TAG)
        if label is not None and not self._scope.owns_location(label.partition("@")[2]):
            raise NotForTenants(f"the tag {REPOSITORY_LABEL_TAG!r} names a repository of somebody else")
        named = {
            dagster_run.parent_run_id,
            dagster_run.root_run_id,
            tags.get(PARENT_RUN_ID_TAG),
            tags.get(ROOT_RUN_ID_TAG),
        }
        for run in named - {None}:
            self.must_own_run(str(run))
        backfill = tags.get(BACKFILL_ID_TAG)
        if backfill is not None and not self.owns_backfill(backfill):
            raise NotForTenants(f"there is no backfill {backfill!r}")
        added: DagsterRun = self._inner.add_run(dagster_run)
        self._seen([added])
        return added

    def _must_own_entity(self, key: Any) -> None:
        if key is not None and not self._scope.owns_entity(key):
            raise NotForTenants(
                f"{key.to_user_string()!r} is not the tenant's, whatever its code location says"
            )

    def add_run_tags(self, run_id: str, new_tags: Mapping[str, str]) -> None:
        """Add tags to a run of the tenant; none that say whose it is."""
        kept = {LOCATION_TAG, REPOSITORY_LABEL_TAG, PARENT_RUN_ID_TAG, ROOT_RUN_ID_TAG, BACKFILL_ID_TAG}
        if kept & set(new_tags):
            raise NotForTenants(f"the tags {', '.join(sorted(kept & set(new_tags)))} are Dagster's to set")
        self._inner.add_run_tags(self.must_own_run(run_id), new_tags)

    # -- backfills

    def get_backfill(self, backfill_id: str) -> PartitionBackfill | None:
        """Return a backfill of the tenant; None when there is none."""
        backfill: PartitionBackfill | None = self._inner.get_backfill(backfill_id)
        return backfill if backfill is not None and owns_backfill(self._scope, backfill) else None

    def get_backfills(
        self,
        filters: BulkActionsFilter | None = None,
        cursor: str | None = None,
        limit: int | None = None,
        status: Any = None,
    ) -> Sequence[PartitionBackfill]:
        """Return the tenant's of some backfills."""
        if status is not None:
            if filters is not None:
                raise NotForTenants("get_backfills takes a status or filters, not both")
            filters = BulkActionsFilter(statuses=[status])
        own = self._own_backfills(filters)
        if own is None:
            return []
        cursor = ABSENT if cursor and not self.owns_backfill(cursor) else cursor
        found: Sequence[PartitionBackfill] = self._inner.get_backfills(
            filters=own, cursor=cursor, limit=limit
        )
        return found

    def get_backfills_count(self, filters: BulkActionsFilter | None = None) -> int:
        """Return how many of some backfills are the tenant's."""
        own = self._own_backfills(filters)
        return 0 if own is None else self._inner.get_backfills_count(own)

    def _own_backfills(self, filters: BulkActionsFilter | None) -> BulkActionsFilter | None:
        """Return what is asked of the tenant's own; None when nothing is left to ask for."""
        filters = filters or BulkActionsFilter()
        if self._own_backfill_ids is None:
            self._own_backfill_ids = frozenset(self._owners.of(self._scope))
        own = self._own_backfill_ids
        if filters.backfill_ids:
            own &= set(filters.backfill_ids)
        return changed(filters, backfill_ids=sorted(own)) if own else None

    def add_backfill(self, partition_backfill: PartitionBackfill) -> None:
        """Keep a new backfill of the tenant."""
        self._inner.add_backfill(self._must_own(partition_backfill))
        self._own_backfill_ids = None

    def update_backfill(self, partition_backfill: PartitionBackfill) -> None:
        """Change a backfill of the tenant."""
        if not self.owns_backfill(partition_backfill.backfill_id):
            raise NotForTenants(f"there is no backfill {partition_backfill.backfill_id!r}")
        self._inner.update_backfill(self._must_own(partition_backfill))

    def _must_own(self, backfill: PartitionBackfill) -> PartitionBackfill:
        if not owns_backfill(self._scope, backfill):
            raise NotForTenants("the backfill is of what is not the tenant's")
        return backfill

    # -- snapshots: their ids are digests of what they hold

    def has_job_snapshot(self, job_snapshot_id: str) -> bool:
        """Return whether a run or a location of the tenant has this job."""
        own = (
            job_snapshot_id in self._added
            or job_snapshot_id in self._current()
            or bool(self.get_run_ids(RunsFilter(snapshot_id=job_snapshot_id), limit=1))
        )
        return own and self._inner.has_job_snapshot(job_snapshot_id)

    def get_job_snapshot(self, job_snapshot_id: str) -> Any:
        """Return the job of a run or location of the tenant; None when it has none such."""
        return self._inner.get_job_snapshot(
            job_snapshot_id if self.has_job_snapshot(job_snapshot_id) else ABSENT
        )

    def add_job_snapshot(self, job_snapshot: Any) -> str:
        """Keep a job for a run that follows."""
        added: str = self._inner.add_job_snapshot(job_snapshot)
        self._added.add(added)
        return added

    def add_execution_plan_snapshot(self, execution_plan_snapshot: Any) -> str:
        """Keep a plan for a run that follows; one that would make an asset of another is refused before that run."""
        for step in execution_plan_snapshot.steps:
            for output in step.outputs:
                self._must_own_entity(output.properties.asset_key if output.properties else None)
        added: str = self._inner.add_execution_plan_snapshot(execution_plan_snapshot)
        self._own_plans.add(added)
        return added

    def has_execution_plan_snapshot(self, execution_plan_snapshot_id: str) -> bool:
        """Return whether a run that this request has read has this plan."""
        return execution_plan_snapshot_id in self._own_plans and self._inner.has_execution_plan_snapshot(
            execution_plan_snapshot_id
        )

    def get_execution_plan_snapshot(self, execution_plan_snapshot_id: str) -> Any:
        """Return the plan of a run that this request has read; None for another."""
        own = execution_plan_snapshot_id in self._own_plans
        return self._inner.get_execution_plan_snapshot(execution_plan_snapshot_id if own else ABSENT)

    # -- of everybody

    def get_daemon_heartbeats(self) -> Mapping[str, Any]:
        """Return when each daemon lived; what failed in it may be another's."""
        beats = self._inner.get_daemon_heartbeats()
        return {name: beat._replace(errors=[]) for name, beat in beats.items()}

    def get_cursor_values(self, keys: set[str]) -> Mapping[str, str]:
        """Return whether automation is paused for everybody; nothing else that daemons keep."""
        values: Mapping[str, str] = self._inner.get_cursor_values(set(keys) & {_PAUSED_KEY})
        return values

    RULES: ClassVar[Mapping[str, Rule]] = {
        "has_run": given(own_run),
        "handle_run_event": given(must_own_run),
        "delete_run": given(must_own_run),
        "has_instance": passed,
        "supports_bucket_queries": passed,
        "supports_run_telemetry": passed,
        "add_daemon_heartbeat": refused,
        "add_historical_run": refused,
        "add_run_telemetry": refused,
        "add_snapshot": refused,
        "alembic_version": refused,
        "dispose": refused,
        "has_snapshot": refused,
        "migrate": refused,
        "optimize": refused,
        "optimize_for_webserver": refused,
        "register_instance": refused,
        "replace_job_origin": refused,
        "set_cursor_values": refused,
        "wipe": refused,
        "wipe_daemon_heartbeats": refused,
    }


def _values(names: frozenset[str] | set[str]) -> list[str]:
    """Return what a filter asks for: an empty one would ask for nothing in particular."""
    return sorted(names) or [ABSENT]


def _not_found(run: str) -> Exception:
    """Return what Dagster raises for a run that is not there."""
    error: Any = DagsterRunNotFoundError
    found: Exception = error(f"Run {run} was not found in instance.", invalid_run_id=run)
    return found
