"""A gateway whose database is lost under load: nothing that was told is lost, and it recovers by itself."""

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncGenerator, Coroutine
from dataclasses import dataclass
from typing import Any

import aiohttp
import psycopg
import pytest

from orchestrator_gateway import tokens
from orchestrator_gateway.assembly import Parts, serving
from orchestrator_gateway.dispatch import single
from orchestrator_gateway.journal import JournalLimits, JournalUnavailable
from orchestrator_gateway.journals import open_journal
from orchestrator_gateway.server import REPLAYED
from orchestrator_runtimes.conformance.model_endpoint import ModelEndpoint
from orchestrator_runtimes.conformance.scripts import Script
from tests.integration.postgres_servers import PostgresServer, postgres_server

PARALLEL = 30


@dataclass(frozen=True, kw_only=True)
class Told:
    """What a guest was told."""

    status: int
    body: bytes
    replayed: bool


class Guests:
    """Guests of one gateway, each of an execution of its own."""

    def __init__(self, address: str, secret: bytes, client: aiohttp.ClientSession) -> None:
        self._address, self._secret, self._client = address, secret, client

    async def ask(self, execution: int) -> Told:
        """Make the only call of an execution, in a new try."""
        until = time.time() + 120
        claims = tokens.Claims(
            tenant="t",
            execution=f"e{execution}",
            attempt=secrets.token_hex(4),
            agent="a",
            until=until,
            expires=until,
        )
        body = {"model": "m", "messages": [{"role": "user", "content": f"question {execution}"}]}
        headers = {"authorization": f"Bearer {tokens.issue(self._secret, claims)}"}
        url = f"{self._address}/v1/chat/completions"
        async with self._client.post(url, json=body, headers=headers) as answer:
            return Told(
                status=answer.status, body=await answer.read(), replayed=answer.headers.get(REPLAYED) == "1"
            )

    async def ask_all(self) -> list[Told]:
        return await asyncio.gather(*(self.ask(n) for n in range(PARALLEL)))

    async def is_healthy(self) -> bool:
        async with self._client.get(f"{self._address}/health") as answer:
            return answer.status == 200


@contextlib.asynccontextmanager
async def gateway(journal: str, model: ModelEndpoint, limits: JournalLimits) -> AsyncGenerator[Guests]:
    """Serve with a gateway of this process."""
    secret = secrets.token_bytes(32)
    parts = Parts(
        secret=secret,
        journal=journal,
        routing=single(model.base_url, None),
        drain_seconds=1,
        limits=limits,
    )
    async with serving(parts) as started, aiohttp.ClientSession() as client:
        yield Guests(started.address, secret, client)


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
        await (await open_journal(url, JournalLimits())).close()

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
        await open_journal(url, JournalLimits(patience_seconds=0.1))

    with pytest.raises(JournalUnavailable, match=rf"PostgreSQL is not available: .*({told})"):
        run(opened())
