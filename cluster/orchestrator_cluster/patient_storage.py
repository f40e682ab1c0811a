"""Dagster's storage in PostgreSQL, which bears that the database is away for a while, as one that is moved is.

    storage:
      custom:
        module: orchestrator_cluster.patient_storage
        class: PatientPostgresStorage
        config: {postgres_url: {env: DATABASE_URL}}    # what `storage: postgres` takes

Dagster gives up after eleven seconds, and a run that cannot write its log then has failed.
"""
# dagster-postgres and SQLAlchemy's events are typed in part:
# pyright: reportPrivateUsage=false, reportUnknownMemberType=false

import logging
import time
from typing import Any, Final, Self

from dagster_postgres import DagsterPostgresStorage
from dagster_postgres.utils import get_token_provider_from_config, pg_url_from_config, wait_for_connection
from sqlalchemy import event
from sqlalchemy.engine import Dialect, Engine

LOG: Final = logging.getLogger("orchestrator_cluster.patient_storage")

PATIENCE_SECONDS: Final = 20.0
"""For one connection; Dagster asks for it six times, so two minutes in all."""

_PAUSE_SECONDS: Final = 0.5
_STARTS: Final = "the database system is"
"""What PostgreSQL says while it starts or ends, among all that it refuses for good."""


class PatientPostgresStorage(DagsterPostgresStorage):
    """See the module; the web server, where a person waits, is no more patient than Dagster.

    Args:
        postgres_url: Where the database is; it is waited for.
        more: What `DagsterPostgresStorage` takes.
    """

    def __init__(self, postgres_url: str, *words: Any, **more: Any) -> None:
        """Wait for the database, and begin."""
        if more.get("token_provider") is None:
            wait_for_connection(postgres_url, retry_limit=9)  # longer and longer: three minutes in all
        super().__init__(postgres_url, *words, **more)
        for storage in (self._run_storage, self._event_log_storage, self._schedule_storage):
            be_patient(storage._engine)

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Any) -> Self:
        """Return the storage of an instance's configuration."""
        return cls(
            pg_url_from_config(config_value),
            should_autocreate_tables=config_value.get("should_autocreate_tables", True),
            inst_data=inst_data,
            token_provider=get_token_provider_from_config(config_value),
        )


def be_patient(engine: Engine) -> None:
    """Have an engine wait for its database, `PATIENCE_SECONDS` for each connection."""

    def connect(dialect: Dialect, _record: Any, words: Any, more: Any) -> Any:
        until = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return dialect.connect(*words, **more)
            except dialect.loaded_dbapi.Error as error:
                if time.monotonic() >= until or _is_final(str(error)):
                    raise
                LOG.warning("the database does not answer, and is asked again: %s", error)
            time.sleep(_PAUSE_SECONDS)

    event.listen(engine, "do_connect", connect)


def _is_final(said: str) -> bool:
    """Return whether a server has refused a connection for a reason that does not pass by itself."""
    return "FATAL:" in said and _STARTS not in said
