"""What a request must be before Dagster sees it: somebody's, of this site, and JSON where it can change something."""

from collections.abc import Collection
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from orchestrator_tenancy.identities import SCOPE_KEY, Identity

_READING: Final = frozenset({"GET", "HEAD"})
_POLICY_VIOLATION: Final = 1008
_GRAPHQL: Final = "/graphql"


class Doors:
    """ASGI middleware that refuses what no page of ours sends.

    Stock Dagster takes mutations by GET, by forms and from pages of other sites; with a cookie that signs in, any page
    that somebody visits could so act in their name.

    Args:
        app: What is behind.
        origins: Origins (`https://agents.example.org`) whose pages are ours, besides that of the request's own host.
        prefix: Of all paths; empty, or begins with a slash.
    """

    def __init__(self, app: ASGIApp, origins: Collection[str] = (), prefix: str = "") -> None:
        self._app = app
        self._origins = frozenset(origins)
        self._graphql = prefix + _GRAPHQL

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve, or say in one line why not."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        why = self._refusal(scope)
        if why is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            # before it is accepted, so the server answers the handshake with 403
            await send({"type": "websocket.close", "code": _POLICY_VIOLATION, "reason": why[1]})
        else:
            await PlainTextResponse(why[1], status_code=why[0])(scope, receive, send)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        headers = Headers(scope=scope)
        if not isinstance(scope.get(SCOPE_KEY), Identity):
            return 401, "sign in first"
        if scope["type"] == "websocket":
            return None if self._is_ours(headers) else (403, "this page is of another site")
        method = scope["method"]
        if method in _READING:
            if scope["path"].rstrip("/") == self._graphql and "text/html" not in headers.get("accept", ""):
                return 405, "GraphQL is asked by POST with JSON"
            return None
        if method != "POST":
            return 405, f"{method} is not served"
        if not self._is_ours(headers):
            return 403, "this page is of another site"
        if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            return 415, "POST is served with the content type application/json alone"
        return None

    def _is_ours(self, headers: Headers) -> bool:
        origin = headers.get("origin")
        return origin is None or origin in self._origins or urlsplit(origin).netloc == headers.get("host")
