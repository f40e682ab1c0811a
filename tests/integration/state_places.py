"""Where tests keep run state: a file, or a database of a real PostgreSQL server."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from orchestrator_gateway.stores import is_postgres
from orchestrator_resources.postgres_state import PostgresState
from orchestrator_resources.sqlite_state import SqliteState
from orchestrator_resources.state_databases import StateDatabase

_SCHEMAS = "('orchestrator_gateway', 'orchestrator_state')"


def rows_of(place: str) -> str:
    """Return all that a database keeps, as a text; bytes as the escapes of Python.

    Of a file its bytes, so that also what was deleted is there.
    """
    if not is_postgres(place):
        path = Path(place)
        return repr(b"".join(one.read_bytes() for one in sorted(path.parent.glob(f"{path.name}*"))))
    with psycopg.connect(place) as connection:
        tables = connection.execute(
            f"SELECT schemaname, tablename FROM pg_tables WHERE schemaname IN {_SCHEMAS}".encode()
        ).fetchall()
        rows = [
            connection.execute(f"SELECT * FROM {schema}.{name}".encode()).fetchall()
            for schema, name in tables
        ]
    return str(rows)


@contextmanager
def opened(place: str) -> Generator[StateDatabase]:
    """Open the database of a place, as one process does."""
    database = PostgresState(place) if is_postgres(place) else SqliteState(Path(place))
    try:
        yield database
    finally:
        database.close()
