"""Guests that call a gateway of this process, each of an execution of its own."""

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass

import aiohttp

from orchestrator_gateway import tokens
from orchestrator_gateway.assembly import Parts, serving
from orchestrator_gateway.dispatch import single
from orchestrator_gateway.journal import JournalLimits
from orchestrator_gateway.server import REPLAYED
from orchestrator_runtimes.conformance.model_endpoint import ModelEndpoint

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
