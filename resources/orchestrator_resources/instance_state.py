"""Where a Dagster instance keeps the state of its runs."""

import contextlib
from collections.abc import Generator
from pathlib import Path
from typing import Final

import dagster as dg

from orchestrator_gateway.stores import is_postgres
from orchestrator_resources.homes import home_folder
from orchestrator_resources.run_state import RunState, open_run_state
from orchestrator_resources.sealed_texts import SealedTexts, tenant_keys_file
from orchestrator_resources.secret_variables import secret_of
from orchestrator_runtimes.errors import AgentError, ErrorCode

STATE_URL: Final = "ORCHESTRATOR_STATE_URL"
"""Variable with the URL of the PostgreSQL database that holds the state, or with `_FILE` of a file that holds it."""


def state_folder(instance: dg.DagsterInstance | None) -> Path:
    """Return where an instance keeps the agents' state; below the home folder for None."""
    return (
        Path(instance.storage_directory()) if instance is not None else home_folder() / "state"
    ) / "agents"


def state_url() -> str | None:
    """Return the database that takes the place of the folder; None when there is none.

    Raises:
        AgentError: `invalid_input` when the file cannot be read, or it is no URL of PostgreSQL.
    """
    url = secret_of(STATE_URL)
    if url and not is_postgres(url):
        raise AgentError(
            ErrorCode.INVALID_INPUT,
            f"{STATE_URL} must be the URL of a PostgreSQL database: postgresql://user@host/database",
        )
    return url or None


@contextlib.contextmanager
def open_instance_state(instance: dg.DagsterInstance) -> Generator[RunState]:
    """Open the state of an instance for a while, with the keys of a tenant where this process is given a file of them.

    Raises:
        AgentError: `invalid_input` when that file cannot be used.
    """
    texts = SealedTexts(tenant_keys_file())
    with open_run_state(state_folder(instance), state_url(), texts=texts) as state:
        yield state
