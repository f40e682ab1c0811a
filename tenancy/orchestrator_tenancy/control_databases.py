"""Where the platform keeps what no tenant may change: tenants, sign-ins, tokens, the audit log.

It is never the database of runs: theirs is known to whatever a custom location runs.
"""

import contextlib
import os
from collections.abc import Generator
from pathlib import Path
from typing import Final

from orchestrator_gateway.stores import is_postgres
from orchestrator_resources.run_state import postgres_database
from orchestrator_resources.secret_variables import secret_of
from orchestrator_resources.sqlite_state import SqliteState
from orchestrator_resources.state_databases import StateDatabase
from orchestrator_runtimes.errors import AgentError, ErrorCode

CONTROL_URL: Final = "ORCHESTRATOR_CONTROL_URL"
"""Variable with the URL of the PostgreSQL database of the control plane, or with `_FILE` of a file that holds it."""


@contextlib.contextmanager
def control_database(file: str) -> Generator[StateDatabase]:
    """Open the control plane's database for a while.

    Args:
        file: Its name below `DAGSTER_HOME/control`, where it is in files.

    Raises:
        AgentError: `invalid_input` when neither `DAGSTER_HOME` nor `ORCHESTRATOR_CONTROL_URL` says where it is, or the
            latter is no URL of PostgreSQL.
    """
    database = _database(file)
    try:
        yield database
    finally:
        database.close()


def _database(file: str) -> StateDatabase:
    url = secret_of(CONTROL_URL)
    if url:
        if not is_postgres(url):
            raise AgentError(
                ErrorCode.INVALID_INPUT,
                f"{CONTROL_URL} must be the URL of a PostgreSQL database: postgresql://user@host/database",
            )
        return postgres_database(url)
    if home := os.environ.get("DAGSTER_HOME"):
        return SqliteState(Path(home) / "control" / file)
    raise AgentError(
        ErrorCode.INVALID_INPUT,
        f"set DAGSTER_HOME to the folder of the platform's instance, or {CONTROL_URL} to its own PostgreSQL",
    )
