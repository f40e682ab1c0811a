"""MCP servers behind the gateway: guests reach them by name with their own token, and tool calls are journaled.

Streamable HTTP at `/mcp/{server}`. A `tools/call` of a retried execution gets the result of an equal call of an earlier
try, as a model call does; errors that a tool tells are results, faults on the way are not. Everything else passes.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import aiohttp
from aiohttp import web

from orchestrator_gateway import mcp_sessions
from orchestrator_gateway.buffers import Account, Buffers, BuffersFull
from orchestrator_gateway.call_log import FACTS
from orchestrator_gateway.calls import Begun, Calls, StillPending
from orchestrator_gateway.fingerprints import ALL_KNOWN, Fingerprint, digests_in, fingerprint
from orchestrator_gateway.journal import Answer, Journal, JournalUnavailable, Scope, Superseded
from orchestrator_gateway.mcp_messages import (
    INVALID_PARAMS,
    RESULT_UNKNOWN,
    Message,
    NoMessage,
    answer,
    event_of,
    failure,
    read_message,
)
from orchestrator_gateway.mcp_server_calls import PASSED, ServerFault, ask
from orchestrator_gateway.mcp_settings import McpServer
from orchestrator_gateway.once_calls import Mark, OnceCalls, ResultUnknown
from orchestrator_gateway.refusals import refusal
from orchestrator_gateway.tokens import Claims
from orchestrator_runtimes.json_values import Json, dump, parse

_JSON: Final = "application/json"
_EVENTS: Final = "text/event-stream"
_WORDS: Final = 1_000
_LOOK_SECONDS: Final = 5.0
"""How often a stream on which nothing comes is looked after: its guest may be gone."""

_STALL_SECONDS: Final = 60.0
_BEFORE_RUNS: Final = ("initialize", "ping", "tools/list")
"""What a token that belongs to no execution may ask for: which tools an agent that is being loaded would have."""

ClaimsOf = Callable[[web.Request], Claims]
ContentOf = Callable[[web.Request, Account], Awaitable[bytes]]


class McpProxy:
    """Serves `/mcp/{server}`.

    Args:
        secret: Signs the ids of sessions.
        calls: Decides what a call is to get.
        journal: Holds the marks of tools that may run only once.
        buffers: Counts memory.
        making: Gets a task for each call that outlives its guest.
        claims_of: Returns the claims of a request's token.
        content_of: Returns its body.
    """

    def __init__(
        self,
        secret: bytes,
        calls: Calls,
        journal: Journal,
        buffers: Buffers,
        making: set[asyncio.Task[Any]],
        claims_of: ClaimsOf,
        content_of: ContentOf,
    ) -> None:
        """Begin with no server."""
        self.servers: Mapping[str, McpServer] = {}
        self.session: aiohttp.ClientSession | None = None
        self._secret = secret
        self._calls = calls
        self._once = OnceCalls(journal)
        self._buffers = buffers
        self._making = making
        self._of_session: dict[tuple[str, str], set[asyncio.Task[Any]]] = {}
        self._claims_of = claims_of
        self._content_of = content_of

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Add the endpoints to a server's."""
        router.add_post("/mcp/{server}", self._post)
        router.add_get("/mcp/{server}", self._relay, allow_head=False)
        router.add_delete("/mcp/{server}", self._end)

    def _server(self, request: web.Request, claims: Claims) -> tuple[str, McpServer]:
        name = request.match_info["server"]
        found = self.servers.get(name)
        if found is None or (found.settings.tenants and claims.tenant not in found.settings.tenants):
            there = ", ".join(
                sorted(
                    name
                    for name, server in self.servers.items()
                    if not server.settings.tenants or claims.tenant in server.settings.tenants
                )
            )
            raise refusal(404, f"the gateway knows no MCP server {name!r:.80}; there are {there or 'none'}")
        return name, found

    async def _post(self, request: web.Request) -> web.StreamResponse:
        claims = self._claims_of(request)
        name, server = self._server(request, claims)
        facts = request[FACTS]
        facts.tenant, facts.execution, facts.upstream = claims.tenant, claims.execution, f"mcp:{name}"
        with self._buffers.account(claims.tenant) as account:
            content = facts.request = await self._content_of(request, account)
            try:
                message = read_message(content)
            except NoMessage as error:
                raise refusal(400, f"the body is no message of MCP: {error}") from error
            if not claims.execution and not self._before_runs(message):
                raise refusal(403, "this token is for loading an agent; it calls no tools")
            if message.method == "notifications/cancelled":
                return web.Response(status=202)  # a call on its way is for the next try, too
            if message.is_answer or message.id is None or message.method not in ("tools/call", "tools/list"):
                return await self._relay(request, content)
            try:
                if message.method == "tools/list":
                    return await self._list(request, claims, name, server, message, content, account)
                return await self._call(request, claims, name, server, message, content, account)
            except (JournalUnavailable, Superseded, StillPending, BuffersFull) as error:
                # as an answer of the protocol: clients wait for ever for one that is none
                why = str(error) or "the gateway holds too many long answers now"
                return _plain(answer(message.id, failure(why)))

    @staticmethod
    def _before_runs(message: Message) -> bool:
        return message.method in _BEFORE_RUNS or (message.method or "").startswith("notifications/")

    async def _list(
        self,
        request: web.Request,
        claims: Claims,
        name: str,
        server: McpServer,
        message: Message,
        content: bytes,
        account: Account,
    ) -> web.StreamResponse:
        """Answer with the tools that agents may use."""
        assert self.session is not None and message.id is not None
        guest = _Guest(request)
        try:
            headers = self._headers(request, claims, name)
            seconds = claims.expires - time.time()
            found = await ask(
                self.session, server, headers, content, message.id, account, seconds, guest.write
            )
        except ServerFault as error:
            return await guest.finish(
                message.id, failure(f"the MCP server {name!r} {error}"), gone=error.gone
            )
        allowed = server.settings.tools
        if found.result is None or not allowed:
            return await guest.finish(message.id, _outcome(found))
        tools = found.result.get("tools")
        kept = [tool for tool in tools if _name_of(tool) in allowed] if isinstance(tools, list) else []
        return await guest.finish(message.id, {"result": {**found.result, "tools": kept}})

    async def _call(
        self,
        request: web.Request,
        claims: Claims,
        name: str,
        server: McpServer,
        message: Message,
        content: bytes,
        account: Account,
    ) -> web.StreamResponse:
        """Answer a tool call from the journal, or else from the server."""
        assert message.id is not None
        try:
            tool, arguments = message.tool
        except NoMessage as error:
            return _plain(answer(message.id, failure(str(error), code=INVALID_PARAMS)))
        if server.settings.tools and tool not in server.settings.tools:
            told = f"the MCP server {name!r} has no tool {tool!r} that agents may use"
            return _plain(answer(message.id, failure(told, code=INVALID_PARAMS)))
        request[FACTS].model = tool
        scope = Scope(tenant=claims.tenant, execution=claims.execution, agent=claims.agent)
        known = frozenset(claims.known)
        named: list[Fingerprint] = []

        def wanted(words: frozenset[str]) -> Fingerprint:
            named.append(fingerprint(f"mcp {json.dumps([name, tool])}", dict(arguments), known | words))
            return named[-1]

        found = await self._calls.claim(scope, claims.attempt, wanted, claims.until)
        if isinstance(found, Answer):
            request[FACTS].replayed = True
            return _plain(answer(message.id, _recorded(found)), replayed=True)
        headers = self._headers(request, claims, name)
        once = named[-1].loose if tool in server.settings.once else None
        task = asyncio.create_task(
            self._live(_Guest(request), claims, name, server, message, content, headers, found, once)
        )
        self._making.add(task)
        task.add_done_callback(self._making.discard)
        if (session := headers.get(mcp_sessions.HEADER)) is not None:
            running = self._of_session.setdefault((name, session), set())
            running.add(task)
            task.add_done_callback(lambda ended: self._ended(name, session, ended))
        return await asyncio.shield(task)

    def _ended(self, name: str, session: str, task: "asyncio.Task[Any]") -> None:
        running = self._of_session[name, session]
        running.discard(task)
        if not running:
            del self._of_session[name, session]

    async def _end(self, request: web.Request) -> web.StreamResponse:
        """End a session, but not its calls: a server would break them off, and the next try make them again."""
        claims = self._claims_of(request)
        name, server = self._server(request, claims)
        headers = {**self._headers(request, claims, name), **server.headers}
        running = self._of_session.get((name, headers.get(mcp_sessions.HEADER, "")))
        if not running:
            return await self._relay(request)

        async def end() -> None:
            await asyncio.wait(running)
            assert self.session is not None
            timeout = aiohttp.ClientTimeout(total=server.settings.connect_seconds)
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                async with self.session.delete(server.settings.url, headers=headers, timeout=timeout):
                    pass

        task = asyncio.create_task(end())
        self._making.add(task)
        task.add_done_callback(self._making.discard)
        return web.Response(status=200)

    async def _live(
        self,
        guest: "_Guest",
        claims: Claims,
        name: str,
        server: McpServer,
        message: Message,
        content: bytes,
        headers: Mapping[str, str],
        begun: Begun,
        once: str | None,
    ) -> web.StreamResponse:
        """Call the server, record what it answers, and only then let the guest see it."""
        assert self.session is not None and message.id is not None
        mark: Mark | None = None
        with self._buffers.account(claims.tenant) as account:
            try:
                if once is not None:
                    mark = await self._once.begin(begun.scope, once)
                seconds = claims.until - time.time()
                found = await ask(
                    self.session, server, headers, content, message.id, account, seconds, guest.write
                )
            except ResultUnknown:
                await self._calls.release(begun)
                return await guest.finish(message.id, _unknown(name, message))
            except ServerFault as error:
                await self._calls.release(begun)
                await self._forget(mark, known=not error.made)
                told = failure(f"the MCP server {name!r} {error}")
                if mark is not None and error.made:
                    told = _unknown(name, message, str(error))
                return await guest.finish(message.id, told, gone=error.gone)
            except BaseException:
                await self._calls.release(begun)
                await self._forget(mark, known=False)
                raise
            outcome = _outcome(found)
            if found.error is None or mark is not None:
                body = dump(outcome)
                await self._calls.record(begun, Answer(content_type=_JSON, body=body), _words_of(body))
            else:
                await self._calls.release(begun)
            await self._forget(mark, known=True)
            return await guest.finish(message.id, outcome)

    async def _forget(self, mark: Mark | None, *, known: bool) -> None:
        if mark is not None:
            with contextlib.suppress(JournalUnavailable):  # the mark stays, and the call is not made again
                await self._once.end(mark, known=known)

    async def _relay(self, request: web.Request, content: bytes | None = None) -> web.StreamResponse:
        """Pass a request on, and what is answered back as it comes, for as long as the guest's token is good."""
        claims = self._claims_of(request)
        name, server = self._server(request, claims)
        assert self.session is not None
        seconds = claims.expires - time.time()
        try:
            async with asyncio.timeout(
                seconds if content is None else min(seconds, server.settings.call_seconds)
            ):
                async with self.session.request(
                    request.method,
                    server.settings.url,
                    headers={
                        **self._headers(request, claims, name), **server.headers, "accept-encoding": "identity",
                    },
                    data=content,
                    timeout=aiohttp.ClientTimeout(total=None, sock_connect=server.settings.connect_seconds),
                    allow_redirects=False,
                ) as response:  # fmt: skip
                    return await self._passed(request, claims, name, server, response)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise refusal(502, f"the MCP server {name!r} cannot be reached") from error
        except TimeoutError as error:
            raise refusal(504, f"the MCP server {name!r} did not answer in time") from error
        except aiohttp.ClientError as error:
            raise refusal(502, f"the MCP server {name!r} broke off: {type(error).__name__}") from error

    async def _passed(
        self,
        request: web.Request,
        claims: Claims,
        name: str,
        server: McpServer,
        response: aiohttp.ClientResponse,
    ) -> web.StreamResponse:
        if response.status in (401, 403):
            raise refusal(502, f"the MCP server {name!r} refuses the gateway's key")
        if 300 <= response.status < 400:
            raise refusal(502, f"the MCP server {name!r} redirects, which is not followed; change its url")
        told = web.StreamResponse(status=response.status)
        told.headers["content-type"] = response.headers.get("content-type", _JSON)
        if (session := response.headers.get(mcp_sessions.HEADER)) is not None:
            own = mcp_sessions.sealed(self._secret, claims, name, session)
            if own is None:
                raise refusal(502, f"the MCP server {name!r} names a session as the protocol does not allow")
            told.headers[mcp_sessions.HEADER] = own
        await told.prepare(request)
        size, streams = 0, request.method == "GET"
        pieces = response.content.iter_any().__aiter__()
        coming: asyncio.Future[bytes] | None = None
        try:
            while True:
                coming = coming or asyncio.ensure_future(pieces.__anext__())
                done, _ = await asyncio.wait({coming}, timeout=_LOOK_SECONDS)
                if request.transport is None or request.transport.is_closing():
                    break
                if not done:
                    continue
                piece, coming = coming.result(), None
                size += len(piece)
                if size > server.settings.answer_bytes and not streams:
                    request.transport.abort()  # the guest must not take half of an answer for a whole one
                    break
                async with asyncio.timeout(_STALL_SECONDS):
                    await told.write(piece)
        except StopAsyncIteration:
            await told.write_eof()
        except (ConnectionError, TimeoutError, aiohttp.ClientError):
            if request.transport is not None:
                request.transport.abort()
        finally:
            if coming is not None:
                coming.cancel()
        return told

    def _headers(self, request: web.Request, claims: Claims, name: str) -> dict[str, str]:
        headers = {header: request.headers[header] for header in PASSED if header in request.headers}
        if (sent := request.headers.get(mcp_sessions.HEADER)) is not None:
            session = mcp_sessions.opened(self._secret, claims, name, sent)
            if session is None:
                raise refusal(404, "this execution has no such session")
            headers[mcp_sessions.HEADER] = session
        return headers


class _Guest:
    """The guest that waits for an answer; events before it begin a stream. The call does not mind when it is gone."""

    def __init__(self, request: web.Request) -> None:
        self._request = request
        self._response: web.StreamResponse | None = None

    async def write(self, event: bytes) -> None:
        """Take an event before the answer."""
        with contextlib.suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(_STALL_SECONDS):
                if self._response is None:
                    self._response = web.StreamResponse(headers={"content-type": _EVENTS})
                    await self._response.prepare(self._request)
                await self._response.write(event)

    async def finish(
        self, number: str | int, outcome: Mapping[str, Json], *, gone: bool = False
    ) -> web.StreamResponse:
        """Answer; `gone` tells the client by the status that its session is over."""
        content = answer(number, outcome)
        if self._response is None:
            return web.Response(status=404 if gone else 200, body=content, content_type=_JSON)
        await self.write(event_of(content))
        with contextlib.suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(_STALL_SECONDS):
                await self._response.write_eof()
        return self._response


def _plain(content: bytes, *, replayed: bool = False) -> web.Response:
    headers = {"x-orchestrator-replayed": "1"} if replayed else None
    return web.Response(body=content, content_type=_JSON, headers=headers)


def _outcome(message: Message) -> dict[str, Json]:
    return {"result": message.result} if message.error is None else {"error": message.error}


def _recorded(found: Answer) -> Mapping[str, Json]:
    outcome = parse(found.body)
    assert isinstance(outcome, Mapping)  # `_live` wrote it
    return outcome


def _unknown(server: str, message: Message, why: str | None = None) -> dict[str, Json]:
    tool, _ = message.tool
    told = f"the tool {tool!r} of the MCP server {server!r} was called and may run only once; its result is unknown"
    return failure(told if why is None else f"{told}: the server {why}", kind=RESULT_UNKNOWN)


def _name_of(tool: Json) -> str:
    return str(tool.get("name")) if isinstance(tool, Mapping) else ""


def _words_of(body: bytes) -> frozenset[str]:
    words = digests_in(body.decode())
    return words if len(words) <= _WORDS else frozenset({ALL_KNOWN})
