"""A connection that sends one HTTP request after another: the least that a client can cost."""

import asyncio
import time
from urllib.parse import urlsplit


class KeepAlive:
    """One connection to a server; opened by the first request, and again after the server has closed it.

    Args:
        url: Of the server; its path begins that of every request.
        token: Bearer token of every request; None sends none.
    """

    def __init__(self, url: str, token: str | None = None) -> None:
        """Begin without a connection."""
        self._place = urlsplit(url)
        self._authorization = f"authorization: Bearer {token}\r\n" if token else ""
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, path: str, body: bytes) -> tuple[int, bytes]:
        """Send JSON and return the status and the body of the answer.

        Raises:
            OSError: The connection failed; the next request opens another.
            asyncio.IncompleteReadError: The server closed it before the answer was whole.
            ValueError: The answer has no length.
        """
        reader = await self._sent(path, body)
        try:
            answer = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(answer.partition(b"content-length: ")[2].split(b"\r\n")[0])
            return int(answer.split()[1]), await reader.readexactly(length)
        except BaseException:
            await self.close()
            raise

    async def stream(self, path: str, body: bytes) -> tuple[int, bytes, float]:
        """Send JSON and return the status and the body of an answer in chunks, and when its first chunk was there.

        Returns:
            The status, the body, and the time of the first chunk by `time.perf_counter`, in seconds.

        Raises:
            OSError: As `post`.
            asyncio.IncompleteReadError: As `post`.
            ValueError: The answer is not in chunks.
        """
        reader = await self._sent(path, body)
        try:
            answer = await reader.readuntil(b"\r\n\r\n")
            pieces, first = list[bytes](), 0.0
            while size := int(await reader.readline(), 16):
                pieces.append((await reader.readexactly(size + 2))[:-2])
                first = first or time.perf_counter()
            await reader.readline()
            return int(answer.split()[1]), b"".join(pieces), first
        except BaseException:
            await self.close()
            raise

    async def _sent(self, path: str, body: bytes) -> asyncio.StreamReader:
        if self._streams is None or self._streams[0].at_eof():
            await self.close()
            self._streams = await asyncio.open_connection(self._place.hostname, self._place.port)
        reader, writer = self._streams
        head = (
            f"POST {self._place.path}{path} HTTP/1.1\r\nhost: {self._place.netloc}\r\n{self._authorization}"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        writer.write(head.encode() + body)
        return reader

    async def close(self) -> None:
        """Close it; idempotent."""
        if self._streams is None:
            return
        (_, writer), self._streams = self._streams, None
        writer.close()
