"""HTTP/1.1 requests out of bytes as they arrive; whatever is no such request is refused with a status."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_HEAD_BYTES: Final = 65_536
_CHUNK_LINE_BYTES: Final = 1_024


class RefusedRequest(Exception):
    """These bytes are no request that is served: what follows on the connection cannot be read either.

    Attributes:
        status: HTTP status to answer with before closing.
        message: What is wrong with it.
    """

    def __init__(self, status: int, message: str) -> None:
        """Refuse with `status`."""
        super().__init__(message)
        self.status = status
        self.message = message


@dataclass(frozen=True, kw_only=True)
class HttpRequest:
    """A whole request.

    Attributes:
        method: Upper-case method.
        target: Path with query, as it was sent.
        headers: Values by lower-case name; repeated ones are joined with commas.
        body: The body, with its transfer coding taken off.
        keep_alive: False when the client asked to close the connection after the response.
    """

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    keep_alive: bool


@dataclass(frozen=True, kw_only=True)
class _Head:
    method: str
    target: str
    headers: Mapping[str, str]
    keep_alive: bool
    length: int
    chunked: bool


class RequestReader:
    """Cuts the bytes of one connection into requests."""

    def __init__(self, most_body_bytes: int) -> None:
        """Refuse bodies above `most_body_bytes` with status 413."""
        self._most = most_body_bytes
        self._buffer = bytearray()
        self._searched = 0
        self._head: _Head | None = None
        self._body = bytearray()
        self._wants_continue = False

    @property
    def buffered(self) -> int:
        """Bytes that arrived and are not part of a request returned yet."""
        return len(self._buffer)

    def feed(self, data: bytes) -> None:
        """Take bytes as they arrived."""
        self._buffer += data

    def take_continue(self) -> bool:
        """Return True once for each request whose client waits for `100 Continue` before its body."""
        waits, self._wants_continue = self._wants_continue, False
        return waits

    def next_request(self) -> HttpRequest | None:
        """Return the next whole request, or None when its bytes have not all arrived.

        Raises:
            RefusedRequest: What arrived is no request, or too large.
        """
        if self._head is None and not self._read_head():
            return None
        head = self._head
        if head is None or not (self._read_chunks() if head.chunked else self._read_length(head.length)):
            return None
        body = bytes(self._body)
        self._head, self._body, self._wants_continue = None, bytearray(), False
        return HttpRequest(
            method=head.method,
            target=head.target,
            headers=head.headers,
            body=body,
            keep_alive=head.keep_alive,
        )

    def _read_head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n", max(self._searched - 3, 0))
        if max(end, len(self._buffer) if end < 0 else 0) > _HEAD_BYTES:
            raise RefusedRequest(431, f"the request head is longer than {_HEAD_BYTES} bytes")
        if end < 0:
            self._searched = len(self._buffer)
            return False
        self._head = _head_of(bytes(self._buffer[:end]), self._most)
        self._wants_continue = self._head.headers.get("expect", "").lower() == "100-continue"
        del self._buffer[: end + 4]
        self._searched = 0
        return True

    def _read_length(self, length: int) -> bool:
        if len(self._buffer) < length:
            return False
        self._body = self._buffer[:length]
        del self._buffer[:length]
        return True

    def _read_chunks(self) -> bool:
        while (end := self._buffer.find(b"\r\n", 0, _CHUNK_LINE_BYTES)) >= 0:
            digits = bytes(self._buffer[:end]).partition(b";")[0].strip()
            if not digits or not all(digit in b"0123456789abcdefABCDEF" for digit in digits):
                raise RefusedRequest(400, "a chunk of the request body has no size")
            size = int(digits, 16)
            if len(self._body) + size > self._most:
                raise RefusedRequest(413, f"the request body is longer than {self._most} bytes")
            if len(self._buffer) < end + 2 + size + 2:
                return False
            chunk, tail = (
                self._buffer[end + 2 : end + 2 + size],
                self._buffer[end + 2 + size : end + 4 + size],
            )
            if not tail.startswith(b"\r\n"):
                raise RefusedRequest(400, "a chunk of the request body does not end where its size says")
            self._body += chunk
            del self._buffer[: end + 4 + size]
            if size == 0:
                return True
        if len(self._buffer) >= _CHUNK_LINE_BYTES:
            raise RefusedRequest(400, "a chunk of the request body has no size")
        return False


def _head_of(data: bytes, most_body_bytes: int) -> _Head:
    lines = data.decode("latin-1").split("\r\n")
    parts = lines[0].split(" ")
    if len(parts) != 3 or not parts[0].isalpha() or not parts[1].startswith("/") or parts[2][:7] != "HTTP/1.":
        raise RefusedRequest(400, "the request line is not 'METHOD /path HTTP/1.1'")
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise RefusedRequest(400, "a header line is not 'name: value'")
        key = name.lower()
        headers[key] = f"{headers[key]}, {value.strip()}" if key in headers else value.strip()
    coding = headers.get("transfer-encoding", "").lower()
    length = headers.get("content-length", "0")
    if (coding and (coding != "chunked" or "content-length" in headers)) or not (
        length.isascii() and length.isdigit()
    ):
        raise RefusedRequest(400, "the request body's length is not given as one Content-Length or as chunks")
    if len(length) > 18 or int(length) > most_body_bytes:
        raise RefusedRequest(413, f"the request body is longer than {most_body_bytes} bytes")
    wish = headers.get("connection", "").lower()
    return _Head(
        method=parts[0].upper(),
        target=parts[1],
        headers=headers,
        keep_alive="keep-alive" in wish if parts[2] == "HTTP/1.0" else "close" not in wish,
        length=int(length),
        chunked=bool(coding),
    )
