"""Dagster's storage, with a real PostgreSQL that is killed and comes back."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
import yaml
from dagster import DagsterInstance, DagsterRun, DagsterRunStatus
from sqlalchemy.exc import OperationalError

from orchestrator_cluster import patient_storage
from orchestrator_cluster.patient_storage import be_patient
from tests.integration.postgres_servers import PostgresServer, postgres_server

AWAY_SECONDS = 14.0
"""Longer than Dagster waits by itself."""


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """A server that a test may kill."""
    with postgres_server() as running:
        yield running


def test_what_is_written_while_the_database_is_away_is_there_afterwards(
    tmp_path: Path, server: PostgresServer
) -> None:
    storage: dict[str, Any] = {
        "module": "orchestrator_cluster.patient_storage",
        "class": "PatientPostgresStorage",
        "config": {"postgres_url": server.database()},
    }
    written = {"storage": {"custom": storage}, "telemetry": {"enabled": False}}
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(written))
    with DagsterInstance.from_config(str(tmp_path)) as instance:
        run = DagsterRun(job_name="job", status=DagsterRunStatus.STARTED)
        instance.add_run(run)
        server.kill()
        back = threading.Timer(AWAY_SECONDS, server.start)
        back.start()
        instance.report_engine_event("written meanwhile", run)
        instance.report_run_failed(run, "and this")
        back.join()
        assert [entry.message for entry in instance.all_logs(run.run_id)] == ["written meanwhile", "and this"]


def test_a_refusal_for_good_is_not_waited_for(
    server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patient_storage, "PATIENCE_SECONDS", 1_000.0)
    engine = sqlalchemy.create_engine(server.url("not_there"))
    be_patient(engine)
    with pytest.raises(OperationalError, match='database "not_there" does not exist'):
        engine.connect()
