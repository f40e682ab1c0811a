"""Requests of httpx and httpx2 over connections of ours, where nothing speaks against it.

Left to the library are https, clients with a transport or event hooks of their own, and answers that redirect.
"""

from collections.abc import AsyncIterator, Iterator
from typing import Any

from orchestrator_runtimes.model_connections import (
    Answer,
    AnswerFailed,
    AnswerTimedOut,
    AsyncAnswer,
    ConnectFailed,
    ConnectTimedOut,
    Timeouts,
    send,
    send_async,
)

_FAULTS = (ConnectFailed, ConnectTimedOut, AnswerFailed, AnswerTimedOut)


class DirectTransport:
    """Sends requests of one HTTP library.

    Args:
        http: `httpx` or `httpx2`; checked against httpx 0.28 and httpx2 2.x.
    """

    def __init__(self, http: Any) -> None:
        """Make what needs the library's types."""
        self._http = http
        self._plain = (http.HTTPTransport, http.AsyncHTTPTransport)
        self._stream, self._async_stream = _streams(self, http)

    def takes(self, client: Any, request: Any) -> bool:
        """True when a request of `client` may be sent here."""
        return (
            request.url.scheme == "http"
            and type(getattr(client, "_transport", None)) in self._plain
            and not any(client.event_hooks.values())
        )

    def send(self, request: Any, *, stream: bool) -> Any:
        """Send a request from a thread; None when the answer redirects.

        Args:
            request: Of the library, with its content read and its timeouts set.
            stream: True leaves the body to be read.

        Raises:
            Exception: The library's own, as its client raises them.
        """
        timeouts = _timeouts(request)
        try:
            answer = send(*self._words(request), timeouts)
            if 300 <= answer.status < 400:
                answer.close()
                return None
            if stream:
                return self._response(request, answer, stream=self._stream(answer, timeouts.read))
            return self._response(request, answer, content=b"".join(answer.pieces(timeouts.read)))
        except _FAULTS as error:
            raise self.translated(error, request) from error

    async def send_async(self, request: Any, *, stream: bool) -> Any:
        """Send a request from the event loop; the rest as `send`."""
        timeouts = _timeouts(request)
        try:
            answer = await send_async(*self._words(request), timeouts)
            if 300 <= answer.status < 400:
                answer.close()
                return None
            if stream:
                return self._response(request, answer, stream=self._async_stream(answer, timeouts.read))
            pieces = [piece async for piece in answer.pieces(timeouts.read)]
            return self._response(request, answer, content=b"".join(pieces))
        except _FAULTS as error:
            raise self.translated(error, request) from error

    def translated(self, error: Exception, request: Any = None) -> Exception:
        """Return the library's error for one of ours."""
        kinds: dict[type[Exception], Any] = {
            ConnectFailed: self._http.ConnectError,
            ConnectTimedOut: self._http.ConnectTimeout,
            AnswerTimedOut: self._http.ReadTimeout,
            AnswerFailed: self._http.RemoteProtocolError,
        }
        made: Exception = kinds[type(error)](str(error), request=request)
        return made

    def _words(self, request: Any) -> tuple[tuple[str, int], bytes]:
        url = request.url
        lines = [b"%b: %b" % (name, value) for name, value in request.headers.raw]
        first = b"%b %b HTTP/1.1" % (request.method.encode("ascii"), url.raw_path)
        head = b"\r\n".join([first, *lines, b"", b""])
        if head.count(b"\n") != len(lines) + 2:
            raise self._http.LocalProtocolError("a header of the request holds a line break", request=request)
        return (url.host, url.port or 80), head + request.content

    def _response(self, request: Any, answer: Answer | AsyncAnswer, **body: Any) -> Any:
        extensions = {"http_version": b"HTTP/1.1"}
        return self._http.Response(
            answer.status, headers=answer.headers, request=request, extensions=extensions, **body
        )


def _timeouts(request: Any) -> Timeouts:
    told: dict[str, float | None] = request.extensions.get("timeout") or {}
    return Timeouts(connect=told.get("connect"), read=told.get("read"), write=told.get("write"))


def _streams(transport: DirectTransport, http: Any) -> tuple[Any, Any]:
    """Return the two stream classes of `http` over an answer of ours."""

    class DirectStream(http.SyncByteStream):  # type: ignore[misc]  # the library is not known here
        def __init__(self, answer: Answer, timeout: float | None) -> None:
            self._answer = answer
            self._timeout = timeout

        def __iter__(self) -> Iterator[bytes]:
            try:
                yield from self._answer.pieces(self._timeout)
            except _FAULTS as error:
                raise transport.translated(error) from error

        def close(self) -> None:
            self._answer.close()

    class AsyncDirectStream(http.AsyncByteStream):  # type: ignore[misc]  # as above
        def __init__(self, answer: AsyncAnswer, timeout: float | None) -> None:
            self._answer = answer
            self._timeout = timeout

        async def __aiter__(self) -> AsyncIterator[bytes]:
            try:
                async for piece in self._answer.pieces(self._timeout):
                    yield piece
            except _FAULTS as error:
                raise transport.translated(error) from error

        async def aclose(self) -> None:
            self._answer.close()

    return DirectStream, AsyncDirectStream
