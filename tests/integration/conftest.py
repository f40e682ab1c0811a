"""What integration tests share."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.isolation_counts import Counts
from tests.integration.otlp_receiver import Receiver, receiving
from tests.integration.postgres_servers import PostgresServer, postgres_server
from tests.integration.tenant_plants import Plants, planted_tenants
from tests.integration.tenant_web import Web


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server that tests share; who kills one starts its own."""
    with postgres_server() as running:
        yield running


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """An OTLP receiver that every gateway of this test tells of what it does."""
    with receiving() as running:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", running.url)
        yield running


@pytest.fixture
def place(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where one test's spare and shared guests wait; a path that is short enough for a socket."""
    folder = tmp_path_factory.getbasetemp().parent / f"s{os.urandom(3).hex()}"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder / f"spare-guests-{os.getuid()}"


@pytest.fixture(params=["sqlite", "postgres"])
def stored(request: pytest.FixtureRequest, postgres: PostgresServer, tmp_path: Path) -> str:
    """Where run state may be kept: the path of a file, or the URL of a database."""
    return postgres.database() if request.param == "postgres" else str(tmp_path / "deep" / "state.db")


@pytest.fixture(scope="session")
def counts() -> Iterator[Counts]:
    """What the tests of isolation count."""
    counted = Counts()
    yield counted
    counted.write()


@pytest.fixture(scope="session")
def two_tenants(
    postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Web, Plants, Plants]]:
    """A server of two tenants, and what is planted of each: alpha's, and beta's, who tries to reach alpha's."""
    with planted_tenants(tmp_path_factory.mktemp("tenants"), postgres.database()) as planted:
        yield planted
