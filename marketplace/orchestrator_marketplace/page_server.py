"""The marketplace's web page: a few files, one document for all addresses, headers that hold it to itself.

What the page shows is written by strangers. It never parses any of that as HTML; should it do so by a mistake, browsers
refuse: the policy allows no inline script, nothing from elsewhere, and no markup made of text (Trusted Types).
"""

import hashlib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from orchestrator_runtimes.json_values import Json

_KINDS: Final[Mapping[str, str]] = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types worker",
    )
)
HEADERS: Final[Mapping[str, str]] = {
    "content-security-policy": _POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    # an upgrade of the service is seen at once; unchanged files are not sent again
    "cache-control": "no-cache",
}
DOCUMENT: Final = "index.html"
ADDRESSES: Final = (
    "/",
    "/publish",
    "/agents/{publisher}/{agent}",
    "/agents/{publisher}/{agent}/{version}",
)
"""Of views of the page; the document is the same, and its script reads the address."""


def page_routes(name: str, registries: Sequence[str]) -> list[BaseRoute]:
    """Return the routes of the page.

    Args:
        name: Of the marketplace, as actions name it.
        registries: Hosts, perhaps with a prefix, from which it takes bundles: who publishes is told.
    """
    contents = {
        entry.name: _File(entry.name, entry.read_bytes())
        for entry in files("orchestrator_marketplace").joinpath("page").iterdir()
        if entry.is_file()
    }
    told: dict[str, Json] = {"name": name, "registries": list(registries)}

    async def place(_request: Request) -> Response:
        return JSONResponse(told, headers=HEADERS)

    document = contents.pop(DOCUMENT)
    return [
        *(Route(address, document.answer) for address in ADDRESSES),
        *(Route(f"/page/{name}", file.answer) for name, file in contents.items()),
        Route("/page/marketplace.json", place),
    ]


class _File:
    def __init__(self, name: str, content: bytes) -> None:
        self._content = content
        self._tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
        self._headers = {**HEADERS, "etag": self._tag, "content-type": _KINDS[name[name.rindex(".") :]]}

    async def answer(self, request: Request) -> Response:
        if request.headers.get("if-none-match") == self._tag:
            return Response(status_code=304, headers=self._headers)
        return Response(self._content, headers=self._headers)
