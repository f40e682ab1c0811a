"""One HTTP/1.1 answer, read from bytes as they come, whoever brings them."""

from typing import Final

HEAD_BYTES: Final = 2**16
"""Longest head, and longest line between the chunks of a body."""

_SIZE_DIGITS: Final = frozenset(b"0123456789abcdefABCDEF")


class MalformedAnswer(Exception):
    """What came is no HTTP answer, or it ended too early."""


class HttpAnswer:
    """An answer on its way.

    Attributes:
        status: Status code; 0 until the head has been read.
        headers: Names and values as they were sent.
        ended: True when the whole body has been read.
    """

    def __init__(self) -> None:
        """Wait for the head."""
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.ended = False
        self._buffer = bytearray()
        self._keep_alive = False
        self._chunked = False
        self._remaining: int | None = None  # of the body, or of the chunk; None is up to the connection's end
        self._after_chunk = False
        self._trailers = False

    @property
    def reusable(self) -> bool:
        """True when the connection may carry another request."""
        return self.ended and self._keep_alive and not self._buffer

    def feed(self, data: bytes) -> bytes:
        """Take bytes as they came, none at the end of the connection, and return those of the body.

        Raises:
            MalformedAnswer: They are no HTTP, or the connection ended before the answer did.
        """
        if not data:
            return self._close()
        self._buffer += data
        if not self.status and not self._read_head():
            return b""
        return self._read_chunks() if self._chunked else self._read_plain()

    def _close(self) -> bytes:
        if self.ended:
            return b""
        if not self.status or self._chunked or self._remaining is not None:
            raise MalformedAnswer("the connection ended before the answer did")
        self.ended = True
        return b""

    def _read_head(self) -> bool:
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            first, *lines = bytes(self._buffer[:end]).split(b"\r\n")
            del self._buffer[: end + 4]
            version, _, rest = first.partition(b" ")
            code = rest[:3]
            if not version.startswith(b"HTTP/1.") or not code.isdigit() or len(code) != 3:
                raise MalformedAnswer(f"the answer begins with {first[:60]!r}")
            if code.startswith(b"1"):
                continue  # 100 Continue and the like come before the answer
            self.headers = [_header(line) for line in lines]
            self._frame(version, int(code))
            return True
        if len(self._buffer) > HEAD_BYTES:
            raise MalformedAnswer(f"the head of the answer is longer than {HEAD_BYTES} bytes")
        return False

    def _frame(self, version: bytes, status: int) -> None:
        """Learn from the head where the body ends and whether the connection stays open."""
        self.status = status
        told = {name.lower(): value.lower() for name, value in self.headers}
        connection = [token.strip() for token in told.get(b"connection", b"").split(b",")]
        self._keep_alive = (
            b"keep-alive" in connection if version == b"HTTP/1.0" else b"close" not in connection
        )
        coding, length = told.get(b"transfer-encoding"), told.get(b"content-length")
        if status in (204, 304):
            self._remaining = 0
        elif coding is not None:
            if coding.rpartition(b",")[2].strip() != b"chunked":
                raise MalformedAnswer(f"the transfer coding {coding[:60]!r} is not known")
            self._chunked, self._remaining = True, 0
        elif length is not None:
            if not length.isdigit() or len(length) > 18:
                raise MalformedAnswer(f"the length of the answer is {length[:60]!r}")
            self._remaining = int(length)
        else:
            self._keep_alive = False

    def _read_plain(self) -> bytes:
        if self._remaining is None:
            data = bytes(self._buffer)
            self._buffer.clear()
            return data
        data = self._take()
        self.ended = self._remaining == 0
        return data

    def _read_chunks(self) -> bytes:
        data = self._take()
        while not self._remaining and not self.ended:
            if self._after_chunk:
                if len(self._buffer) < 2:
                    break
                if not self._buffer.startswith(b"\r\n"):
                    raise MalformedAnswer("a chunk of the answer does not end where its size says")
                del self._buffer[:2]
                self._after_chunk = False
            if (line := self._line()) is None:
                break
            if self._trailers:
                self.ended = not line
                continue
            size = line.partition(b";")[0].strip()
            if not size or len(size) > 15 or not _SIZE_DIGITS.issuperset(size):
                raise MalformedAnswer(f"a chunk of the answer has the size {size[:60]!r}")
            self._remaining = int(size, 16)
            self._trailers = self._remaining == 0
            self._after_chunk = not self._trailers
            data += self._take()
        return data

    def _take(self) -> bytes:
        """Return what has come of the body or the chunk."""
        data = bytes(self._buffer[: self._remaining])
        del self._buffer[: len(data)]
        self._remaining = (self._remaining or 0) - len(data)
        return data

    def _line(self) -> bytes | None:
        end = self._buffer.find(b"\r\n")
        if end < 0:
            if len(self._buffer) > HEAD_BYTES:
                raise MalformedAnswer(f"a line between chunks is longer than {HEAD_BYTES} bytes")
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        return line


def _header(line: bytes) -> tuple[bytes, bytes]:
    name, colon, value = line.partition(b":")
    if not colon or not name or name != name.strip():
        raise MalformedAnswer(f"the header line {line[:60]!r} is not 'name: value'")
    return name, value.strip()
