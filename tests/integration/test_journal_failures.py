"""A gateway whose database is lost under load: nothing that was told is lost, and it recovers by itself."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import psycopg
import pytest

from orchestrator_gateway.journal import JournalLimits, JournalUnavailable
from orchestrator_gateway.stores import open_store
from orchestrator_runtimes.conformance.model_endpoint import ModelEndpoint
from orchestrator_runtimes.conformance.scripts import Script
from tests.integration.gateway_guests import PARALLEL, gateway
from tests.integration.postgres_servers import PostgresServer, postgres_server

DRIVER = Path(__file__).with_name("full_disk") / "gateway_driver.py"
NAMESPACE = ("unshare", "-m") if os.geteuid() == 0 else ("unshare", "-Urm")


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(scenario)


def test_a_database_that_is_killed_and_comes_back_costs_no_answer_and_no_second_call() -> None:
    async def scenario(server: PostgresServer) -> None:
        limits = JournalLimits(patience_seconds=60)
        async with (
            ModelEndpoint(Script(latency=0.3)) as model,
            gateway(server.database(), model, limits) as guests,
        ):
            asked = asyncio.create_task(guests.ask_all())
            for calls in (PARALLEL // 3, PARALLEL):  # while some are begun, and while answers are recorded
                while model.count < calls:
                    await asyncio.sleep(0.01)
                await asyncio.to_thread(server.kill)
                await asyncio.to_thread(server.start)
            told = await asked
            assert {one.status for one in told} == {200} and model.count == PARALLEL
            again = await guests.ask_all()
            assert [one.body for one in again] == [one.body for one in told]
            assert all(one.replayed for one in again) and model.count == PARALLEL

    with postgres_server() as server:
        run(scenario(server))


def test_without_its_database_a_gateway_refuses_by_name_and_goes_on_when_it_is_back() -> None:
    async def scenario(server: PostgresServer) -> None:
        limits = JournalLimits(patience_seconds=0.2)
        async with (
            ModelEndpoint(Script(latency=0.5)) as model,
            gateway(server.database(), model, limits) as guests,
        ):
            before = await guests.ask(0)
            asked = asyncio.create_task(guests.ask_all())
            while model.count < PARALLEL:
                await asyncio.sleep(0.01)
            await asyncio.to_thread(server.kill)
            lost = await asked
            assert {one.status for one in lost[1:]} <= {200, 503}
            refused = await guests.ask_all()
            assert {one.status for one in refused} == {503}
            assert all(b'"journal_unavailable"' in one.body for one in refused)
            assert model.count == PARALLEL and await guests.is_healthy()
            await asyncio.to_thread(server.start)
            told = await guests.ask_all()
            assert {one.status for one in told} == {200}
            assert told[0].body == before.body and told[0].replayed
            assert all(
                now.replayed and now.body == then.body
                for now, then in zip(told, lost, strict=True)
                if then.status == 200
            )

    with postgres_server() as server:
        run(scenario(server))


@pytest.mark.parametrize("version", ["0", "2", None])
def test_a_schema_of_another_version_is_refused_and_left_as_it_is(
    postgres: PostgresServer, version: str | None
) -> None:
    url = postgres.database()

    async def opened() -> None:
        await (await open_store(url, JournalLimits())).close()

    run(opened())
    with psycopg.connect(url) as connection:
        if version is None:
            connection.execute("DELETE FROM orchestrator_gateway.version")
        else:
            connection.execute("UPDATE orchestrator_gateway.version SET version = %s", (version,))
    with pytest.raises(JournalUnavailable, match=rf"version {version or 'none'}, this program knows 1"):
        run(opened())
    with psycopg.connect(url) as connection:
        found = connection.execute("SELECT version::text FROM orchestrator_gateway.version").fetchall()
    assert found == ([(version,)] if version else [])


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("postgresql://nobody@/none?host=/nowhere", "No such file or directory"),
        ("postgresql://127.0.0.1:1/none", "refused"),
        ("postgresql://[", "IPv6"),
        ("postgresql:///x?nonsense=1", "nonsense"),
    ],
)
def test_a_database_that_cannot_be_reached_is_told_by_name(url: str, told: str) -> None:
    async def opened() -> None:
        await open_store(url, JournalLimits(patience_seconds=0.1))

    with pytest.raises(JournalUnavailable, match=rf"PostgreSQL is not available: .*({told})"):
        run(opened())


def test_with_a_full_disk_a_gateway_refuses_by_name_and_goes_on_when_there_is_room(tmp_path: Path) -> None:
    words = [*NAMESPACE, sys.executable, str(DRIVER), str(tmp_path)]
    path = os.pathsep.join(filter(None, sys.path))
    ended = subprocess.run(
        words, capture_output=True, text=True, timeout=100, check=False, env=os.environ | {"PYTHONPATH": path}
    )
    assert ended.returncode == 0, ended.stderr[-3_000:]
    told = json.loads(ended.stdout.splitlines()[-1])
    assert told["before"] == [200]
    assert told["full"] == [200, 503] or told["full"] == [503]
    assert told["why"] == ["journal_unavailable"]
    assert told["healthy"] and told["kept"], (
        "what was told before and meanwhile is told again, by the journal"
    )
    assert told["room again"] == [200]
