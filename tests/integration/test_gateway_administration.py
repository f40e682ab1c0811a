"""What the trusted side asks of a gateway, over HTTP."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from orchestrator_gateway.budgets import Budgets
from orchestrator_gateway.dispatch import single
from orchestrator_gateway.execution_reports import MOST_REPORTS, ExecutionReport
from orchestrator_gateway.journal import JournalLimits
from orchestrator_gateway.prices import load_prices
from orchestrator_gateway.server import Gateway, GatewaySettings
from orchestrator_gateway.stores import open_store
from orchestrator_gateway.tokens import issue_trusted
from orchestrator_runtimes.codec import encode

STEP = {"execution": "e", "step": "s", "occurrence": 0}
Ask = Callable[[str, object], Awaitable[tuple[int, Any]]]


def administered(
    folder: Path, work: Callable[[Ask], Awaitable[None]], *, secret: bytes | None = None
) -> None:
    """Do something with a gateway's endpoints; with the wrong secret where one is given."""
    own = secrets.token_bytes(32)

    async def scenario() -> None:
        limits = JournalLimits()
        store = await open_store(str(folder / "journal.db"), limits)
        settings = GatewaySettings(secret=own, routing=single("http://127.0.0.1:1/v1", None), limits=limits)
        budgets = Budgets(store.ledger, load_prices())
        headers = {"authorization": f"Bearer {issue_trusted(secret or own)}"}
        async with TestClient(
            TestServer(Gateway(settings, store.journal, budgets).app()), headers=headers
        ) as client:

            async def ask(path: str, body: object) -> tuple[int, Any]:
                async with client.post(f"/admin/{path}", json=body) as answer:
                    return answer.status, await answer.json()

            await work(ask)
        await budgets.close()
        await store.close()

    asyncio.run(scenario())


def test_tool_calls_are_journaled_by_tenant_and_purged(tmp_path: Path) -> None:
    async def work(ask: Ask) -> None:
        once = {"tenant": "t", "step": STEP | {"once": True}}
        assert await ask("steps/lookup", once) == (200, {"state": "new"})
        assert await ask("steps/lookup", once) == (200, {"state": "started"})
        assert await ask("steps/record", {"tenant": "t", "step": STEP | {"result": "done"}}) == (200, {})
        assert await ask("steps/lookup", once) == (200, {"state": "finished", "result": "done"})
        assert await ask("steps/lookup", once | {"tenant": "u"}) == (200, {"state": "new"})
        assert await ask("purge", {"older_than_seconds": 60}) == (200, {"dropped": 0})
        assert await ask("purge", {"older_than_seconds": -60, "tenant": "u"}) == (200, {"dropped": 1})
        assert await ask("forget", {"tenant": "t", "executions": ["e"]}) == (200, {})
        assert await ask("steps/lookup", {"tenant": "t", "step": STEP}) == (200, {"state": "new"})

    administered(tmp_path, work)


@pytest.mark.parametrize("path", ["forget", "purge", "steps/lookup", "steps/record", "executions"])
def test_who_does_not_know_the_secret_gets_nothing(tmp_path: Path, path: str) -> None:
    async def work(ask: Ask) -> None:
        status, told = await ask(path, {"tenant": "t", "step": STEP})
        assert status == 401 and "trusted side" in told["error"]["message"]

    administered(tmp_path, work, secret=b"guessed")


@pytest.mark.parametrize(
    "body", [None, [], {}, {"tenant": 1, "executions": []}, {"tenant": "t", "executions": "e"}]
)
def test_what_is_no_request_is_refused_by_name(tmp_path: Path, body: object) -> None:
    async def work(ask: Ask) -> None:
        status, told = await ask("forget", body)
        assert status == 400 and told["error"]["message"]

    administered(tmp_path, work)


def test_too_many_executions_at_once_are_refused_and_others_taken(tmp_path: Path) -> None:
    told = ExecutionReport(
        traceparent="nonsense",
        parent=None,
        execution="e",
        agent="a",
        name="",
        framework="fake",
        location="",
        run=None,
        session=None,
        structured=False,
        began=1.0,
        seconds=1.0,
        finish_reason="completed",
        error=None,
    )

    async def work(ask: Ask) -> None:
        one = {"tenant": "t", "executions": [encode(told)]}
        assert await ask("executions", one) == (200, {})
        status, answer = await ask("executions", one | {"executions": [encode(told)] * (MOST_REPORTS + 1)})
        assert status == 413 and f"at most {MOST_REPORTS} at once" in answer["error"]["message"]

    administered(tmp_path, work)
