"""HTTP responses as values, and the ways in which they are spoiled on their way."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Final

from orchestrator_runtimes.conformance.scripts import Fault, FaultKind

_SLOW_PIECES: Final = 10
_ERRORS: Final = {
    400: ("invalid_request_error", None),
    401: ("invalid_request_error", "invalid_api_key"),
    402: ("budget_exceeded", "budget_exceeded"),
    403: ("invalid_request_error", None),
    404: ("invalid_request_error", "model_not_found"),
    413: ("invalid_request_error", None),
    429: ("requests", "rate_limit_exceeded"),
}


class End(Enum):
    """How a response ends."""

    COMPLETE = auto()
    CUT = auto()  # the connection closes before the response is complete
    NEVER = auto()  # nothing is sent until the client goes away


@dataclass(frozen=True, kw_only=True)
class Reply:
    """A response.

    Attributes:
        status: HTTP status; 0 when nothing of a response is sent.
        body: Pieces of the body; each event of a stream is one.
        streamed: Sent in chunks as server-sent events are, instead of with a length.
        length: Declared length of a body that is not streamed; None declares what `body` has.
        latency: Seconds before the first byte.
        pause: Seconds between pieces.
        end: How it ends.
        retry_after: Seconds in the Retry-After header; None sends none.
    """

    status: int = 200
    content_type: str = "application/json"
    body: tuple[bytes, ...] = ()
    streamed: bool = False
    length: int | None = None
    latency: float = 0.0
    pause: float = 0.0
    end: End = End.COMPLETE
    retry_after: float | None = None


def json_reply(value: object, *, status: int = 200) -> Reply:
    """Return a response whose body is `value` as JSON."""
    return Reply(status=status, body=(json.dumps(value).encode(),))


def event_reply(events: Iterable[bytes]) -> Reply:
    """Return a stream of server-sent events; each of `events` is one, with its final blank line."""
    return Reply(content_type="text/event-stream; charset=utf-8", body=tuple(events), streamed=True)


def error_reply(status: int, message: str) -> Reply:
    """Return an error in the form that OpenAI gives it."""
    kind, code = _ERRORS.get(status, ("server_error" if status >= 500 else "invalid_request_error", None))
    return json_reply(
        {"error": {"message": message, "type": kind, "param": None, "code": code}}, status=status
    )


def refusal_of(fault: Fault | None) -> Reply | None:
    """Return the response of a fault that needs no answer of the model; None when the model answers."""
    match fault.kind if fault else None:
        case FaultKind.STATUS if fault:
            reply = error_reply(fault.status, f"scripted failure with status {fault.status}")
            return replace(reply, retry_after=fault.retry_after)
        case FaultKind.HANG:
            return Reply(status=0, end=End.NEVER)
        case FaultKind.DISCONNECT:
            return Reply(status=0, end=End.CUT)
        case FaultKind.HTML:
            page = b"<html><head><title>Gateway</title></head><body>Please sign in</body></html>"
            return Reply(content_type="text/html; charset=utf-8", body=(page,))
        case _:
            return None


def spoiled(reply: Reply, fault: Fault | None) -> Reply:
    """Return `reply` as `fault` lets it arrive."""
    match fault.kind if fault else None:
        case FaultKind.TRUNCATED_JSON if reply.streamed:
            first, second, last = reply.body[:1], b"".join(reply.body[1:2]).rstrip(), reply.body[-1:]
            return replace(reply, body=(*first, second[: len(second) // 2] + b"\n\n", *last))
        case FaultKind.TRUNCATED_JSON:
            whole = b"".join(reply.body)
            return replace(reply, body=(whole[: len(whole) // 2],))
        case FaultKind.TRUNCATED_STREAM if reply.streamed and fault:
            return replace(reply, body=reply.body[: fault.chunks], end=End.CUT)
        case FaultKind.TRUNCATED_STREAM:
            whole = b"".join(reply.body)
            return replace(reply, body=(whole[: len(whole) // 2],), length=len(whole), end=End.CUT)
        case FaultKind.SLOW_BODY if fault:
            body = reply.body if reply.streamed else _sliced(b"".join(reply.body))
            return replace(reply, body=body, pause=fault.seconds / max(len(body) - 1, 1))
        case FaultKind.WRONG_CONTENT_TYPE:
            return replace(reply, content_type="text/plain; charset=utf-8")
        case _:
            return reply


def _sliced(whole: bytes) -> tuple[bytes, ...]:
    size = max(-(-len(whole) // _SLOW_PIECES), 1)
    return tuple(whole[start : start + size] for start in range(0, len(whole), size))
