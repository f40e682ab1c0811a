"""Messages of the Model Context Protocol: JSON-RPC, one to a request, alone or as events. Both sides are hostile."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from orchestrator_runtimes.json_values import Json, NotJson, dump, parse

RESULT_UNKNOWN: Final = "result_unknown"
"""`data.code` of the error of a `once` tool that was called before, nobody knows with what result."""

GATEWAY_ERROR: Final = -32_000
INVALID_PARAMS: Final = -32_602

_NAME_CHARACTERS: Final = 200


class NoMessage(ValueError):
    """A body is no message of the protocol; the text says why."""


@dataclass(frozen=True, kw_only=True)
class Message:
    """One JSON-RPC message.

    Attributes:
        method: What is asked for; None in an answer.
        id: Names a request and its answer; None in a notification.
        params: Of a request or a notification.
        result: Of an answer that is no error.
        error: Of an answer that is one.
    """

    method: str | None = None
    id: str | int | None = None
    params: Mapping[str, Json] | None = None
    result: Mapping[str, Json] | None = None
    error: Mapping[str, Json] | None = None

    @property
    def is_answer(self) -> bool:
        """Whether it answers a request."""
        return self.method is None

    @property
    def tool(self) -> tuple[str, Mapping[str, Json]]:
        """Name and arguments of `tools/call`.

        Raises:
            NoMessage: It names none.
        """
        params = self.params or {}
        name, arguments = params.get("name"), params.get("arguments")
        if not isinstance(name, str) or not 0 < len(name) <= _NAME_CHARACTERS:
            raise NoMessage(f"tools/call names no tool of {_NAME_CHARACTERS} characters at most")
        if arguments is None:
            return name, {}
        if not isinstance(arguments, Mapping):
            raise NoMessage("the arguments of tools/call are no object")
        return name, arguments


def read_message(content: bytes) -> Message:
    """Return the message that a body is.

    Raises:
        NoMessage: It is none, or several.
    """
    try:
        body = parse(content)
    except NotJson as wrong:
        raise NoMessage(f"it is not JSON: {wrong}") from wrong
    if not isinstance(body, Mapping) or body.get("jsonrpc") != "2.0":
        raise NoMessage("it is not one message of JSON-RPC 2.0")
    method, number, params = body.get("method"), body.get("id"), body.get("params")
    if isinstance(number, bool) or not (number is None or isinstance(number, int | str)):
        raise NoMessage("its id is neither text nor a whole number")
    if method is not None:
        if not isinstance(method, str):
            raise NoMessage("its method is no text")
        if not (params is None or isinstance(params, Mapping)):
            raise NoMessage("its params are no object")
        return Message(method=method, id=number, params=params)
    result, error = body.get("result"), body.get("error")
    if number is None or isinstance(result, Mapping) == isinstance(error, Mapping):
        raise NoMessage("it is neither a request nor an answer")
    return Message(
        id=number,
        result=result if isinstance(result, Mapping) else None,
        error=error if isinstance(error, Mapping) else None,
    )


def answer(number: str | int | None, outcome: Mapping[str, Json]) -> bytes:
    """Return an answer; `outcome` holds `result` or `error`."""
    return dump({"jsonrpc": "2.0", "id": number, **outcome})


def failure(message: str, *, code: int = GATEWAY_ERROR, kind: str = "gateway") -> dict[str, Json]:
    """Return the outcome of a request that comes to nothing, in the gateway's words."""
    return {"error": {"code": code, "message": message[:1_000], "data": {"code": kind}}}


class Events:
    """Splits a stream of server-sent events into whole ones."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._pending = b""

    def feed(self, data: bytes) -> list[tuple[bytes, bytes]]:
        """Return the events that are whole now: each as it came, and its data."""
        self._pending = (self._pending + data).replace(b"\r\n", b"\n")
        *events, self._pending = self._pending.split(b"\n\n")
        return [(event + b"\n\n", _data(event)) for event in events]


def _data(event: bytes) -> bytes:
    return b"\n".join(line[5:].lstrip(b" ") for line in event.split(b"\n") if line.startswith(b"data:"))


def event_of(content: bytes) -> bytes:
    """Return a message as an event."""
    return b"event: message\ndata: " + content + b"\n\n"
