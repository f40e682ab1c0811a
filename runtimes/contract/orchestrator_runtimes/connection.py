"""JSON-RPC 2.0, one message a line, both ways over one stream; the peer is never trusted.

A line that is not a valid message gets an error answer, and the connection goes on: lines keep both sides in step. An
oversized line cannot be skipped safely, so it is answered and the connection closes. Notifications are handled one
after the other and awaited, so a slow reader stops the writer (backpressure by the stream's own flow control).
Messages of one turn of the event loop are sent together: a system call, and waking the peer, cost more than a message.
"""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Final, TypeVar

from orchestrator_runtimes.codec import InvalidMessage, UnknownKind, decode, encode
from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.json_values import Json, NotJson, dump, parse
from orchestrator_runtimes.messages import METHODS, Failure, Usage

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
AGENT_ERROR: Final = -32000
BUSY: Final = -32001

CLOSE_SECONDS: Final = 2.0
_ID_CHARACTERS: Final = 128
_TOGETHER_BYTES: Final = 2**16
"""Messages that wait for the loop's next turn are sent at once when they are longer than this together."""

_BAD_LINES: Final = 100
"""After so many malformed lines the peer is talking something else, and the connection closes."""

T = TypeVar("T")
Handler = Callable[[Json], Awaitable[object]]
Id = int | str


class RequestFailed(AgentError):
    """The answer to a request was an error; `usage` is what a failed execution consumed, None for other requests."""

    usage: Usage | None = None


class UsageError(AgentError):
    """An execution's failure together with what it consumed, as the worker raises it."""

    def __init__(self, error: AgentError, usage: Usage) -> None:
        """Wrap `error`, keeping its words."""
        super().__init__(error.code, error.message, cause=error.cause, detail=error.detail)
        self.usage = usage


class Refused(Exception):
    """A request was refused by the protocol itself; `code` is the JSON-RPC error code."""

    def __init__(self, code: int, message: str) -> None:
        """Refuse with `code`; `message` goes to the peer."""
        super().__init__(code, message)
        self.code = code
        self.message = message


class Connection:
    """One peer of a contract connection.

    Args:
        reader: Made with `limit=message_bytes`.
        writer: Its other half.
        handlers: What answers the peer's requests, by method; each gets `params` and returns a message.
        notifications: What takes the peer's notifications, by method, one at a time.
        message_bytes: Longest line read or written, in bytes.
        requests: How many of the peer's requests are handled at once; one more is refused as busy.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        handlers: Mapping[str, Handler],
        notifications: Mapping[str, Handler],
        message_bytes: int,
        requests: int,
    ) -> None:
        """See the class."""
        self._reader = reader
        self._writer = writer
        self._handlers = handlers
        self._notifications = notifications
        self._requests = requests
        self._ids = itertools.count(1)
        self._waiting: dict[Id, asyncio.Future[Json]] = {}
        self._running: dict[Id, asyncio.Task[None]] = {}
        self._bad_lines = 0
        self._outgoing: list[bytes] = []
        self._outgoing_bytes = 0
        self._closed: AgentError | None = None
        self.message_bytes = message_bytes
        self.peer_message_bytes = message_bytes

    async def call(self, method: str, params: object, answer: type[T], *, timeout: float | None) -> T:
        """Send a request and return its answer.

        Args:
            method: A key of `METHODS`.
            params: Its message.
            answer: Type of the answer.
            timeout: Seconds; None waits as long as the connection lives.

        Raises:
            RequestFailed: The peer answered with an error.
            AgentError: `runtime_crashed` when the connection ends first or the answer breaks the contract;
                `timeout` when none came; `invalid_input` when the request is no JSON or larger than the peer reads.
        """
        number = next(self._ids)
        try:
            line = _line({"id": number, "method": method, "params": encode(params)})
        except (NotJson, RecursionError) as error:
            raise AgentError(
                ErrorCode.INVALID_INPUT, f"the parameters of {method!r} are no JSON", cause=str(error)
            ) from error
        if len(line) > self.peer_message_bytes:
            raise AgentError(
                ErrorCode.INVALID_INPUT,
                f"{method!r} is {len(line)} bytes long, above the runtime's limit of {self.peer_message_bytes}:"
                " pass a reference instead of the data",
            )
        future = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        try:
            async with asyncio.timeout(timeout):
                await self._write(line)
                result = await future
        except TimeoutError:
            raise AgentError(
                ErrorCode.TIMEOUT, f"the peer did not answer {method!r} within {timeout} s"
            ) from None
        finally:
            del self._waiting[number]
        try:
            return decode(answer, result, method)
        except InvalidMessage as error:
            raise self._break(f"answer to {error}") from error

    async def notify(self, method: str, params: object) -> None:
        """Send a notification; returns when the stream has taken it."""
        await self._write(_line({"method": method, "params": encode(params)}))

    def post(self, method: str, params: object) -> None:
        """Queue a notification from synchronous code on the loop's thread; for the few that cannot wait."""
        if self._closed is None:
            self._queue(_line({"method": method, "params": encode(params)}))

    @property
    def closed(self) -> bool:
        """True when nothing can be sent any more."""
        return self._closed is not None

    async def serve(self) -> None:
        """Read until the stream ends or breaks; then fail what waits and cancel what runs."""
        try:
            while self._closed is None and (line := await self._read_line()):
                await self._take(line)
        except (ConnectionError, OSError):
            pass  # told to everyone who waits, below
        finally:
            await self.close()

    async def close(self) -> None:
        """Close the stream; idempotent."""
        if self._closed is None:
            self._break("the connection ended")
        running = [task for task in self._running.values() if task is not asyncio.current_task()]
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running, timeout=CLOSE_SECONDS)
        self._flush()
        self._writer.close()
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._writer.wait_closed()
        except TimeoutError:
            self._writer.transport.abort()  # the peer does not read what was said last
        except OSError:
            pass

    def _break(self, why: str) -> AgentError:
        """Mark the connection as over and fail every request that waits."""
        error = AgentError(ErrorCode.RUNTIME_CRASHED, f"the connection to the runtime is gone: {why}")
        if self._closed is None:
            self._closed = error
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(error)
        self._reader.feed_eof()
        return error

    async def _write(self, line: bytes) -> None:
        if self._closed is not None:
            raise self._closed
        self._queue(line)
        try:
            await self._writer.drain()
        except OSError as error:
            raise self._break(str(error)) from error

    def _queue(self, line: bytes) -> None:
        self._outgoing.append(line)
        self._outgoing_bytes += len(line)
        if self._outgoing_bytes > _TOGETHER_BYTES:
            self._flush()
        elif len(self._outgoing) == 1:
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        if self._outgoing:
            data = b"".join(self._outgoing)
            self._outgoing.clear()
            self._outgoing_bytes = 0
            self._writer.write(data)

    async def _read_line(self) -> bytes:
        try:
            return await self._reader.readuntil(b"\n")
        except asyncio.IncompleteReadError:
            return b""  # a message without its line end was cut off, whatever it looks like
        except asyncio.LimitOverrunError:
            await self._refuse(None, INVALID_REQUEST, f"a message is longer than {self.message_bytes} bytes")
            self._break("a message was too long")
            return b""

    async def _take(self, line: bytes) -> None:
        try:
            message = parse(line)
        except NotJson as error:
            await self._malformed(None, PARSE_ERROR, f"not JSON: {error}")
            return
        if not isinstance(message, Mapping) or message.get("jsonrpc") != "2.0":
            await self._malformed(None, INVALID_REQUEST, 'expected one object with "jsonrpc": "2.0"')
        elif "method" not in message:
            await self._take_answer(message)
        elif not isinstance(message["method"], str):
            await self._malformed(_id_of(message), INVALID_REQUEST, "method must be a string")
        elif "id" not in message:
            await self._take_notification(message["method"], message.get("params"))
        else:
            await self._take_request(message["method"], message)

    async def _take_answer(self, message: Mapping[str, Json]) -> None:
        number = _id_of(message)
        future = self._waiting.get(number) if number is not None else None
        if future is None or future.done():
            if (
                "error" not in message
            ):  # an error answer with no id reports a malformed line; never answer one
                await self._malformed(number, INVALID_REQUEST, "an answer to no request")
            return
        if "result" in message and "error" not in message:
            future.set_result(message["result"])
        else:
            future.set_exception(_failure(message.get("error")))

    async def _take_notification(self, method: str, params: Json) -> None:
        handler = self._notifications.get(method)
        if handler is None:
            return  # a newer peer may tell more than this one understands
        try:
            await handler(params)
        except UnknownKind:
            return  # as above
        except InvalidMessage as error:
            await self._malformed(None, INVALID_PARAMS, str(error))

    async def _take_request(self, method: str, message: Mapping[str, Json]) -> None:
        number = _id_of(message)
        if number is None:
            await self._malformed(
                None, INVALID_REQUEST, "id must be a whole number or a string of 1 to 128 characters"
            )
        elif method not in self._handlers:
            await self._refuse(number, METHOD_NOT_FOUND, f"unknown method {method!r:.100}")
        elif number in self._running:
            await self._malformed(number, INVALID_REQUEST, f"a request with id {number!r} is still running")
        elif len(self._running) >= self._requests:
            await self._refuse(
                number, BUSY, f"{self._requests} requests are running already; send it again later"
            )
        else:
            task = asyncio.create_task(self._answer(number, method, message.get("params")))
            self._running[number] = task
            task.add_done_callback(lambda _: self._running.pop(number, None))

    async def _answer(self, number: Id, method: str, params: Json) -> None:
        try:
            answer = await self._handlers[method](params)
            line = _line({"id": number, "result": encode(answer)})
            if len(line) > self.peer_message_bytes:
                raise AgentError(
                    ErrorCode.LIMIT_EXCEEDED,
                    f"the answer to {method!r} is {len(line)} bytes long, above the limit of {self.peer_message_bytes}",
                )
        except (InvalidMessage, NotJson) as error:
            line = _error_line(number, INVALID_PARAMS, str(error))
        except Refused as error:
            line = _error_line(number, error.code, error.message)
        except AgentError as error:
            line = _agent_error_line(number, error)
        except (
            Exception
        ) as error:  # the boundary: a handler's fault must reach the peer, not end the connection
            line = _agent_error_line(number, _unexpected(method, error))
        with suppress(AgentError):
            await self._write(line)

    async def _malformed(self, number: Id | None, code: int, why: str) -> None:
        self._bad_lines += 1
        await self._refuse(number, code, why)
        if self._bad_lines >= _BAD_LINES:
            self._break(f"the peer sent {_BAD_LINES} malformed messages, the last: {why}")

    async def _refuse(self, number: Id | None, code: int, why: str) -> None:
        with suppress(AgentError):
            await self._write(_error_line(number, code, why))


def _id_of(message: Mapping[str, Json]) -> Id | None:
    number = message.get("id")
    if isinstance(number, int) and not isinstance(number, bool) and abs(number) < 2**53:
        return number
    return number if isinstance(number, str) and 0 < len(number) <= _ID_CHARACTERS else None


def _line(message: Mapping[str, object]) -> bytes:
    return dump({"jsonrpc": "2.0", **message}) + b"\n"


def _error_line(number: Id | None, code: int, why: str) -> bytes:
    return _line({"id": number, "error": {"code": code, "message": why[:1_000]}})


def _agent_error_line(number: Id, error: AgentError) -> bytes:
    failure = Failure(
        code=error.code,
        retryable=error.code.retryable,
        cause=error.cause,
        detail={key: value for key, value in error.detail.items() if isinstance(value, str | int | float)},
        usage=error.usage if isinstance(error, UsageError) else None,
    )
    return _line(
        {"id": number, "error": {"code": AGENT_ERROR, "message": error.message, "data": encode(failure)}}
    )


def _unexpected(method: str, error: Exception) -> AgentError:
    return AgentError(
        ErrorCode.FRAMEWORK_ERROR, f"{method!r} failed unexpectedly", cause=f"{type(error).__name__}: {error}"
    )


def _failure(error: Json) -> RequestFailed:
    """Turn an error answer, whatever its shape, into an exception."""
    if isinstance(error, Mapping):
        message = str(error.get("message"))[:2_000]
        data = error.get("data")
        if data is None:
            return RequestFailed(
                ErrorCode.FRAMEWORK_ERROR,
                f"the peer refused the request: {message}",
                detail={"jsonrpc": str(error.get("code"))},
            )
        with suppress(InvalidMessage):
            failure = decode(Failure, data)
            result = RequestFailed(failure.code, message, cause=failure.cause, detail=failure.detail)
            result.usage = failure.usage
            return result
    return RequestFailed(ErrorCode.RUNTIME_CRASHED, "the peer answered with a malformed error")


def params(method: str, value: Json) -> object:
    """Return the parameters of `method` as its message.

    Raises:
        InvalidMessage: They do not fit.
    """
    return decode(METHODS[method][0], value, method)
