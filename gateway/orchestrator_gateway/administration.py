"""What the trusted side asks of a gateway: tool calls of its executions, and which calls are to be dropped."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from aiohttp import web

from orchestrator_gateway.budgets import Budgets
from orchestrator_gateway.calls import Calls
from orchestrator_gateway.execution_reports import MOST_REPORTS, ReportedExecutions
from orchestrator_gateway.journal import Journal
from orchestrator_gateway.refusals import refusal
from orchestrator_gateway.spending_reports import (
    AskedExecutions,
    WrongQuestion,
    spent_by_day,
    spent_by_executions,
)
from orchestrator_gateway.telemetry import Telemetry
from orchestrator_gateway.tokens import BadToken, bearer, check_trusted
from orchestrator_runtimes.codec import InvalidMessage, decode, encode
from orchestrator_runtimes.json_values import NotJson, parse
from orchestrator_runtimes.messages import StepLookup, StepRecord


class _OfTenant(Protocol):
    """A question about what one tenant has, or all where it is None."""

    @property
    def tenant(self) -> str | None: ...


T = TypeVar("T", bound=_OfTenant)


@dataclass(frozen=True, kw_only=True)
class Forget:
    """`/admin/forget`: the results of executions are stored elsewhere."""

    tenant: str
    executions: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Purge:
    """`/admin/purge`: executions of which nothing was recorded for some seconds; of every tenant where it is None."""

    older_than_seconds: float
    tenant: str | None = None


@dataclass(frozen=True, kw_only=True)
class Lookup:
    """`/admin/steps/lookup`: what is known of a tool call? The answer is a `Step`."""

    tenant: str
    step: StepLookup


@dataclass(frozen=True, kw_only=True)
class Record:
    """`/admin/steps/record`: a tool call finished."""

    tenant: str
    step: StepRecord


class Administration:
    """Endpoints below `/admin`, for whoever knows the gateway's secret."""

    def __init__(
        self, secret: bytes, journal: Journal, calls: Calls, budgets: Budgets, telemetry: Telemetry
    ) -> None:
        """Serve what these hold."""
        self._telemetry = telemetry
        self._budgets = budgets
        self._secret = secret
        self._journal = journal
        self._calls = calls

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Add the endpoints to a server's."""
        for path, kind, work in (
            ("forget", Forget, self._forget),
            ("purge", Purge, self._purge),
            ("steps/lookup", Lookup, self._lookup),
            ("steps/record", Record, self._record),
            ("spend", AskedExecutions, self._spent_by_executions),
            ("executions", ReportedExecutions, self._reported),
        ):
            router.add_post(f"/admin/{path}", self._handler(kind, work))
        router.add_get("/admin/spend", self._spent_by_day)

    def _handler(
        self, kind: type[T], work: Callable[[Any], Awaitable[object]]
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            whose = self._whose(request)
            try:
                wanted = decode(kind, parse(await request.read()))
            except (NotJson, InvalidMessage) as error:
                raise refusal(400, str(error)) from error
            _check_tenant(whose, wanted.tenant)
            return web.json_response(await work(wanted))

        return handle

    def guarded(self, told: Callable[[], object]) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        """Return a handler that tells something of no tenant to whoever knows the gateway's secret."""

        async def handle(request: web.Request) -> web.StreamResponse:
            _check_tenant(self._whose(request), None)
            return web.json_response(told())

        return handle

    def _whose(self, request: web.Request) -> str | None:
        """Return the tenant for which somebody of the trusted side asks; None where it is for all."""
        try:
            return check_trusted(self._secret, bearer(request.headers))
        except BadToken as error:
            raise refusal(401, str(error)) from error

    async def _spent_by_day(self, request: web.Request) -> web.StreamResponse:
        _check_tenant(self._whose(request), request.query.get("tenant"))
        try:
            return web.json_response(await spent_by_day(self._budgets, request.query))
        except WrongQuestion as error:
            raise refusal(400, str(error)) from error

    async def _spent_by_executions(self, wanted: AskedExecutions) -> object:
        return encode(await spent_by_executions(self._budgets, wanted))

    async def _forget(self, wanted: Forget) -> object:
        await self._journal.forget(wanted.tenant, wanted.executions)
        await self._budgets.ledger.forget(wanted.tenant, wanted.executions)
        self._calls.forget(wanted.tenant, wanted.executions)
        return {}

    async def _purge(self, wanted: Purge) -> object:
        before = time.time() - wanted.older_than_seconds
        return {"dropped": await self._journal.purge(wanted.tenant, before)}

    async def _reported(self, wanted: ReportedExecutions) -> object:
        if len(wanted.executions) > MOST_REPORTS:
            raise refusal(413, f"{len(wanted.executions)} executions; at most {MOST_REPORTS} at once")
        self._telemetry.executions(wanted.tenant, wanted.executions)
        return {}

    async def _lookup(self, wanted: Lookup) -> object:
        return encode(await self._journal.lookup(wanted.tenant, wanted.step))

    async def _record(self, wanted: Record) -> object:
        await self._journal.record_step(wanted.tenant, wanted.step)
        return {}


def _check_tenant(whose: str | None, wanted: str | None) -> None:
    """Pass a question about what is wanted, by a token that is for one tenant or, where it is None, for all."""
    if whose is not None and whose != wanted:
        raise refusal(
            403,
            f"the token is for the tenant {whose!r:.80}, and this is not about it alone",
            code="other_tenant",
        )
