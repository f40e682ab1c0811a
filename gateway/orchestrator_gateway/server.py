"""The gateway's HTTP endpoints: model calls of guests, and what the trusted side asks of it."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp
from aiohttp import web

from orchestrator_gateway import tokens
from orchestrator_gateway.administration import Administration
from orchestrator_gateway.budgets import Budgets, Spending
from orchestrator_gateway.buffers import Account, Buffers, BuffersFull
from orchestrator_gateway.call_log import FACTS, CallLog
from orchestrator_gateway.calls import Begun, Calls, StillPending
from orchestrator_gateway.connections import Connections
from orchestrator_gateway.dispatch import Dispatcher, ModelRequest, Routing, Served
from orchestrator_gateway.execution_places import ExecutionPlaces
from orchestrator_gateway.fingerprints import ALL_KNOWN, digests_in, fingerprint
from orchestrator_gateway.journal import (
    Answer,
    Journal,
    JournalLimits,
    JournalUnavailable,
    Scope,
    Superseded,
)
from orchestrator_gateway.mcp_proxy import McpProxy
from orchestrator_gateway.model_lists import model_list
from orchestrator_gateway.refusals import Refused, refusal
from orchestrator_gateway.request_models import model_of
from orchestrator_gateway.resolution import Resolved
from orchestrator_gateway.telemetry import CallWatch, Telemetry
from orchestrator_gateway.tenant_settings import TenantSettings, allowed_models, check_model
from orchestrator_runtimes.json_values import Json, NotJson, parse
from orchestrator_runtimes.model_answers import ENDPOINTS

REQUEST_BYTES: Final = 64 * 2**20
REPLAYED: Final = "x-orchestrator-replayed"
"""Header of an answer that comes from the journal."""

_REQUEST_SECONDS: Final = 120.0
"""How long a request may take to come."""

_READY_SECONDS: Final = 5.0
_WORDS: Final = 1_000
_HEADER_BYTES: Final = 16_384
_END_SECONDS: Final = 2.0
_STALL_SECONDS: Final = 60.0
"""How long a guest may read nothing of its answer before the call goes on without it."""

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, kw_only=True)
class GatewaySettings:
    """What a gateway needs.

    Attributes:
        secret: Signs the tokens of guests, and is the bearer token of the trusted side.
        routing: Where calls go.
        buffer_bytes: Most bytes of requests and answers on their way; one tenant may have half of them.
        limits: What the journal keeps; the journal's own.
    """

    secret: bytes = field(repr=False)
    routing: Routing
    buffer_bytes: int = 512 * 2**20
    limits: JournalLimits = field(default_factory=JournalLimits)


class _Guest:
    """The guest that waits for an answer; when it goes away the call goes on, for its next try."""

    def __init__(self, request: web.Request, watch: CallWatch) -> None:
        self._request = request
        self._watch = watch
        self.facts = request[FACTS]
        self.response: web.StreamResponse | None = None
        self._gone = False

    async def begin(self, content_type: str) -> None:
        """Answer with a stream; a plain answer is only sent when it is whole."""
        if content_type.startswith("text/event-stream"):
            self.response = web.StreamResponse(headers={"content-type": content_type})
            await self._do(self.response.prepare(self._request))

    async def write(self, data: bytes) -> None:
        """Send a piece of a stream."""
        self._watch.first_piece()
        if self.response is not None and not self._gone:
            await self._do(self.response.write(data))

    async def finish(self, answer: Answer, rest: bytes, *, replayed: bool = False) -> web.StreamResponse:
        """Send what is left of an answer."""
        self.facts.replayed, self.facts.answer = replayed, answer.body
        if self.response is None:
            headers = {"content-type": answer.content_type} | ({REPLAYED: "1"} if replayed else {})
            self.response = web.Response(body=rest, headers=headers)
            await self._do(self.response.prepare(self._request))
        else:
            await self.write(rest)
        if not self._gone:
            await self._do(self.response.write_eof())
        return self.response

    def give_up(self) -> None:
        """Cut off a stream that has begun: its guest must not take it for a whole answer."""
        if self.response is not None and self._request.transport is not None:
            self._request.transport.abort()

    async def _do(self, work: Awaitable[Any]) -> None:
        try:
            async with asyncio.timeout(_STALL_SECONDS):
                await work
        except ConnectionError:
            self._gone = True
        except TimeoutError:
            self._gone = True  # as good as: it does not read
            self.give_up()


class Gateway:
    """Serves guests and the trusted side until it is drained."""

    def __init__(
        self,
        settings: GatewaySettings,
        journal: Journal,
        budgets: Budgets,
        telemetry: Telemetry | None = None,
    ) -> None:
        """Begin with no call. `telemetry` is told of each; None tells nobody."""
        self._telemetry = telemetry or Telemetry()
        self._settings = settings
        self._journal = journal
        self.budgets = budgets
        self._calls = Calls(journal, settings.limits.lease_seconds)
        self.dispatcher = Dispatcher(settings.routing)
        self.connections = Connections()
        self.call_log = CallLog()
        self._tenants: Mapping[str, TenantSettings] = {}
        self._places = ExecutionPlaces()
        self._draining = False
        self._buffers = Buffers(settings.buffer_bytes)
        self._making: set[asyncio.Task[Any]] = set()
        self._keeping: asyncio.Task[None] | None = None
        self._session: aiohttp.ClientSession | None = None
        self._telemetry.watch_upstreams(self.dispatcher.states)
        self.mcp = McpProxy(
            settings.secret,
            self._calls,
            journal,
            self._buffers,
            self._making,
            lambda request: _claims_of(request, settings.secret),
            _content,
            self._telemetry,
        )

    def app(self) -> web.Application:
        """Return the web application."""
        watching = [*self._telemetry.middlewares(), self.connections.middleware, self.call_log.middleware]
        app = web.Application(client_max_size=REQUEST_BYTES, middlewares=[*watching, _told])
        for endpoint in ENDPOINTS:
            app.router.add_post(f"/v1{endpoint}", self._model_call)
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/v1/models/{name:.+}", self._models)
        self.mcp.add_to(app.router)
        app.router.add_get("/health", self._health)
        app.router.add_get("/ready", self._ready)
        administration = Administration(
            self._settings.secret, self._journal, self._calls, self.budgets, self._telemetry
        )
        administration.add_to(app.router)
        app.router.add_get("/admin/upstreams", administration.guarded(self.dispatcher.states))
        app.on_startup.append(self._open)
        app.on_cleanup.append(self._close)
        return app

    def use(self, resolved: Resolved) -> None:
        """Use another configuration from now on; its secret and its journal are those of the start."""
        keys = [upstream.api_key for upstream in resolved.routing.upstreams]
        keys += [value for server in resolved.mcp_servers.values() for value in server.headers.values()]
        self.dispatcher.change(resolved.routing)
        self.budgets.configure(resolved.prices, resolved.configuration.budgets)
        self._tenants = resolved.configuration.tenants
        self._places.configure(self._tenants)
        self.mcp.servers = resolved.mcp_servers
        self.call_log.bodies = resolved.configuration.log_bodies
        self.call_log.secrets = [key for key in (*keys, resolved.secret.decode()) if key is not None]

    async def drain(self, seconds: float) -> None:
        """Let calls that are on their way be answered and recorded, for the next try of their executions."""
        self._draining = True
        if self._making:
            await asyncio.wait(self._making, timeout=seconds)
        for task in self._making:
            task.cancel()

    async def _open(self, _app: web.Application) -> None:
        connector = aiohttp.TCPConnector(limit=0)
        self._session = aiohttp.ClientSession(connector=connector, auto_decompress=False)
        self.mcp.session = self._session
        self._keeping = asyncio.create_task(self._calls.keep())
        self.budgets.start()

    async def _close(self, _app: web.Application) -> None:
        await self.drain(0)
        if self._keeping is not None:
            self._keeping.cancel()
        if self._session is not None:
            await self._session.close()

    async def _health(self, _request: web.Request) -> web.StreamResponse:
        return web.json_response({"ready": True, **self._calls.counts()})

    async def _ready(self, _request: web.Request) -> web.StreamResponse:
        """Say whether calls can be served: the journal answers, and the gateway is not about to end."""
        if self._draining:
            raise refusal(503, "the gateway is ending")
        try:
            async with asyncio.timeout(_READY_SECONDS):
                await self._journal.words(Scope(tenant="", execution="", agent=""))
        except TimeoutError as error:
            raise refusal(503, "the journal does not answer in time") from error
        return web.json_response({"ready": True, "telemetry": self._telemetry.told})

    async def _models(self, request: web.Request) -> web.StreamResponse:
        claims, name = _claims(request, self._settings.secret), request.match_info.get("name")
        if name is not None:
            check_model(self._tenants, claims.tenant, name)
        assert self._session is not None
        allowed = allowed_models(self._tenants, claims.tenant)
        status, content = await model_list(self._session, self.dispatcher, name, allowed)
        return web.Response(status=status, body=content, content_type="application/json")

    async def _model_call(self, request: web.Request) -> web.StreamResponse:
        claims = _claims(request, self._settings.secret)
        with self._buffers.account(claims.tenant) as account:
            facts = request[FACTS]
            facts.tenant, facts.execution = claims.tenant, claims.execution
            facts.request = await _content(request, account)
            return await self._call_of(request, claims, facts.request)

    async def _call_of(
        self, request: web.Request, claims: tokens.Claims, content: bytes
    ) -> web.StreamResponse:
        try:
            body = parse(content)
        except NotJson as error:
            raise refusal(400, f"the request is not JSON: {error}") from error
        path = request.path_qs.removeprefix("/v1")
        request[FACTS].model = model_of(body)
        watch = self._telemetry.model_call(path, body, claims, request.headers)
        try:
            check_model(self._tenants, claims.tenant, request[FACTS].model)
            return await self._answered(request, path, content, body, claims, watch)
        except BaseException as error:
            watch.failed(error)
            raise

    async def _answered(
        self,
        request: web.Request,
        path: str,
        content: bytes,
        body: Json,
        claims: tokens.Claims,
        watch: CallWatch,
    ) -> web.StreamResponse:
        """Answer a model call from the journal, or else from an upstream."""
        scope = Scope(tenant=claims.tenant, execution=claims.execution, agent=claims.agent)
        known = frozenset(claims.known)
        found = await self._calls.claim(
            scope, claims.attempt, lambda words: fingerprint(path, body, known | words), claims.until
        )
        if isinstance(found, Answer):
            watch.answered(found, replayed=True)
            return await self._replayed(request, found)
        wanted_of = ModelRequest(
            path=path,
            headers=watch.headers(request.headers),
            content=content,
            model=request[FACTS].model,
            tenant=claims.tenant,
            execution=claims.execution,
            until=claims.until,
            watch=watch,
        )
        guest = _Guest(request, watch)
        spending = Spending(self.budgets, claims, body, len(content))
        task = asyncio.create_task(self._live(wanted_of, found, guest, spending))
        self._making.add(task)
        task.add_done_callback(self._making.discard)
        try:
            return await asyncio.shield(task)
        except Exception:
            guest.give_up()
            raise

    async def _replayed(self, request: web.Request, answer: Answer) -> web.StreamResponse:
        guest = _Guest(request, CallWatch())
        await guest.begin(answer.content_type)
        return await guest.finish(answer, answer.body, replayed=True)

    async def _live(
        self, request: ModelRequest, begun: Begun, guest: _Guest, spending: Spending
    ) -> web.StreamResponse:
        """Call the upstream, record what it answers, and only then let the guest see the end of it."""
        assert self._session is not None
        with self._buffers.account(request.tenant) as account:
            async with spending:
                try:
                    async with self._places.place(request.tenant, request.execution, request.until):
                        await spending.hold(self.dispatcher.names(request))
                        served = await self.dispatcher.call(self._session, request, guest, account)
                    spending.answered(served.model, served.answer.usage)  # paid, whether it is usable or not
                    guest.facts.upstream, guest.facts.served = served.upstream, served.model
                    self._check_size(served)
                except BaseException:
                    await self._calls.release(begun)
                    raise
                if served.usable:
                    words = _words_of(request.path, served.answer)
                    with self._telemetry.journal_write():
                        await self._calls.record(begun, served.answer, words)
                else:
                    await self._calls.release(begun)
            request.watch.answered(served.answer, usable=served.usable)
            return await guest.finish(served.answer, served.rest)

    def _check_size(self, served: Served) -> None:
        size, limit = len(served.answer.body), self._settings.limits.answer_bytes
        if size > limit:
            raise refusal(
                502,
                f"the answer of {size} bytes is longer than the {limit} that the journal keeps: `answer_bytes`",
            )


async def _content(request: web.Request, account: Account) -> bytes:
    """Return the body of a request, as long as it comes in time and there is memory for it."""
    if request.headers.get("content-encoding", "identity") != "identity":
        raise refusal(415, "compressed requests are not read: send them as they are")
    pieces = list[bytes]()
    try:
        async with asyncio.timeout(_REQUEST_SECONDS):
            async for piece in request.content.iter_any():
                account.add(len(piece))
                if account.size > REQUEST_BYTES:
                    raise refusal(413, f"the request is longer than {REQUEST_BYTES} bytes")
                pieces.append(piece)
    except TimeoutError as error:
        raise refusal(408, "the request did not come in time") from error
    except BuffersFull as error:
        raise refusal(503, "the gateway holds too many long requests now") from error
    return b"".join(pieces)


def _words_of(path: str, answer: Answer) -> frozenset[str]:
    """Return what of an answer a later request may be about. Vectors are no words, and too many are taken for all."""
    if path.startswith("/embeddings"):
        return frozenset()
    words = digests_in(answer.body.decode(errors="replace"))
    return words if len(words) <= _WORDS else frozenset({ALL_KNOWN})


def _claims(request: web.Request, secret: bytes) -> tokens.Claims:
    """Return the claims of a token that belongs to an execution."""
    claims = _claims_of(request, secret)
    if not claims.execution:
        raise refusal(403, "this token is for loading an agent; it calls no model")
    return claims


def _claims_of(request: web.Request, secret: bytes) -> tokens.Claims:
    try:
        return tokens.read(secret, tokens.bearer(request.headers))
    except tokens.BadToken as error:
        raise refusal(401, str(error)) from error


@web.middleware
async def _told(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """Turn what goes wrong into an answer that an OpenAI client understands."""
    try:
        return await handler(request)
    except Refused as error:
        return _refused(error)
    except JournalUnavailable as error:
        return _refused(refusal(503, str(error), code="journal_unavailable"))
    except Superseded as error:
        return _refused(refusal(409, str(error), code="superseded"))
    except StillPending as error:
        return _refused(refusal(504, str(error), code="still_pending"))
    except web.HTTPException as error:
        if error.status < 400:
            raise
        words = {404: f"the gateway serves no {request.path!r:.200}", 405: "this path has another method"}
        refused = _refused(refusal(error.status, words.get(error.status, error.reason)))
        if "allow" in error.headers:
            refused.headers["allow"] = error.headers["allow"]
        return refused


def _refused(error: Refused) -> web.Response:
    headers = {"content-type": error.content_type}
    if error.retry_after is not None:
        headers["retry-after"] = str(math.ceil(error.retry_after))
    return web.Response(status=error.status, body=error.body, headers=headers)


def runner(gateway: Gateway) -> web.AppRunner:
    """Return what serves a gateway; a guest that goes away does not cancel what is done for it."""
    return web.AppRunner(
        gateway.app(),
        access_log=None,
        handler_cancellation=False,
        max_field_size=_HEADER_BYTES,
        shutdown_timeout=_END_SECONDS,
        auto_decompress=False,
    )
