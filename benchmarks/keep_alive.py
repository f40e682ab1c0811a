"""A connection that sends one HTTP request after another: the least that a client can cost."""

import asyncio
from urllib.parse import urlsplit


class KeepAlive:
    """One connection to a server; opened by the first request, and again after the server has closed it.

    Args:
        url: Of the server; its path begins that of every request.
    """

    def __init__(self, url: str) -> None:
        """Begin without a connection."""
        self._place = urlsplit(url)
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, path: str, body: bytes) -> tuple[int, bytes]:
        """Send JSON and return the status and the body of the answer.

        Raises:
            OSError: The connection failed; the next request opens another.
            asyncio.IncompleteReadError: The server closed it before the answer was whole.
            ValueError: The answer has no length.
        """
        if self._streams is None or self._streams[0].at_eof():
            await self.close()
            self._streams = await asyncio.open_connection(self._place.hostname, self._place.port)
        reader, writer = self._streams
        head = (
            f"POST {self._place.path}{path} HTTP/1.1\r\nhost: {self._place.netloc}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        try:
            writer.write(head.encode() + body)
            answer = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(answer.partition(b"content-length: ")[2].split(b"\r\n")[0])
            return int(answer.split()[1]), await reader.readexactly(length)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Close it; idempotent."""
        if self._streams is None:
            return
        (_, writer), self._streams = self._streams, None
        writer.close()
