"""A marketplace over HTTP: reading, actions, events by cursor (also as a WebSocket), and its own description."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import fields
from typing import Final

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from orchestrator_marketplace.actions import ACTION_BYTES
from orchestrator_marketplace.evidence import Evidence
from orchestrator_marketplace.marketplaces import (
    LONGEST_WAIT_SECONDS,
    MOST_AT_ONCE,
    Events,
    Listing,
    Listings,
    Marketplace,
    MarketplaceError,
    Problem,
    PublisherKeys,
    Query,
    Ratings,
    Subscription,
)
from orchestrator_marketplace.usage_envelopes import ENVELOPE_BYTES
from orchestrator_marketplace.usage_reports import UsageReceipt, UsageReports
from orchestrator_runtimes.codec import InvalidMessage, decode, encode, schema
from orchestrator_runtimes.json_values import Json, dump, parse

_STATUS: Final[Mapping[Problem, int]] = {
    Problem.MALFORMED: 400,
    Problem.FORBIDDEN: 403,
    Problem.NOT_FOUND: 404,
    Problem.CONFLICT: 409,
    Problem.GONE: 410,
    Problem.LIMIT: 429,
    Problem.UNAVAILABLE: 503,
}
_ROUTES: Final = (
    ("get", "/v1/bundles", "Search public agents", tuple(field.name for field in fields(Query)), Listings),
    ("get", "/v1/bundles/{publisher}/{agent}", "Versions that were ever public", (), Listings),
    ("get", "/v1/bundles/{publisher}/{agent}/{version}", "A version in any state", (), Listing),
    ("get", "/v1/bundles/{publisher}/{agent}/{version}/evidence", "What the checks saw of it", (), Evidence),
    ("get", "/v1/history/{publisher}/{agent}", "The last events of an agent's versions", (), Events),
    ("get", "/v1/publishers/{publisher}", "Keys whose signatures count", (), PublisherKeys),
    (
        "get",
        "/v1/ratings/{publisher}/{agent}",
        "What platforms think of an agent",
        ("limit", "after"),
        Ratings,
    ),
    ("post", "/v1/usage/reports", "Take what a platform reports of a month", (), UsageReceipt),
    ("post", "/v1/usage/questions", "Reports of a month, for a signed question", (), UsageReports),
    ("get", "/v1/events", "What changed after a cursor", ("cursor", "limit", "wait_seconds"), Events),
    ("post", "/v1/actions", "Do what a signed action says", (), Listing),
    ("get", "/v1/subscriptions/{subscription}", "How a subscription to webhooks is", (), Subscription),
    ("post", "/v1/subscriptions", "Subscribe, resume or unsubscribe by a signed action", (), Subscription),
)
_NUMBERS: Final[Mapping[str, Callable[[str], int | float]]] = {
    "cursor": int,
    "limit": int,
    "wait_seconds": float,
}

_BOUNDS: Final[Mapping[str, tuple[float, float]]] = {
    "limit": (1, MOST_AT_ONCE),
    "wait_seconds": (0, LONGEST_WAIT_SECONDS),
    "cursor": (0, 2**62),
}
_LIVE_SECONDS: Final = 5.0
"""After which a page without events says that somebody is there still."""
_POLL_SECONDS: Final = 0.25


def application(
    marketplace: Marketplace,
    lifespan: Callable[[Starlette], contextlib.AbstractAsyncContextManager[None]] | None = None,
    page: Sequence[BaseRoute] = (),
) -> Starlette:
    """Return the ASGI application of a marketplace.

    Args:
        marketplace: What it serves.
        lifespan: What runs beside it; None when nothing does.
        page: Routes of a web page for people; none has the API alone.
    """
    served = _Served(marketplace)
    handlers: tuple[Callable[[Request], Awaitable[Response]], ...] = (
        served.search,
        served.versions,
        served.version,
        served.evidence,
        served.history,
        served.publisher,
        served.ratings,
        served.report_usage,
        served.usage,
        served.events,
        served.act,
        served.subscription,
        served.subscribe,
    )
    routes = [
        Route(path, handler, methods=[method.upper()])
        for (method, path, *_), handler in zip(_ROUTES, handlers, strict=True)
    ]
    return Starlette(
        routes=[
            *routes,
            Route("/openapi.json", _describe),
            WebSocketRoute("/v1/events/live", served.live),
            *page,
        ],
        exception_handlers={MarketplaceError: _refuse},
        lifespan=lifespan,
    )


class _Served:
    def __init__(self, marketplace: Marketplace) -> None:
        self._marketplace = marketplace

    async def search(self, request: Request) -> Response:
        given: dict[str, Json] = dict(request.query_params)
        if "limit" in given:
            given["limit"] = _numbers({"limit": str(given["limit"])})["limit"]
        try:
            query = decode(Query, given, "", strict=True)
        except InvalidMessage as error:
            raise MarketplaceError(Problem.MALFORMED, str(error).removeprefix(": ")) from error
        return _said(await run_in_threadpool(self._marketplace.search, query))

    async def versions(self, request: Request) -> Response:
        found = await run_in_threadpool(self._marketplace.versions, _name(request))
        return _said(Listings(listings=found))

    async def version(self, request: Request) -> Response:
        version = request.path_params["version"]
        return _said(await run_in_threadpool(self._marketplace.version, _name(request), version))

    async def evidence(self, request: Request) -> Response:
        version = request.path_params["version"]
        return _said(await run_in_threadpool(self._marketplace.evidence, _name(request), version))

    async def history(self, request: Request) -> Response:
        return _said(await run_in_threadpool(self._marketplace.history, _name(request)))

    async def publisher(self, request: Request) -> Response:
        return _said(await run_in_threadpool(self._marketplace.publisher, request.path_params["publisher"]))

    async def ratings(self, request: Request) -> Response:
        given = dict(request.query_params)
        after = given.pop("after", None)
        limit = int(_numbers(given).get("limit", MOST_AT_ONCE))
        name = _name(request)
        return _said(
            await run_in_threadpool(lambda: self._marketplace.ratings(name, limit=limit, after=after))
        )

    async def report_usage(self, request: Request) -> Response:
        content = await _body(request, ENVELOPE_BYTES)
        return _said(await run_in_threadpool(self._marketplace.report_usage, content))

    async def usage(self, request: Request) -> Response:
        content = await _body(request, ENVELOPE_BYTES)
        return _said(await run_in_threadpool(self._marketplace.usage, content))

    async def events(self, request: Request) -> Response:
        given = _numbers(request.query_params)
        page = await self._events(
            int(given.get("cursor", 0)), int(given.get("limit", MOST_AT_ONCE)), given.get("wait_seconds", 0)
        )
        return _said(page)

    async def _events(self, after: int, limit: int, seconds: float) -> Events:
        """Return the next events; whoever waits for them holds no thread."""
        until = time.monotonic() + seconds
        while True:
            page = await run_in_threadpool(lambda: self._marketplace.events(after, limit=limit))
            if page.events or time.monotonic() >= until:
                return page
            await asyncio.sleep(_POLL_SECONDS)

    async def act(self, request: Request) -> Response:
        listing = await run_in_threadpool(self._marketplace.act, await _body(request, ACTION_BYTES))
        return Response(status_code=204) if listing is None else _said(listing)

    async def subscription(self, request: Request) -> Response:
        asked = request.path_params["subscription"]
        return _said(await run_in_threadpool(self._marketplace.subscription, asked))

    async def subscribe(self, request: Request) -> Response:
        return _said(await run_in_threadpool(self._marketplace.subscribe, await _body(request, ACTION_BYTES)))

    async def live(self, socket: WebSocket) -> None:
        """Send events as they come, one message for each page, until whoever listens is gone."""
        try:
            after = int(_numbers(socket.query_params).get("cursor", 0))
        except MarketplaceError:
            await socket.close(1008)
            return
        await socket.accept()
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):
            try:
                async for page in self._pages(after):
                    await socket.send_text(dump(encode(page)).decode())
            except MarketplaceError as error:
                await socket.send_text(dump(_told(error)).decode())
                await socket.close(1011 if error.problem is Problem.UNAVAILABLE else 1008)

    async def _pages(self, after: int) -> AsyncGenerator[Events]:
        while True:
            page = await self._events(after, MOST_AT_ONCE, _LIVE_SECONDS)
            after = page.cursor
            yield page


async def _body(request: Request, most: int) -> bytes:
    content = b""
    async for piece in request.stream():
        content += piece
        if len(content) > most:
            raise MarketplaceError(Problem.MALFORMED, f"what is sent here is at most {most} bytes")
    return content


def _name(request: Request) -> str:
    return f"{request.path_params['publisher']}/{request.path_params['agent']}"


def _numbers(given: Mapping[str, str]) -> dict[str, int | float]:
    found: dict[str, int | float] = {}
    for key, value in given.items():
        try:
            number = _NUMBERS[key](value)
        except (KeyError, ValueError) as error:
            raise MarketplaceError(
                Problem.MALFORMED, f"{key:.40}: {value!r:.40} is not known, or no number"
            ) from error
        least, most = _BOUNDS[key]
        if not least <= number <= most:
            raise MarketplaceError(Problem.MALFORMED, f"{key}: {least} to {most}")
        found[key] = number
    return found


def _said(value: object) -> Response:
    return Response(
        dump(encode(value)), media_type="application/json", headers={"x-content-type-options": "nosniff"}
    )


async def _refuse(_request: Request, error: Exception) -> Response:
    assert isinstance(error, MarketplaceError)
    return JSONResponse(_told(error), status_code=_STATUS[error.problem])


def _told(error: MarketplaceError) -> dict[str, Json]:
    told: dict[str, Json] = {"problem": error.problem.value, "message": error.message}
    return told if error.cursor is None else {**told, "cursor": error.cursor}


async def _describe(_request: Request) -> Response:
    return JSONResponse(description())


def description() -> dict[str, Json]:
    """Return what the service offers, as OpenAPI 3.1."""
    definitions: dict[str, Json] = {}
    paths: dict[str, dict[str, Json]] = {}
    for method, path, summary, queries, answer in _ROUTES:
        parts = [part[1:-1] for part in path.split("/") if part.startswith("{")]
        parameters: list[Json] = []
        for name in parts:
            parameters.append({"name": name, "in": "path", "required": True, "schema": {"type": "string"}})
        for name in queries:
            parameters.append({"name": name, "in": "query", "schema": _parameter(name)})
        content: Json = {"application/json": {"schema": schema(answer, definitions)}}
        operation: dict[str, Json] = {
            "summary": summary,
            "parameters": parameters,
            "responses": {
                "200": {"description": "As it is", "content": content},
                "default": {"description": "Why not", "content": {"application/json": {"schema": _PROBLEM}}},
            },
        }
        if method == "post":
            envelope: Json = {"application/json": {"schema": {"type": "object"}}}
            operation["requestBody"] = {"required": True, "content": envelope}
        paths[path] = {method: operation}
    told = dump(definitions).replace(b"#/$defs/", b"#/components/schemas/")
    whole = dump({"paths": paths}).replace(b"#/$defs/", b"#/components/schemas/")
    return {
        "openapi": "3.1.0",
        "info": {"title": "Marketplace of agents", "version": "1"},
        **_object(whole),
        "components": {"schemas": _object(told)},
    }


_PROBLEM: Final[Json] = {
    "type": "object",
    "properties": {
        "problem": {"enum": [problem.value for problem in Problem]},
        "message": {"type": "string"},
        "cursor": {"type": "integer", "description": "With gone: after it all events are still there"},
    },
    "required": ["problem", "message"],
}


def _parameter(name: str) -> Json:
    kind = _NUMBERS.get(name)
    return {"type": {int: "integer", float: "number"}[kind] if kind in (int, float) else "string"}


def _object(content: bytes) -> dict[str, Json]:
    value = parse(content)
    assert isinstance(value, dict)  # it was one
    return value
