"""Dagster's SQL of runs, narrowed to code locations where the database does it fast; checked against Dagster 1.13.27.

Dagster orders runs by the row of the run and finds a tag by another table, so a tenant that has not run anything for a
while makes the database walk over everybody's later runs: 1.3 s among 100,000 runs. Here the rows of the tag that says
whose a run is are walked instead, by an index of their own, in their order, which is that of the runs: Dagster writes
them with the run. Runs that two processes make at the same instant may be in either order, the same one on every page.
"""

import functools
from collections.abc import Sequence
from typing import Any, Final, cast

import sqlalchemy
from dagster._core.storage.runs.schema import RunsTable, RunTagsTable
from dagster._core.storage.runs.sql_run_storage import SqlRunStorage
from dagster._core.storage.tags import CODE_LOCATION_TAG

from orchestrator_tenancy.web.records import changed

_INDEX: Final = "orchestrator_run_locations"
_CREATE: Final = (
    "CREATE INDEX {how} IF NOT EXISTS "
    + _INDEX
    + f" ON run_tags (value, id) WHERE key = '{CODE_LOCATION_TAG}'"
)


class StorageNotKnown(ValueError):
    """Runs are not kept as this module reads them; the text says what to change."""


def prepare_index(storage: Any) -> None:
    """Make the index where it is not there yet, while runs go on.

    Raises:
        StorageNotKnown: The storage is none of Dagster's SQL storages.
    """
    if not isinstance(storage, SqlRunStorage):
        raise StorageNotKnown(
            f"runs are in {type(storage).__name__}: tenants need one of Dagster's SQL storages, SQLite or PostgreSQL"
        )
    with storage.connect() as connection:
        how = "CONCURRENTLY" if connection.dialect.name == "postgresql" else ""
        connection.execute(sqlalchemy.text(_CREATE.format(how=how)))


def runs_of(storage: SqlRunStorage, locations: Sequence[str]) -> SqlRunStorage:
    """Return a storage like another, whose queries of runs find those of some code locations alone.

    Args:
        storage: The shared one.
        locations: Names; none means no runs.
    """
    kind = _narrowed(type(storage))
    narrowed = cast(SqlRunStorage, object.__new__(kind))
    own = {"_own": RunTagsTable.alias("own_runs"), "_own_locations": list(locations)}
    vars(narrowed).update(vars(storage), **own)
    return narrowed


@functools.cache
def _narrowed(of: type[Any]) -> type[Any]:
    return type(f"Narrowed{of.__name__}", (_Narrowed, of), {})


class _Narrowed:
    """What differs from Dagster's storage: queries of runs are joined with the rows of the tag, and ordered by them."""

    _own: Any
    _own_locations: list[str]

    def _add_filters_to_table(self, table: Any, filters: Any) -> Any:
        of_dagster: Any = super()
        joined = of_dagster._add_filters_to_table(table, filters)
        own = self._own.c
        return joined.join(
            self._own,
            sqlalchemy.and_(
                RunsTable.c.run_id == own.run_id, own.key == CODE_LOCATION_TAG, self._is_own(own.value)
            ),
        )

    def _add_filters_to_query(self, query: Any, filters: Any) -> Any:
        # A later page asks for runs that were made before the cursor's. The database takes it that few of a tenant's
        # are where few of everybody's are, and then reads all of an idle tenant's to sort them. Of an expression it
        # knows nothing, and takes the index, which has them in order.
        before = filters.created_before
        of_dagster: Any = super()
        query = of_dagster._add_filters_to_query(query, changed(filters, created_before=None))
        if before is None:
            return query
        made = RunsTable.c.create_timestamp
        return query.where(sqlalchemy.func.coalesce(made, made) < before.replace(tzinfo=None))

    def _is_own(self, value: Any) -> Any:
        # one location is an equality, so that the index gives the order, too
        if len(self._own_locations) == 1:
            return value == self._own_locations[0]
        return value.in_(self._own_locations)

    def _add_cursor_limit_to_query(
        self, query: Any, cursor: str | None, limit: int | None, order_by: str | None, ascending: bool | None
    ) -> Any:
        own = self._own.c
        if cursor:
            at = RunTagsTable.alias("cursor_run")
            row = sqlalchemy.select(at.c.id).where(
                at.c.run_id == cursor, at.c.key == CODE_LOCATION_TAG, self._is_own(at.c.value)
            )
            there = row.scalar_subquery()
            query = query.where(own.id > there if ascending else own.id < there)
        column = getattr(RunsTable.c, order_by) if order_by and order_by != "id" else own.id
        query = query.order_by(column.asc() if ascending else column.desc())
        return query.limit(limit) if limit else query
