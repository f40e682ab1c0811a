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
from orchestrator_gateway.tokens import issue_trusted, tenant_secret
from orchestrator_runtimes.codec import encode

STEP = {"execution": "e", "step": "s", "occurrence": 0}
ABOUT_A_TENANT: dict[str, dict[str, Any]] = {
    "steps/record": {"step": STEP | {"result": "done"}},
    "steps/lookup": {"step": STEP},
    "spend": {"executions": ["e"]},
    "executions": {"executions": []},
    "forget": {"executions": ["e"]},
    "purge": {"older_than_seconds": -60},
}
"""What is asked by POST, but for the tenant that it is about."""

Ask = Callable[[str, object], Awaitable[tuple[int, Any]]]


def administered(
    folder: Path,
    work: Callable[[Ask], Awaitable[None]],
    *,
    secret: bytes | None = None,
    tenant: str | None = None,
) -> None:
    """Do something with a gateway's endpoints; with the wrong secret, or that of a tenant, where one is given."""
    own = secrets.token_bytes(32)
    known = own if tenant is None else tenant_secret(own, tenant)

    async def scenario() -> None:
        limits = JournalLimits()
        store = await open_store(str(folder / "journal.db"), limits)
        settings = GatewaySettings(secret=own, routing=single("http://127.0.0.1:1/v1", None), limits=limits)
        budgets = Budgets(store.ledger, load_prices())
        headers = {"authorization": f"Bearer {issue_trusted(secret or known, tenant)}"}
        async with TestClient(
            TestServer(Gateway(settings, store.journal, budgets).app()), headers=headers
        ) as client:

            async def ask(path: str, body: object) -> tuple[int, Any]:
                asked = client.get(path) if path.startswith("/") else client.post(f"/admin/{path}", json=body)
                async with asked as answer:
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


def test_who_knows_a_tenants_secret_asks_about_that_tenant_alone(tmp_path: Path) -> None:
    async def work(ask: Ask) -> None:
        for tenant, status in (("t", 200), ("u", 403)):
            for path, body in ABOUT_A_TENANT.items():
                found, told = await ask(path, {"tenant": tenant, **body})
                assert found == status, (path, told)
                assert status == 200 or "the token is for the tenant 't'" in told["error"]["message"]
            assert (await ask(f"/admin/spend?tenant={tenant}", None))[0] == status
        assert (await ask("purge", {"older_than_seconds": -60}))[0] == 403, "of every tenant"
        assert (await ask("/admin/upstreams", None))[0] == 403
        assert (await ask("/admin/spend", None))[0] == 403

    administered(tmp_path, work, tenant="t")


def test_every_endpoint_of_the_trusted_side_is_one_of_these() -> None:
    """An endpoint that is added fails here, until it is shown what a tenant's secret is good for there."""
    budgets: Any = None
    settings = GatewaySettings(secret=b"s", routing=single("http://127.0.0.1:1/v1", None))
    app = Gateway(settings, budgets, budgets).app()
    served = {
        (route.method, route.resource.canonical)
        for route in app.router.routes()
        if route.resource is not None and route.resource.canonical.startswith("/admin")
    }
    expected = {("POST", f"/admin/{path}") for path in ABOUT_A_TENANT}
    for path in ("/admin/spend", "/admin/upstreams"):
        expected |= {("GET", path), ("HEAD", path)}
    assert served == expected


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
