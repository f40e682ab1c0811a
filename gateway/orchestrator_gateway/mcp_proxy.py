"""MCP servers behind the gateway: guests reach them by name with their own token, and tool calls are journaled.

Streamable HTTP at `/mcp/{server}`. A `tools/call` of a retried execution gets the result of an equal call of an earlier
try, as a model call does; errors that a tool tells are results, faults on the way are not. Everything else passes.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

import aiohttp
from aiohttp import web

from orchestrator_gateway import mcp_sessions
from orchestrator_gateway.buffers import Account, Buffers, BuffersFull
from orchestrator_gateway.call_log import FACTS
from orchestrator_gateway.calls import Begun, Calls, StillPending
from orchestrator_gateway.fingerprints import ALL_KNOWN, Fingerprint, digests_in, fingerprint
from orchestrator_gateway.journal import Answer, Journal, JournalUnavailable, Scope, Superseded
from orchestrator_gateway.mcp_exchanges import JSON, ContentOf, Exchange, Question, WaitingGuest, plain
from orchestrator_gateway.mcp_messages import (
    INVALID_PARAMS,
    RESULT_UNKNOWN,
    Message,
    NoMessage,
    failure,
    read_message,
)
from orchestrator_gateway.mcp_relay import relay
from orchestrator_gateway.mcp_server_calls import PASSED, ServerFault, ask
from orchestrator_gateway.mcp_settings import McpServer
from orchestrator_gateway.once_calls import Mark, OnceCalls, ResultUnknown
from orchestrator_gateway.refusals import refusal
from orchestrator_gateway.telemetry import Telemetry, ToolWatch
from orchestrator_gateway.tokens import Claims
from orchestrator_runtimes.json_values import Json, dump, parse

_WORDS: Final = 1_000
_BEFORE_RUNS: Final = ("initialize", "ping", "tools/list")
"""What a token that belongs to no execution may ask for: which tools an agent that is being loaded would have."""

ClaimsOf = Callable[[web.Request], Claims]


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
        telemetry: Is told of each tool call.
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
        telemetry: Telemetry,
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
        self._telemetry = telemetry

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Add the endpoints to a server's."""
        router.add_post("/mcp/{server}", self._post)
        router.add_get("/mcp/{server}", self._get, allow_head=False)
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
        name, _ = self._server(request, claims)
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
            exchange = self._exchange(request, content)
            if message.is_answer or message.id is None or message.method not in ("tools/call", "tools/list"):
                return await self._relay(exchange)
            question = Question(exchange=exchange, message=message, number=message.id, content=content)
            try:
                if message.method == "tools/list":
                    return await self._list(question, account)
                return await self._call(question)
            except (JournalUnavailable, Superseded, StillPending, BuffersFull) as error:
                # as an answer of the protocol: clients wait for ever for one that is none
                why = str(error) or "the gateway holds too many long answers now"
                return plain(question, failure(why))

    async def _get(self, request: web.Request) -> web.StreamResponse:
        """Let a guest listen to what the server says by itself."""
        return await self._relay(self._exchange(request))

    async def _relay(self, exchange: Exchange) -> web.StreamResponse:
        assert self.session is not None
        return await relay(self.session, self._secret, exchange)

    def _exchange(self, request: web.Request, content: bytes | None = None) -> Exchange:
        """Return what a request asks of whom.

        Raises:
            Refused: There is no such server, or no such session of this execution.
        """
        claims = self._claims_of(request)
        name, server = self._server(request, claims)
        headers = {header: request.headers[header] for header in PASSED if header in request.headers}
        if (sent := request.headers.get(mcp_sessions.HEADER)) is not None:
            session = mcp_sessions.opened(self._secret, claims, name, sent)
            if session is None:
                raise refusal(404, "this execution has no such session")
            headers[mcp_sessions.HEADER] = session
        return Exchange(
            request=request, claims=claims, name=name, server=server, headers=headers, content=content
        )

    @staticmethod
    def _before_runs(message: Message) -> bool:
        return message.method in _BEFORE_RUNS or (message.method or "").startswith("notifications/")

    async def _list(self, question: Question, account: Account) -> web.StreamResponse:
        """Answer with the tools that agents may use."""
        exchange, guest = question.exchange, WaitingGuest(question)
        try:
            found = await self._ask(question, account, guest, exchange.claims.expires)
        except ServerFault as error:
            told = failure(f"the MCP server {exchange.name!r} {error}")
            return await guest.finish(told, gone=error.gone)
        allowed = exchange.server.settings.tools
        if found.result is None or not allowed:
            return await guest.finish(_outcome(found))
        tools = found.result.get("tools")
        kept = [tool for tool in tools if _name_of(tool) in allowed] if isinstance(tools, list) else []
        return await guest.finish({"result": {**found.result, "tools": kept}})

    async def _call(self, question: Question) -> web.StreamResponse:
        """Answer a tool call, if agents may make it."""
        exchange = question.exchange
        name, settings = exchange.name, exchange.server.settings
        try:
            tool, arguments = question.message.tool
        except NoMessage as error:
            return plain(question, failure(str(error), code=INVALID_PARAMS))
        if settings.tools and tool not in settings.tools:
            told = f"the MCP server {name!r} has no tool {tool!r} that agents may use"
            return plain(question, failure(told, code=INVALID_PARAMS))
        exchange.request[FACTS].model = tool
        watch = self._telemetry.tool_call(name, settings.url, tool, exchange.claims, exchange.request.headers)
        traced = replace(exchange, headers=watch.headers(exchange.headers))
        try:
            return await self._answered(replace(question, exchange=traced), tool, arguments, watch)
        except BaseException as error:
            watch.failed(error)
            raise

    async def _answered(
        self, question: Question, tool: str, arguments: Mapping[str, Json], watch: ToolWatch
    ) -> web.StreamResponse:
        """Answer a tool call from the journal, or else from the server."""
        exchange = question.exchange
        claims, name = exchange.claims, exchange.name
        scope = Scope(tenant=claims.tenant, execution=claims.execution, agent=claims.agent)
        known = frozenset(claims.known)
        named: list[Fingerprint] = []

        def wanted(words: frozenset[str]) -> Fingerprint:
            named.append(fingerprint(f"mcp {json.dumps([name, tool])}", dict(arguments), known | words))
            return named[-1]

        found = await self._calls.claim(scope, claims.attempt, wanted, claims.until)
        if isinstance(found, Answer):
            exchange.request[FACTS].replayed = True
            outcome = _recorded(found)
            watch.answered(outcome, replayed=True)
            return plain(question, outcome, replayed=True)
        once = named[-1].loose if tool in exchange.server.settings.once else None
        task = asyncio.create_task(self._live(question, found, once, watch))
        self._making.add(task)
        task.add_done_callback(self._making.discard)
        if (session := exchange.headers.get(mcp_sessions.HEADER)) is not None:
            running = self._of_session.setdefault((name, session), set())
            running.add(task)
            task.add_done_callback(lambda ended: self._ended(name, session, ended))
        return await asyncio.shield(task)

    async def _ask(self, question: Question, account: Account, guest: WaitingGuest, until: float) -> Message:
        assert self.session is not None
        exchange = question.exchange
        return await ask(
            self.session,
            exchange.server,
            exchange.headers,
            question.content,
            question.number,
            account,
            until - time.time(),
            guest.write,
        )

    def _ended(self, name: str, session: str, task: "asyncio.Task[Any]") -> None:
        running = self._of_session[name, session]
        running.discard(task)
        if not running:
            del self._of_session[name, session]

    async def _end(self, request: web.Request) -> web.StreamResponse:
        """End a session, but not its calls: a server would break them off, and the next try make them again."""
        exchange = self._exchange(request)
        server = exchange.server
        headers = {**exchange.headers, **server.headers}
        running = self._of_session.get((exchange.name, headers.get(mcp_sessions.HEADER, "")))
        if not running:
            return await self._relay(exchange)

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
        self, question: Question, begun: Begun, once: str | None, watch: ToolWatch
    ) -> web.StreamResponse:
        """Call the server, record what it answers, and only then let the guest see it."""
        exchange, guest = question.exchange, WaitingGuest(question)
        mark: Mark | None = None
        with self._buffers.account(exchange.claims.tenant) as account:
            try:
                if once is not None:
                    mark = await self._once.begin(begun.scope, once)
                found = await self._ask(question, account, guest, exchange.claims.until)
            except ResultUnknown as error:
                watch.failed(error)
                await self._calls.release(begun)
                return await guest.finish(_unknown(question))
            except ServerFault as error:
                watch.failed(error)
                await self._calls.release(begun)
                await self._forget(mark, known=not error.made)
                told = failure(f"the MCP server {exchange.name!r} {error}")
                if mark is not None and error.made:
                    told = _unknown(question, str(error))
                return await guest.finish(told, gone=error.gone)
            except BaseException:
                await self._calls.release(begun)
                await self._forget(mark, known=False)
                raise
            outcome = _outcome(found)
            watch.answered(outcome)
            if found.error is None or mark is not None:
                body = dump(outcome)
                await self._calls.record(begun, Answer(content_type=JSON, body=body), _words_of(body))
            else:
                await self._calls.release(begun)
            await self._forget(mark, known=True)
            return await guest.finish(outcome)

    async def _forget(self, mark: Mark | None, *, known: bool) -> None:
        if mark is not None:
            with contextlib.suppress(JournalUnavailable):  # the mark stays, and the call is not made again
                await self._once.end(mark, known=known)


def _outcome(message: Message) -> dict[str, Json]:
    return {"result": message.result} if message.error is None else {"error": message.error}


def _recorded(found: Answer) -> Mapping[str, Json]:
    outcome = parse(found.body)
    assert isinstance(outcome, Mapping)  # `_live` wrote it
    return outcome


def _unknown(question: Question, why: str | None = None) -> dict[str, Json]:
    tool, _ = question.message.tool
    server = question.exchange.name
    told = f"the tool {tool!r} of the MCP server {server!r} was called and may run only once; its result is unknown"
    return failure(told if why is None else f"{told}: the server {why}", kind=RESULT_UNKNOWN)


def _name_of(tool: Json) -> str:
    return str(tool.get("name")) if isinstance(tool, Mapping) else ""


def _words_of(body: bytes) -> frozenset[str]:
    words = digests_in(body.decode())
    return words if len(words) <= _WORDS else frozenset({ALL_KNOWN})
