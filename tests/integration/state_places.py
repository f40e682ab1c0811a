"""Where tests keep run state: a file, or a database of a real PostgreSQL server."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from orchestrator_gateway.stores import is_postgres
from orchestrator_resources.postgres_state import PostgresState
from orchestrator_resources.sqlite_state import SqliteState
from orchestrator_resources.state_databases import StateDatabase


@contextmanager
def opened(place: str) -> Generator[StateDatabase]:
    """Open the database of a place, as one process does."""
    database = PostgresState(place) if is_postgres(place) else SqliteState(Path(place))
    try:
        yield database
    finally:
        database.close()
