"""Dagster's daemon, of which one works at a time, with a real PostgreSQL."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.integration.postgres_servers import PostgresServer, postgres_server

SECONDS = 100.0
WORKS = "this is the daemon that works"
WAITS = "another daemon works for this instance"
RUNS = "Instance is configured with the following daemons"


class Daemon:
    """A process that is to be the daemon."""

    def __init__(self, home: Path, name: str) -> None:
        self._log = home / f"{name}.log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "orchestrator_cluster.one_daemon",
                    "run",
                    "--workspace=workspace.yaml",
                ],
                cwd=home,
                env={**os.environ, "DAGSTER_HOME": str(home)},
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    @property
    def said(self) -> str:
        return self._log.read_text()

    def says(self, words: str) -> None:
        until = time.monotonic() + SECONDS
        while words not in self.said:
            assert self.process.poll() is None or words in self.said, self.said
            assert time.monotonic() < until, self.said
            time.sleep(0.1)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """A server that a test may kill."""
    with postgres_server() as running:
        yield running


@pytest.fixture
def home(tmp_path: Path, server: PostgresServer) -> Path:
    instance = {
        "storage": {"postgres": {"postgres_url": server.database()}},
        "telemetry": {"enabled": False},
    }
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(instance))
    (tmp_path / "workspace.yaml").write_text(yaml.safe_dump({"load_from": []}))
    return tmp_path


@pytest.mark.timeout(600)
def test_a_second_daemon_works_when_the_first_is_gone_and_none_works_without_a_database(
    home: Path, server: PostgresServer
) -> None:
    first, second = Daemon(home, "first"), None
    try:
        first.says(RUNS)
        second = Daemon(home, "second")
        second.says(WAITS)
        assert WORKS not in second.said
        first.kill()
        second.says(RUNS)
        server.kill()
        assert second.process.wait(SECONDS) == os.EX_TEMPFAIL
        assert "its lock is lost" in second.said
        third = Daemon(home, "third")
        try:
            third.says("the database does not answer, and is asked again")
            server.start()
            third.says(RUNS)
            third.process.send_signal(signal.SIGINT)
            assert third.process.wait(SECONDS) == 0, third.said
        finally:
            third.kill()
    finally:
        for daemon in filter(None, (first, second)):
            daemon.kill()


def test_an_instance_that_is_not_in_postgresql_is_told_what_to_run(tmp_path: Path) -> None:
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    daemon = Daemon(tmp_path, "daemon")
    assert daemon.process.wait(SECONDS) == 1
    assert "run dagster-daemon" in daemon.said
