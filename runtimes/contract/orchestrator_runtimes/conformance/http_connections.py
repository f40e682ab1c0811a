"""One HTTP/1.1 connection: reads requests one after the other and sends each reply as it says."""

import asyncio
from http import HTTPStatus
from typing import Final, Protocol

from orchestrator_runtimes.conformance.http_requests import HttpRequest, RefusedRequest, RequestReader
from orchestrator_runtimes.conformance.replies import End, Reply, error_reply

# a client that is refused in the middle of a body reads the refusal only after it has sent the rest
_DRAIN_SECONDS: Final = 5.0
_PIPELINED_BYTES: Final = 1_048_576


class Application(Protocol):
    """What answers the requests of every connection."""

    most_body_bytes: int

    def answer(self, request: HttpRequest) -> tuple[int, Reply]:
        """Return a number for this request, and its reply."""
        ...

    def ended(self, number: int, *, disconnected: bool) -> None:
        """Take note that the reply is over; `disconnected` when the client went away before."""
        ...

    def opened(self, connection: "HttpConnection") -> None:
        """Take note of a new connection."""
        ...

    def closed(self, connection: "HttpConnection") -> None:
        """Take note that the connection is gone."""
        ...


class HttpConnection(asyncio.Protocol):
    """One connection; requests that arrive while a reply is under way wait their turn."""

    def __init__(self, application: Application) -> None:
        """Serve `application`."""
        self._application = application
        self._loop = asyncio.get_running_loop()
        self._reader = RequestReader(application.most_body_bytes)
        self._transport: asyncio.Transport | None = None
        self._number: int | None = None
        self._reply = Reply()
        self._sent = 0
        self._keep_alive = True
        self._draining = False
        self._writable = True
        self._waits_to_write = False
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._application.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """End the reply under way, if any, as one whose client went away."""
        self._transport = None
        if self._timer:
            self._timer.cancel()
        self._finish(disconnected=True)
        self._application.closed(self)

    def abort(self) -> None:
        """Close at once, with whatever is under way."""
        if self._transport:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Serve the next request when nothing else is under way."""
        if self._draining:
            return
        self._reader.feed(data)
        if self._number is None:
            self._serve()
        elif self._reader.buffered > _PIPELINED_BYTES and self._transport:
            self._transport.pause_reading()

    def pause_writing(self) -> None:
        """Hold the next piece back: the client reads too slowly."""
        self._writable = False

    def resume_writing(self) -> None:
        """Send the piece that was held back."""
        self._writable = True
        if self._waits_to_write:
            self._waits_to_write = False
            self._send_pieces()

    def _serve(self) -> None:
        while self._transport and self._number is None and not self._draining:
            try:
                request = self._reader.next_request()
            except RefusedRequest as refusal:
                self._refuse(refusal)
                return
            if request is None:
                if self._reader.take_continue():
                    self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                return
            self._keep_alive = request.keep_alive
            self._number, self._reply = self._application.answer(request)
            self._sent = 0
            if self._reply.end is End.NEVER:
                return
            if self._reply.latency:
                self._timer = self._loop.call_later(self._reply.latency, self._begin)
            else:
                self._begin()

    def _refuse(self, refusal: RefusedRequest) -> None:
        assert self._transport
        reply = error_reply(refusal.status, refusal.message)
        self._transport.write(_head(reply, keep_alive=False) + b"".join(reply.body))
        self._transport.write_eof()
        self._draining = True
        self._timer = self._loop.call_later(_DRAIN_SECONDS, self.abort)

    def _begin(self) -> None:
        assert self._transport
        reply = self._reply
        if reply.end is End.CUT and not reply.body and not reply.streamed:
            self._close()
        elif reply.pause or reply.end is End.CUT:
            self._transport.write(_head(reply, keep_alive=self._keep_alive))
            self._send_pieces()
        else:
            body = (
                b"".join(map(_chunk, reply.body)) + b"0\r\n\r\n" if reply.streamed else b"".join(reply.body)
            )
            self._transport.write(_head(reply, keep_alive=self._keep_alive) + body)
            self._complete()

    def _send_pieces(self) -> None:
        while self._transport and self._sent < len(self._reply.body):
            if not self._writable:
                self._waits_to_write = True
                return
            piece = self._reply.body[self._sent]
            self._sent += 1
            self._transport.write(_chunk(piece) if self._reply.streamed else piece)
            if self._reply.pause and self._sent < len(self._reply.body):
                self._timer = self._loop.call_later(self._reply.pause, self._send_pieces)
                return
        if not self._transport:
            return
        if self._reply.end is End.CUT:
            self._close()
            return
        if self._reply.streamed:
            self._transport.write(b"0\r\n\r\n")
        self._complete()

    def _close(self) -> None:
        assert self._transport
        self._finish(disconnected=False)
        self._draining = True
        self._transport.close()

    def _complete(self) -> None:
        assert self._transport
        self._finish(disconnected=False)
        if not self._keep_alive:
            self._draining = True
            self._transport.close()
            return
        self._transport.resume_reading()
        if self._reader.buffered:
            # not from here: a client that pipelines would deepen the stack with every request
            self._loop.call_soon(self._serve)

    def _finish(self, *, disconnected: bool) -> None:
        if self._number is not None:
            number, self._number = self._number, None
            self._application.ended(number, disconnected=disconnected)


def _chunk(piece: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(piece), piece)


def _head(reply: Reply, *, keep_alive: bool) -> bytes:
    reason = HTTPStatus(reply.status).phrase if reply.status in _STATUSES else "Scripted"
    lines = [f"HTTP/1.1 {reply.status} {reason}", f"content-type: {reply.content_type}"]
    if reply.streamed:
        lines += ["transfer-encoding: chunked", "cache-control: no-cache"]
    else:
        length = sum(map(len, reply.body)) if reply.length is None else reply.length
        lines.append(f"content-length: {length}")
    if reply.retry_after is not None:
        lines.append(f"retry-after: {reply.retry_after:g}")
    if not keep_alive:
        lines.append("connection: close")
    return "\r\n".join((*lines, "\r\n")).encode("latin-1")


_STATUSES: Final = frozenset(int(status) for status in HTTPStatus)
