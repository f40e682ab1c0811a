"""A request to the sign-in itself, read with bounds, and its answers."""

import json
import math
from collections.abc import Mapping
from typing import Any, Final, cast
from urllib.parse import parse_qsl

from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import Receive, Scope

from orchestrator_tenancy.sign_in.credentials import Headers

LONGEST_QUERY: Final = 8_192
LONGEST_BODY: Final = 16_384
_MOST_FIELDS: Final = 50


class BadRequest(Exception):
    """A request cannot be read; the text says why."""


def headers_of(scope: Scope) -> Headers:
    """Return the headers of a request, names in small letters."""
    return [(bytes(name).lower(), bytes(value)) for name, value in scope["headers"]]


def query_of(scope: Scope) -> Mapping[str, str]:
    """Return the parameters of a request's address.

    Raises:
        BadRequest: There are too many, or one is there twice.
    """
    return _fields(bytes(scope.get("query_string", b"")), LONGEST_QUERY)


async def form_of(receive: Receive, headers: Headers) -> Mapping[str, str]:
    """Return the fields of a form that was sent.

    Raises:
        BadRequest: It is none, or is too long.
    """
    _check_kind(headers, "application/x-www-form-urlencoded")
    return _fields(await _body(receive), LONGEST_BODY)


async def object_of(receive: Receive, headers: Headers) -> Mapping[str, Any]:
    """Return the JSON object that was sent.

    Raises:
        BadRequest: It is none, or is too long.
    """
    _check_kind(headers, "application/json")
    try:
        found = json.loads(await _body(receive))
    except (ValueError, RecursionError) as error:
        raise BadRequest("the body is no JSON") from error
    if not isinstance(found, dict):
        raise BadRequest("the body is no JSON object")
    return cast("dict[str, Any]", found)


def wants_page(headers: Headers, method: str) -> bool:
    """Return whether a person waits for a page, so that they may be sent to sign in."""
    modes = [value for name, value in headers if name == b"sec-fetch-mode"]
    if method not in ("GET", "HEAD") or any(mode != b"navigate" for mode in modes):
        return False
    accepted = b",".join(value for name, value in headers if name == b"accept")
    return b"text/html" in accepted


def refusal(text: str, status: int, wait: float | None = None) -> Response:
    """Return an answer to a program: why, in one line.

    Args:
        text: Why.
        status: Of the answer.
        wait: After how many seconds to try again; None says nothing.
    """
    headers = {"Cache-Control": "no-store"}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if wait is not None:
        headers["Retry-After"] = str(max(1, math.ceil(wait)))
    return JSONResponse({"error": text}, status, headers)


def told(value: object, status: int = 200) -> Response:
    """Return an answer to a program."""
    return JSONResponse(value, status, {"Cache-Control": "no-store"})


def sent_to(url: str) -> Response:
    """Return an answer that has a browser get another page."""
    return RedirectResponse(url, 303, {"Cache-Control": "no-store"})


def _check_kind(headers: Headers, kind: str) -> None:
    kinds = [value for name, value in headers if name == b"content-type"]
    if len(kinds) != 1 or kinds[0].partition(b";")[0].strip().lower() != kind.encode():
        raise BadRequest(f"send {kind}")


def _fields(text: bytes, longest: int) -> Mapping[str, str]:
    if len(text) > longest:
        raise BadRequest(f"more than {longest} bytes")
    try:
        pairs = parse_qsl(
            text.decode("ascii"), keep_blank_values=True, max_num_fields=_MOST_FIELDS, errors="strict"
        )
    except ValueError as error:
        raise BadRequest("the parameters cannot be read") from error
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise BadRequest("a parameter is there twice")
    return fields


async def _body(receive: Receive) -> bytes:
    content, more = bytearray(), True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            raise BadRequest("the body has no end")
        content += message.get("body", b"")
        if len(content) > LONGEST_BODY:
            raise BadRequest(f"more than {LONGEST_BODY} bytes")
        more = message.get("more_body", False)
    return bytes(content)
