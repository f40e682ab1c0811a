"""Which backfills are a tenant's; checked against Dagster 1.13.27.

Dagster's table of backfills has no column that says whose one is, but what makes it so (its job's location, or its
assets) never changes. So a process reads the body of each backfill once, and asks for the tenant's own by id.
"""

import threading
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy
from dagster import AssetKey
from dagster._core.execution.backfill import PartitionBackfill
from dagster._core.storage.runs.schema import BulkActionsTable
from dagster._serdes import deserialize_value

from orchestrator_tenancy.web.scopes import Scope

_AGAIN: Final = 500
"""So many of the latest rows are looked at again: one with a lower id may be committed later."""


@dataclass(frozen=True)
class _Targets:
    """What a backfill is of: a job of a location, or assets."""

    location: str | None
    assets: tuple[AssetKey, ...]

    def are_of(self, scope: Scope) -> bool:
        if self.location is not None:
            return scope.owns_location(self.location)
        return bool(self.assets) and all(scope.owns_key(key) for key in self.assets)


def owns_backfill(scope: Scope, backfill: PartitionBackfill) -> bool:
    """Return whether a backfill is of a tenant's job, or of a tenant's assets alone."""
    return _targets(backfill).are_of(scope)


class BackfillOwners:
    """Whose each backfill is, for all requests of a process.

    Args:
        storage: The shared run storage.
    """

    def __init__(self, storage: Any) -> None:
        self._storage = storage
        self._lock = threading.Lock()
        self._targets = dict[str, _Targets]()
        self._last = 0

    def of(self, scope: Scope) -> list[str]:
        """Return the ids of a tenant's backfills."""
        self._read_new()
        return [key for key, targets in list(self._targets.items()) if targets.are_of(scope)]

    def _read_new(self) -> None:
        table = BulkActionsTable.c
        with self._lock:
            latest = self._storage.fetchall(
                sqlalchemy.select(table.id, table.key).where(table.id > self._last - _AGAIN)
            )
            unknown = [row["key"] for row in latest if row["key"] not in self._targets]
            for row in self._bodies(unknown):
                backfill = deserialize_value(row["body"], PartitionBackfill)
                self._targets[row["key"]] = _targets(backfill)
            self._last = max((row["id"] for row in latest), default=self._last)

    def _bodies(self, keys: list[str]) -> Any:
        table = BulkActionsTable.c
        for at in range(0, len(keys), _AGAIN):
            some = keys[at : at + _AGAIN]
            yield from self._storage.fetchall(
                sqlalchemy.select(table.key, table.body).where(table.key.in_(some))
            )


def _targets(backfill: PartitionBackfill) -> _Targets:
    if backfill.partition_set_origin is not None:
        return _Targets(backfill.partition_set_origin.selector.location_name, ())
    return _Targets(None, tuple(backfill.asset_selection or ()))
